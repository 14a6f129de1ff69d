"""Stories from what a person hands in: a YAML, the published JSON or CSV, or one line. Every error says where it is."""

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from shotstream.core.config import check_keys
from shotstream.core.errors import InputError
from shotstream.core.spec import CHUNK_LATENTS, MAX_CHUNKS, TEMPORAL_STRIDE, check_chunks, frames_of_chunks
from shotstream.story.script import Script
from shotstream.story.script_yaml import parse_yaml
from shotstream.story.shot_spec import DEFAULT_CHUNKS, ShotSpec

CSV_COLUMNS = ("shot_num_from_caption", "json_path", "video_path", "frame_number")
PUBLISHED_CHUNKS = MAX_CHUNKS
MAX_FILE_BYTES = 16 * 2**20
_SHOT_KEY = re.compile(r"shot[1-9]\d*", re.ASCII)


def load_scripts(source: str | Path, chunks: int | None = None) -> list[Script]:
    """The stories of `source`: one, or as many as a CSV has rows.

    Args:
        source: a `.yaml` (`script_yaml.parse_yaml`; images are looked for beside it), the published `.json`
            (`global_caption`, `shot1` .. `shotN`), the published `.csv` (a row a story), or one line
            "global | shot | shot".
        chunks: length of every shot for which the story names none. None: 3 for YAML and a line, 7 for JSON as
            published. A CSV gives lengths in frames (`frame_number`); the nearest number of chunks is taken.

    Raises:
        InputError: the source cannot be read or is no story, with line and shot.
    """
    if chunks is not None:
        check_chunks(chunks)
    text = str(source)
    if isinstance(source, str) and "|" in text and not os.path.isfile(text):
        return [parse_line(text, chunks or DEFAULT_CHUNKS)]
    path = Path(source)
    match path.suffix.lower():
        case ".yaml" | ".yml":
            return [_beside(path, parse_yaml(read_text(path), path.name, chunks or DEFAULT_CHUNKS))]
        case ".json":
            return [parse_json(read_text(path), path.name, chunks or PUBLISHED_CHUNKS)]
        case ".csv":
            return parse_csv(read_text(path), path, chunks or PUBLISHED_CHUNKS)
    kinds = '.yaml, .yml, .json or .csv file, or "global | shot | shot"'
    raise InputError(f"expected a {kinds}; got {text[:80]!r}, which is neither")


def _beside(path: Path, script: Script) -> Script:
    """The script with its images, which must be there, by paths that hold from the working directory."""
    cast = tuple(replace(entry, image=str(path.parent / entry.image)) for entry in script.cast)
    for number, entry in enumerate(cast, start=1):
        if not os.path.isfile(entry.image):
            raise InputError(f"{path.name}, cast {number}: cannot read {entry.image}: no such file; check the path")
    return replace(script, cast=cast)


def read_text(path: Path) -> str:
    """A text file in UTF-8.

    Raises:
        InputError: it is missing, unreadable, over 16 MiB, or in another encoding.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', error)}; check the path") from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"cannot read {path}: it has more than {MAX_FILE_BYTES >> 20} MiB; split it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path.name}, line {line}: expected UTF-8 text; save the file in that encoding") from error


def parse_line(line: str, chunks: int = DEFAULT_CHUNKS) -> Script:
    """A story in one line, "global | shot | shot".

    Raises:
        InputError: the global caption or a shot is empty, or there is no shot.
    """
    global_caption, *texts = (part.strip() for part in line.split("|"))
    shots = []
    for number, text in enumerate(texts, start=1):
        with _located(f"shot {number}"):
            shots.append(ShotSpec(text, chunks))
    with _located("story"):
        return Script(global_caption, tuple(shots))


def parse_json(text: str, name: str, chunks: int | Sequence[int] = PUBLISHED_CHUNKS) -> Script:
    """The published JSON of one story.

    Args:
        text: the JSON.
        name: what errors call it.
        chunks: length of every shot, or of each.

    Raises:
        InputError: no JSON, an unknown or repeated key, a gap in the numbering, an empty caption, or not one length a
            shot.
    """
    data = _decode_json(text, name)
    if not isinstance(data, dict):
        raise InputError(f"{name}: expected a mapping with 'global_caption' and 'shot1', got {type(data).__name__}")
    keys = [f"shot{number}" for number in range(1, max(len(data), 2))]
    check_keys(data, ["global_caption", *keys, *filter(_SHOT_KEY.fullmatch, data)], name)
    for key in ("global_caption", *keys):
        if key not in data:
            raise InputError(
                f"{name}: missing key '{key}'; expected 'global_caption' and 'shot1', 'shot2' without a gap"
            )
    lengths = [chunks] * len(keys) if isinstance(chunks, int) else chunks
    if len(lengths) != len(keys):
        raise InputError(f"{name}: expected a length for each of {len(keys)} shots, got {len(lengths)}")
    shots = []
    for key, length in zip(keys, lengths, strict=True):
        with _located(f"{name}, {key}"):
            shots.append(ShotSpec(data[key], length))
    with _located(name):
        return Script(data["global_caption"], tuple(shots))


def parse_csv(text: str, path: Path, chunks: int = PUBLISHED_CHUNKS) -> list[Script]:
    """The published CSV, a row a story.

    A story's JSON is looked for beside the CSV, then from the working directory.

    Raises:
        InputError: a column is missing, a row does not fit its JSON, or there is no row.
    """
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        _check_columns(reader.fieldnames or [], path.name)
        scripts = [_row_script(row, path, f"{path.name}, line {reader.line_num}", chunks) for row in reader]
    except csv.Error as error:
        raise InputError(f"{path.name}: no CSV ({error}); check the quotes") from error
    if not scripts:
        raise InputError(f"{path.name}: expected at least one story, got none; add a row")
    return scripts


def _check_columns(columns: Sequence[str], name: str) -> None:
    check_keys(dict.fromkeys(columns), CSV_COLUMNS, f"{name}, line 1")
    missing = [column for column in CSV_COLUMNS[:2] if column not in columns]
    if missing:
        raise InputError(f"{name}, line 1: missing column '{missing[0]}'; expected {', '.join(CSV_COLUMNS)}")


def _row_script(row: Mapping[str | None, Any], path: Path, where: str, default: int) -> Script:
    if None in row or any(value is None for value in row.values()):
        raise InputError(f"{where}: expected as many values as columns; quote values that hold a comma")
    json_path = Path(row["json_path"])
    beside = path.parent / json_path
    json_path = beside if beside.is_file() else json_path
    with _located(where):
        text = read_text(json_path)
        script = parse_json(text, json_path.name, _row_chunks(row.get("frame_number") or "", default))
    count = row["shot_num_from_caption"].strip()
    if count != str(len(script.shots)):
        raise InputError(f"{where}: it counts {count or 'no'} shots and {json_path.name} has {len(script.shots)}")
    return script


def _row_chunks(frame_number: str, default: int) -> int | list[int]:
    """Chunks of every shot from its `[start, end]` frames: the nearest length a shot can have."""
    if not frame_number.strip():
        return default
    ranges = _decode_json(frame_number, "frame_number")
    try:
        lengths = [end - start for start, end in ranges]
    except (TypeError, ValueError) as error:
        raise InputError(f"expected frame_number as [[start, end], ...], got {frame_number[:80]!r}") from error
    return [_nearest_chunks(length) for length in lengths]


def _nearest_chunks(frames: int) -> int:
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
        raise InputError(f"expected a shot of at least one frame in frame_number, got {frames!r}")
    step = CHUNK_LATENTS * TEMPORAL_STRIDE
    return min(max(1 + round((frames - frames_of_chunks(1)) / step), 1), MAX_CHUNKS)


def _decode_json(text: str, name: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise InputError(f"{name}: the key {key!r} stands twice; remove one")
            found[" ".join(key.split())] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{name}, {place}: no JSON ({error.msg}); check quotes and commas") from error
    except InputError:
        raise
    except (RecursionError, ValueError) as error:
        raise InputError(f"{name}: no story ({error}); expected 'global_caption' and 'shot1' .. with texts") from error


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Says where an error is."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
