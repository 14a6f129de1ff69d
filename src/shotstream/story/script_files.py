"""Load stories from files of every kind, or from one line. Every error says where it is."""

import os
from dataclasses import replace
from pathlib import Path

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT, ShotShape, check_whole_chunks
from shotstream.story.prompt_files import parse_jsonl, parse_line, parse_txt
from shotstream.story.published_layout import parse_csv, parse_json
from shotstream.story.script import Script
from shotstream.story.script_text import read_text
from shotstream.story.script_yaml import parse_yaml

SCRIPT_SUFFIXES = (".yaml", ".yml", ".json", ".csv", ".txt", ".jsonl")


def load_scripts(source: str | Path, chunks: int | None = None, shape: ShotShape | None = None) -> list[Script]:
    r"""Return the stories of `source`.

    | source | stories |
    |---|---|
    | `.yaml`, `.yml` | one (`script_yaml.parse_yaml`); images are looked for beside it |
    | `.json` | one, as published (`published_layout.parse_json`) |
    | `.csv` | one a row, as published (`published_layout.parse_csv`); lengths in frames |
    | `.txt`, `.jsonl` | one a line, as other systems have them (`prompt_files`) |
    | `"global \| shot \| shot"` | one |

    Args:
        source: a file, or one line.
        chunks: length of every shot for which the story names none. None: 3 for YAML and a line, the longest of the
            model (the paper's: 7) for the others.
        shape: of the model's shots; None: no limit is checked, and frames are counted in the paper's chunks.

    Raises:
        InputError: the source cannot be read or is no story, with line and shot.
    """
    if chunks is not None:
        check_whole_chunks(chunks) if shape is None else shape.check_chunks(chunks)
    counted = shape or PAPER_SHOT
    few, many = chunks or counted.default_chunks, chunks or counted.max_chunks
    text = str(source)
    if isinstance(source, str) and "|" in text and not os.path.isfile(text):
        return [parse_line(text, few)]
    path = Path(source)
    match path.suffix.lower():
        case ".yaml" | ".yml":
            return [_beside(path, parse_yaml(read_text(path), path.name, few, shape))]
        case ".json":
            return [parse_json(read_text(path), path.name, many, counted)]
        case ".csv":
            return parse_csv(path, many, counted)
        case ".txt":
            return parse_txt(read_text(path), path.name, many)
        case ".jsonl":
            return parse_jsonl(read_text(path), path.name, many, counted)
    if os.path.isdir(text):
        raise InputError(f"expected a script, got the directory {text}; name a file in it")
    kinds = f'file that ends in {", ".join(SCRIPT_SUFFIXES)}, or "global | shot | shot"'
    raise InputError(f"expected a {kinds}; got {text[:80]!r}, which is neither")


def _beside(path: Path, script: Script) -> Script:
    """Return the script with images and soundtrack, which must be there, by paths from the working directory."""
    cast = tuple(replace(entry, image=str(path.parent / entry.image)) for entry in script.cast)
    for number, entry in enumerate(cast, start=1):
        if not os.path.isfile(entry.image):
            raise InputError(f"{path.name}, cast {number}: cannot read {entry.image}: no such file; check the path")
    if script.export.soundtrack is None:
        return replace(script, cast=cast)
    soundtrack = str(path.parent / script.export.soundtrack)
    if not os.path.isfile(soundtrack):
        raise InputError(f"{path.name}, export: cannot read {soundtrack}: no such file; check the path")
    return replace(script, cast=cast, export=replace(script.export, soundtrack=soundtrack))


def parse_script(text: str, name: str, shape: ShotShape) -> Script:
    """Return the story of a text that is no file: the published JSON, one line "global | shot | shot", or YAML.

    Args:
        text: the script.
        name: what errors call it.
        shape: of the model's shots.

    Raises:
        InputError: it is no story, with line and shot.
    """
    plain = text.strip()
    if plain.startswith("{"):
        return parse_json(plain, name, shape=shape)
    if "|" in plain and "\n" not in plain:
        return parse_line(plain, shape.default_chunks)
    return parse_yaml(text, name, shape.default_chunks, shape)
