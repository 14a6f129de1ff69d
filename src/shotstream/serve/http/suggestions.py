"""HTTP: suggested shots, known words, checks of captions and scripts, and the server's metrics."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse
from pydantic import Field, StrictStr

from shotstream.serve.caption_notes import caption_notes, notes_of_story
from shotstream.serve.commands import NewShot
from shotstream.serve.errors import RequestError
from shotstream.serve.http.metrics import CONTENT_TYPE, metrics_text
from shotstream.serve.http.state import Here
from shotstream.serve.http.stories import record_of
from shotstream.serve.llm import suggest
from shotstream.serve.messages import Count, Message, Note, SteerView, UserText
from shotstream.serve.script_notes import unused_settings
from shotstream.story.caption_fit import captions_of_script
from shotstream.story.script_files import parse_script
from shotstream.story.shot_spec import ShotSpec
from shotstream.world.captions import unknown_words
from shotstream.world.words import WORLD_MODEL, vocabulary

router = APIRouter()


class CaptionText(Message):
    """A caption that is being written: that of shot `shot` (from 0), a steer of it, or a member of the cast."""

    global_caption: Annotated[StrictStr, Field(max_length=100_000)] = ""
    text: Annotated[StrictStr, Field(max_length=100_000)] = ""
    shot: Count = 0


class UnknownWordView(Message):
    """A word that the model does not know, and the nearest in spelling that it knows; null: none is near."""

    word: str
    nearest: str | None


class CaptionView(Message):
    """Everything in a caption that the model will not follow.

    The model reads the shot's own text first: where both are too long for it, sentences at the end of the global
    caption are left out (`lost_global`), and if the text is too long by itself, its end is (`lost_text`). `notes` says
    all that in lines for people.
    """

    lost_global: str
    lost_text: str
    unknown: list[UnknownWordView]
    notes: list[Note]


class Idea(Message):
    """An idea for a story, in a few words."""

    idea: Annotated[UserText, Field(max_length=2000)]


class Outline(Message):
    """A story to be made: begin it with `global_caption`, then make its shots."""

    global_caption: str
    shots: list[str]
    notes: list[Note]


class ScriptText(Message):
    """A story as a person writes it down: YAML, the published JSON, or "global | shot | shot".

    `story` is the id of the story that its shots are to be added to; without it they begin a new one.
    """

    text: Annotated[UserText, Field(max_length=100_000)]
    story: StrictStr | None = None


class ScriptView(Message):
    """A parsed script; begin a story with it, or queue its shots.

    `notes` say what the model will not follow of its captions, and which of its settings are not used.
    """

    title: str
    global_caption: str
    seed: int | None
    guidance: float | None
    negative_prompt: str
    shots: list[NewShot]
    notes: list[Note]


class Suggestions(Message):
    """Captions for a shot that could follow."""

    shots: list[str]


class TraitPhrases(Message):
    """Ways to say one value of a trait."""

    value: str
    phrases: list[str]


class TraitWords(Message):
    """The words of one trait."""

    trait: str
    values: list[TraitPhrases]


class Words(Message):
    """The words of the model's world by trait, and those of a text that it does not know; empty for other models."""

    traits: list[TraitWords]
    unknown: list[str]


@router.get("/api/words")
def words(server: Here, text: Annotated[str, Query(max_length=2000)] = "") -> Words:
    """Return the words that the model learnt, and those of `text` that it did not."""
    if server.model.config.name != WORLD_MODEL:
        return Words(traits=[], unknown=[])
    traits = [
        TraitWords(
            trait=trait, values=[TraitPhrases(value=value, phrases=list(said)) for value, said in values.items()]
        )
        for trait, values in vocabulary().items()
    ]
    return Words(traits=traits, unknown=list(unknown_words(text)))


@router.post("/api/caption/check")
def report_caption(caption: CaptionText, server: Here) -> CaptionView:
    """Report which parts of a caption the model will not follow; answers at once, even while shots are made."""
    report = server.model.check_caption(caption.global_caption, caption.text, caption.shot)
    return CaptionView(
        lost_global=report.lost_global,
        lost_text=report.lost_text,
        unknown=[UnknownWordView(word=one.word, nearest=one.nearest) for one in report.unknown],
        notes=caption_notes(report),
    )


@router.post("/api/outline")
def outline(idea: Idea, server: Here) -> Outline:
    """Return a global caption and shots for an idea, written by the director (a language model)."""
    if server.director is None:
        raise RequestError("unavailable", "this server has no director; write the global caption and shots yourself")
    script = server.director.write(idea.idea)
    notes = notes_of_story(server.model, script.global_caption, captions_of_script(script), "", strict=False)
    return Outline(global_caption=script.global_caption, shots=[shot.text for shot in script.shots], notes=notes)


@router.post("/api/script")
def read_script(script: ScriptText, server: Here) -> ScriptView:
    """Read a script into shots; the images of a cast are not read, because they lie with the person who wrote it."""
    row = None if script.story is None else server.store.get(script.story)
    read = parse_script(script.text, "the script", server.model.config.shot)
    global_caption = read.global_caption if row is None else row.global_caption
    captions = captions_of_script(read)
    return ScriptView(
        title=read.title,
        global_caption=read.global_caption,
        seed=read.seed,
        guidance=read.guidance,
        negative_prompt=read.negative_prompt,
        shots=[_new_shot(shot) for shot in read.shots],
        notes=[
            *unused_settings(server.model, read, row),
            *notes_of_story(server.model, global_caption, captions, "" if row else read.negative_prompt, strict=False),
        ],
    )


def _new_shot(shot: ShotSpec) -> NewShot:
    steers = tuple(SteerView.of(shot.steers))
    return NewShot(text=shot.text, chunks=shot.chunks, extend=shot.extend, seed=shot.seed, steers=steers)


@router.get("/api/stories/{story}/suggestions")
def suggestions(story: str, server: Here) -> Suggestions:
    """Return shots that could follow, by StoryWorld's grammar; none for a model that did not learn StoryWorld."""
    row = server.store.get(story)
    if server.model.config.name != WORLD_MODEL:
        return Suggestions(shots=[])
    record = record_of(server.store, story)
    shots = [take.spec.text for take in record.tree.current] if record else []
    return Suggestions(shots=list(suggest(row.global_caption, shots)))


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(server: Here) -> PlainTextResponse:
    """Return the server's metrics in Prometheus's text format."""
    return PlainTextResponse(metrics_text(server), media_type=CONTENT_TYPE)
