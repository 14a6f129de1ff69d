"""The whole recipe at the tiny preset, by the commands people use: codec, text, base, export, and a story from it."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import shotstream
from shotstream.cli import main
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.data.latents import LatentPool
from shotstream.data.storyworld import TRAINING_SEEDS, as_pixels
from shotstream.model.block_codec import BlockCodec
from shotstream.model.config import BlockCodecConfig
from shotstream.model.transformer import Transformer
from shotstream.train.assemble import load_codec, load_text_encoder
from shotstream.train.base import chunk_sigmas, flow_matching_loss, initialise
from shotstream.train.codec import fit_linear, psnr, sample_clip
from shotstream.train.presets import PRESETS, TINY, get_preset
from shotstream.train.text import TRAIT_SIZES, trait_targets
from shotstream.world.stories import sample_story

STAGES = ("codec", "text", "base")


def command(stage: str, run: Path, *options: str) -> int:
    return main(["train", stage, "--preset", "tiny", "--run", str(run), *options])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every stage done."""
    directory = tmp_path_factory.mktemp("run")
    for stage in STAGES:
        assert command(stage, directory) == 0
    return directory


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that run has made."""
    directory = tmp_path_factory.mktemp("exported") / "model"
    assert command("export", run, "-o", str(directory)) == 0
    return directory


def test_every_stage_leaves_a_checkpoint_and_figures(run: Path) -> None:
    for stage in STAGES:
        rows = [json.loads(line) for line in (run / stage / "metrics.jsonl").read_text().splitlines()]
        steps = getattr(TINY, stage).loop.steps
        assert [row["step"] for row in rows] == list(range(1, steps + 1))
        assert all(np.isfinite(row["loss"]) for row in rows)
        assert torch.load(run / stage / "checkpoint.pt", weights_only=True)["step"] == steps
    assert json.loads((run / "preset.json").read_text()) == json.loads(json.dumps(to_dict(TINY)))


def test_a_finished_stage_is_not_made_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "base" / "metrics.jsonl").read_bytes()
    assert command("base", run) == 0
    assert (run / "base" / "metrics.jsonl").read_bytes() == before
    assert capsys.readouterr().out == ""


def test_the_exported_directory_opens_and_tells_a_story(exported: Path) -> None:
    model = shotstream.open(exported, device="cpu", dtype="float32")
    assert model.config == TINY.model
    with model.story("A red fox in a forest by day.", seed=3) as story:
        made = [list(story.shot(text, chunks)) for text, chunks in (("wide shot: it walks left.", 2), ("it jumps.", 1))]
    assert [[len(frames) for frames in shot] for shot in made] == [[9, 12], [9]]
    assert all(frames.shape[1:] == (80, 128, 3) and frames.dtype == np.uint8 for shot in made for frames in shot)
    assert np.concatenate(made[0]).std() > 0


def test_what_is_exported_is_the_average_in_bfloat16(run: Path, exported: Path) -> None:
    average = torch.load(run / "base" / "checkpoint.pt", weights_only=True)["ema"]
    model = shotstream.open(exported, device="cpu", dtype="float32")
    weights = model.parts.transformer.state_dict()
    assert weights.keys() == average.keys()
    assert all(torch.equal(weights[name], average[name].bfloat16().float()) for name in weights)


def test_export_never_overwrites(run: Path, exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("export", run, "-o", str(exported)) == 2
    assert "not empty" in capsys.readouterr().err


@pytest.mark.parametrize(("stage", "missing"), [("base", "codec"), ("export", "codec")])
def test_a_stage_says_which_one_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str, missing: str
) -> None:
    options = ("-o", str(tmp_path / "model")) if stage == "export" else ()
    assert command(stage, tmp_path, *options) == 2
    assert f"shotstream train {missing}" in capsys.readouterr().err


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'storyworld'"):
        get_preset("storywrld")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_together(name: str) -> None:
    model = get_preset(name).model
    assert model.block_codec is not None
    assert model.transformer.in_dim == model.transformer.out_dim == model.block_codec.latent_channels
    assert (model.transformer.text_dim, model.transformer.text_len) == (
        model.text_encoder.dim,
        model.text_encoder.text_len,
    )
    assert sum(get_preset(name).base.pool.chunk_shares) == pytest.approx(1)


def test_the_loss_is_of_noisy_latents_only_and_a_function_of_the_seed(run: Path, tmp_path: Path) -> None:
    codec, encoder = load_codec(run, TINY.model), load_text_encoder(run, TINY.model)
    batch = LatentPool(tmp_path, TINY.base.pool, codec, encoder)(0)
    torch.manual_seed(0)
    transformer = Transformer(TINY.model.transformer)
    initialise(transformer)
    losses = [
        float(flow_matching_loss(transformer, transformer, batch, TINY.base, seed).detach()) for seed in (5, 5, 6)
    ]
    assert losses[0] == losses[1] != losses[2]
    variance = float(batch.target.square().mean()) + 1  # a head that predicts nothing errs by noise - x0
    assert losses[0] == pytest.approx(variance, rel=0.3)


def test_earlier_chunks_are_sometimes_clean_and_the_last_never() -> None:
    sigmas = chunk_sigmas(2000, 3, TINY.base, torch.Generator().manual_seed(0))
    assert sigmas.shape == (2000, 3)
    assert float((sigmas[:, :2] == 0).float().mean()) == pytest.approx(TINY.base.clean_share, abs=0.03)
    assert bool((sigmas[:, 2] > 0).all())
    assert bool(((sigmas >= 0) & (sigmas <= 1)).all())


def test_the_fitted_codec_reconstructs_and_gives_a_still_picture_one_code() -> None:
    codec = BlockCodec(BlockCodecConfig(latent_channels=16, width=8, depth=1))
    before = psnr(codec, TRAINING_SEEDS, stories=1)
    fit_linear(codec, 100)
    assert psnr(codec, TRAINING_SEEDS, stories=1) > max(17, before + 8)
    still = as_pixels([np.repeat(sample_clip(3)[:1], 9, axis=0)])
    first, later = codec.encode(still)[0, :2].detach()
    assert float((first - later).square().mean()) < 0.1 * float(later.square().mean())


def test_trait_targets_are_within_their_sizes() -> None:
    for seed in range(50):
        story = sample_story(seed)
        for shot in range(len(story.shots)):
            targets = trait_targets(story, shot)
            assert len(targets) == len(TRAIT_SIZES)
            assert all(0 <= target < size for target, size in zip(targets, TRAIT_SIZES, strict=True))


def test_clips_are_a_function_of_their_seed() -> None:
    one, again, *others = (sample_clip(seed) for seed in (1, 1, 2, 3))
    assert one.shape == (9, 80, 128, 3)
    assert np.array_equal(one, again)
    assert all(not np.array_equal(a, b) for a, b in pairwise([one, *others]))
