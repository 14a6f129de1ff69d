"""Read who is in each shot of a script, from the file beside it: `NAME.characters.json`."""

import json
from pathlib import Path

from shotstream.core.errors import InputError

SUFFIX = ".characters.json"
Characters = tuple[tuple[str, ...], ...]


def read_characters(script: Path, shots: int) -> Characters | None:
    """Return the names of the characters in each shot; None where there is no such file beside the script or video.

    The file is `{"shot1": ["Mara"], "shot2": []}`, with a list for each shot.

    Raises:
        InputError: the file is something else, or names another number of shots.
    """
    path = script.with_suffix(SUFFIX)
    if not path.is_file():
        return None
    keys = [f"shot{number + 1}" for number in range(shots)]
    try:
        named = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name}: cannot be read as JSON: {error}") from error
    if not isinstance(named, dict) or set(named) != set(keys) or not all(map(_is_list_of_names, named.values())):
        raise InputError(f"{path.name}: expected a list of names for each of shot1 .. shot{shots}, and no other key")
    return tuple(tuple(named[key]) for key in keys)


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name.strip() for name in value)
