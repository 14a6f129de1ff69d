"""Read prompt files of other systems: one prompt a line (`.txt`), and one JSON a line (`.jsonl`).

Self Forcing, Rolling Forcing and their kin read a text file with a prompt a line, each the caption of one video.
LongLive reads a JSON a line, `{"prompts": [...]}`: captions that follow each other in one video, with
`switch_frame_indices`, the latent frames at which the next caption begins. Such prompts say all by themselves, so these
stories have an empty global caption; each prompt becomes a shot.
"""

import logging
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from shotstream.core.errors import InputError
from shotstream.core.spec import DEFAULT_CHUNKS, PAPER_SHOT, ShotShape
from shotstream.story.published_layout import parse_captions, script_of_captions
from shotstream.story.script import Script
from shotstream.story.script_text import check_spelling, decode_json, located
from shotstream.story.shot_spec import ShotSpec, check_text

JSONL_KEYS = ("prompts", "prompt", "switch_frame_indices", "global_caption")
_OTHER_KINDS = {
    "YAML": re.compile(r"\s*(global|shots|seed|cast)\s*:"),
    "JSON": re.compile(r'\s*[\[{]\s*["{]'),
    "CSV": re.compile(r"[\w ,]*\bjson_path\b[\w ,]*\n"),
}
_log = logging.getLogger(__name__)


def parse_line(line: str, chunks: int = DEFAULT_CHUNKS) -> Script:
    """Return the story of one line, "global | shot | shot".

    Raises:
        InputError: the global caption or a shot is empty, or there is no shot.
    """
    global_caption, *texts = (part.strip() for part in line.split("|"))
    shots = []
    for number, text in enumerate(texts, start=1):
        with located(f"shot {number}"):
            shots.append(ShotSpec(text, chunks))
    with located("story"):
        return Script(check_text(global_caption, "the global caption"), tuple(shots))


def parse_txt(text: str, name: str, chunks: int = PAPER_SHOT.max_chunks) -> list[Script]:
    """Return a story for each line that is not empty: one shot, or as `parse_line` has it where there is a bar.

    Raises:
        InputError: there is no such line, or the text is YAML or JSON.
    """
    if kind := next((kind for kind, begin in _OTHER_KINDS.items() if begin.match(text)), None):
        raise InputError(f"{name}: expected a prompt in each line, got what looks like {kind}; name it .{kind.lower()}")
    scripts = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            with located(f"{name}, line {number}"):
                scripts.append(
                    parse_line(line, chunks) if "|" in line else Script("", (ShotSpec(line.strip(), chunks),))
                )
    return _not_empty(scripts, name)


def parse_jsonl(text: str, name: str, chunks: int | None = None, shape: ShotShape = PAPER_SHOT) -> list[Script]:
    """Return the story of each line that is not empty.

    A line is `{"prompts": [...]}`, `{"prompt": "..."}`, or has the published keys (`published_layout`).
    With `switch_frame_indices` a shot lasts from its first latent frame to that of the next one, and the last shot as
    long as the one before it; they are rounded up to whole chunks, as LongLive rounds them.

    Raises:
        InputError: a line is no JSON or no such story, or there is none.
    """
    scripts = [
        _script_of_line(decode_json(line, f"{name}, line {number}"), f"{name}, line {number}", chunks, shape)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    return _not_empty(scripts, name)


def _not_empty(scripts: list[Script], name: str) -> list[Script]:
    if not scripts:
        raise InputError(f"{name}: expected a prompt in each line, got an empty file; add one")
    return scripts


def _script_of_line(data: Any, where: str, chunks: int | None, shape: ShotShape) -> Script:
    if not isinstance(data, dict):
        raise InputError(
            f'{where}: expected {{"prompts": [...]}}, got {type(data).__name__}; write each line as such a mapping'
        )
    if "prompts" not in data and "prompt" not in data:
        if "shot1" in data:
            return script_of_captions(parse_captions(data, where), where, chunks, shape)
        check_spelling(data, JSONL_KEYS, where)
        raise InputError(f"{where}: missing key 'prompts'; expected the captions of the story as a list")
    check_spelling(data, JSONL_KEYS, where)
    if "prompts" in data and "prompt" in data:
        raise InputError(f"{where}: expected 'prompts' or 'prompt', got both; remove one")
    prompts = data["prompts"] if "prompts" in data else [data["prompt"]]
    if not isinstance(prompts, list):
        raise InputError(
            f"{where}: expected 'prompts' to be a list of captions, got {type(prompts).__name__}; put them in brackets"
        )
    lengths = [chunks or shape.max_chunks] * len(prompts)
    if "switch_frame_indices" in data:
        lengths = _lengths(data["switch_frame_indices"], len(prompts), shape, where)
    shots = []
    for number, (prompt, length) in enumerate(zip(prompts, lengths, strict=True), start=1):
        with located(f"{where}, prompt {number}"):
            shots.append(ShotSpec(prompt, length, extend=length > shape.max_chunks))
    with located(where):
        return Script(data.get("global_caption", ""), tuple(shots))


def _lengths(switches: Any, shots: int, shape: ShotShape, where: str) -> list[int]:
    """Return the length of every shot in chunks from the latent frames at which the second, third, ... one begins."""
    if isinstance(switches, str):  # as LongLive's settings have them
        switches = [int(part) if part.strip().isdecimal() else part for part in switches.split(",")]
    if not isinstance(switches, list) or any(type(one) is not int for one in switches):
        raise InputError(f"{where}: expected switch_frame_indices to be a list of whole numbers, got {switches!r:.80}")
    if len(switches) != shots - 1:
        raise InputError(
            f"{where}: expected {shots - 1} switch_frame_indices for {shots} prompts, got {len(switches)}; "
            "name where each but the first begins"
        )
    starts = [0, *(-(-latent // shape.chunk_latents) for latent in switches)]
    lengths = [after - before for before, after in pairwise(starts)]
    if any(length < 1 for length in lengths):
        each = shape.chunk_latents
        raise InputError(
            f"{where}: expected rising switch_frame_indices, a chunk of {each} apart, got {switches!r:.80}"
        )
    return _with_last(lengths, shape, where)


def _with_last(lengths: Sequence[int], shape: ShotShape, where: str) -> list[int]:
    if not lengths:
        return [shape.max_chunks]
    _log.warning(
        "%s: it does not say how long the last prompt lasts; as long as the one before: %d chunks", where, lengths[-1]
    )
    return [*lengths, lengths[-1]]
