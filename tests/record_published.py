"""Record what the published repositories of the compared systems compute, on the small weights of `tests/golden`.

    python tests/record_published.py SYSTEM CHECKOUT

SYSTEM is one of the functions in `SYSTEMS`, CHECKOUT a clone of its repository (branch v1.0 of LongLive). It needs
torch, diffusers, einops and easydict, and runs in float32 on the CPU, in seconds. It writes
`tests/golden/published/SYSTEM.safetensors`, which `tests/engine/policies/test_published.py` compares the policies with.

A repository's modules are imported from the checkout as they are, but for what is written into them: the size of a
video (tokens of a latent, heads, layers), bfloat16, and kernels that need a GPU. Text encoder and VAE are replaced.
"""

import importlib
import importlib.abc
import importlib.machinery
import json
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"
OUT = GOLDEN / "published"
CONFIG = json.loads((GOLDEN / "causal" / "config.json").read_text())
WEIGHTS = load_file(GOLDEN / "causal" / "weights.safetensors")
HEIGHT, WIDTH = 4, 6
TOKENS = HEIGHT * WIDTH // 4
HEADS, HEAD_DIM, LAYERS = CONFIG["num_heads"], CONFIG["dim"] // CONFIG["num_heads"], CONFIG["num_layers"]
WRITTEN_IN = (
    (r"\b1560\b", str(TOKENS)),
    (r"\b3120\b", str(2 * TOKENS)),
    (r"\b4680\b", str(3 * TOKENS)),
    (r"\b32760\b", str(21 * TOKENS)),
    (r"\b12, 128\b", f"{HEADS}, {HEAD_DIM}"),
    (r"num_transformer_blocks = 30\b", f"num_transformer_blocks = {LAYERS}"),
    (r"torch\.bfloat16", "torch.float32"),
)
"""What stands in the code for the size of Wan2.1-T2V-1.3B at 480x832, and what stands for it here."""
STUBS = (
    *("demo_utils.memory", "utils.memory", "matplotlib", "matplotlib.pyplot", "seaborn"),
    *(
        "modelscope",
        "diffsynth",
        "diffsynth.models",
        "diffsynth.utils",
        "diffsynth.prompters",
        "diffsynth.vram_management",
    ),
    *("diffsynth.lora", "diffsynth.models.utils", "diffsynth.models.wan_video_camera_controller"),
    *(
        f"diffsynth.models.wan_video_{part}"
        for part in ("image_encoder", "text_encoder", "vae", "vace", "motion_controller")
    ),
    *("wan.modules.vae", "wan.modules.t5", "wan.modules.tokenizers", "wan.distributed.fsdp"),
)
"""Modules that need a GPU or files of weights, or are not used."""
STEPS = {"denoising_step_list": [1000, 750, 500, 250], "warp_denoising_step": True, "context_noise": 0}


class Checkout(importlib.abc.MetaPathFinder):
    """Imports modules of a checkout with another size written into them; packages without what they import."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find_spec(self, name: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        place = self.root.joinpath(*name.split("."))
        if name in STUBS:
            spec = importlib.machinery.ModuleSpec(name, Stub(), is_package=True)
            spec.submodule_search_locations = [str(place)]
            return spec
        if place.is_dir():
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [str(place)]
            return spec
        file = place.with_suffix(".py")
        return importlib.machinery.ModuleSpec(name, Resized(file), origin=str(file)) if file.is_file() else None


class Resized(importlib.abc.Loader):
    """Runs a file with `WRITTEN_IN` replaced."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def exec_module(self, module: types.ModuleType) -> None:
        source = self.file.read_text()
        for written, here in WRITTEN_IN:
            source = re.sub(written, here, source)
        exec(compile(source, str(self.file), "exec"), module.__dict__)
        for kernel in ("attention", "flash_attention"):
            if callable(getattr(module, kernel, None)):
                setattr(module, kernel, attend)


class Stub(importlib.abc.Loader):
    """A module that has every name."""

    def exec_module(self, module: types.ModuleType) -> None:
        def anything(name: str) -> type:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {"__init__": lambda *_, **__: None})

        module.__getattr__ = anything  # type: ignore[method-assign]


def attend(q: Tensor, k: Tensor, v: Tensor, *, attn_mask: Tensor | None = None, **_: Any) -> Tensor:
    """Attention of `[b, n, heads, d]` in float32; `attn_mask` is true where a query sees a key."""
    out = F.scaled_dot_product_attention(*(x.transpose(1, 2).float() for x in (q, k, v)), attn_mask=attn_mask)
    return out.transpose(1, 2)


def embed(prompts: list[str]) -> Tensor:
    """Text embeddings of prompts, `[s, l, e]`, with zeros behind as many rows as a prompt has letters."""
    rows = torch.zeros(len(prompts), CONFIG["text_len"], CONFIG["text_dim"])
    for row, prompt in zip(rows, prompts, strict=True):
        seed = sum(ord(letter) * 31**at for at, letter in enumerate(prompt)) % 2**31
        row[: len(prompt)] = torch.randn(len(prompt), row.shape[1], generator=torch.Generator().manual_seed(seed))
    return rows


def noise(latents: int) -> Tensor:
    return torch.randn(1, latents, CONFIG["in_dim"], HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


def renoise() -> Tensor:
    """The noise of one latent that every re-noising adds, so that it does not matter in which order it is drawn."""
    return torch.randn(CONFIG["in_dim"], HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2))


def causal_pipeline(module: str, name: str, local_attn_size: int, sink_size: int, **settings: Any) -> Any:
    """The pipeline of a system that derives from Self Forcing, over its own network with our weights."""
    torch.cuda.current_device = lambda: 0
    torch.randn_like = lambda x: renoise().expand_as(x)  # type: ignore[assignment]
    wrapper = importlib.import_module("utils.wan_wrapper")
    network = importlib.import_module("wan.modules.causal_model").CausalWanModel
    sizes = {**{key: CONFIG[key] for key in CONFIG if key != "patch_size"}, "cross_attn_norm": True}
    model = network(**sizes, local_attn_size=local_attn_size, sink_size=sink_size)
    model.load_state_dict(WEIGHTS)
    network.from_pretrained = lambda *_, **__: model
    generator = wrapper.WanDiffusionWrapper(timestep_shift=settings.pop("shift", 5.0), is_causal=True)
    generator.eval()
    window = types.SimpleNamespace(local_attn_size=local_attn_size)
    given = {"num_frame_per_block": 3, "independent_first_frame": False, "model_kwargs": window, **STEPS, **settings}
    pipeline = getattr(importlib.import_module(module), name)
    return pipeline(types.SimpleNamespace(**given), "cpu", generator=generator, text_encoder=Embed(), vae=NoDecoder())


class Embed(torch.nn.Module):
    """Embeds prompts as `embed` does."""

    def forward(self, text_prompts: list[str]) -> dict[str, Tensor]:
        return {"prompt_embeds": embed(text_prompts)}


class NoDecoder(torch.nn.Module):
    """Returns latents in the place of pixels."""

    def decode_to_pixel(self, latents: Tensor, **_: Any) -> Tensor:
        return latents


def self_forcing() -> dict[str, Tensor]:
    """Eight chunks of one prompt over a window of 21 latents."""
    pipeline = causal_pipeline("pipeline.causal_inference", "CausalInferencePipeline", 21, 0)
    _, latents = pipeline.inference(noise(24), ["a fox"], return_latents=True)
    return {"latents": latents}


def longlive() -> dict[str, Tensor]:
    """Eight chunks, another prompt from the sixth on."""
    settings = {"global_sink": True}
    name = "InteractiveCausalInferencePipeline"
    pipeline = causal_pipeline("pipeline.interactive_causal_inference", name, 12, 3, **settings)
    _, latents = pipeline.inference(
        noise(24), text_prompts_list=[["a fox"], ["a bear"]], switch_frame_indices=[15], return_latents=True
    )
    return {"latents": latents}


def rolling_forcing() -> dict[str, Tensor]:
    """Twelve chunks of one prompt."""
    steps = {"denoising_step_list": [1000, 800, 600, 400, 200]}
    name = "CausalInferencePipeline"
    pipeline = causal_pipeline("pipeline.rolling_forcing_inference", name, -1, 0, **steps)
    _, latents = pipeline.inference_rolling_forcing(noise(36), ["a fox"], return_latents=True)
    return {"latents": latents}


def infinity_rope() -> dict[str, Tensor]:
    """Ten chunks of three prompts; a cut before the third (the mark stands at the end of the second)."""
    pipeline = causal_pipeline("pipeline.causal_inference", "CausalInferencePipeline", 6, 1)
    _, latents = pipeline.inference(noise(30), ["a fox[3s] | a bear[2.4s#] | a crow[2.4s]"], return_latents=True)
    return {"latents": latents}


def echoshot() -> dict[str, Tensor]:
    """Both branches of three shots, at two noise levels."""
    network = importlib.import_module("models.model").Transformer
    sizes = {key: CONFIG[key] for key in CONFIG if key not in ("patch_size", "model_type")}
    model = network(**sizes, cross_attn_norm=True).eval()
    model.load_state_dict(WEIGHTS)
    model.max_len = 4 * CONFIG["text_len"]
    shots, x = [6, 3, 3], noise(12)
    rows = {
        branch: embed(prompts)
        for branch, prompts in {"guided": ["a fox", "a bear", "a crow"], "unguided": ["dim"] * 3}.items()
    }
    out = {}
    for branch, prompts in rows.items():
        captions = [[row[row.any(-1)] for row in prompts]]
        for t in (900.0, 300.0):
            made = model([x[0].transpose(0, 1)], torch.tensor([t]), captions, 12 * TOKENS, [shots])[0]
            out[f"{branch}.{t:g}"] = made.transpose(0, 1)[None]
    return out


def cinetrans() -> dict[str, Tensor]:
    """What the network says in the first and last of three steps, as its generation asks it, with its own masks."""
    network = importlib.import_module("wan.modules.model").WanModel
    model = network(
        **{key: CONFIG[key] for key in CONFIG if key != "patch_size"}, start_masked_layer=0, end_masked_layer=0
    )
    model.load_state_dict(WEIGHTS)
    model.eval()
    asked: list[tuple[Tensor, Tensor, Tensor]] = []

    class Noted(torch.nn.Module):
        patch_size, text_len = model.patch_size, model.text_len

        def forward(self, x: list[Tensor], t: Tensor, **given: Any) -> Tensor:
            made = model(x, t=t, **given)
            asked.append((x[0].clone(), t.clone(), made.clone()))
            return made

    vae = types.SimpleNamespace(model=types.SimpleNamespace(z_dim=16), decode=lambda x: x)
    settings = {"patch_size": (1, 2, 2), "vae_stride": (4, 8, 8), "sp_size": 1, "t5_cpu": True, "rank": 0}
    pipeline = types.SimpleNamespace(
        vae=vae,
        text_encoder=lambda prompts, _: [row[row.any(-1)] for row in embed(prompts)],
        sample_neg_prompt="dim",
        model=Noted(),
        device="cpu",
        param_dtype=torch.float32,
        num_train_timesteps=1000,
        **settings,
    )
    importlib.import_module("wan.text2video").WanT2V.generate(
        pipeline,
        ["a fox", "a bear", "all"],
        [6, 3],
        size=(WIDTH * 8, HEIGHT * 8),
        frame_num=33,
        shift=8.0,
        sampling_steps=3,
        seed=0,
        offload_model=False,
        general_pr=True,
    )
    out = {}
    for step in (0, 2):
        (x, t, guided), (_, _, unguided) = asked[2 * step], asked[2 * step + 1]
        out |= {f"{step}.x": x.transpose(0, 1)[None], f"{step}.t": t}
        out |= {f"{step}.guided": guided.transpose(1, 2), f"{step}.unguided": unguided.transpose(1, 2)}
    return out


def holocine() -> dict[str, Tensor]:
    """Both branches of two shots, whose prompt has a global part and one of each; full attention, and sparse."""
    dit = importlib.import_module("diffsynth.models.wan_video_dit")
    sizes = {key: CONFIG[key] for key in CONFIG if key not in ("model_type", "text_len")}
    model = dit.WanModel(**sizes, eps=1e-6, has_image_input=False)
    model.load_state_dict(WEIGHTS)
    model.eval()
    dit.flash_attention = lambda q, k, v, num_heads, attn_mask=None: by_heads(q, k, v, num_heads, attn_mask)
    dit.flash_attn_varlen_func = by_lengths
    predict = importlib.import_module("diffsynth.pipelines.wan_video_holocine").model_fn_wan_video
    shots, out = torch.tensor([[0] * 6 + [1] * 3]), {}
    x, t = noise(9).transpose(1, 2), torch.tensor([700.0])
    spans: dict[str, Any] = {"global": [0, 4], "shots": [[4, 8], [8, 12]]}
    for attention in ("full", "sparse"):
        model.use_sparse_self_attn = attention == "sparse"
        for branch, prompt in (("guided", "abcdefghijkl"), ("unguided", "dim")):
            cuts = spans if branch == "guided" else {"global": None, "shots": []}
            given = {"shot_indices": shots, "text_cut_positions": cuts, "prompt": prompt}
            made = predict(model, latents=x, timestep=t, context=embed([prompt]), **given)
            out[f"{attention}.{branch}"] = made.transpose(1, 2)
    return out


def by_heads(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | None) -> Tensor:
    """Attention of `[b, n, heads * d]`, with a bias of the scores."""
    parts = (x.unflatten(-1, (heads, -1)) for x in (q, k, v))
    return attend(*parts, attn_mask=bias).flatten(2)


def by_lengths(q: Tensor, k: Tensor, v: Tensor, q_ends: Tensor, k_ends: Tensor, *_: Any, **__: Any) -> Tensor:
    """Attention within each of several sequences `[n, heads, d]` that stand one behind the other."""
    bounds = [ends[1:-1].tolist() for ends in (q_ends, k_ends, k_ends)]
    several = zip(*(x[None].tensor_split(at, 1) for x, at in zip((q, k, v), bounds, strict=True)), strict=True)
    return torch.cat([attend(*own) for own in several], 1)[0]


SYSTEMS: dict[str, Callable[[], dict[str, Tensor]]] = {
    made.__name__: made
    for made in (self_forcing, longlive, rolling_forcing, infinity_rope, echoshot, cinetrans, holocine)
}


@torch.no_grad()
def main(system: str, checkout: str) -> None:
    sys.meta_path.insert(0, Checkout(Path(checkout)))
    tensors = {name: tensor.float().contiguous() for name, tensor in SYSTEMS[system]().items()}
    OUT.mkdir(exist_ok=True)
    save_file(tensors, OUT / f"{system}.safetensors")
    for name, tensor in tensors.items():
        print(name, tuple(tensor.shape), f"mean |x| {float(tensor.abs().mean()):.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
