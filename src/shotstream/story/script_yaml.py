"""A story's YAML, read with the line of everything in it, so that an error can say where it is."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import yaml

from shotstream.core.config import check_keys
from shotstream.core.errors import InputError
from shotstream.core.spec import DEFAULT_CHUNKS, ShotShape
from shotstream.story.script import CastEntry, Script, ScriptExport
from shotstream.story.shot_spec import ShotSpec, Steer

STORY_KEYS = ("title", "global", "seed", "guidance", "negative_prompt", "cast", "export", "shots")
STORY_VALUES = ("title", "seed", "guidance", "negative_prompt")
EXPORT_KEYS = ("scale", "filter", "fade", "soundtrack")
SHOT_KEYS = ("text", "chunks", "extend", "seed", "cast", "steer")
STEER_KEYS = ("at", "text")
CAST_KEYS = ("image", "caption")
T = TypeVar("T")
_UNREADABLE = (yaml.YAMLError, ValueError, AttributeError, LookupError, ArithmeticError)
"""Errors that the YAML library raises for values that do not fit the type they claim to be, such as `!!bool maybe`."""


def parse_yaml(text: str, name: str, chunks: int = DEFAULT_CHUNKS, shape: ShotShape | None = None) -> Script:
    """Parse a story from YAML: `global`, what `STORY_KEYS` names beside it, and `shots`, a list of `text`.

    A shot may have `chunks`, `extend: true` to have more of them than in training, a `seed` of its own, `cast` (a list
    of the members that it knows, from 0, where not all), and `steer`, a list of `at` (a chunk, from 0) and `text`. The
    story's `cast` is a list of `image` and `caption`.

    Args:
        text: the YAML.
        name: what errors call it.
        chunks: length of a shot that names none.
        shape: of the model's shots, which limits their length; None: it is not known yet.

    Raises:
        InputError: no YAML, an unknown, repeated or missing key, an empty or wrong value; with line and shot.
    """
    return _Reader(text, name, shape).story(chunks)


class _Reader:
    """Walks the YAML's nodes, which know their lines."""

    def __init__(self, text: str, name: str, shape: ShotShape | None) -> None:
        self._loader = yaml.SafeLoader("")
        self._name, self._shape = name, shape
        try:
            self._root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            problem = re.sub(r"^expected (.*), but (?:got|found) ", r"here must stand \1, not ", str(error.problem))
            raise InputError(f"{name}{place}: no YAML ({problem}); check indentation and quotes") from error
        except yaml.YAMLError as error:
            raise InputError(f"{name}: no YAML ({' '.join(str(error).split())}); remove that character") from error
        except RecursionError as error:
            raise InputError(f"{name}: nested too deeply to be a story; check the brackets") from error

    def story(self, chunks: int) -> Script:
        if self._root is None:
            raise InputError(f"{self._name}: expected a story with 'global' and 'shots', got an empty file; write them")
        self._check_layout(self._root)
        keys = self._mapping(self._root, STORY_KEYS, ("global", "shots"), "")
        shots = self._list(keys["shots"], "shots", "text", lambda node, number: self._shot(node, number, chunks))
        cast = self._list(keys["cast"], "cast", "image", self._member) if "cast" in keys else ()
        values = {key: self._value(keys[key]) for key in STORY_VALUES if key in keys}
        export = self._export(keys["export"]) if "export" in keys else ScriptExport()
        head = self._value(keys["global"])
        return self._made(self._root, "", lambda: Script(head, shots, cast=cast, export=export, **values))

    def _export(self, node: yaml.Node) -> ScriptExport:
        keys = self._mapping(node, EXPORT_KEYS, (), ", export")
        values = {key: self._value(value) for key, value in keys.items()}
        return self._made(node, ", export", lambda: ScriptExport(**values))

    def _check_layout(self, root: yaml.Node) -> None:
        """Raise InputError where the story has the keys of the published JSON."""
        keys = [key.value for key, _ in root.value] if isinstance(root, yaml.MappingNode) else []
        if "global_caption" in keys:
            raise InputError(
                f"{self._name}: expected the keys 'global' and 'shots', got those of the published JSON "
                "('global_caption', 'shot1'); save it as .json"
            )

    def _shot(self, node: yaml.Node, number: int, chunks: int) -> ShotSpec:
        where = f", shot {number}"
        keys = self._mapping(node, SHOT_KEYS, ("text",), where)
        steers = self._list(keys.pop("steer"), "steer", "at", self._steer) if "steer" in keys else ()
        cast = self._numbers(keys.pop("cast")) if "cast" in keys else None
        values = {"chunks": chunks} | {key: self._value(value) for key, value in keys.items()}

        def make() -> ShotSpec:
            if self._shape is not None and not values.get("extend"):
                self._shape.check_chunks(values["chunks"])
            return ShotSpec(steers=steers, cast=cast, **values)

        return self._made(node, where, make)

    def _numbers(self, node: yaml.Node) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise InputError(f"{self._where(node)}: expected 'cast' to be a list of numbers from 0; write [0, 1]")
        return tuple(map(self._value, node.value))

    def _steer(self, node: yaml.Node, number: int) -> Steer:
        where = f", steer {number}"
        keys = self._mapping(node, STEER_KEYS, STEER_KEYS, where)
        return self._made(node, where, lambda: Steer(**{key: self._value(value) for key, value in keys.items()}))

    def _member(self, node: yaml.Node, number: int) -> CastEntry:
        where = f", cast {number}"
        keys = self._mapping(node, CAST_KEYS, CAST_KEYS, where)
        return self._made(node, where, lambda: CastEntry(**{key: self._value(value) for key, value in keys.items()}))

    def _list(self, node: yaml.Node, key: str, first: str, read: Callable[[yaml.Node, int], T]) -> tuple[T, ...]:
        """Read a list's entries, which each begin with the key `first` and are numbered from 1."""
        if not isinstance(node, yaml.SequenceNode):
            raise InputError(f"{self._where(node)}: expected '{key}' to be a list; begin each with '- {first}:'")
        return tuple(read(entry, number) for number, entry in enumerate(node.value, start=1))

    def _made(self, node: yaml.Node, where: str, make: Callable[[], T]) -> T:
        """Call `make`, and say in its error where in the script it happened."""
        try:
            return make()
        except InputError as error:
            raise InputError(f"{self._where(node)}{where}: {error}") from error

    def _mapping(
        self, node: yaml.Node, known: Sequence[str], required: Sequence[str], where: str
    ) -> dict[str, yaml.Node]:
        """Return a mapping's nodes by key; all keys must be known, none repeated, and no required one missing."""
        if not isinstance(node, yaml.MappingNode):
            keys = " and ".join(f"'{key}:'" for key in required or known)
            raise InputError(
                f"{self._where(node)}{where}: expected a mapping with {keys}, got {_kind(node)}; write the keys"
            )
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name, place = " ".join(str(self._value(key)).split()), self._where(key) + where
            if where and " " in name:
                raise InputError(f"{place}: the colon makes '{name}' a key; put the whole text in quotes")
            check_keys({name: value}, known, place)
            if name in found:
                raise InputError(f"{place}: the key '{name}' stands twice; remove one")
            found[name] = value
        missing = [name for name in required if name not in found]
        if missing:
            raise InputError(f"{self._where(node)}{where}: missing key '{missing[0]}'; add it")
        return found

    def _value(self, node: yaml.Node) -> Any:
        """Return the value of a scalar."""
        if not isinstance(node, yaml.ScalarNode):
            raise InputError(f"{self._where(node)}: expected one value, got {_kind(node)}; put text in quotes")
        try:
            return self._loader.construct_object(node)
        except _UNREADABLE as error:
            raise InputError(f"{self._where(node)}: cannot read {node.value[:80]!r}; put text in quotes") from error

    def _where(self, node: yaml.Node) -> str:
        return f"{self._name}, line {node.start_mark.line + 1}"


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value[:80])
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
