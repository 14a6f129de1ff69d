"""Say what the model will not follow of the captions of a request: in notes, or by refusing a strict one."""

from collections.abc import Sequence
from typing import Literal

from shotstream.api import Model
from shotstream.core.spec import ShotShape
from shotstream.serve.commands import AddCast, AnyCommand, EditQueued, MakeShot, QueueShots, RenameCast, SteerShot
from shotstream.serve.doing import Doing
from shotstream.serve.errors import RequestError
from shotstream.serve.messages import Note
from shotstream.story.caption_fit import CaptionReport, StoryCaption, captions_of_shots, check_captions
from shotstream.story.cast import CAST_SHOT


def caption_notes(report: CaptionReport, where: str = "") -> list[Note]:
    """Return what a person should know of a caption: that its end is not read, and words that are unknown."""
    lines: tuple[tuple[Literal["too_long", "unknown_words"], str], ...] = (
        ("too_long", report.too_long),
        ("unknown_words", report.unknown_words),
    )
    place = f"{where.capitalize()}: " if where else ""
    return [Note(code=code, message=f"{place}{line}") for code, line in lines if line]


def notes_of_story(
    model: Model, global_caption: str, captions: Sequence[StoryCaption], negative_prompt: str, *, strict: bool
) -> list[Note]:
    """Return the notes on a whole story; `negative_prompt` is empty where it has none.

    Raises:
        RequestError: there is one, and the request is strict.
    """
    found = check_captions(model.check_caption, global_caption, captions)
    notes = [note for one, report in found for note in caption_notes(report, one.where)]
    notes += caption_notes(model.check_negative_prompt(negative_prompt), "negative prompt")
    return _refuse_strict(notes, strict=strict)


class CommandNotes:
    """Notes on the captions of commands to one story. Words of its global caption were named when it began."""

    def __init__(self, model: Model, global_caption: str) -> None:
        self._check, self._global, self._shape = model.check_caption, global_caption, model.config.shot
        self._named = model.check_caption(global_caption, "").unknown

    def __call__(self, command: AnyCommand, doing: Doing, shots: int) -> list[Note]:
        """Return the notes on a command to a story that has so many finished shots; none where it has no caption.

        Raises:
            InputError: a shot of it is none, or there is a note and the command is strict.
        """
        captions, strict = _captions_of(command, doing, shots, self._shape)
        several = len({caption.where for caption in captions}) > 1
        found = check_captions(self._check, self._global, captions, self._named)
        notes = [note for one, report in found for note in caption_notes(report, one.where if several else "")]
        return _refuse_strict(notes, strict=strict)


def _captions_of(command: AnyCommand, doing: Doing, shots: int, shape: ShotShape) -> tuple[list[StoryCaption], bool]:
    """Return the captions of a command, each with the shot that it is composed for, and whether it is strict."""
    following = shots + (doing.work is not None)
    match command:
        case MakeShot():
            return captions_of_shots([command.spec(shape)], following), command.strict
        case QueueShots():
            waiting = len(doing.queue.shots)
            place = waiting if command.at is None else min(command.at, waiting)
            return captions_of_shots([shot.spec(shape) for shot in command.shots], following + place), command.strict
        case EditQueued():
            places = [place for place, queued in enumerate(doing.queue.shots) if queued.id == command.queued]
            return captions_of_shots([command.spec(shape)], following + sum(places)), command.strict
        case SteerShot():
            return [StoryCaption("", command.text, shots)], command.strict
        case AddCast() | RenameCast():
            return [StoryCaption("", command.caption, CAST_SHOT)], command.strict
        case _:
            return [], False


def _refuse_strict(notes: list[Note], *, strict: bool) -> list[Note]:
    if strict and notes:
        raise RequestError("invalid", " ".join(note.message for note in notes))
    return notes
