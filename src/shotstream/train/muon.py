"""Muon: an optimiser that orthogonalises the momentum of each matrix before the update.

A gradient's few large directions no longer drown its many small ones. Source: K. Jordan et al., "Muon" (2024); the
scale is that of J. Liu et al., "Muon is scalable for LLM training" (2025), so that learning rates found for AdamW hold.
`torch.optim.Muon` takes one matrix at a time: on a CPU that took as long as half a training step, this takes a tenth of
one.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd polynomial of degree five that drives singular values towards 1, steepest at 0."""
ITERATIONS = 5
ADAMW_RMS = 0.2
"""Root mean square of AdamW's updates, in units of the learning rate."""


class Muon(torch.optim.Optimizer):
    """Optimiser for the matrices inside a network's blocks; embeddings, heads, norms and biases need AdamW.

    Matrices of one shape are stacked. Sharded ones are gathered: each process computes them all and keeps its shard.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Optimise linear maps and 1x1 convolutions.

        Args:
            parameters: their weights.
            lr: the rate, as AdamW understands it.
            weight_decay: the same.
            dtype: that of the iteration.
        """
        self._dtype = dtype
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Update the parameters that have a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in alike.items():
                matrices = torch.stack(self._directions(parameters)).flatten(2)
                updates = orthogonalise(matrices.to(self._dtype)).unflatten(2, shape[1:])
                scale = ADAMW_RMS * max(matrices.shape[1:]) ** 0.5
                own = [_shard(update.to(one.dtype), one) for one, update in zip(parameters, updates, strict=True)]
                weights: list[Tensor] = list(parameters)
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(weights, own, alpha=-group["lr"] * scale)

    def _directions(self, parameters: Sequence[nn.Parameter]) -> list[Float[Tensor, "m n ..."]]:
        """Update the momenta, and return Nesterov's look-ahead of whole matrices in float32."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)
        return [(one.full_tensor() if isinstance(one, DTensor) else one).float() for one in ahead]


def is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Return whether a parameter of that name is a matrix inside a block: of a linear map or a 1x1 convolution."""
    return "blocks." in name and (parameter.ndim == 2 or parameter.shape[2:] == (1, 1))


def orthogonalise(matrices: Float[Tensor, "k m n"]) -> Float[Tensor, "k m n"]:
    """Bring the singular values of each matrix near 1 (0.6 to 1.3, tiny ones less) by Newton-Schulz iteration.

    It runs in the dtype of the matrices.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def _shard(update: Tensor, parameter: nn.Parameter) -> Tensor:
    """Return this process's shard of an update that every process has whole."""
    if not isinstance(parameter, DTensor):
        return update
    whole = DTensor.from_local(update, parameter.device_mesh, [Replicate()] * parameter.device_mesh.ndim)
    return whole.redistribute(placements=parameter.placements)
