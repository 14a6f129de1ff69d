"""Compare this engine with the published code: same weights, inputs, noise and machine, one after the other.

What is compared is a story's second shot without its captions' encoding: six context frames are encoded, the shot is
made, its latents are decoded. The published code runs as its own process (`parity.reference_runner`).
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from shotstream.bench.decoder_fidelity import relative_norm_error
from shotstream.bench.machine import Machine, timed
from shotstream.bench.timing import Spread
from shotstream.core.atomic_files import write_json
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.engine.cached_transformer import shot_cache_size
from shotstream.engine.causal_rollout import ShotInputs, ShotRollout
from shotstream.engine.sampler import Sampler
from shotstream.model.config import ModelConfig
from shotstream.model.wan_vae import WanVAE
from shotstream.parity import reference_runner
from shotstream.runtime.cuda_graphs import CudaGraphPool
from shotstream.story.layout import shot_layout
from shotstream.weights.build import ModelComponents

AGREEMENT_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Relative error up to which both computed the same: rounding adds up over a shot's forwards."""
TIMED_STAGES = ("context", "shot", "decode")
REACH = 1000
"""Characters of what a process said last that are worth showing."""


@dataclass(frozen=True)
class ShotTensors:
    """A shot's context pixels [1, 6, 3, h, w], captions [1, 2, l, e], noise [chunk, step, f, k, y, x]."""

    pixels: Tensor
    text: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Side:
    """One engine: its attention, the seconds of each part, and the speed that follows from their medians."""

    attention: str
    seconds: Mapping[str, Spread]
    fps: float

    @classmethod
    def of(cls, attention: str, times: Sequence[Mapping[str, float]], frames: int) -> "Side":
        """Return one side from the times of several shots."""
        seconds = {part: spread for part in TIMED_STAGES if (spread := Spread.of([shot[part] for shot in times]))}
        return cls(attention, seconds, frames / sum(spread.median for spread in seconds.values()))


@dataclass(frozen=True)
class Versus:
    """A comparison. `ratio` says how many times faster this engine is; errors are relative to the published result."""

    machine: Machine
    dtype: str
    chunks: int
    ours: Side
    theirs: Side
    ratio: float
    latents_error: float
    pixels_error: float
    agree: bool


def compare_engines(
    parts: ModelComponents,
    checkout: Path,
    *,
    chunks: int,
    shots: int,
    warmup: int,
    graphs: CudaGraphPool | None = None,
) -> Versus:
    """Measure both engines.

    Args:
        parts: the model, of Wan's shape and with a few-step sampler.
        checkout: of the published code.
        chunks: length of the shot.
        shots: how often it is timed.
        warmup: how often it is made before.
        graphs: lends this engine recorded forwards; None: nothing is recorded.

    Raises:
        InputError: the model is none that the published code could run, or that code cannot run here.
    """
    check_comparable(parts.config)
    weight = parts.transformer.patch_embedding.weight
    inputs = make_inputs(parts.config, chunks)
    sampler = Sampler.from_config(parts.config.sampler)
    frames = parts.config.shot.frames_of_chunks(chunks)
    own_times = []
    for _ in range(warmup + shots):
        seconds, latents, pixels = make_ours(parts, inputs, sampler, graphs)
        own_times.append(seconds)
    attention, times, made = run_theirs(parts, checkout, inputs, sampler, warmup + shots)
    ours = Side.of(parts.transformer.kernel.name, own_times[warmup:], frames)
    theirs = Side.of(attention, times[warmup:], frames)
    latents_error, pixels_error = (
        relative_norm_error(latents, made["latents"]),
        relative_norm_error(pixels, made["pixels"]),
    )
    return Versus(
        Machine.here(weight.device),
        str(weight.dtype).removeprefix("torch."),
        chunks,
        ours,
        theirs,
        ours.fps / theirs.fps,
        latents_error,
        pixels_error,
        agree=max(latents_error, pixels_error) <= AGREEMENT_TOLERANCE[weight.dtype],
    )


def check_comparable(config: ModelConfig) -> None:
    """Raise InputError if the published code could not run a model of this shape."""
    shape, sampler = config.transformer, config.sampler
    wanted = ("velocity", "phase", "frame", PAPER_SHOT, "few_step", 1.0, "fresh", None, "per_shot")
    got = (
        *(shape.prediction, shape.indicator, shape.injection, shape.shot),
        *(sampler.kind, sampler.guidance, sampler.chunk_noise, sampler.later_chunks_from, config.captions),
    )
    if config.wan_vae is None or got != wanted:
        raise InputError(
            f"expected a distilled model of Wan's shape to compare with the published code, got '{config.name}'; "
            "use --model wan-1.3b --random-weights"
        )
    if config.tiny_decoder is not None:
        raise InputError(
            "expected the full VAE to compare with the published code, got a tiny one; leave --decoder out"
        )


def make_inputs(config: ModelConfig, chunks: int) -> ShotTensors:
    """Return random tensors of a shot; the second half of each caption is padding."""
    source = torch.Generator().manual_seed(0)
    size, text = config.video, config.text_encoder
    steps = Sampler.from_config(config.sampler).forwards
    captions = torch.randn(1, 2, text.text_len, text.dim, generator=source)
    captions[:, :, text.text_len // 2 :] = 0
    noise = (chunks, steps, config.shot.chunk_latents, config.transformer.in_dim, size.latent_height, size.latent_width)
    pixels = torch.rand(1, config.shot.context_latents, 3, size.height, size.width, generator=source) * 2 - 1
    return ShotTensors(pixels, captions, torch.randn(noise, generator=source))


@torch.inference_mode()
def make_ours(
    parts: ModelComponents, inputs: ShotTensors, sampler: Sampler, graphs: CudaGraphPool | None
) -> tuple[dict[str, float], Tensor, Tensor]:
    """Make one shot with this engine; return the seconds of each stage, latents and pixels."""
    device = parts.transformer.patch_embedding.weight.device
    chunks, shape = len(inputs.noise), parts.config.shot
    layout = shot_layout(1, [0] * shape.context_latents, shape, shape.latents_of_chunks(chunks))
    pixels, text, noise = (tensor.to(device) for tensor in (inputs.pixels, inputs.text, inputs.noise))
    video = parts.config.video
    size = shot_cache_size(parts.config.transformer, sampler, (video.latent_height, video.latent_width), sink=0)
    recorded = None if graphs is None else graphs.borrow(size)
    cache = parts.transformer.new_cache(*size) if recorded is None else recorded.cache

    def shot() -> Tensor:
        cache.reset()
        rollout = ShotRollout(
            parts.transformer,
            cache,
            ShotInputs.of(context, text, layout),
            lambda chunk, step: noise[chunk, step, None],
            sampler,
            forward=recorded,
        )
        return torch.cat(list(rollout), 1)

    def decode() -> Tensor:
        state = parts.codec.start_stream()
        return torch.cat([parts.codec.decode_next(chunk, state) for chunk in made.chunk(chunks, 1)], 1)

    context, context_s = timed(lambda: parts.codec.encode_frames(pixels).float(), device)
    made, shot_s = timed(shot, device)
    decoded, decode_s = timed(decode, device)
    if graphs is not None and recorded is not None:
        graphs.give_back(size, recorded)
    return dict(zip(TIMED_STAGES, (context_s, shot_s, decode_s), strict=True)), made, decoded


def run_theirs(
    parts: ModelComponents, checkout: Path, inputs: ShotTensors, sampler: Sampler, runs: int
) -> tuple[str, list[dict[str, float]], dict[str, Tensor]]:
    """Run the published code; return its attention backend, its times and its tensors.

    Raises:
        InputError: it cannot run here.
    """
    with tempfile.TemporaryDirectory(prefix="shotstream-versus-") as directory:
        job = Path(directory)
        write_job(parts, inputs, sampler, runs, job)
        command = [sys.executable, "-m", reference_runner.__name__, str(checkout.absolute()), str(job)]
        done = subprocess.run(command, cwd=job, capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise InputError(f"the published code cannot be run here: {said[-1][-REACH:]}")
        result = json.loads((job / reference_runner.RESULT).read_text())
        return result["attention"], result["seconds"], load_file(job / reference_runner.OUTPUTS)


def write_job(parts: ModelComponents, inputs: ShotTensors, sampler: Sampler, runs: int, job: Path) -> None:
    """Write what the runner needs: shapes in the published code's words, weights, and the tensors of a shot."""
    shape, codec, weight = parts.config.transformer, parts.codec, parts.transformer.patch_embedding.weight
    assert isinstance(codec, WanVAE), "checked before"
    own = ("dim", "ffn_dim", "num_heads", "num_layers", "in_dim", "out_dim", "freq_dim", "text_dim", "text_len", "eps")
    told = {
        "device": str(weight.device),
        "dtype": str(weight.dtype).removeprefix("torch."),
        "runs": runs,
        "sigmas": sampler.sigmas,
        "transformer": {"patch_size": shape.patch_size, **{name: getattr(shape, name) for name in own}},
        "vae": {
            "dim": codec.config.dim,
            "z_dim": codec.config.z_dim,
            "dim_mult": codec.config.dim_mult,
            "num_res_blocks": codec.config.num_res_blocks,
            "temperal_downsample": codec.config.temporal_downsample,
        },
        "mean": codec.mean_bits.view(torch.float32).tolist(),
        "std": codec.std_bits.view(torch.float32).tolist(),
    }
    write_json(job / reference_runner.JOB, told)
    for network, name in ((parts.transformer, reference_runner.TRANSFORMER), (codec, reference_runner.VAE)):
        save_file({key: value.cpu().contiguous() for key, value in network.state_dict().items()}, job / name)
    tensors = {"pixels": inputs.pixels, "text": inputs.text[0], "noise": inputs.noise}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, job / reference_runner.INPUTS)
