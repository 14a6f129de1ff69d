"""HTTP: what could happen in a story, in which words, and the server's figures."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse
from pydantic import Field

from shotstream.serve.commands import NewShot
from shotstream.serve.errors import RequestError
from shotstream.serve.http.metrics import CONTENT_TYPE, metrics_text
from shotstream.serve.http.state import Here
from shotstream.serve.http.stories import record_of
from shotstream.serve.llm import suggest
from shotstream.serve.messages import Message, SteerView, UserText
from shotstream.story.script_files import parse_script
from shotstream.story.shot_spec import ShotSpec
from shotstream.world.captions import unknown_words
from shotstream.world.words import vocabulary

WORLD_MODEL = "storyworld"
"""Name in the configuration of a model that learnt StoryWorld; which words other models know is not known."""

router = APIRouter()


class Idea(Message):
    """An idea for a story, in a few words."""

    idea: Annotated[UserText, Field(max_length=2000)]


class Outline(Message):
    """A story to be made: begin it with `global_caption`, then make its shots."""

    global_caption: str
    shots: list[str]


class ScriptText(Message):
    """A story as a person writes it down: YAML, the published JSON, or "global | shot | shot"."""

    text: Annotated[UserText, Field(max_length=100_000)]


class ScriptView(Message):
    """A parsed script; begin a story with it, or queue its shots."""

    global_caption: str
    seed: int | None
    shots: list[NewShot]


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
    """Return the words that the model's world knows, and those of `text` that it does not."""
    if server.model.config.name != WORLD_MODEL:
        return Words(traits=[], unknown=[])
    traits = [
        TraitWords(
            trait=trait, values=[TraitPhrases(value=value, phrases=list(said)) for value, said in values.items()]
        )
        for trait, values in vocabulary().items()
    ]
    return Words(traits=traits, unknown=list(unknown_words(text)))


@router.post("/api/outline")
def outline(idea: Idea, server: Here) -> Outline:
    """A story of an idea, by the director."""
    if server.director is None:
        raise RequestError("unavailable", "this server has no director; write the global caption and shots yourself")
    script = server.director.write(idea.idea)
    return Outline(global_caption=script.global_caption, shots=[shot.text for shot in script.shots])


@router.post("/api/script")
def read_script(script: ScriptText) -> ScriptView:
    """Read a script into shots; the images of a cast are not read, because they lie with the person who wrote it."""
    read = parse_script(script.text, "the script")
    return ScriptView(
        global_caption=read.global_caption, seed=read.seed, shots=[_new_shot(shot) for shot in read.shots]
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
    """Figures for Prometheus."""
    return PlainTextResponse(metrics_text(server), media_type=CONTENT_TYPE)
