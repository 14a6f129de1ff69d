"""Low-rank adapters for stage 2, by `peft`: on every linear map of a network's blocks."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from shotstream.core.extras import require_packages
from shotstream.model.transformer import Transformer
from shotstream.train.config import LoraConfig
from shotstream.weights.lora import merge_tensors


def add_adapters(network: Transformer, config: LoraConfig) -> None:
    """Freeze a network's weights and add adapters that are trained in their place; they begin by changing nothing.

    Raises:
        InputError: `peft` is not installed.
    """
    require_packages("training adapters", "peft")
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    targets = [name for name, module in network.blocks.named_modules(prefix="blocks") if isinstance(module, nn.Linear)]
    network.requires_grad_(False)
    inject_adapter_in_model(PeftConfig(r=config.rank, lora_alpha=config.alpha, target_modules=targets), network)


def merge_trained_adapters(state: Mapping[str, Tensor], config: LoraConfig, source: Path) -> dict[str, Tensor]:
    """Merge the adapters in the state of a network that `add_adapters` changed; the names are the original ones.

    Args:
        state: of the network with adapters.
        config: whose alpha the adapters were trained with.
        source: of the state, for messages.
    """
    adapters = {name: value for name, value in state.items() if ".lora_" in name}
    base = {name.replace(".base_layer.", "."): value for name, value in state.items() if name not in adapters}
    return merge_tensors(base, adapters, source, alpha=config.alpha)[0]
