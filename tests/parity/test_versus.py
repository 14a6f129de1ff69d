"""The comparison with the published code, on a checkout that is a stand-in: our networks behind the published calls.

What it holds is the protocol: names and shapes of what is handed over, the order of the calls, and the figures. That
the published code itself takes these calls and agrees was tried on the CPU (docs/performance.md).
"""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from shotstream.bench import bench
from shotstream.cli import main
from shotstream.core.errors import InputError
from shotstream.model.config import ModelConfig, SamplerConfig
from shotstream.parity.reference_runner import SDPA, choose_attention
from shotstream.parity.versus import Side, check_comparable, compare_engines
from shotstream.train.presets import TINY
from shotstream.weights.build import random_components
from tiny import TWO_STEPS, WAN

CONFIG = replace(WAN, name="small-wan", sampler=TWO_STEPS)
STAND_IN = {
    "attention": "def attention(q, k, v, dtype=None): ...\n",
    "model": "from .attention import attention as flash_attention\n",
    "causal_model": '''
import torch
from shotstream.model.config import TransformerConfig
from shotstream.model.transformer import Transformer
from shotstream.story.layout import frame_layout
from .attention import attention

class CausalWanModel(Transformer):
    """Remembers in a cache of its own, from which it forgets nothing but the latest stage."""

    def __init__(self, **shape):
        super().__init__(TransformerConfig(**shape))
        self.num_layers, self.num_heads, self.d = len(self.blocks), shape["num_heads"], self.config.head_dim
        self.calls = []

    def forward(self, x, *, t, context, seq_len, kv_cache, crossattn_cache, current_start, kv_cache_context,
                shot_flags_for_rope):
        latents, size = x.movedim(1, 2), tuple(x.shape[-2:])
        tokens = size[0] * size[1] // 4
        assert latents.shape[1] * tokens <= seq_len and len(crossattn_cache) == self.num_layers
        assert kv_cache_context[0]["k"].shape == (1, 6 * tokens, self.num_heads, self.d)
        if kv_cache is None:
            self.cache = self.new_cache(1, size, 27, 9)
        first = 0 if kv_cache is None else 6 + current_start // tokens
        places = range(first, first + latents.shape[1])
        flags = shot_flags_for_rope.tolist()
        staged = self.cache.stage(latents.shape[1])
        positions = self.make_positions(frame_layout(places, flags, flags), size)
        out = super().forward(latents, t / 1000, context[None], positions, staged)
        if not t.any():
            self.cache.commit(staged)
        return out.movedim(1, 2)
''',
    "vae": """
from shotstream.model.config import WanVAEConfig
from shotstream.model.wan_vae import WanVAE

class WanVAE_(WanVAE):
    def __init__(self, temperal_downsample, **shape):
        super().__init__(WanVAEConfig(temporal_downsample=tuple(temperal_downsample), **shape))

    def encode(self, x, scale):
        assert scale[0].shape == scale[1].shape == (16,)
        return super().encode_frames(x.movedim(1, 2)).movedim(1, 2)

    def decode(self, z, scale):
        return super().decode(z.movedim(1, 2)).movedim(1, 2)
""",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    directory = tmp_path / "published" / "wan" / "modules"
    directory.mkdir(parents=True)
    for name, text in STAND_IN.items():
        (directory / f"{name}.py").write_text(text)
    return tmp_path / "published"


def test_both_engines_make_the_same_shot(checkout: Path) -> None:
    found = compare_engines(random_components(CONFIG), checkout, chunks=2, shots=1, warmup=1)
    assert found.agree
    assert 0 <= found.latents_error < 1e-5
    assert found.pixels_error < 1e-5
    assert found.theirs.attention == SDPA
    assert found.ratio == found.ours.fps / found.theirs.fps
    assert all(
        side.fps == 21 / sum(part.median for part in side.seconds.values()) for side in (found.ours, found.theirs)
    )


def test_results_that_differ_are_said_to(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "SHAPES", {"small-wan": CONFIG})
    words = ["bench", "--model", "small-wan", "--random-weights", "--device", "cpu", "--dtype", "float32"]
    words += ["--vs-reference", str(checkout), "--shots", "1", "--chunks", "1", "--warmup", "0"]
    vae = checkout / "wan" / "modules" / "vae.py"
    vae.write_text(vae.read_text().replace("super().decode(z", "super().decode(2 * z"))
    assert main([*words, "--json", str(tmp_path / "versus.json")]) == 1
    assert "results DIFFER" in capsys.readouterr().out
    figures = json.loads((tmp_path / "versus.json").read_text())
    assert figures["latents_error"] < 1e-5 < 1e-2 < figures["pixels_error"]
    assert figures["agree"] is False


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("vae", None, "expected a checkout of ShotStream with wan.modules.vae"),
        ("model", "import a_library_that_nobody_has", "No module named 'a_library_that_nobody_has'; install it"),
        ("causal_model", "raise RuntimeError('no such driver')", "no such driver"),
    ],
)
def test_what_is_missing_is_one_line(checkout: Path, name: str, text: str | None, message: str) -> None:
    file = checkout / "wan" / "modules" / f"{name}.py"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(InputError, match=message) as refused:
        compare_engines(random_components(CONFIG), checkout, chunks=1, shots=1, warmup=0)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "config",
    [
        TINY.model,
        replace(CONFIG, sampler=SamplerConfig("euler")),
        replace(CONFIG, sampler=SamplerConfig(chunk_noise="mirrored")),
        replace(CONFIG, sampler=SamplerConfig(later_chunks_from=740.0)),
        replace(CONFIG, captions="target"),
    ],
)
def test_a_model_that_the_published_code_cannot_run_is_refused(config: ModelConfig) -> None:
    with pytest.raises(InputError, match="use --model wan-1"):
        check_comparable(config)
    check_comparable(CONFIG)


def test_speed_is_of_the_medians() -> None:
    times = [{"context": c, "shot": s, "decode": 1.0} for c, s in ((1.0, 2.0), (3.0, 4.0), (2.0, 9.0))]
    side = Side.of("any", times, 14)
    assert (side.fps, side.seconds["shot"].min) == (14 / (2.0 + 4.0 + 1.0), 2.0)


class Attention(ModuleType):
    """A stand-in for the published module on a card with both libraries, of which one computes something else."""

    FLASH_ATTN_3_AVAILABLE = False
    flash_attn_interface = flash_attn = True

    def __init__(self, broken: set[int]) -> None:
        super().__init__("attention")
        self.broken = broken

    def flash_attention(self, q: Tensor, k: Tensor, v: Tensor, version: int) -> Tensor:
        assert self.FLASH_ATTN_3_AVAILABLE is (version == 3)
        out = self.attention(q, k, v)
        return out * 2 if version in self.broken else out

    @staticmethod
    def attention(q: Tensor, k: Tensor, v: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return F.scaled_dot_product_attention(*(x.to(dtype).transpose(1, 2) for x in (q, k, v))).transpose(1, 2)


@pytest.mark.parametrize(
    ("broken", "kind", "chosen"),
    [
        (set(), "cuda", "FlashAttention 3"),
        ({3}, "cuda", "FlashAttention 2"),
        ({2, 3}, "cuda", SDPA),
        (set(), "cpu", SDPA),
    ],
)
def test_the_best_attention_that_is_one_is_taken(
    broken: set[int], kind: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    randn = torch.randn
    monkeypatch.setattr(torch, "randn", lambda *shape, device, dtype: randn(*shape, dtype=dtype))  # noqa: ARG005 (no card here)
    user = ModuleType("user")
    assert choose_attention(Attention(broken), (user,), torch.device(kind), torch.float32) == chosen
    assert hasattr(user, "flash_attention") == (chosen == SDPA)
