"""Between two chunks the host never waits for the device: it reads nothing back, and what it sends goes by `send`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from shotstream.core.spec import PAPER_SHOT
from shotstream.engine import cached_transformer
from shotstream.engine.causal_rollout import ShotInputs, ShotRollout
from shotstream.engine.sampler import Sampler
from shotstream.model import rotary, transformer
from shotstream.model.config import ModelConfig
from shotstream.story.layout import shot_layout
from shotstream.weights.build import networks
from tiny import live_model

READS = {
    "item",
    "tolist",
    "cpu",
    "numpy",
    "__bool__",
    "__int__",
    "__float__",
    "__index__",
    "nonzero",
    "equal",
    "allclose",
}
SENDS = "empty_like"
"""What stands for `send` here, so that it can be told from other ways to the device."""


class Crossings(TorchFunctionMode):
    """Notes every function that reads a device tensor back, or makes one of the host's. The device is meta."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = [tensor for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)]
        if func.__name__ in READS and any(tensor.is_meta for tensor in given):
            self.names.append(func.__name__)
        out = func(*args, **(kwargs or {}))
        made = [tensor for tensor in tree_leaves(out) if isinstance(tensor, Tensor)]
        if not all(tensor.is_meta for tensor in given) and any(tensor.is_meta for tensor in made):
            self.names.append(func.__name__)
        return out


def on_the_device(config: ModelConfig, chunks: int) -> ShotRollout:
    """A shot of which everything but the layout is on the device."""
    with torch.device("meta"):
        network, _, _ = networks(config, None)
        context = torch.zeros(1, PAPER_SHOT.context_latents, config.transformer.in_dim, 4, 6)
        text = torch.zeros(1, 2, config.text_encoder.text_len, config.text_encoder.dim)
        cache = network.new_cache(
            1,
            (4, 6),
            PAPER_SHOT.context_latents + PAPER_SHOT.max_latents,
            PAPER_SHOT.context_latents + PAPER_SHOT.chunk_latents,
        )
        noise = torch.zeros(1, PAPER_SHOT.chunk_latents, *context.shape[2:])
    layout = shot_layout(1, [0] * PAPER_SHOT.context_latents, PAPER_SHOT, PAPER_SHOT.latents_of_chunks(chunks))
    sampler = Sampler.from_config(config.sampler)
    return ShotRollout(network, cache, ShotInputs.of(context, text, layout), lambda _, __: noise, sampler)


@pytest.mark.parametrize("indicator", ["phase", "learned"])
@pytest.mark.parametrize("chunks", [3, 9], ids=["plain", "rolling"])
def test_a_shot_goes_on_without_waiting(chunks: int, indicator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cached_transformer, rotary, transformer):
        monkeypatch.setattr(module, "send", lambda tensor, device: torch.empty_like(tensor, device=device))
    config = live_model(layers=2)
    config = replace(config, transformer=replace(config.transformer, indicator=indicator))
    with torch.inference_mode():
        rollout = on_the_device(config, chunks)
        next(rollout)
        with Crossings() as crossings:
            assert sum(1 for _ in rollout) == chunks - 1
            rollout.steer(torch.zeros(1, 1, config.text_encoder.text_len, config.text_encoder.dim, device="meta"))
    assert set(crossings.names) == {SENDS}


@pytest.mark.parametrize("cross", [lambda x: x.to("meta"), lambda x: torch.zeros(2, device="meta").add_(x.sum())])
def test_another_way_to_the_device_is_seen(cross: Callable[[Tensor], Tensor]) -> None:
    host = torch.zeros(2)
    with Crossings() as crossings:
        cross(host)
    assert crossings.names in (["to"], ["add_"])


def test_reading_back_is_seen() -> None:
    with Crossings() as crossings, pytest.raises((RuntimeError, NotImplementedError)):
        torch.zeros(2, device="meta").tolist()
    assert crossings.names == ["tolist"]
