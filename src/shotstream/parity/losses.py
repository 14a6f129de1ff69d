"""Check the training losses: their values, their gradients, and a self-forced rollout."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from shotstream.engine.causal_rollout import ShotInputs, ShotRollout
from shotstream.engine.sampler import Sampler
from shotstream.model.schedule import TRAIN_TIMESTEPS, few_step_sigmas, training_sigmas, training_weights
from shotstream.model.transformer import Transformer
from shotstream.parity.case import CaseResult, Golden, Recording
from shotstream.parity.model import RecordedShot, recorded_shot
from shotstream.train.losses import (
    Conditions,
    distribution_matching_gradient,
    distribution_matching_loss,
    flow_matching_loss,
    trajectory_loss,
)

LOSSES = "losses/cases.safetensors"
FAKE_WEIGHTS = "losses/fake_weights.safetensors"
STEPS = (1000.0, 740.0, 500.0, 260.0)
SHIFT = 8.0


@dataclass(frozen=True)
class LossCase:
    """The recorded inputs and outputs of one loss."""

    golden: Golden
    name: str
    recording: Recording

    def __getitem__(self, name: str) -> Tensor:
        return self.recording[f"{self.name}.{name}"]

    @property
    def shot(self) -> RecordedShot:
        """Return the layout and captions."""
        context = self["context"]
        return recorded_shot(self["shots"], self["text"], len(context))

    def conditions(self, network: Transformer) -> Conditions:
        """Return context, captions and token positions for `network`."""
        context, shot = self["context"], self.shot
        placement = network.make_positions(shot.frames.expand(len(context)), (context.shape[-2], context.shape[-1]))
        return Conditions(context, shot.text, placement, network.config)

    def sigmas(self, name: str) -> Tensor:
        """Return recorded timesteps as noise levels."""
        return self[name] / TRAIN_TIMESTEPS

    def compare(self, what: str, got: Tensor) -> CaseResult:
        """Compare one value or tensor with the recorded one."""
        tolerance = self.golden.coarse_tolerance
        expected = self[what].reshape(got.shape) if self[what].numel() == got.numel() else self[what]
        return self.golden.compare(f"losses/{self.name}.{what}", got, expected, tolerance=tolerance)

    def compare_gradients(self, network: nn.Module) -> Iterator[CaseResult]:
        """Compare the norms of all recorded gradients."""
        for name, parameter in network.named_parameters():
            recorded = f"grad_norm.{name}"
            if f"{self.name}.{recorded}" in self.recording:
                gradient = parameter.grad
                yield self.compare(recorded, torch.zeros(()) if gradient is None else gradient.float().norm())


def check_teacher(golden: Golden) -> Iterator[CaseResult]:
    """Check the next-shot teacher's flow matching loss, with its weight by timestep."""
    case = LossCase(golden, "fm", golden.tensors(LOSSES))
    network = _trainable(golden.transformer("dit"))
    sigmas = training_sigmas(SHIFT)
    index = case["timestep_index"].cpu()
    yield case.compare("timestep", sigmas[index].to(golden.device) * len(sigmas))
    yield case.compare("weight", training_weights(sigmas)[index].to(golden.device))
    loss = flow_matching_loss(
        network, case["latents"], case["noise"], case.sigmas("timestep"), case.conditions(network), case["weight"]
    )
    yield from _compare_loss(case, network, loss)


def check_critic(golden: Golden) -> Iterator[CaseResult]:
    """Check the fake score's flow matching loss on generated latents."""
    case = LossCase(golden, "critic", golden.tensors(LOSSES))
    network = _trainable(golden.transformer("dit", FAKE_WEIGHTS))
    loss = flow_matching_loss(
        network, case["generated"], case["noise"], case.sigmas("timestep"), case.conditions(network)
    )
    yield from _compare_loss(case, network, loss)


def check_causal_init(golden: Golden) -> Iterator[CaseResult]:
    """Check the regression on a teacher's trajectory with block-causal attention."""
    case = LossCase(golden, "ode", golden.tensors(LOSSES))
    network = _trainable(golden.transformer("causal"))
    loss = trajectory_loss(
        network, case["trajectory"], case.sigmas("timesteps"), case["step_index_drawn"], case.conditions(network)
    )
    yield from _compare_loss(case, network, loss)


def check_distribution_matching(golden: Golden) -> Iterator[CaseResult]:
    """Check the generator's distribution matching loss and its gradient at the generated latents."""
    case = LossCase(golden, "dmd", golden.tensors(LOSSES))
    real, fake = golden.transformer("dit"), golden.transformer("dit", FAKE_WEIGHTS)
    given = case.conditions(real)
    text = case["negative_text"][:, None].expand_as(given.text)
    generated = case["generated"].clone().requires_grad_()
    gradient = distribution_matching_gradient(
        real,
        fake,
        generated,
        case["noise"],
        case.sigmas("timestep"),
        given,
        replace(given, text=text),
        float(case["guidance"]),
    )
    loss = distribution_matching_loss(generated, gradient)
    loss.backward()
    yield case.compare("loss", loss)
    assert generated.grad is not None
    yield case.compare("grad_wrt_generated", generated.grad)


def check_self_forcing(golden: Golden) -> Iterator[CaseResult]:
    """Check a rollout over the dual cache that stops at a step, and the gradient through it."""
    case = LossCase(golden, "rollout", golden.tensors(LOSSES))
    network, shot = _trainable(golden.transformer("causal")), case.shot
    start, stop = case["noise"], int(case["exit_step"])
    batch, latents = start.shape[:2]
    each = network.config.shot.chunk_latents

    def noise(chunk: int, step: int) -> Tensor:
        if step == 0:
            return start[:, chunk * each : (chunk + 1) * each]
        drawn = case[f"renoise.{chunk * (stop + 1) + step - 1}"]  # one draw a chunk was recorded and never used
        return drawn.reshape(batch, each, *drawn.shape[-3:])

    size = (start.shape[-2], start.shape[-1])
    cache = network.new_cache(batch, size, shot.context_latents + latents, shot.context_latents)
    sampler = Sampler("few_step", tuple(few_step_sigmas(STEPS, SHIFT)))
    inputs = ShotInputs.of(case["context"], shot.text, shot.layout)
    made = torch.cat(list(ShotRollout(network, cache, inputs, noise, sampler, stop=stop, training=True)), 1)
    made.square().mean().backward()
    yield case.compare("latents", made)
    yield from case.compare_gradients(network)


def _compare_loss(case: LossCase, network: nn.Module, loss: Tensor) -> Iterator[CaseResult]:
    loss.backward()
    yield case.compare("loss", loss)
    yield from case.compare_gradients(network)


def _trainable(network: Transformer) -> Transformer:
    network.requires_grad_(True)
    network.zero_grad(set_to_none=True)
    return network
