"""Losses of teacher, causal init and distillation, as functions of networks and tensors.

The context latents are always clean: in front of the target, or as its channels (`model.context_injection`). In front
they carry the target's timestep in teacher, real score and fake score (published behaviour; `context_timestep="clean"`
gives them 0), and 0 in the student.
Source: ShotStream section 3 and 4, DMD2, Self Forcing; reference section 7.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from shotstream.data.batches import Batch
from shotstream.model.attention import block_causal_plan
from shotstream.model.config import ContextTimestep
from shotstream.model.context_injection import carry_previous, previous_latents
from shotstream.model.schedule import add_noise, clean_from_velocity
from shotstream.model.transformer import Transformer
from shotstream.model.velocity import Conditions, Network, predict_teacher_forced_velocity, predict_velocity

MIN_SCORE_SIGMA, MAX_SCORE_SIGMA = 0.02, 0.98
"""Range of the noise levels at which scores are compared (reference section 7)."""


def flow_matching_loss(
    network: Network,
    target: Float[Tensor, "b f c h w"],
    noise: Float[Tensor, "b f c h w"],
    sigma: Float[Tensor, "b"],
    conditions: Conditions,
    weight: Float[Tensor, "b"] | None = None,
    context_timestep: ContextTimestep = "target",
    places: Float[Tensor, "b f h w"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the weighted mean squared error of the velocity: the loss of the teacher, and of the critic (weight 1).

    Args:
        target: clean latents; no gradient flows into them.
        sigma: noise level of each sample.
        weight: from `schedule.training_weights`, or None for 1.
        places: weights of the places of each latent, from `subject_weights`, or None for 1.
    """
    target = target.detach()
    noisy = add_noise(target, noise, sigma)
    velocity = predict_velocity(network, noisy, sigma, conditions, context_timestep)
    error = (velocity.float() - (noise - target)).square().mean(2)
    error = (error if places is None else error * places).mean((1, 2, 3))
    return (error if weight is None else error * weight).mean()


def low_noise_weights(sigmas: Float[Tensor, "*n"], full: float) -> Float[Tensor, "*n"]:
    """Return loss weights of noise levels: below `full`, an error of the clean estimate counts the same at all."""
    return (sigmas / sigmas.clamp(min=full)).square()


def subject_weights(subjects: Float[Tensor, "b f h w"] | None, most: float) -> Float[Tensor, "b f h w"] | None:
    """Compute loss weights of places: the subject of a shot weighs as much as all else; their mean over a sample is 1.

    A figure in a wide shot covers six hundredths of the picture, and its drawing hardly matters to an even mean. The
    best prediction does not depend on the weights, but how soon it is learnt does.

    Args:
        subjects: share of each place that shows the subject; None: nobody knows, and there are no weights.
        most: how much more a place that shows nothing else weighs, at most; 0: there are no weights.
    """
    if subjects is None or not most:
        return None
    covered = subjects.mean((1, 2, 3), keepdim=True).clamp(min=1e-6)
    weights = 1 + subjects * (1 / covered).clamp(max=most)
    return weights / weights.mean((1, 2, 3), keepdim=True)


def trajectory_loss(
    network: Network,
    trajectory: Float[Tensor, "b k f c h w"],
    sigmas: Float[Tensor, "k"],
    step_index: Int[Tensor, "b f"],
    conditions: Conditions,
) -> Float[Tensor, ""]:
    """Compute the loss of causal init: predict a teacher trajectory's end from one of its states for each chunk.

    Args:
        trajectory: the kept states, from noise to the clean end.
        sigmas: noise levels of the kept states; the last is 0.
        step_index: the state that each latent is given; a chunk takes that of its first latent. Networks that carry the
            latent before a chunk are given the trajectory's end of it. Chunks that are given
            the end itself (sigma 0) are seen by later chunks and add nothing to the loss.
    """
    each = conditions.config.shot.chunk_latents
    noisy, levels = _drawn_states(trajectory, sigmas, step_index, each)
    before = conditions.in_front
    plan = block_causal_plan(before, (each,) * (noisy.shape[1] // each))
    latents = conditions.join(noisy)
    if conditions.config.previous:
        earlier = previous_latents(trajectory[:, -1, :-each], each)
        latents = carry_previous(latents, F.pad(earlier, (0, 0, 0, 0, 0, 0, before, 0)), noisy.shape[2])
    every = torch.cat([levels.new_zeros(len(levels), before), levels], 1)
    velocity = network(latents, every, conditions.text, conditions.placement, plan=plan)[:, before:]
    return _end_error(trajectory, noisy, velocity, levels)


def teacher_forced_trajectory_loss(
    network: Transformer,
    batch: Batch,
    trajectory: Float[Tensor, "b k f c h w"],
    sigmas: Float[Tensor, "k"],
    step_index: Int[Tensor, "b f"],
) -> Float[Tensor, ""]:
    """Compute the loss of causal init on chunk-by-chunk trajectories: each chunk sees the clean ends of earlier ones.

    Args:
        network: in training.
        batch: contexts, captions and layout of the trajectories.
        trajectory: the kept states, from noise to the clean end.
        sigmas: noise levels of the kept states; the last is 0.
        step_index: as in `trajectory_loss`.
    """
    each = network.config.shot.chunk_latents
    noisy, levels = _drawn_states(trajectory, sigmas, step_index, each)
    given = Conditions.of(network, batch.context, batch.text, batch.layout, trajectory[:, -1, :-each])
    velocity = predict_teacher_forced_velocity(network, noisy, levels, given)
    return _end_error(trajectory, noisy, velocity, levels)


def _drawn_states(
    trajectory: Float[Tensor, "b k f c h w"], sigmas: Float[Tensor, "k"], step_index: Int[Tensor, "b f"], each: int
) -> tuple[Float[Tensor, "b f c h w"], Float[Tensor, "b f"]]:
    """Return the drawn state of each chunk of `each` latents, and its noise level for each latent."""
    index = step_index[:, ::each].repeat_interleave(each, 1)
    rows = torch.arange(len(trajectory), device=trajectory.device)[:, None]
    return trajectory[rows, index, torch.arange(index.shape[1], device=trajectory.device)], sigmas[index]


def _end_error(
    trajectory: Float[Tensor, "b k f c h w"],
    noisy: Float[Tensor, "b f c h w"],
    velocity: Float[Tensor, "b f c h w"],
    levels: Float[Tensor, "b f"],
) -> Float[Tensor, ""]:
    """Return the mean squared error of the clean estimates against the ends, over latents with noise."""
    clean = clean_from_velocity(noisy, velocity.float(), levels)
    scored = levels > 0
    error = (clean - trajectory[:, -1]).square().mean((2, 3, 4))
    return error[scored].sum() / scored.sum().clamp(min=1)


@torch.no_grad()
def distribution_matching_gradient(
    real: Network,
    fake: Network,
    generated: Float[Tensor, "b f c h w"],
    noise: Float[Tensor, "b f c h w"],
    sigma: Float[Tensor, "b"],
    conditions: Conditions,
    negative: Conditions,
    guidance: float = 3.0,
    context_timestep: ContextTimestep = "target",
    guided: tuple[float, float] = (0.0, 1.0),
) -> Float[Tensor, "b f c h w"]:
    """Compute the gradient of distribution matching: from what the real score prefers to what the fake one does.

    (fake - real) / mean|generated - real| over clean estimates of the re-noised samples; the real score is guided:
    conditional + guidance (conditional - unconditional), at the noise levels in the interval `guided`. Source: DMD,
    equation 7; reference section 7.
    """
    noisy = add_noise(generated, noise, sigma)

    def clean(network: Network, given: Conditions) -> Tensor:
        velocity = predict_velocity(network, noisy, sigma, given, context_timestep)
        return clean_from_velocity(noisy, velocity.to(noisy.dtype), sigma)

    conditional, unconditional = clean(real, conditions), clean(real, negative)
    weight = guidance * ((sigma >= guided[0]) & (sigma <= guided[1])).to(noisy)[:, None, None, None, None]
    wanted = conditional + weight * (conditional - unconditional)
    scale = (generated - wanted).abs().mean((1, 2, 3, 4), keepdim=True)
    return torch.nan_to_num((clean(fake, conditions) - wanted) / scale)


def distribution_matching_loss(
    generated: Float[Tensor, "b f c h w"], gradient: Float[Tensor, "b f c h w"]
) -> Float[Tensor, ""]:
    """Return a loss whose gradient at the latents is `gradient` over their number: 0.5 MSE(x, x - gradient)."""
    return 0.5 * F.mse_loss(generated.double(), (generated - gradient).detach().double())
