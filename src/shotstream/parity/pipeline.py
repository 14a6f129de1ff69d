"""Check a whole story: recorded noise and embeddings in, latents, context frames and video out of `engine.story`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT, SPATIAL_STRIDE, VideoSize
from shotstream.engine.sampler import Sampler
from shotstream.engine.story import Story
from shotstream.model.codec import Codec
from shotstream.model.config import ModelConfig, SamplerConfig, TextEncoderConfig
from shotstream.model.schedule import TRAIN_TIMESTEPS
from shotstream.model.text_encoder import TextEncoder
from shotstream.parity.case import CPU_TOLERANCE, CaseResult, Golden, Recording, compare_exactly
from shotstream.story.captions import compose_caption
from shotstream.weights.build import ModelComponents

SCRIPT = "pipeline/script.json"
CASES = "pipeline/cases.safetensors"


class RecordedText:
    """Stands in for the text encoder: the recorded embedding of every recorded prompt, and of nothing else."""

    def __init__(self, embeddings: Mapping[str, Float[Tensor, "l e"]]) -> None:
        self._embeddings = embeddings

    def encode(self, captions: Sequence[str]) -> Float[Tensor, "s l e"]:
        """Return the recorded embeddings of captions.

        Raises:
            InputError: a caption is none of the recorded prompts.
        """
        unknown = [caption for caption in captions if caption not in self._embeddings]
        if unknown:
            raise InputError(f"expected only recorded prompts, got '{unknown[0]}'")
        return torch.stack([self._embeddings[caption] for caption in captions])

    def lost(self, caption: str) -> str:  # noqa: ARG002 (as `TextEncoder`)
        """Return nothing: recorded prompts are read to their end."""
        return ""


class WatchedCodec:
    """A codec that records the latents of context frames, and the latents that are decoded."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self.latent_channels = codec.latent_channels
        self.contexts: list[Tensor] = []
        self.decoded: list[Tensor] = []

    def encoding_tensors(self) -> Iterator[Tensor]:
        return self._codec.encoding_tensors()

    def encode(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b t k y x"]:
        return self._codec.encode(pixels)

    def encode_frames(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f k y x"]:
        self.contexts.append(self._codec.encode_frames(pixels))
        return self.contexts[-1]

    def decode(self, latents: Float[Tensor, "b t k y x"]) -> Float[Tensor, "b f c h w"]:
        return self._codec.decode(latents)

    def start_stream(self) -> Any:
        return self._codec.start_stream()

    def decode_next(self, latents: Float[Tensor, "b t k y x"], state: Any) -> Float[Tensor, "b f c h w"]:
        self.decoded.append(latents)
        return self._codec.decode_next(latents, state)


class RecordedNoise:
    """Replays the recorded noise."""

    def __init__(self, cases: Recording) -> None:
        self._cases = cases

    def __call__(self, shot: int, chunk: int, step: int, shape: Sequence[int]) -> Float[Tensor, "..."]:
        if step == 0:
            each = PAPER_SHOT.chunk_latents
            noise = self._cases[f"shot{shot}.noise"][:, chunk * each : (chunk + 1) * each]
        else:
            noise = self._cases[f"shot{shot}.chunk{chunk}.renoise{step - 1}"]
        if noise.shape != tuple(shape):
            raise InputError(f"shot {shot}, chunk {chunk}: expected noise of {list(shape)}, got {list(noise.shape)}")
        return noise


@torch.inference_mode()
def check_pipeline(golden: Golden) -> Iterator[CaseResult]:
    """Check a generated story: the context latents, latents and frames of each shot."""
    script, cases = golden.json(SCRIPT), golden.tensors(CASES)
    global_caption, shots, prompts = script["global_caption"], script["shots"], script["prompts"]
    composed = [compose_caption(global_caption, index, text) for index, text in enumerate(shots)]
    yield compare_exactly("pipeline/prompts", composed, prompts)
    yield _compare_timesteps(golden, script["timesteps"])
    each = PAPER_SHOT.chunk_latents
    if script["chunk"] != each or script["latent_frames_per_shot"] % each:
        raise InputError(f"script.json: expected shots of whole chunks of {each} latents")
    codec = WatchedCodec(golden.vae())
    parts = _parts(golden, codec, {prompt: cases[f"text{index}"] for index, prompt in enumerate(prompts)}, cases)
    sampler = SamplerConfig("few_step", steps=tuple(script["timesteps"]), shift=1.0)
    frames_a_shot, chunks = script["pixel_frames_per_shot"], script["latent_frames_per_shot"] // each
    with Story(parts, global_caption, sampler=sampler, noise=RecordedNoise(cases)) as story:
        for index, text in enumerate(shots):
            codec.decoded.clear()
            frames = torch.cat([torch.from_numpy(some) for some in story.shot(text, chunks)])
            if index:
                name = f"shot{index}.context_latents"
                context = codec.contexts[-1]
                yield golden.compare(f"pipeline/{name}", context, cases[name], tolerance=golden.coarse_tolerance)
            name = f"shot{index}.latents"
            yield golden.compare(f"pipeline/{name}", torch.cat(codec.decoded, 1), cases[name])
            recorded = cases["video"][index * frames_a_shot : (index + 1) * frames_a_shot].movedim(1, -1)
            yield golden.compare_frames(f"pipeline/shot{index}.video", frames, recorded)


def _compare_timesteps(golden: Golden, recorded: Sequence[float]) -> CaseResult:
    """Compare the default timesteps of a distilled model with the recorded ones."""
    sigmas = Sampler.from_config(SamplerConfig()).sigmas
    got, expected = (torch.tensor(values, dtype=torch.float64) for values in (sigmas, recorded))
    return golden.compare("pipeline/timesteps", got * TRAIN_TIMESTEPS, expected, tolerance=CPU_TOLERANCE)


def _parts(golden: Golden, codec: Codec, embeddings: Mapping[str, Tensor], cases: Recording) -> ModelComponents:
    transformer = golden.transformer("causal")
    height, width = (side * SPATIAL_STRIDE for side in cases["shot0.noise"].shape[-2:])
    config = ModelConfig(
        name="golden",
        video=VideoSize(height, width),
        transformer=transformer.config,
        wan_vae=golden.vae().config,
        text_encoder=TextEncoderConfig(dim=transformer.config.text_dim, text_len=transformer.config.text_len),
    )
    text = cast(TextEncoder, RecordedText(embeddings))
    return ModelComponents(config, transformer, codec, text, source=str(golden.directory), fingerprint="golden")
