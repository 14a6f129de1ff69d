"""A network with its optimisers: AdamW, and Muon for the matrices inside blocks where the preset asks for it."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from shotstream.train.config import OptimizerConfig
from shotstream.train.muon import Muon, is_hidden_matrix


class TrainedNetwork:
    """A network that is trained, its optimisers, and the schedule of its learning rate."""

    def __init__(self, network: nn.Module, config: OptimizerConfig, steps: int, *, bfloat16: bool = False) -> None:
        """Create the optimisers of the weights of `network` that need gradients. Weights and moments stay float32.

        Args:
            network: on the device where it is trained.
            config: learning rate, its schedule, and which optimiser trains the matrices.
            steps: length of the run, which decides when the learning rate falls.
            bfloat16: whether Muon iterates in bfloat16.
        """
        self.network, self.config, self.steps = network, config, steps
        named = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        matrices = {
            name: one for name, one in named.items() if config.matrices == "muon" and is_hidden_matrix(name, one)
        }
        self.parameters = list(named.values())
        self.optimizers: list[torch.optim.Optimizer] = []
        if len(matrices) < len(named):
            groups = _rate_groups({name: one for name, one in named.items() if name not in matrices}, config)
            self.optimizers.append(
                torch.optim.AdamW(
                    groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
                )
            )
        if matrices:
            dtype = torch.bfloat16 if bfloat16 else torch.float32
            self.optimizers.append(Muon(matrices.values(), config.lr, config.weight_decay, dtype))

    def learning_rate(self, step: int) -> float:
        """Compute the learning rate of a step: linear warm-up, constant, then half a cosine down to its final share."""
        config = self.config
        rate = config.lr * min(1.0, (step + 1) / max(1, config.warmup_steps))
        left = (self.steps - step) / max(1.0, config.decay_share * self.steps)
        if left >= 1:
            return rate
        fall = 0.5 - 0.5 * math.cos(math.pi * left)
        return rate * (config.final_lr_ratio + (1 - config.final_lr_ratio) * fall)

    def update(self, step: int) -> float:
        """Clip the gradients, take one optimiser step, clear the gradients, and return their norm before clipping.

        If the norm is not finite, no weight changes.
        """
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        value = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        if math.isfinite(value):
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = self.learning_rate(step) * group.get("share", 1)
                optimizer.step()
        self.network.zero_grad(set_to_none=True)
        return value

    def skip(self) -> float:
        """Clear the gradients without a step, and return NaN as their norm."""
        self.network.zero_grad(set_to_none=True)
        return math.nan

    def moments(self) -> dict[str, dict[str, Tensor]]:
        """Return the optimisers' state of each trained weight, by its name; zeros before the first step."""
        names = {parameter: name for name, parameter in self.network.named_parameters()}
        kept = {}
        for optimizer in self.optimizers:
            parameters = [one for group in optimizer.param_groups for one in group["params"] if one.requires_grad]
            for parameter in parameters:
                state = optimizer.state[parameter]
                if not state and isinstance(optimizer, Muon):
                    state["momentum"] = torch.zeros_like(parameter)
                elif not state:
                    state["step"] = torch.zeros((), device=parameter.device)
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                kept[names[parameter]] = dict(state)
        return kept


def _rate_groups(named: Mapping[str, nn.Parameter], config: OptimizerConfig) -> list[dict[str, Any]]:
    """Return AdamW's groups, those with weights in them: at the full learning rate, and at `slow_share` of it."""
    slow = {name for name in named if any(part in name for part in config.slow_names)}
    shares = {1.0: named.keys() - slow, config.slow_share: slow}
    return [
        {"params": [named[name] for name in named if name in names], "share": share}
        for share, names in shares.items()
        if names
    ]
