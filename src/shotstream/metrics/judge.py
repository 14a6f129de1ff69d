"""Ask a vision model to judge a story: any endpoint that speaks OpenAI's chat completions, with a rubric of ours."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from numpy.typing import NDArray

from shotstream.core.errors import InputError
from shotstream.core.images import encode_png
from shotstream.core.video import Frame, Frames
from shotstream.metrics.availability import NotAvailableError

JUDGE_QUESTIONS = ("consistency", "prompt", "quality")
LOWEST, HIGHEST = 1, 5
PICTURES_A_SHOT = 3
JUDGE_SIDE = 512
JUDGE_TIMEOUT_S = 120
TRIES = 2
"""An answer in another form is asked for once more."""
RUBRIC = """You judge short videos of several shots, shown as pictures: the first, middle and last frame of every shot,
after the caption of the shot. Rate three things from 1 to 5 and answer with JSON alone:
{"consistency": n, "prompt": n, "quality": n}

consistency: do people, animals, things and places stay the same from shot to shot?
5 everything that comes back is recognisably the same in face, build, clothes, colours, place. 4 small details change.
3 the same kind of person or place, clearly changed. 2 most of what comes back is another one. 1 nothing is the same.
Give 5 where nothing should come back.

prompt: do the pictures of each shot show what its caption says (who, what they do, where, framing)?
5 all shots, all details. 4 all shots, small details missing. 3 the main thing in most shots. 2 few shots. 1 none.

quality: do the pictures look right?
5 sharp, natural, no faults. 4 small faults. 3 visible faults such as bad hands or blurred faces. 2 strong distortions.
1 hardly anything can be recognised.

Judge each of the three on its own: a beautiful video may ignore its captions."""


@dataclass(frozen=True)
class Judge:
    """An endpoint (its base URL, with `/v1`), the model to ask for, how often each story is judged, and the key.

    Raises:
        InputError: the URL is none of HTTP's, or there is no repeat.
    """

    url: str
    model: str
    repeats: int = 3
    api_key: str = ""

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"expected --judge to begin with http:// or https://, got '{self.url}'")
        if self.repeats < 1:
            raise InputError(f"expected --judge-repeats of at least 1, got {self.repeats}")

    @property
    def description(self) -> dict[str, Any]:
        """Return the description of the judge for reports, without its key."""
        return {name: value for name, value in asdict(self).items() if name != "api_key"} | {"rubric": RUBRIC}

    @property
    def key(self) -> str:
        """Return everything besides the video that answers depend on, as JSON."""
        return json.dumps(self.description, sort_keys=True)

    def rate(self, global_caption: str, captions: Sequence[str], pictures: Sequence[Frames]) -> NDArray[np.float32]:
        """Return the ratings `[repeats, 3]` of a story, in the order of `JUDGE_QUESTIONS`.

        Args:
            global_caption: of the story.
            captions: of each shot.
            pictures: of each shot, from `pictures_of`.

        Raises:
            NotAvailableError: the endpoint cannot be reached, refuses, or answers in another form twice.
        """
        content: list[dict[str, Any]] = [{"type": "text", "text": f"Story: {global_caption}"}]
        for number, (caption, shown) in enumerate(zip(captions, pictures, strict=True), start=1):
            content.append({"type": "text", "text": f"Shot {number}: {caption}"})
            content += [{"type": "image_url", "image_url": {"url": _data_url(picture)}} for picture in shown]
        messages = [{"role": "system", "content": RUBRIC}, {"role": "user", "content": content}]
        return np.array([self._ask(messages) for _ in range(self.repeats)], np.float32)

    def _ask(self, messages: Sequence[Any]) -> list[int]:
        import httpx2

        answer = ""
        for _ in range(TRIES):
            try:
                response = httpx2.post(
                    f"{self.url.rstrip('/')}/chat/completions",
                    json={"model": self.model, "messages": messages},
                    headers={"Authorization": f"Bearer {self.api_key}"} if self.api_key else {},
                    timeout=JUDGE_TIMEOUT_S,
                )
                response.raise_for_status()
                answer = str(response.json()["choices"][0]["message"]["content"])
                return parse_ratings(answer)
            except httpx2.HTTPError as error:
                raise NotAvailableError(f"the judge at {self.url} cannot be asked: {error}") from error
            except (ValueError, KeyError, IndexError, TypeError):
                continue
        raise NotAvailableError(f"the judge at {self.url} answers in another form: {answer[:80]!r}")


def parse_ratings(answer: str) -> list[int]:
    """Return the three ratings in an answer, which may have words around its JSON.

    Raises:
        ValueError, KeyError, TypeError: it has another form, or a rating is not a whole number from 1 to 5.
    """
    data = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])
    ratings = [data[question] for question in JUDGE_QUESTIONS]
    if not all(type(rating) is int and LOWEST <= rating <= HIGHEST for rating in ratings):
        raise ValueError(f"expected whole numbers from {LOWEST} to {HIGHEST}, got {ratings}")
    return ratings


def pictures_of(frames: Frames) -> UInt8[NDArray, "n_small h_small w_small 3"]:
    """Return the first, middle and last frame of a shot, at most 512 pixels on the longer side."""
    chosen = frames[np.linspace(0, len(frames) - 1, PICTURES_A_SHOT).round().astype(int)]
    height, width = chosen.shape[1:3]
    scale = JUDGE_SIDE / max(height, width)
    if scale >= 1:
        return chosen
    pixels = torch.from_numpy(np.ascontiguousarray(chosen)).permute(0, 3, 1, 2).float()
    small = F.interpolate(pixels, (round(height * scale), round(width * scale)), mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _data_url(picture: Frame) -> str:
    return "data:image/png;base64," + base64.b64encode(encode_png(picture)).decode()
