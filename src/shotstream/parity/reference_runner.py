"""Run the published code on a shot in its own process: `python -m ... CHECKOUT JOB`.

Nothing of that code is here. Its transformer and its VAE are imported from the user's checkout and called in the order
in which its pipeline calls them, clean pass of the last chunk included; captions are handed over as embeddings. What to
run lies in the job's directory (`parity.versus`), and the results are written there.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from shotstream.bench.machine import timed
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.model.schedule import TRAIN_TIMESTEPS, add_noise, clean_from_velocity

JOB, RESULT = "job.json", "result.json"
TRANSFORMER, VAE, INPUTS, OUTPUTS = (f"{name}.safetensors" for name in ("transformer", "vae", "inputs", "outputs"))
SDPA = "torch's scaled_dot_product_attention"
PROBE_ERROR = 0.02
COUNTS = ("global_end_index", "local_end_index")
Cache = list[dict[str, Any]]
EXIT_INPUT = 2


class PublishedShot:
    """The published networks with a job's weights; makes one shot repeatedly."""

    def __init__(self, checkout: Path, job: Path) -> None:
        told = json.loads((job / JOB).read_text())
        self.device, self.dtype = torch.device(told["device"]), getattr(torch, told["dtype"])
        self.sigmas: list[float] = told["sigmas"]
        attention, model, causal, vae = import_modules(checkout)
        self.attention = choose_attention(attention, (model, causal), self.device, self.dtype)
        with torch.device(self.device):
            self.model = causal.CausalWanModel(**told["transformer"])
            self.vae = vae.WanVAE_(**told["vae"])
        for network, name in ((self.model, TRANSFORMER), (self.vae, VAE)):
            network.load_state_dict(load_file(job / name))
            network.to(self.device, self.dtype).eval()
        inputs = load_file(job / INPUTS)
        self.pixels, self.text, self.noise = (
            inputs[name].to(self.device, self.dtype) for name in ("pixels", "text", "noise")
        )
        self.scale = [torch.tensor(told["mean"]).to(self.pixels), 1 / torch.tensor(told["std"]).to(self.pixels)]

    def encode(self) -> Tensor:
        """Encode the context frames one by one; return latents `b c f h w`."""
        return torch.cat([self.vae.encode(frame[None, :, None], self.scale) for frame in self.pixels[0]], 2)

    def denoise(self, context: Tensor) -> Tensor:
        """Return all latents of the shot, given those of the context."""
        tokens = (context.shape[-2] // 2) * (context.shape[-1] // 2)
        before, latents = PAPER_SHOT.context_latents, PAPER_SHOT.latents_of_chunks(len(self.noise))
        remembered, local, crossed = (self._cache(rows * tokens) for rows in (before, latents, 0))

        def forward(x: Tensor, sigma: float, shot: int, start: int, own: Cache | None) -> Tensor:
            return self.model(
                x,
                t=torch.full((1, x.shape[2]), sigma * TRAIN_TIMESTEPS, device=self.device),
                context=self.text,
                seq_len=tokens * (before + latents),
                kv_cache=own,
                crossattn_cache=crossed,
                current_start=start * tokens,
                kv_cache_context=remembered,
                shot_flags_for_rope=torch.full((x.shape[2],), shot, dtype=torch.int32, device=self.device),
            )

        forward(context, 0.0, 0, 0, None)
        return torch.cat([self._chunk(index, forward, local) for index in range(len(self.noise))], 2)

    def _chunk(self, index: int, forward: Callable[..., Tensor], local: Cache) -> Tensor:
        start, noise = PAPER_SHOT.latents_of_chunks(index), self.noise[index].movedim(1, 2)
        x = noise[:1]
        for step, sigma in enumerate(self.sigmas):
            clean = clean_from_velocity(x, forward(x, sigma, 1, start, local), sigma)
            if step + 1 < len(self.sigmas):
                x = add_noise(clean, noise[step + 1 : step + 2], self.sigmas[step + 1])
        forward(clean, 0.0, 1, start, local)
        return clean

    def _cache(self, tokens: int) -> Cache:
        """Allocate keys and values of every layer, and the counters that the published code keeps beside them."""
        shape = (1, tokens, self.model.num_heads, self.model.d)
        return [
            {name: torch.zeros(shape, device=self.device, dtype=self.dtype) for name in ("k", "v")}
            | {name: torch.zeros(1, dtype=torch.long, device=self.device) for name in COUNTS}
            | {"is_init": False}
            for _ in range(self.model.num_layers)
        ]

    def decode(self, latents: Tensor) -> Tensor:
        """Decode the shot's latents to pixels."""
        return self.vae.decode(latents, self.scale).clamp_(-1, 1)


def import_modules(checkout: Path) -> tuple[ModuleType, ...]:
    """Import attention, model, causal model and VAE of a checkout, without their packages' other requirements.

    Raises:
        InputError: it is no such checkout, or a library is missing that they need.
    """
    sys.path.insert(0, str(checkout))
    for name in ("wan", "wan.modules"):
        package = ModuleType(name)
        package.__path__ = [str(checkout / name.replace(".", "/"))]
        sys.modules[name] = package
    try:
        return tuple(import_module(f"wan.modules.{name}") for name in ("attention", "model", "causal_model", "vae"))
    except ModuleNotFoundError as error:
        if str(error.name).startswith(("wan", "utils")):
            raise InputError(f"{checkout}: expected a checkout of ShotStream with {error.name}, found none") from error
        raise InputError(f"{str(error).splitlines()[0]}; install it into this environment") from error


def choose_attention(
    attention: ModuleType, users: tuple[ModuleType, ...], device: torch.device, dtype: torch.dtype
) -> str:
    """Choose the first of FlashAttention 3 and 2 that is installed and computes attention correctly, else torch's.

    The published test for FlashAttention 3 asks for a device's name and leaves out the H200, so its flags are set here.
    """
    installed = {3: hasattr(attention, "flash_attn_interface"), 2: hasattr(attention, "flash_attn")}
    for version in (version for version, there in installed.items() if there and device.type == "cuda"):
        attention.FLASH_ATTN_3_AVAILABLE = version == 3  # type: ignore[attr-defined]
        if _attends(partial(attention.flash_attention, version=version), device, dtype):
            return f"FlashAttention {version}"
    attention.FLASH_ATTN_3_AVAILABLE = attention.FLASH_ATTN_2_AVAILABLE = False  # type: ignore[attr-defined]
    for user in users:
        user.flash_attention = user.attention = partial(attention.attention, dtype=dtype)  # type: ignore[attr-defined]
    return SDPA


def _attends(attend: Callable[..., Tensor], device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether a function exists, runs here, and computes attention."""
    q, k, v = torch.randn(3, 1, 128, 2, 128, device=device, dtype=dtype)
    try:
        found = attend(q, k, v).float()
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        sys.stderr.write(f"left out: {type(error).__name__}: {error}\n")
        return False
    wanted = F.scaled_dot_product_attention(*(t.transpose(1, 2).float() for t in (q, k, v))).transpose(1, 2)
    return found.shape == wanted.shape and bool((found - wanted).norm() < PROBE_ERROR * wanted.norm())


@torch.inference_mode()
def run_job(checkout: Path, job: Path) -> None:
    """Run a job and write its results.

    Raises:
        InputError: the published code cannot run here.
    """
    shot, times = PublishedShot(checkout, job), []
    for _ in range(json.loads((job / JOB).read_text())["runs"]):
        context, context_s = timed(shot.encode, shot.device)
        latents, shot_s = timed(partial(shot.denoise, context), shot.device)
        pixels, decode_s = timed(partial(shot.decode, latents), shot.device)
        times.append({"context": context_s, "shot": shot_s, "decode": decode_s})
    made = {"latents": latents, "pixels": pixels}
    save_file({name: video.movedim(2, 1).float().cpu().contiguous() for name, video in made.items()}, job / OUTPUTS)
    (job / RESULT).write_text(json.dumps({"attention": shot.attention, "seconds": times}))


def main(words: list[str]) -> int:
    """Run the process; return 0, or 2 with one line on stderr if the published code cannot run here."""
    checkout, job = map(Path, words)
    try:
        run_job(checkout, job)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
