"""Check single networks: the transformer in its three uses, the VAE, the text encoder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.core.types import FrameLayout
from shotstream.engine.causal_rollout import ShotInputs, ShotRollout
from shotstream.engine.sampler import Sampler
from shotstream.model.attention import block_causal_plan
from shotstream.model.schedule import TRAIN_TIMESTEPS, clean_from_velocity
from shotstream.model.transformer import Transformer
from shotstream.parity.case import CaseResult, Golden, Recording
from shotstream.story.layout import ShotLayout, frame_layout, shot_layout

WINDOW_LATENTS = 9
"""Latents of this shot that the rolling window of `causal/window` holds, its sink among them."""
SINK_LATENTS = 3

DIT = "dit/cases.safetensors"
CAUSAL = "causal/cases.safetensors"
WINDOW_FILE = "causal/window.safetensors"
BLOCK_CAUSAL = "causal/block_causal.safetensors"
VAE = "vae/cases.safetensors"
UMT5 = "umt5/cases.safetensors"


@dataclass(frozen=True)
class RecordedShot:
    """A recorded shot: its layout, the size of its context, and its captions in the layout's order.

    `text` holds one row of captions for every sample of the batch.
    """

    layout: ShotLayout
    context_latents: int
    text: Float[Tensor, "b s l e"]

    @property
    def frames(self) -> FrameLayout:
        """Context and shot in one sequence."""
        return self.layout.joined


def recorded_shot(shots: Int[Tensor, "f"], text: Float[Tensor, "s l e"], batch: int) -> RecordedShot:
    """Build the layout for recorded shot indices: those of the context first, then those of the new shot.

    Raises:
        InputError: there is no context before the new shot, or no caption for one of the shots.
    """
    numbers = shots.tolist()
    own = numbers[-1]
    context = list(takewhile(lambda shot: shot != own, numbers))
    latents = len(numbers) - len(context)
    if not context or numbers[len(context) :] != [own] * latents or max(numbers) >= len(text):
        raise InputError(f"expected 'shots' of a context and of one later shot, all with captions, got {numbers}")
    layout = shot_layout(own, context, replace(PAPER_SHOT, context_latents=len(context)), latents)
    rows = text[[*layout.context_captions, own]]
    return RecordedShot(layout, len(context), rows[None].expand(batch, -1, -1, -1))


@torch.inference_mode()
def check_t2v(golden: Golden) -> Iterator[CaseResult]:
    """Check plain text-to-video: one shot, one caption."""
    cases, network = golden.tensors(DIT), golden.transformer("dit")
    x = cases["t2v.x"].movedim(2, 1)
    batch, latents = x.shape[:2]
    layout = frame_layout(range(latents), [0] * latents, [0] * latents).expand(batch)
    sigmas = cases["t2v.t"][:, None].expand(batch, latents) / TRAIN_TIMESTEPS
    flow = network(x, sigmas, cases["t2v.text"][:, None], network.make_positions(layout, _size(x)))
    yield golden.compare("dit/t2v.flow", flow.movedim(1, 2), cases["t2v.flow"])


def check_next_shot(golden: Golden) -> Iterator[CaseResult]:
    """Check the next-shot forward: context and target with captions and phases of their own shots."""
    return _check_bidirectional(golden, "next_shot", own_captions=True, phases=True)


def check_one_caption(golden: Golden) -> Iterator[CaseResult]:
    """Check the forward in which all latents attend to the target's caption."""
    return _check_bidirectional(golden, "one_caption", own_captions=False, phases=True)


def check_no_indicator(golden: Golden) -> Iterator[CaseResult]:
    """Check the forward in which all latents attend to the target's caption and shots have no phase."""
    return _check_bidirectional(golden, "no_indicator", own_captions=False, phases=False)


@torch.inference_mode()
def _check_bidirectional(golden: Golden, name: str, *, own_captions: bool, phases: bool) -> Iterator[CaseResult]:
    cases, network = golden.tensors(DIT), golden.transformer("dit")
    x, sigmas = cases["next_shot.latents"], cases["next_shot.t"] / TRAIN_TIMESTEPS
    shot = recorded_shot(cases["next_shot.shots"], cases["next_shot.text"], len(x))
    layout = shot.frames
    if not own_captions:
        layout = replace(layout, captions=layout.captions[:, -1:].expand_as(layout.captions))
    if not phases:
        layout = replace(layout, shots=torch.zeros_like(layout.shots))
    flow = network(x, sigmas, shot.text, network.make_positions(layout.expand(len(x)), _size(x)))
    yield golden.compare(f"dit/{name}.flow", flow, cases[f"{name}.flow"])
    clean = clean_from_velocity(x, flow, sigmas)
    yield golden.compare(f"dit/{name}.x0", clean, cases[f"{name}.x0"])


@torch.inference_mode()
def check_block_causal(golden: Golden) -> Iterator[CaseResult]:
    """Check the block-causal training forward: each chunk attends to context and earlier chunks."""
    cases, network = golden.tensors(BLOCK_CAUSAL), golden.transformer("causal")
    x, sigmas = cases["latents"], cases["t"] / TRAIN_TIMESTEPS
    shot = recorded_shot(cases["shots"], cases["text"], len(x))
    first, each = shot.context_latents, network.config.shot.chunk_latents
    plan = block_causal_plan(first, [each] * ((x.shape[1] - first) // each))
    flow = network(x, sigmas, shot.text, network.make_positions(shot.frames.expand(len(x)), _size(x)), plan=plan)
    yield golden.compare("causal/block_causal.flow", flow, cases["flow"])
    clean = clean_from_velocity(x, flow, sigmas)
    yield golden.compare("causal/block_causal.x0", clean[:, first:], cases["x0"][:, first:])


def check_causal(golden: Golden) -> Iterator[CaseResult]:
    """Check a rollout over the dual cache: context keys and values, every step of every chunk, the result."""
    cases = golden.tensors(CAUSAL)
    return _check_rollout(golden, cases, "full", cases["full.noise"].shape[1], sink=0)


def check_window(golden: Golden) -> Iterator[CaseResult]:
    """Check a rollout over a rolling window of the shot's latents, the first of which stay as a sink."""
    return _check_rollout(golden, golden.tensors(WINDOW_FILE), "window", WINDOW_LATENTS, sink=SINK_LATENTS)


@torch.inference_mode()
def _check_rollout(golden: Golden, cases: Recording, name: str, local: int, *, sink: int) -> Iterator[CaseResult]:
    network, context, noise = golden.transformer("causal"), cases["context_latents"], cases[f"{name}.noise"]
    shot = recorded_shot(cases["shots"], cases["text"], len(context))
    if shot.context_latents != context.shape[1] or shot.layout.target.latents < noise.shape[1]:
        raise InputError("expected an entry of 'shots' for every latent of context_latents and of the noise")
    chunks = noise.split(network.config.shot.chunk_latents, dim=1)

    def chunk_noise(chunk: int, step: int) -> Tensor:
        return chunks[chunk] if step == 0 else cases[f"{name}.chunk{chunk}.step{step - 1}.renoise"]

    sigmas = tuple(timestep / TRAIN_TIMESTEPS for timestep in cases[f"{name}.timesteps"].tolist())
    pinned = shot.context_latents + sink
    cache = network.new_cache(len(context), _size(context), shot.context_latents + local, pinned)
    with watching(network) as forwards:
        inputs = ShotInputs.of(context, shot.text, shot.layout)
        rollout = ShotRollout(network, cache, inputs, chunk_noise, Sampler("few_step", sigmas))
        yield golden.compare(f"causal/{name}.context_flow", forwards[0].velocity, cases[f"{name}.context_flow"])
        for layer in range(len(network.blocks) if name == "full" else 0):
            for letter, got in (("k", cache.keys(layer)), ("v", cache.values(layer))):
                key = f"{name}.context_{letter}.{layer}"
                yield golden.compare(f"causal/{key}", got, cases[key])
        latents = []
        for chunk in range(len(chunks)):
            forwards.clear()
            latents.append(next(rollout))
            steps = [forward for forward in forwards if forward.sigma > 0]
            for step, forward in zip(range(len(sigmas)), steps, strict=True):
                yield from _compare_step(golden, cases, f"{name}.chunk{chunk}.step{step}", forward)
    yield golden.compare(f"causal/{name}.latents", torch.cat(latents, 1), cases[f"{name}.latents"])


@dataclass(frozen=True)
class Forward:
    """The inputs and the output of one call of the transformer."""

    latents: Tensor
    sigma: float
    velocity: Tensor


@contextmanager
def watching(network: Transformer) -> Iterator[list[Forward]]:
    """Record the network's forwards in a list that grows as they happen."""
    forwards: list[Forward] = []

    def note(_: nn.Module, arguments: tuple[Any, ...], velocity: Tensor) -> None:
        latents, sigmas = arguments[:2]
        forwards.append(Forward(latents, sigmas.max().item(), velocity.to(latents.dtype)))

    handle = network.register_forward_hook(note)
    try:
        yield forwards
    finally:
        handle.remove()


def _compare_step(golden: Golden, cases: Recording, key: str, forward: Forward) -> Iterator[CaseResult]:
    clean = clean_from_velocity(forward.latents, forward.velocity, forward.sigma)
    for what, got in (("x", forward.latents), ("flow", forward.velocity), ("x0", clean)):
        yield golden.compare(f"causal/{key}.{what}", got, cases[f"{key}.{what}"])


@torch.inference_mode()
def check_vae_encode(golden: Golden) -> Iterator[CaseResult]:
    """Check the encoding of a whole clip, and of a single frame."""
    cases, vae = golden.tensors(VAE), golden.vae()
    clip, frame = (cases[f"{name}.pixels"].movedim(1, 2) for name in ("encode", "encode_one"))
    compare = partial(golden.compare, tolerance=golden.coarse_tolerance)
    yield compare("vae/encode", vae.encode(clip), cases["encode.latents"])
    yield compare("vae/encode_one", vae.encode_frames(frame), cases["encode_one.latents"])


@torch.inference_mode()
def check_vae_decode(golden: Golden) -> Iterator[CaseResult]:
    """Check the decoding of a clip, whole and chunk by chunk."""
    cases, vae = golden.tensors(VAE), golden.vae()
    latents, pixels = cases["decode.latents"], cases["decode.pixels"]
    compare = partial(golden.compare, tolerance=golden.coarse_tolerance)
    yield compare("vae/decode", vae.decode(latents), pixels)
    state = vae.start_stream()
    streamed = [vae.decode_next(part, state) for part in latents.split(PAPER_SHOT.chunk_latents, dim=1)]
    yield compare("vae/decode_streamed", torch.cat(streamed, 1), pixels)


@torch.inference_mode()
def check_umt5(golden: Golden) -> Iterator[CaseResult]:
    """Check the embeddings of token ids, with zero rows for padding."""
    cases = golden.tensors(UMT5)
    ids, mask = cases["ids"], cases["mask"]
    encoder = golden.text_encoder(ids.shape[1])
    rows = encoder.encode_ids(ids, mask)
    yield golden.compare("umt5/embeddings", rows, cases["embeddings"], tolerance=golden.coarse_tolerance)


def _size(latents: Float[Tensor, "b f c h w"]) -> tuple[int, int]:
    return latents.shape[-2], latents.shape[-1]
