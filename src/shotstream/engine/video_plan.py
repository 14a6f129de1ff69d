"""Plan a video: each shot's latents in the sequence, and the noise of each latent."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.rng import Noise, SeededNoise
from shotstream.core.spec import ShotShape
from shotstream.model.device import send
from shotstream.story.shot_spec import ShotSpec, Steer


@dataclass
class VideoShot:
    """A shot within a video.

    Attributes:
        index: its number, from 0.
        first: its first latent.
        latents: how many it has; fewer after a cut.
        chunk_latents: of these in a chunk.
        text: the caption that its next chunk is made under.
        noise: of this shot.
        steers: captions by the chunk from which they hold.
    """

    index: int
    first: int
    latents: int
    chunk_latents: int
    text: str
    noise: Noise
    steers: dict[int, str] = field(default_factory=dict)

    @property
    def frames(self) -> range:
        """Return the numbers of its latents in the video."""
        return range(self.first, self.first + self.latents)

    def made(self, asked: ShotSpec) -> ShotSpec:
        """Return what was really made of a shot that was asked for."""
        chunks = self.latents // self.chunk_latents
        steers = tuple(Steer(at, text) for at, text in sorted(self.steers.items()) if at < chunks)
        return replace(asked, chunks=chunks, steers=steers)

    def chunks(self) -> Iterator[range]:
        """Yield the latents of each chunk, until the shot ends or is cut."""
        made = 0
        while made < self.latents:
            self.text = self.steers.get(made // self.chunk_latents, self.text)
            yield range(self.first + made, self.first + made + self.chunk_latents)
            made += self.chunk_latents


@dataclass(frozen=True)
class Video:
    """A video to be made: the caption that holds for every shot, and the shots in order.

    `shots` may be an iterator that hands out a shot when it is asked for; a policy that is not live may make it a list.
    """

    global_caption: str
    shots: Iterable[VideoShot]


def plan_shots(specs: Iterable[ShotSpec], noise: Noise, shape: ShotShape, first: int = 0) -> Iterator[VideoShot]:
    """Yield shots one behind the other, the first of which begins at latent `first`.

    Args:
        specs: the shots as they are asked for; one is taken when the shot is.
        noise: of shots without a seed of their own.
        shape: of the model's shots.
        first: the first latent.
    """
    for index, spec in enumerate(specs):
        own = noise if spec.seed is None else SeededNoise(spec.seed)
        steers = {steer.at: steer.text for steer in spec.steers}
        latents = shape.latents_of_chunks(spec.chunks)
        shot = VideoShot(index, first, latents, shape.chunk_latents, spec.text, own, steers)
        yield shot
        first += shot.latents


class VideoNoise:
    """The noise of a video's latents: a function of (seed, shot, chunk, step), however they are asked for."""

    def __init__(self, shape: Sequence[int], device: torch.device) -> None:
        """Know no shot yet; `shape` is that of one latent, `[c, h, w]`."""
        self._shape, self._device = tuple(shape), device
        self._shots: list[VideoShot] = []

    def watch(self, shots: Iterable[VideoShot]) -> Iterator[VideoShot]:
        """Yield the shots, and know each from then on."""
        for shot in shots:
            self._shots.append(shot)
            yield shot

    def __call__(self, frames: range, step: int) -> Float[Tensor, "1 f c h w"]:
        """Return the noise of whole chunks before a denoising step."""
        return torch.cat([self._chunk(first, step) for first in frames[:: self._shots[0].chunk_latents]], 1)

    def _chunk(self, first: int, step: int) -> Float[Tensor, "1 f c h w"]:
        shot = next(shot for shot in reversed(self._shots) if shot.first <= first)
        each = shot.chunk_latents
        return send(shot.noise(shot.index, (first - shot.first) // each, step, (1, each, *self._shape)), self._device)
