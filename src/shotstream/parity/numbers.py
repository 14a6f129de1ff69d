"""Check what needs no weights: the schedule, context sampling, tensor names and shapes of the full-size networks."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from types import MappingProxyType

import torch
from torch import nn

from shotstream.model.config import SamplerConfig, TextEncoderConfig, TransformerConfig
from shotstream.model.device import shapes_only
from shotstream.model.schedule import (
    TRAIN_TIMESTEPS,
    euler_sigmas,
    few_step_sigmas,
    training_sigmas,
    training_weights,
)
from shotstream.model.text_encoder import TextEncoder
from shotstream.model.transformer import Transformer
from shotstream.model.wan_vae import WanVAE
from shotstream.parity.case import CPU_TOLERANCE, CaseResult, Golden, compare_exactly
from shotstream.story.selectors import select_dynamic

SCHEDULER = "scheduler.json"
CONTEXT_SAMPLING = "context_sampling.json"
FULL_SIZE: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {
        "wan2.1-t2v-1.3b": lambda: Transformer(TransformerConfig()),
        "wan2.1-vae": WanVAE,
        "umt5-xxl-encoder": lambda: TextEncoder(TextEncoderConfig()),
    }
)
"""The published networks by the name of their manifest."""


def check_scheduler(golden: Golden) -> Iterator[CaseResult]:
    """Check every recorded number of the noise schedule."""
    recorded = golden.json(SCHEDULER)
    shift, steps = recorded["shift"], recorded["steps"]
    compare = partial(_compare_numbers, golden)
    yield compare("shift", [SamplerConfig().shift], [shift])
    yield compare("num_train_timesteps", [TRAIN_TIMESTEPS], [recorded["num_train_timesteps"]])
    sigmas = training_sigmas(shift).double()
    for key, values in (
        ("train_timesteps_every_50", sigmas * TRAIN_TIMESTEPS),
        ("train_weights_every_50", training_weights(sigmas)),
    ):
        yield compare(key, values[:: _number_in(key)].tolist(), recorded[key])
    yield compare("steps.raw", SamplerConfig().steps, steps["raw"])
    yield compare("steps.warped", _timesteps(few_step_sigmas(steps["raw"], shift)), steps["warped"])
    for key in [key for key in steps if key.startswith("warped_")]:
        nominal = [float(number) for number in key.split("_")[1:]]
        yield compare(f"steps.{key}", _timesteps(few_step_sigmas(nominal, shift)), steps[key])
    ladder = euler_sigmas(_number_in("ode50"), shift)[:-1]
    yield compare("ode50_timesteps", _timesteps(ladder), recorded["ode50_timesteps"])
    yield compare("ode50_sigmas", ladder, recorded["ode50_sigmas"])
    kept = [_nearest(ladder, sigma) for sigma in few_step_sigmas(steps["raw"], shift)]
    yield compare("ode_saved_steps", kept, recorded["ode_saved_steps"])


def check_context_sampling(golden: Golden) -> Iterator[CaseResult]:
    """Check the frames that dynamic context sampling chooses (counted through the story), and their shots."""
    for case in golden.json(CONTEXT_SAMPLING):
        lengths, budget = case["shot_lengths"], case["budget"]
        starts = list(accumulate(lengths, initial=0))
        chosen = [(starts[ref.shot] + ref.frame, ref.shot) for ref in select_dynamic(lengths, budget)]
        recorded = list(zip(case["frame_indices"], case["shots"], strict=True))
        yield compare_exactly(f"context_sampling/{'-'.join(map(str, lengths))}/{budget}", chosen, recorded)


def check_manifest(golden: Golden, name: str) -> Iterator[CaseResult]:
    """Check names and shapes of all tensors of a full-size network, built on the meta device."""
    with shapes_only():
        network = FULL_SIZE[name]()
    ours = {key: list(value.shape) for key, value in network.state_dict().items()}
    recorded = golden.json(f"manifest/{name}.json")
    names = sorted(ours.keys() | recorded.keys())
    got, expected = ([(key, shapes.get(key)) for key in names] for shapes in (ours, recorded))
    yield compare_exactly(f"manifest/{name}", got, expected)


def _compare_numbers(golden: Golden, name: str, got: Sequence[float], expected: Sequence[float]) -> CaseResult:
    ours, recorded = (torch.tensor(values, dtype=torch.float64) for values in (got, expected))
    return golden.compare(f"scheduler/{name}", ours, recorded, tolerance=CPU_TOLERANCE)


def _timesteps(sigmas: Sequence[float]) -> list[float]:
    return [sigma * TRAIN_TIMESTEPS for sigma in sigmas]


def _nearest(ladder: Sequence[float], sigma: float) -> int:
    return min(range(len(ladder)), key=lambda index: abs(ladder[index] - sigma))


def _number_in(key: str) -> int:
    found = re.search(r"\d+", key)
    assert found is not None
    return int(found[0])
