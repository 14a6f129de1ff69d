"""Turn an idea into a story, and suggest next shots.

A director is any endpoint that speaks OpenAI's chat completions; the environment says which
(`SHOTSTREAM_DIRECTOR_URL`, `_KEY`, `_MODEL`). Without one, StoryWorld's grammar suggests.
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from shotstream.core.errors import InputError
from shotstream.core.spec import DEFAULT_CHUNKS
from shotstream.serve.errors import RequestError
from shotstream.story.script import Script
from shotstream.story.shot_spec import ShotSpec
from shotstream.world.captions import suggest_next, traits_of_caption
from shotstream.world.scene import Character, WorldShot, WorldStory
from shotstream.world.traits import (
    ACCESSORIES,
    ACTIONS,
    COLOURS,
    FRAMINGS,
    LANDMARKS,
    PATTERNS,
    Colour,
    Place,
    Species,
    Time,
)

VARIABLES = ("SHOTSTREAM_DIRECTOR_URL", "SHOTSTREAM_DIRECTOR_KEY", "SHOTSTREAM_DIRECTOR_MODEL")
LLM_TIMEOUT_S = 60
ANSWER_BYTES = 2**20
MAX_SHOTS = 20
SUGGESTIONS = 3
_TASK = (
    "You write short films for a model that makes video shot by shot. Answer with JSON alone: "
    '{"global": "who and where, one sentence", "shots": ["what one shot shows, one sentence", ...]}. '
    "Name everybody in every shot by the same words as in the global sentence. 3 to 6 shots, simple visible actions."
)


@dataclass(frozen=True)
class Director:
    """An endpoint that writes stories: its base URL (up to and with `/v1`), its key, the model to ask for."""

    url: str
    key: str
    model: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Director | None":
        """Return the director that the environment variables name; None if they name none.

        Raises:
            InputError: its URL does not begin with http:// or https://.
        """
        url, key, model = (environment.get(name, "") for name in VARIABLES)
        if not url:
            return None
        if not url.startswith(("http://", "https://")):
            raise InputError(f"expected {VARIABLES[0]} to begin with http:// or https://, got {url!r}; change it")
        return cls(url.rstrip("/"), key, model or "default")

    def write(self, idea: str) -> Script:
        """Ask the director to write a story from an idea.

        Raises:
            RequestError: the endpoint cannot be reached, or answers with something that is no story.
        """
        messages = [{"role": "system", "content": _TASK}, {"role": "user", "content": idea}]
        try:
            answer = self._ask({"model": self.model, "messages": messages})
            content = str(answer["choices"][0]["message"]["content"])
            return read_story(content)
        except (OSError, urllib.error.URLError) as error:
            raise RequestError("unavailable", "the director cannot be reached; try again") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise RequestError("unavailable", "the director's answer is no story; ask again") from error

    def _ask(self, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(f"{self.url}/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=LLM_TIMEOUT_S) as reply:
            return json.loads(reply.read(ANSWER_BYTES))


def read_story(content: str) -> Script:
    """Parse the story (a JSON object) in a director's answer; text around it is ignored.

    Raises:
        ValueError: there is no JSON in it.
    """
    plain = json.loads(content[content.index("{") : content.rindex("}") + 1])
    shots = tuple(ShotSpec(text) for text in plain["shots"][:MAX_SHOTS])
    return Script(plain["global"], shots)


def suggest(global_caption: str, shots: Sequence[str]) -> tuple[str, ...]:
    """Return captions for a shot that could follow, by StoryWorld's grammar.

    Characters, place and time that the captions do not name are filled in, the same way each time.
    """
    said = traits_of_caption(global_caption)
    species = cast(list[Species], list(dict.fromkeys(said.get("species", ("fox",))))[:2])
    colours = cast(list[Colour], list(dict.fromkeys([*said.get("colour", ()), *COLOURS]))[: len(species)])
    characters = tuple(
        Character(kind, colour, ACCESSORIES[0], PATTERNS[0]) for kind, colour in zip(species, colours, strict=True)
    )
    place = cast(Place, said.get("place", ("forest",))[0])
    time = cast(Time, said.get("time", ("day",))[0])
    made = tuple(_as_shot(text, species) for text in shots) or (_as_shot("", species),)
    return suggest_next(WorldStory(characters, place, time, LANDMARKS[place], made, seed=len(shots)), SUGGESTIONS)


def _as_shot(text: str, species: Sequence[Species]) -> WorldShot:
    said = traits_of_caption(text)
    who = tuple(index for index, kind in enumerate(species) if kind in said.get("species", ())) or (0,)
    framing = next((value for value in FRAMINGS if value in said.get("framing", ())), FRAMINGS[0])
    action = next((value for value in ACTIONS if value in said.get("action", ())), ACTIONS[0])
    return WorldShot(who, framing, "still", action, DEFAULT_CHUNKS)
