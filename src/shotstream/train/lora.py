"""Low-rank adapters for stage 2, by `peft`: on every linear map of a network's blocks."""

from collections.abc import Mapping

from torch import Tensor, nn

from shotstream.core.extras import require_packages
from shotstream.model.transformer import Transformer
from shotstream.train.config import LoraConfig

NAME = "default"


def add_adapters(network: Transformer, config: LoraConfig) -> None:
    """Freezes a network's weights and adds adapters that are trained in their place; they begin by changing nothing.

    Raises:
        InputError: `peft` is not installed.
    """
    require_packages("training adapters", "peft")
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    targets = [name for name, part in network.blocks.named_modules(prefix="blocks") if isinstance(part, nn.Linear)]
    network.requires_grad_(False)
    inject_adapter_in_model(PeftConfig(r=config.rank, lora_alpha=config.alpha, target_modules=targets), network, NAME)


def merge_adapters(state: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """Plain weights from the state of a network with adapters: W + alpha / rank B A, computed in float32."""
    merged = {}
    for name, value in state.items():
        if ".lora_" in name:
            continue
        plain = name.replace(".base_layer.", ".")
        stem = name.removesuffix(".base_layer.weight")
        if stem != name:
            down, up = (state[f"{stem}.lora_{side}.{NAME}.weight"].float() for side in "AB")
            value = (value.float() + config.alpha / config.rank * (up @ down)).to(value.dtype)
        merged[plain] = value
    return merged
