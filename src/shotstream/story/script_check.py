"""Check scripts for what a multi-shot video model needs: who is in every shot, framing, cuts, lengths of captions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from tokenizers import Tokenizer

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.model.text_encoder import clean
from shotstream.story.captions import compose_caption
from shotstream.story.characters import SUFFIX, Characters, read_characters
from shotstream.story.script import Script
from shotstream.story.script_files import load_scripts
from shotstream.weights.tokenizer import read_tokenizer

TOKENIZER = "google/umt5-xxl"
TEXT_TOKENS = 512
LETTERS_A_TOKEN = 3
"""For an estimate without the tokenizer, of ASCII text; English has about four, so the estimate is rather too high.
Any other character counts as a token of its own."""
END_TOKENS = 1
TRAINED_SHOTS = (2, 5)
LONG_CAPTION_WORDS = 40
OPENING_WORDS = 3
"""A cut that is named within so many words, such as "The camera cuts to", is the one that begins the shot."""
CHECKED_SUFFIXES = (".json", ".yaml", ".yml", ".csv")
Level = Literal["error", "warning", "note"]

PRONOUNS = frozenset(["he", "she", "they", "him", "her", "them", "his", "hers", "their", "it", "its"])
COMMON = frozenset(
    re.findall(
        r"\w+",
        """a an and are as at be been but by for from had has have her his in into is it its no not of off on one or out
        over she he so that the their them then there they this to two under up was were which while who with shot
        camera scene frame view story video behind before after down now back still again both each other same""",
    )
)
"""Words that do not tell who or what a caption is about."""
FRAMING = re.compile(
    r"\b(close-?up|wide|medium|long shot|full shot|over[- ]the[- ]shoulder|aerial|overhead|bird's[- ]eye|low[- ]angle|"
    r"high[- ]angle|establishing|two-shot|point of view|pov|profile|macro|insert|top-down|eye[- ]level|panoram\w+|"
    r"tracking|drone|cowboy shot|head-and-shoulders|waist-up)\b",
    re.IGNORECASE,
)
CUT_INSIDE = re.compile(
    r"\b(cuts? (?:back )?to|we cut|cuts? away|fades? (?:to|in|out)|dissolves? (?:to|into)|montage|split[- ]screen|"
    r"next shot|jump cut|meanwhile)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Finding:
    """Something in a script that a model will not follow.

    `shot` counts from 1; None is the whole story. An error makes a wrong video, a warning probably a worse one, a note
    is something to know.
    """

    level: Level
    rule: str
    shot: int | None
    message: str


@dataclass(frozen=True)
class CaptionLimit:
    """Limit of a caption in tokens, and the tokenizer that counts them; None: estimated, rather too high."""

    tokens: int = TEXT_TOKENS
    tokenizer: Tokenizer | None = None

    def count(self, caption: str) -> int:
        """Return the tokens of a caption, cleaned as the text encoder cleans it."""
        text = clean(caption)
        if self.tokenizer is not None:
            return len(self.tokenizer.encode(text).ids)
        ascii_letters = sum(letter.isascii() for letter in text)
        return -(-ascii_letters // LETTERS_A_TOKEN) + len(text) - ascii_letters + END_TOKENS


@dataclass(frozen=True)
class CheckedScript:
    """Findings in one story. `longest_tokens` is the length of its longest composed caption."""

    name: str
    shots: int
    longest_tokens: int
    findings: tuple[Finding, ...]

    def count(self, level: Level) -> int:
        """Return the number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)


def find_tokenizer(source: str = TOKENIZER) -> Tokenizer | None:
    """Return a tokenizer from a directory or from the hub's local cache; None where it is not on this machine.

    Raises:
        InputError: its files cannot be read.
    """
    directory = Path(source)
    if not directory.is_dir():
        try:
            directory = Path(snapshot_download(source, local_files_only=True))
        except (HFValidationError, LocalEntryNotFoundError):
            return None
    tokenizer = read_tokenizer(directory)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def find_scripts(sources: list[Path]) -> list[Path]:
    """Return the files of scripts among files and directories.

    Raises:
        InputError: a directory has none.
    """
    found = []
    for source in sources:
        inside = [source]
        if source.is_dir():
            inside = sorted(p for p in source.rglob("*") if p.suffix in CHECKED_SUFFIXES and not is_side_file(p))
            if not inside:
                raise InputError(f"expected scripts ({', '.join(CHECKED_SUFFIXES)}) in {source}, found none")
        found += inside
    return found


def is_side_file(path: Path) -> bool:
    """Tell whether a file is the list of characters beside a script."""
    return path.name.endswith(SUFFIX)


def check_file(path: Path, limit: CaptionLimit) -> list[CheckedScript]:
    """Check every story of a file; one that cannot be read is a finding too."""
    try:
        scripts = load_scripts(path, shape=PAPER_SHOT)
        who = read_characters(path, len(scripts[0].shots)) if len(scripts) == 1 else None
    except InputError as error:
        return [CheckedScript(str(path), 0, 0, (Finding("error", "readable", None, str(error)),))]
    names = [str(path)] if len(scripts) == 1 else [f"{path}, row {row}" for row in range(1, len(scripts) + 1)]
    return [check_script(name, script, limit, who) for name, script in zip(names, scripts, strict=True)]


def check_script(name: str, script: Script, limit: CaptionLimit, who: Characters | None = None) -> CheckedScript:
    """Check one story; `who` names the characters of each shot, where a file says so."""
    captions = [compose_caption(script.global_caption, k, shot.text) for k, shot in enumerate(script.shots)]
    counts = [limit.count(caption) for caption in captions]
    findings = [*_check_lengths(captions, counts, limit), *_check_numbers(script), *_check_cuts(script)]
    if is_english(script.global_caption):
        findings += [*_check_framing(script), *(_check_named(script, who) if who else _check_guessed(script))]
    else:
        findings.append(Finding("note", "language", None, "not English: framing and characters were not checked"))
    return CheckedScript(name, len(script.shots), max(counts), tuple(findings))


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters."""
    return re.findall(r"[^\W\d_][\w'’-]*", text.casefold())


def content_words(text: str) -> set[str]:
    """Return the words that say something, without plural and possessive endings."""
    stems = (re.sub(r"(['’]s?|s)$", "", word) for word in words_of(text) if word not in COMMON)
    return {stem for stem in stems if len(stem) > 2}


def is_english(text: str) -> bool:
    """Tell whether a text has some of the commonest English words."""
    return bool(set(words_of(text)) & {"a", "an", "the", "and", "in", "of", "is", "are"})


def _check_lengths(captions: list[str], counts: list[int], limit: CaptionLimit) -> Iterator[Finding]:
    known = limit.tokenizer is not None
    level: Level = "error" if known else "warning"
    have = "have" if known else "may have up to about"
    for number, count in enumerate(counts, start=1):
        if count > limit.tokens:
            message = f"global caption and shot {have} {count} tokens; the text encoder reads {limit.tokens}"
            yield Finding(level, "caption-length", number, f"{message}; shorten them")
    if (least := min(len(words_of(caption)) for caption in captions)) < LONG_CAPTION_WORDS:
        message = f"a shot with its global caption has {least} words; published models were trained on long captions,"
        yield Finding("note", "caption-length", None, f"{message} {LONG_CAPTION_WORDS} words and more")


def _check_numbers(script: Script) -> Iterator[Finding]:
    count = len(script.shots)
    if count < TRAINED_SHOTS[0]:
        yield Finding("warning", "shots", None, "one shot only: a multi-shot story has at least two; add a shot")
    elif count > (frames := PAPER_SHOT.context_latents) + 1:
        message = f"{count} shots: from shot {frames + 2} on the first shot has no frame among the"
        yield Finding("note", "shots", None, f"{message} {frames} context frames of the published choice")
    for number, shot in enumerate(script.shots, start=1):
        if shot.chunks > PAPER_SHOT.max_chunks:
            message = f"{shot.chunks} chunks; models were trained on shots of at most {PAPER_SHOT.max_chunks}"
            yield Finding("note", "chunks", number, message)


def _check_cuts(script: Script) -> Iterator[Finding]:
    for number, shot in enumerate(script.shots, start=1):
        found = CUT_INSIDE.search(shot.text)
        if found and len(words_of(shot.text[: found.start()])) > OPENING_WORDS:
            message = f"a cut inside the shot ('{found[0]}'): a shot is one take; make what follows a shot of its own"
            yield Finding("warning", "cut-inside", number, message)
    for number, (before, after) in enumerate(pairwise(script.shots), start=2):
        if words_of(before.text) == words_of(after.text):
            yield Finding("warning", "same-as-before", number, "the same caption as the shot before: no cut is seen")


def _check_framing(script: Script) -> Iterator[Finding]:
    for number, shot in enumerate(script.shots, start=1):
        if not FRAMING.search(shot.text):
            message = "no framing; say how near the camera is, such as 'Wide shot:', 'Close-up:', 'Over-the-shoulder'"
            yield Finding("warning", "framing", number, message)


def _check_named(script: Script, who: Characters) -> Iterator[Finding]:
    """Check shots against the list of who is in them."""
    for name in sorted({name for names in who for name in names}):
        if not _mentions(script.global_caption, name):
            yield Finding(
                "error", "who", None, f"{name} is in a shot and not in the global caption; describe {name} there"
            )
    for number, (shot, names) in enumerate(zip(script.shots, who, strict=True), start=1):
        for name in names:
            if not _mentions(shot.text, name):
                yield Finding(
                    "error", "who", number, f"{name} is in the shot and not in its caption; name {name} again"
                )
            elif not content_words(shot.text) & _description(script.global_caption, name):
                message = f"{name} is named without how {name} looks; a model knows no names, so repeat a word or two"
                yield Finding("warning", "looks", number, message)


def _check_guessed(script: Script) -> Iterator[Finding]:
    """Check, without a list, that each shot repeats a word of the global caption, and does so before a pronoun."""
    known = content_words(script.global_caption)
    for number, shot in enumerate(script.shots, start=1):
        words = words_of(shot.text)
        named = [at for at, word in enumerate(words) if content_words(word) & known]
        pronoun = next((at for at, word in enumerate(words) if word in PRONOUNS), None)
        if not named:
            message = "repeats nobody of the global caption; name who is in it and a word of how they look"
            yield Finding("warning", "who", number, message)
        elif pronoun is not None and pronoun < named[0]:
            message = f"'{words[pronoun]}' before anybody is named; a shot is read without the captions of other shots"
            yield Finding("warning", "who", number, message)


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name.casefold())}\b", text.casefold()) is not None


def _description(text: str, name: str) -> set[str]:
    """Return the content words of the sentences that mention a character, without the name."""
    sentences = re.split(r"(?<=[.!?;])\s+", text)
    return content_words(" ".join(part for part in sentences if _mentions(part, name))) - content_words(name)
