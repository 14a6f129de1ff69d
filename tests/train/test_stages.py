"""The whole recipe at the tiny preset, by the commands people use: every stage, export, and a story from it."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import shotstream
from shotstream.cli import main
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.data.batches import Batch
from shotstream.data.samples import as_pixels
from shotstream.data.storyworld import TRAINING_SEEDS
from shotstream.engine.sampler import Sampler
from shotstream.model.config import ChunkNoiseKind, ConvCodecConfig
from shotstream.model.conv_codec import ConvCodec
from shotstream.model.transformer import Transformer
from shotstream.model.velocity import Conditions, predict_teacher_forced_velocity
from shotstream.train.build_stage import build_stage
from shotstream.train.config import CodecTraining, LoopConfig
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import NETWORK
from shotstream.train.lora import merge_trained_adapters
from shotstream.train.losses import subject_weights
from shotstream.train.presets import PRESETS, STORYWORLD, TINY, Preset, get_preset
from shotstream.train.recipe import RECIPE_FILE, STAGES, Run
from shotstream.train.rng import normal
from shotstream.train.rollout import resample_history
from shotstream.train.stages.base import BaseStage, initialise, teacher_forced_loss
from shotstream.train.stages.codec import CodecStage, clips, codec_loss, fit_linear, sample_clip
from shotstream.train.stages.text import ABSENT, QUERY_CLASSES, trait_targets
from shotstream.world.render import render_frames
from shotstream.world.stories import sample_story
from shotstream.world.traits import COLOURS, SPECIES

Contents = Callable[[Path], dict[str, Tensor]]
Command = Callable[..., list[str]]
Copy = Callable[..., Path]
Lively = Callable[..., Preset]
TRAINED = tuple(stage for stage in STAGES if stage != "trajectories")


@pytest.fixture(scope="module")
def run(finished: Path, lively: Lively) -> Run:
    """The finished run, opened as the stages open it."""
    return Run(finished, lively(), DistributedContext(torch.device("cpu"), lively().distributed))


@pytest.fixture(scope="module")
def exported(finished: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that run has made."""
    directory = tmp_path_factory.mktemp("exported") / "model"
    assert main([*command("export", finished), "-o", str(directory)]) == 0
    return directory


def test_every_stage_leaves_a_checkpoint_and_metrics(finished: Path, contents: Contents, lively: Lively) -> None:
    for stage in TRAINED:
        rows = [json.loads(line) for line in (finished / stage / "metrics.jsonl").read_text().splitlines()]
        steps = getattr(TINY, stage).loop.steps
        assert [row["step"] for row in rows] == list(range(1, steps + 1))
        assert all(np.isfinite(value) for row in rows for name, value in row.items() if name.endswith("/loss"))
        assert int(contents(finished / stage)["step"]) == steps
    assert json.loads((finished / RECIPE_FILE).read_text()) == json.loads(json.dumps(to_dict(lively())))


def test_a_finished_stage_is_not_made_again(
    copy: Copy, command: Command, contents: Contents, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = copy("again")
    before = {stage: contents(directory / stage) for stage in TRAINED}
    told = {path: path.read_bytes() for path in directory.rglob("metrics.jsonl")}
    assert len(told) == len(TRAINED)
    assert main(command("all", directory)) == 0
    assert all(path.read_bytes() == rows for path, rows in told.items())
    for stage, kept in before.items():
        after = contents(directory / stage)
        assert all(torch.equal(after[name], value) for name, value in kept.items())
    assert capsys.readouterr().out == ""


def test_the_exported_directory_opens_and_tells_a_story(exported: Path) -> None:
    model = shotstream.open(exported, device="cpu", dtype="float32")
    assert model.config == replace(TINY.model, sampler=TINY.student), "the latest stage's, sampled as a student is"
    with model.story("A red fox in a forest by day.", seed=3) as story:
        made = [list(story.shot(text, chunks)) for text, chunks in (("wide shot: it walks left.", 2), ("it jumps.", 1))]
    assert [[len(frames) for frames in shot] for shot in made] == [[9, 12], [9]]
    assert all(frames.shape[1:] == (80, 128, 3) and frames.dtype == np.uint8 for shot in made for frames in shot)
    assert np.concatenate(made[0]).std() > 0


def test_what_is_exported_is_the_average_with_adapters_merged_in_bfloat16(
    finished: Path, exported: Path, contents: Contents
) -> None:
    kept = contents(finished / "stage2")
    average = {name.removeprefix("ema."): value for name, value in kept.items() if name.startswith("ema.")}
    average = merge_trained_adapters(average, TINY.stage2.lora, Path())
    weights = shotstream.open(exported, device="cpu", dtype="float32").parts.transformer.state_dict()
    assert weights.keys() == average.keys()
    assert all(torch.equal(weights[name], average[name].bfloat16().float()) for name in weights)
    before = contents(finished / "stage1")
    changed = [name for name in weights if not torch.equal(average[name], before[f"ema.{name}"])]
    assert changed
    assert all(name.startswith("blocks.") for name in changed)


@pytest.mark.parametrize("stage", ["base", "teacher", "init"])
def test_any_stage_can_be_exported_as_it_is_sampled(
    finished: Path, command: Command, tmp_path: Path, run: Run, stage: str
) -> None:
    target = tmp_path / stage
    assert main([*command("export", finished), "-o", str(target), "--stage", stage]) == 0
    model = shotstream.open(target, device="cpu", dtype="float32")
    assert model.config.sampler == run.sampler(stage)
    with model.story("A red fox in a forest by day.", seed=3) as story:
        assert [len(frames) for frames in story.shot("wide shot: it walks left.", 1)] == [9]


def test_export_leaves_the_run_as_it_is(copy: Copy, command: Command, tmp_path: Path) -> None:
    run = copy("run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    changed = command("export", run, changes=("teacher.loop.steps=9",))
    assert main([*changed, "-o", str(tmp_path / "model"), "--stage", "base"]) == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_stage_without_a_model_is_not_exported(
    finished: Path, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stage in ("codec", "trajectories", "stag1"):
        assert main([*command("export", finished), "-o", str(tmp_path / "model"), "--stage", stage]) == 2
        assert f"expected a stage of stage2, stage1, init, teacher, base, policy to export, got '{stage}'" in (
            capsys.readouterr().err
        )


def test_adapters_are_merged_and_trained_on_as_they_were(
    copy: Copy, lively: Lively, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run, distributed = copy("run"), DistributedContext(torch.device("cpu"), lively().distributed)
    one, other = (Run(run, lively(*changes), distributed) for changes in ((), ("stage2.lora.alpha=64",)))
    assert all(torch.equal(value, other.weights("stage2")[name]) for name, value in one.weights("stage2").items())
    assert main(command("stage2", run, changes=("stage2.lora.alpha=64",))) == 2
    assert "stage2 was made with another alpha" in capsys.readouterr().err


def test_export_never_overwrites(
    finished: Path, exported: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command("export", finished), "-o", str(exported)]) == 2
    assert "not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "without", "first"),
    [
        ("base", "codec", "codec"),
        ("base", "text", "text"),
        ("teacher", "base", "base"),
        ("trajectories", "teacher", "teacher"),
        ("init", "teacher", "teacher"),
        ("init", "trajectories", "trajectories"),
        ("stage1", "init", "init"),
        ("stage2", "stage1", "stage1"),
    ],
)
def test_a_stage_says_which_one_comes_first(
    copy: Copy, command: Command, capsys: pytest.CaptureFixture[str], stage: str, without: str, first: str
) -> None:
    assert main(command(stage, copy("run", stage, without))) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"run 'shotstream train {first}'" in error


def test_export_of_nothing_says_what_comes_first(
    tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command("export", tmp_path / "new"), "-o", str(tmp_path / "model")]) == 2
    assert "run 'shotstream train base' first" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'storyworld'"):
        get_preset("storywrld")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_together(name: str) -> None:
    preset = get_preset(name)
    model = preset.model
    assert model.transformer.in_dim == model.transformer.out_dim == model.codec_channels
    assert (model.transformer.text_dim, model.transformer.text_len) == (
        model.text_encoder.dim,
        model.text_encoder.text_len,
    )
    assert sum(preset.shots.chunk_shares) == pytest.approx(1)
    assert preset.student.kind == "few_step"
    assert preset.trajectories.batches <= preset.shots.batches * preset.teacher.loop.micro_batches
    labels = {stage.context_timestep for stage in (preset.teacher, preset.stage1, preset.stage2)}
    assert len(labels) == 1, "teacher and scores see the context labelled alike"


def test_the_loss_is_of_noisy_latents_only_and_a_function_of_the_step(run: Run) -> None:
    batch = run.shots(1)(0).to(run.distributed.device)
    torch.manual_seed(0)
    transformer = Transformer(TINY.model.transformer)
    initialise(transformer)
    losses = [float(teacher_forced_loss(transformer, batch, None, TINY.base, step).detach()) for step in (5, 5, 6)]
    assert losses[0] == losses[1] != losses[2]
    variance = float(batch.target.square().mean()) + 1  # a head that predicts nothing errs by noise - x0
    assert losses[0] == pytest.approx(variance, rel=0.3)


def test_the_subject_weighs_as_much_as_all_else_and_places_one_in_the_mean() -> None:
    subjects = torch.zeros(2, 6, 6, 8)
    subjects[:, :, 2:4, 2:5] = 1
    shown = subjects > 0
    weights = subject_weights(subjects, 100.0)
    assert weights is not None
    torch.testing.assert_close(weights.mean((1, 2, 3)), torch.ones(2))
    more = (weights - weights[~shown].mean()) * shown
    torch.testing.assert_close(more.mean(), weights[~shown].mean())
    capped = subject_weights(subjects, 3.0)
    assert capped is not None
    torch.testing.assert_close(capped[shown].mean() / capped[~shown].mean(), torch.tensor(4.0))
    nowhere = subject_weights(torch.zeros(2, 6, 6, 8), 3.0)
    assert nowhere is not None
    assert bool((nowhere == 1).all())
    assert subject_weights(subjects, 0.0) is None


def test_the_loss_looks_at_the_subject_where_it_is_asked_to(run: Run) -> None:
    batch = run.shots(1)(0).to(run.distributed.device)
    assert batch.subjects is not None
    assert 0 < float(batch.subjects.mean()) < 0.6
    torch.manual_seed(0)
    transformer, at_subjects = Transformer(TINY.model.transformer), replace(TINY.base, subject_weight=20.0)
    losses = [
        float(teacher_forced_loss(transformer, one, None, config, 5).detach())
        for one, config in (
            (batch, TINY.base),
            (replace(batch, subjects=None), at_subjects),
            (batch, at_subjects),
        )
    ]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("carried", [False, True])
def test_noisy_copies_of_a_shot_are_each_as_if_alone(long_batch: Batch, carried: bool) -> None:
    """Their velocities are those of separate forwards, and the loss is the mean of theirs."""
    torch.manual_seed(0)
    prediction = "clean" if carried else "velocity"
    shape = replace(
        TINY.model.transformer, previous=carried, ffn_conv=carried, copy_previous=carried, prediction=prediction
    )
    transformer, batch = Transformer(shape), long_batch
    past, latents = batch.target[:, : -PAPER_SHOT.chunk_latents], batch.target.shape[1]
    noisy = torch.randn_like(batch.target.repeat(1, 2, 1, 1, 1))
    sigmas = torch.rand(noisy.shape[:2])

    def velocity(noisy: Tensor, sigmas: Tensor, copies: int) -> Tensor:
        given = Conditions.of(transformer, batch.context, batch.text, batch.layout, past, copies)
        return predict_teacher_forced_velocity(transformer, noisy, sigmas, given)

    with torch.no_grad():
        alone = [velocity(noisy[:, part], sigmas[:, part], 1) for part in (slice(latents), slice(latents, None))]
        torch.testing.assert_close(velocity(noisy, sigmas, 2), torch.cat(alone, 1), rtol=1e-5, atol=1e-5)

        seen: list[Tensor] = []
        transformer.register_forward_hook(lambda _, __, made: seen.append(made))
        config = replace(TINY.base, noise_copies=2, full_weight_sigma=1e-6, history_noise=0.0)
        loss = teacher_forced_loss(transformer, batch, None, config, 5)
        noise = normal(batch.target.repeat(1, 2, 1, 1, 1), "base-noise", 5, 0)
        error = seen[0][:, -2 * latents :] - (noise - batch.target.repeat(1, 2, 1, 1, 1))
        torch.testing.assert_close(loss, error.square().mean())


@pytest.fixture
def long_batch(run: Run) -> Batch:
    """Shots of more than one chunk."""
    batches = (batch.to(run.distributed.device) for batch in map(run.shots(1), range(20)))
    return next(batch for batch in batches if batch.target.shape[1] > PAPER_SHOT.chunk_latents)


def test_the_past_is_said_to_be_clean_and_has_a_little_noise(long_batch: Batch) -> None:
    batch, seen = long_batch, []
    transformer = Transformer(TINY.model.transformer)
    transformer.register_forward_pre_hook(lambda _, given: seen.append(given[:2]))
    errors = []
    for history_noise in (0.0, 0.25):
        teacher_forced_loss(transformer, batch, None, replace(TINY.base, history_noise=history_noise), 0)
        sequence, sigmas = seen[-1]
        clean = sequence.shape[1] - batch.target.shape[1]
        assert torch.equal(sequence[:, : PAPER_SHOT.context_latents], batch.context)
        assert bool((sigmas[:, :clean] == 0).all())
        assert bool((sigmas[:, clean:] > 0).all())
        before = PAPER_SHOT.context_latents
        errors.append(float((sequence[:, before:clean] - batch.target[:, : clean - before]).abs().max()))
    assert errors[0] == 0
    assert 0.1 < errors[1] < 0.25 * (5 + float(batch.target.abs().max()))


def test_a_past_of_its_own_follows_the_truth_as_near_as_its_level(run: Run, long_batch: Batch) -> None:
    sampler, network = (
        Sampler.from_config(STORYWORLD.model.sampler),
        build_stage(run, "base").state.trained[NETWORK].network,
    )

    def made(
        batch: Batch, highest: float, step: int = 0, chunk_noise: ChunkNoiseKind = "fresh", later_start: int = 0
    ) -> Tensor:
        assert isinstance(network, Transformer)
        drawn = replace(sampler, chunk_noise=chunk_noise, later_start=later_start)
        return resample_history(network, batch, drawn, highest, run.distributed, step)

    true = long_batch.target[:, : -PAPER_SHOT.chunk_latents]
    near, far = made(long_batch, 0.0), made(long_batch, 1.0)
    assert near.shape == far.shape == true.shape
    assert not near.requires_grad
    assert 0 < float((near - true).square().mean()) < float((far - true).square().mean())
    assert torch.equal(near, made(long_batch, 0.0))
    last = long_batch.target.clone()
    last[:, -PAPER_SHOT.chunk_latents :] += 1
    assert torch.equal(near, made(replace(long_batch, target=last), 0.0)), "what is to be learnt is not seen"
    assert not torch.equal(near, made(long_batch, 0.0, 1))
    for other in (made(long_batch, 0.0, chunk_noise="mirrored"), made(long_batch, 0.0, later_start=3)):
        assert torch.equal(near, other), "every chunk is near its own truth"
    assert torch.equal(far, made(long_batch, 1.0, later_start=1))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_base_sees_its_own_past_as_often_as_asked(run: Run, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, bool]] = []

    def note(_network: Transformer, batch: Batch, history: Tensor | None, *_: object) -> Tensor:
        given.append((batch.target.shape[1], history is not None))
        return torch.zeros(())

    monkeypatch.setattr("shotstream.train.stages.base.teacher_forced_loss", note)
    config = replace(TINY.base, picture_steps=0, resampled_share=share)
    network = build_stage(run, "base").state.trained[NETWORK].network
    assert isinstance(network, Transformer)
    stage = BaseStage(network, run.pictures(), run.shots(1), TINY.model.sampler, config, run.distributed)
    for step in range(12):
        stage.loss(NETWORK, step, 0)
    assert {own for latents, own in given if latents > PAPER_SHOT.chunk_latents} == {share == 1.0}
    first = [own for latents, own in given if latents <= PAPER_SHOT.chunk_latents]
    assert not any(first), "there is no past before a first chunk"


@torch.no_grad()
def psnr(codec: ConvCodec) -> float:
    """Peak signal-to-noise ratio in dB over the first shot of a held-out story."""
    story = sample_story(TRAINING_SEEDS)
    pixels = as_pixels([render_frames(story, 0, range(story.shots[0].frames))])
    decoded = codec.decode(codec.encode(pixels)).clamp(-1, 1)
    return -10 * math.log10(float((decoded - pixels).square().mean()) / 4)


CONV_CODEC = ConvCodecConfig("conv", 16, (8, 8), (1, 1), (8, 8), (1, 1))


def test_the_fitted_linear_maps_reconstruct_a_still_picture_and_give_latents_of_size_one() -> None:
    codec = ConvCodec(CONV_CODEC)
    before = psnr(codec)
    fit_linear(codec, 100)
    assert psnr(codec) > max(17, before + 8)
    latents = codec.encode(clips(range(20))).detach()
    assert float(latents.square().mean().sqrt()) == pytest.approx(1, abs=0.2)
    still = as_pixels([np.repeat(sample_clip(3)[:1], 9, axis=0)])
    first, later = codec.encode(still)[0, :2].detach()
    assert torch.allclose(first, later, atol=1e-5)


def test_a_codec_learns_from_noisy_latents_and_keeps_their_size() -> None:
    torch.manual_seed(0)
    codec = ConvCodec(CONV_CODEC)
    fit_linear(codec, 100)
    config = CodecTraining(LoopConfig(steps=40, ema_decay=0.9), batch=4)
    stage = CodecStage(codec, config, torch.device("cpu"))
    held = clips(range(1000, 1008))

    def error() -> float:
        with torch.no_grad():
            return float(codec_loss(codec, held, 0.2, 0))

    before, (trained,) = error(), stage.state.trained.values()
    for step in range(40):
        stage.loss(NETWORK, step, 0).backward()
        trained.update(step)
    assert error() < before
    assert float(codec.encode(held).square().mean()) == pytest.approx(1, abs=0.3)


def test_trait_targets_are_within_their_sizes() -> None:
    for seed in range(50):
        story = sample_story(seed)
        for shot in range(len(story.shots)):
            targets = trait_targets(story, shot)
            sizes = [size for query in QUERY_CLASSES for size in query]
            assert len(targets) == len(sizes)
            assert all(0 <= target < size for target, size in zip(targets, sizes, strict=True))


def test_the_last_traits_are_those_of_who_is_in_the_shot_in_order() -> None:
    for story in map(sample_story, range(20)):
        for shot in range(len(story.shots)):
            first, second = trait_targets(story, shot)[-4:-2], trait_targets(story, shot)[-2:]
            cast = [[SPECIES.index(one.species) + 1, COLOURS.index(one.colour) + 1] for one in story.cast_of(shot)]
            assert [first, second] == (cast if len(cast) == 2 else [*cast, [ABSENT, ABSENT]])


def test_clips_are_a_function_of_their_seed() -> None:
    one, again, *others = (sample_clip(seed) for seed in (1, 1, 2, 3))
    assert one.shape == (9, 80, 128, 3)
    assert np.array_equal(one, again)
    assert all(not np.array_equal(a, b) for a, b in pairwise([one, *others]))
