"""The optimiser of hidden matrices."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from shotstream.cli import main
from shotstream.train.config import OptimizerConfig
from shotstream.train.muon import Muon, is_hidden_matrix, orthogonalise
from shotstream.train.trained_network import TrainedNetwork


class Tower(nn.Module):
    """A network with a block, and maps around it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter = nn.Linear(8, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8)) for _ in range(2))

    def learn(self, step: int) -> None:
        x = self.enter(torch.randn(64, 8, generator=torch.Generator().manual_seed(step)))
        for block in self.blocks:
            x = x + block(x)
        x.square().mean().backward()


@pytest.mark.parametrize("shape", [(24, 24), (24, 64), (64, 24)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    made = orthogonalise(matrices)
    left, sizes, right = torch.linalg.svd(matrices, full_matrices=False)
    turned = left.mT @ made @ right.mT
    values = turned.diagonal(dim1=1, dim2=2)
    assert float(values[sizes > 0.02 * sizes.square().sum(1, keepdim=True).sqrt()].min()) > 0.6
    assert float(values.max()) < 1.3
    assert float((turned - torch.diag_embed(values)).abs().max()) < 1e-4


def test_it_is_pytorchs_in_higher_precision() -> None:
    ours, theirs = Tower(), Tower()
    mine = Muon([p for n, p in ours.named_parameters() if is_hidden_matrix(n, p)], lr=0.01, weight_decay=0.1)
    reference = torch.optim.Muon(
        [p for n, p in theirs.named_parameters() if is_hidden_matrix(n, p)],
        lr=0.01,
        weight_decay=0.1,
        adjust_lr_fn="match_rms_adamw",
    )
    before = [parameter.detach().clone() for parameter in ours.blocks.parameters()]
    for step in range(4):
        for tower, optimizer in ((ours, mine), (theirs, reference)):
            tower.zero_grad()
            tower.learn(step)
            optimizer.step()
    for one, other, start in zip(ours.blocks.parameters(), theirs.blocks.parameters(), before, strict=True):
        moved = float((one - start).detach().norm())
        assert (moved > 0) == (one.ndim == 2)
        assert float((one - other).detach().norm()) <= 0.1 * moved


def test_only_matrices_inside_blocks_are_left_to_it() -> None:
    tower = Tower()
    trained = TrainedNetwork(tower, OptimizerConfig(lr=0.1, matrices="muon"), 10)
    kept = trained.moments()
    assert {name for name, state in kept.items() if "momentum" in state} == {
        f"blocks.{block}.{layer}.weight" for block in (0, 1) for layer in (0, 2)
    }
    assert all("exp_avg" in state for name, state in kept.items() if "momentum" not in state)
    assert kept.keys() == dict(tower.named_parameters()).keys()


def test_it_may_be_left_everything() -> None:
    tower = Tower()
    tower.requires_grad_(False)
    for block in tower.blocks:
        block[0].weight.requires_grad_(True)
    trained = TrainedNetwork(tower, OptimizerConfig(lr=0.1, matrices="muon"), 10)
    tower.learn(0)
    trained.update(0)
    assert {name for state in trained.moments().values() for name in state} == {"momentum"}


def test_adapters_can_be_left_to_it(copy: Callable[..., Path], command: Callable[..., list[str]]) -> None:
    assert main(command("stage2", copy("run", "stage2"), changes=("stage2.generator.matrices=muon",))) == 0


def test_without_it_everything_is_adamws() -> None:
    assert all("exp_avg" in state for state in TrainedNetwork(Tower(), OptimizerConfig(), 10).moments().values())


def test_both_follow_the_rate() -> None:
    tower = Tower()
    trained = TrainedNetwork(tower, OptimizerConfig(lr=0.1, warmup_steps=10, matrices="muon"), 100)
    tower.learn(0)
    trained.update(0)
    rates = [group["lr"] for optimizer in trained.optimizers for group in optimizer.param_groups]
    assert rates == pytest.approx([0.01, 0.01])
    assert all(parameter.grad is None for parameter in tower.parameters())
