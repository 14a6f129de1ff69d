"""Read stories in the layout that ShotStream published: a JSON a story, and a CSV with a row a story.

| CSV column | meaning |
|---|---|
| `json_path` | the story's JSON; counted from the directory of the CSV, or from the working directory |
| `frame_number` | `[[start, end], ...]`, the frames `start` to `end - 1` of every shot; tuples are read too |
| `video_path` | its video, for training |
| `shot_num_from_caption` | how many shots it has; `frame_number` outweighs it |

The JSON holds `global_caption`, `shot1` .. `shotN`, and may hold `frames_per_shot`, a list of lengths in frames. As in
the published reader, other keys and columns (such as the index that pandas writes) are passed over, and a story has as
many shots as `frame_number` has ranges, even if its JSON has more. A name that is misspelt is refused.
"""

import ast
import csv
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT, ShotShape
from shotstream.story.script import Script
from shotstream.story.script_text import MAX_TABLE_BYTES, check_spelling, decode_json, located, read_text
from shotstream.story.shot_spec import ShotSpec, check_text

CSV_COLUMNS = ("shot_num_from_caption", "json_path", "video_path", "frame_number")
JSON_KEYS = ("global_caption", "frames_per_shot", "video_path")
_SHOT_KEY = re.compile(r"shot[1-9]\d*", re.ASCII)
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_NO_LITERAL = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)
_log = logging.getLogger(__name__)
CsvRow = Mapping[str | None, Any]
"""A row of a CSV as it was read: None holds values beyond the last column, and stands for values that are missing."""


@dataclass(frozen=True)
class StoryCaptions:
    """The captions of a published JSON, and the lengths in frames that it may hold."""

    global_caption: str
    shots: tuple[str, ...]
    frames: tuple[int, ...] | None


def parse_json(text: str, name: str, chunks: int | None = None, shape: ShotShape = PAPER_SHOT) -> Script:
    """Return the story of a published JSON.

    Args:
        text: the JSON.
        name: what errors call it.
        chunks: length of every shot, unless `frames_per_shot` says another; None: the longest.
        shape: of the model's shots, to count frames in chunks.

    Raises:
        InputError: as for `parse_captions`.
    """
    return script_of_captions(parse_captions(decode_json(text, name), name), name, chunks, shape)


def parse_captions(data: Any, name: str) -> StoryCaptions:
    """Return the captions that a decoded JSON holds.

    Raises:
        InputError: it is no mapping, has a misspelt key or a gap in the numbering of its shots, a caption is empty, or
            `frames_per_shot` is not one length a shot.
    """
    if not isinstance(data, dict) or "prompts" in data:
        found = "one with 'prompts'" if isinstance(data, dict) else type(data).__name__
        raise InputError(
            f"{name}: expected a mapping with 'global_caption' and 'shot1', got {found}; "
            "several stories go into a .jsonl, one a line"
        )
    count = sum(1 for key in data if _SHOT_KEY.fullmatch(key))
    keys = [f"shot{number}" for number in range(1, max(count, 1) + 1)]
    texts = (key for key, value in data.items() if isinstance(value, str) and not _SHOT_KEY.fullmatch(key))
    check_spelling(texts, [*JSON_KEYS, *keys, f"shot{count + 1}"], name)
    for key in ("global_caption", *keys):
        if key not in data:
            raise InputError(f"{name}: missing key '{key}'; write 'global_caption' and 'shot1', 'shot2' without a gap")
    with located(name):
        global_caption = check_text(data["global_caption"], "the global caption")
        return StoryCaptions(global_caption, tuple(_check_shot(data, key) for key in keys), _frames(data, len(keys)))


def script_of_captions(captions: StoryCaptions, where: str, chunks: int | None, shape: ShotShape) -> Script:
    """Return the story with shots as long as `frames` says, else of `chunks` chunks (None: as long as can be)."""
    lengths = [(chunks or shape.max_chunks, False)] * len(captions.shots)
    if captions.frames is not None:
        lengths = [
            (nearest_chunks(frames, shape, f"{where}, shot {number}"), True)
            for number, frames in enumerate(captions.frames, start=1)
        ]
    shots = [
        ShotSpec(text, length, extend=told and length > shape.max_chunks)
        for text, (length, told) in zip(captions.shots, lengths, strict=True)
    ]
    return Script(captions.global_caption, tuple(shots))


def parse_csv(path: Path, chunks: int | None = None, shape: ShotShape = PAPER_SHOT) -> list[Script]:
    """Return the stories of a published CSV, one a row.

    Args:
        path: the CSV.
        chunks: length of the shots of a row without `frame_number`; None: the longest.
        shape: of the model's shots, to count frames in chunks.

    Raises:
        InputError: the CSV cannot be read, a column is missing, a row does not fit its JSON, or there is no row.
    """
    scripts = []
    for line, row in read_table(path, ("json_path",)):
        where = f"{path.name}, line {line}"
        with located(where):
            scripts.append(_script_of_row(check_cells(row), path, chunks, shape, where))
    if not scripts:
        raise InputError(f"{path.name}: expected at least one story, got none; add a row")
    return scripts


def read_table(path: Path, required: Sequence[str]) -> Iterator[tuple[int, CsvRow]]:
    """Yield the rows of a published CSV by column, each with the line it ends on.

    Raises:
        InputError: it cannot be read, is no CSV, lacks a required column, or has a misspelt one.
    """
    text = read_text(path, MAX_TABLE_BYTES)
    if not text.strip():
        raise InputError(f"{path.name}: expected a table with the columns {', '.join(CSV_COLUMNS)}, got an empty file")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_columns(reader.fieldnames or [], required, path.name)
        yield from ((reader.line_num, row) for row in reader)
    except csv.Error as error:
        raise InputError(f"{path.name}, after line {reader.line_num}: no CSV ({error}); check the quotes") from error


def check_cells(row: CsvRow) -> Mapping[str, str]:
    """Return a row that has as many values as the table has columns.

    Raises:
        InputError: it has more or fewer.
    """
    if None in row or None in row.values():
        raise InputError("expected as many values as columns; quote values that hold a comma")
    return cast(Mapping[str, str], row)


def find_named_file(name: str, table: Path) -> Path:
    """Return the file that a row of a CSV names: beside the CSV, else from the working directory.

    Raises:
        InputError: there is none.
    """
    for path in (table.parent / name, Path(name)):
        try:
            if path.is_file():
                return path
        except ValueError:  # a NUL in the name
            break
    if not name.strip():
        raise InputError("expected the path of a file, got an empty one; fill it in")
    raise InputError(
        f"cannot read {name!r}: no such file beside {table.name}, nor from the working directory {Path.cwd()}; "
        "run the command where the paths count from, or correct the path"
    )


def parse_ranges(text: str) -> list[tuple[int, int]]:
    """Return the start (inclusive) and end (exclusive) frame of every shot from `frame_number`.

    Raises:
        InputError: it is no list of pairs of whole numbers, or a shot has no frame.
    """
    try:
        ranges = [(start, end) for start, end in ast.literal_eval(text.strip())]
    except _NO_LITERAL as error:
        raise InputError(f"expected frame_number as [[start, end], ...], got {text[:80]!r}; one pair a shot") from error
    if any(type(number) is not int for pair in ranges for number in pair):
        raise InputError(f"expected whole numbers in frame_number, got {text[:80]!r}; count frames from 0")
    for start, end in ranges:
        if start >= end:
            raise InputError(
                f"expected shots of at least one frame in frame_number, got [{start}, {end}]; the end is not part of it"
            )
    return ranges


def read_row_captions(
    row: Mapping[str, str], table: Path, ranges: Sequence[tuple[int, int]] | None, where: str
) -> StoryCaptions:
    """Return the captions of a row's JSON, one for each range; what the JSON or the count has beyond is logged.

    Raises:
        InputError: the JSON cannot be read, or has another number of shots.
    """
    path, count = find_named_file(row["json_path"], table), row.get("shot_num_from_caption", "").strip()[:20]
    count = count.removesuffix(".0")  # as pandas writes a column in which one is missing
    captions = parse_captions(decode_json(read_text(path), path.name), path.name)
    have, wanted = len(captions.shots), None if ranges is None else len(ranges)
    if wanted is None:
        if count not in ("", str(have)):
            raise InputError(f"it counts {count} shots and {path.name} has {have}; correct one of them")
        return captions
    if have < wanted or not wanted:
        raise InputError(f"frame_number has {wanted} shots and {path.name} has {have}; correct one of them")
    if have > wanted:
        _log.warning(
            "%s: %s has %d shots, of which the first %d are taken, as many as frame_number has",
            where,
            path.name,
            have,
            wanted,
        )
    if count not in ("", str(wanted)):
        _log.warning("%s: it counts %s shots; %d are taken, as many as frame_number has", where, count, wanted)
    return StoryCaptions(captions.global_caption, captions.shots[:wanted], None)


def nearest_chunks(frames: int, shape: ShotShape, where: str) -> int:
    """Return the number of chunks whose frames are nearest to those asked for; another number of them is logged."""
    chunks = shape.chunks_of_frames(frames)
    made = shape.frames_of_chunks(chunks)
    if made != frames:
        some = ", ".join(str(shape.frames_of_chunks(count)) for count in (1, 2, 3))
        _log.warning("%s: %d frames instead of %d, because a shot has %s, ... frames", where, made, frames, some)
    return chunks


def _check_columns(columns: Sequence[str], required: Sequence[str], name: str) -> None:
    where = f"{name}, line 1"
    if len(columns) == 1 and (found := next((one for one in _SEPARATORS if one in columns[0]), None)):
        raise InputError(f"{where}: its columns are separated by {_SEPARATORS[found]}; save it with commas")
    check_spelling(columns, CSV_COLUMNS, where)
    for column in columns:
        if column in CSV_COLUMNS and columns.count(column) > 1:
            raise InputError(f"{where}: the column '{column}' stands twice; remove one")
    missing = [column for column in required if column not in columns]
    if missing:
        raise InputError(f"{where}: missing column '{missing[0]}'; expected {', '.join(CSV_COLUMNS)}")


def _script_of_row(row: Mapping[str, str], table: Path, chunks: int | None, shape: ShotShape, where: str) -> Script:
    frame_number = row.get("frame_number", "")
    ranges = parse_ranges(frame_number) if frame_number.strip() else None
    captions = read_row_captions(row, table, ranges, where)
    if ranges is not None:
        captions = replace(captions, frames=tuple(end - start for start, end in ranges))
    return script_of_captions(captions, where, chunks, shape)


def _check_shot(data: Mapping[str, Any], key: str) -> str:
    with located(key):
        return check_text(data[key], "the text of a shot")


def _frames(data: Mapping[str, Any], shots: int) -> tuple[int, ...] | None:
    """Return `frames_per_shot`, or None where the JSON has none."""
    frames = data.get("frames_per_shot")
    if frames is None:
        return None
    if not isinstance(frames, list) or len(frames) != shots or any(type(one) is not int or one < 1 for one in frames):
        raise InputError(
            f"expected frames_per_shot to be a list of {shots} numbers from 1 on, got {str(frames)[:80]!r}"
        )
    return tuple(frames)
