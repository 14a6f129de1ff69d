"""Representation alignment: what a layer's tokens are compared with, and that nothing of it is left in a model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from shotstream.cli import main
from shotstream.core.errors import InputError
from shotstream.data.latents import PoolConfig
from shotstream.model.transformer import Transformer
from shotstream.train.alignment import AlignmentHead, alignment_loss
from shotstream.train.build_stage import build_stage
from shotstream.train.checkpoint import find_checkpoints, stored_tensors
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import NETWORK
from shotstream.train.presets import TINY, Preset, get_preset
from shotstream.train.recipe import Run
from shotstream.train.stages.base import teacher_forced_loss
from shotstream.world.render import render_frames
from shotstream.world.stories import sample_story
from shotstream.world.trait_reader import TraitReader
from shotstream.world.trait_reader_network import CLIP_OFFSETS, pixels_of_clips

Command = Callable[..., list[str]]
Copy = Callable[..., Path]
Lively = Callable[..., Preset]
ALIGNED = ("shots.features=trait_reader", "base.alignment=0.5", "base.alignment_layer=1")
SIZE = (10, 16)


def opened(directory: Path, preset: Preset) -> Run:
    return Run(directory, preset, DistributedContext(torch.device("cpu"), preset.distributed))


def test_the_map_of_a_latent_is_of_the_frames_around_it() -> None:
    frames = render_frames(sample_story(3), 0, range(25))
    reader = TraitReader.load()
    maps = reader.map_features(frames)
    assert maps.shape == (7, 96, 10, 16)
    for latent, start in ((0, 0), (1, 0), (2, 2), (3, 6), (6, 16)):
        clip = torch.from_numpy(np.stack([frames[start + offset] for offset in CLIP_OFFSETS]))[None]
        with torch.inference_mode():
            expected = reader.network(pixels_of_clips(clip))["map"][0]
        torch.testing.assert_close(maps[latent], expected)


@pytest.mark.parametrize("copies", [1, 2])
def test_the_loss_compares_each_place_with_its_own_features(copies: int) -> None:
    torch.manual_seed(0)
    head = AlignmentHead(Transformer(TINY.model.transformer), 1, SIZE)
    features = torch.randn(2, 3, 96, 10, 16).abs()
    variance, mean = torch.var_mean(features, (0, 1, 3, 4), keepdim=True)
    scaled = (features - mean) / variance.sqrt()
    tokens = torch.zeros(2, copies, 3, 5, 8, 4 * 96)
    for row in range(5):
        for column in range(8):
            for place, (y, x) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
                own = scaled[:, :, :, 2 * row + y, 2 * column + x]
                tokens[:, :, :, row, column, 96 * place : 96 * (place + 1)] = own[:, None]
    in_front = torch.randn(2, 80, 4 * 96)
    head.predicted = torch.cat([in_front, tokens.flatten(1, 4)], 1)
    torch.testing.assert_close(head.loss(features, copies), torch.tensor(0.0), atol=1e-5, rtol=0)
    head.predicted = torch.cat([in_front, tokens.flip(3).flatten(1, 4)], 1)
    assert float(head.loss(features, copies)) > 0.5


def test_an_aligned_base_leaves_its_head_behind(copy: Copy, command: Command, lively: Lively, tmp_path: Path) -> None:
    run, out = copy("run", "latents", "base", "teacher", "trajectories", "init", "stage1", "stage2"), tmp_path / "model"
    assert main(command("base", run, changes=ALIGNED)) == 0
    stored = (name for path in find_checkpoints(run / "base") for name in stored_tensors(path))
    assert any("alignment.layers" in name for name in stored)
    assert not any("alignment" in name for name in opened(run, lively(*ALIGNED)).weights("base"))
    assert main([*command("export", run, changes=ALIGNED), "-o", str(out), "--stage", "base"]) == 0
    assert main([*command("warm-start", tmp_path / "again", changes=ALIGNED), "--model", str(out)]) == 0
    assert main(command("teacher", run, changes=ALIGNED)) == 0


def test_alignment_teaches_the_layers_up_to_its_own(copy: Copy, lively: Lively) -> None:
    preset = lively("model.transformer.num_layers=2", *ALIGNED)
    run = opened(copy("run", "latents", "base"), preset)
    network = build_stage(run, "base").state.trained[NETWORK].network
    assert isinstance(network, Transformer)
    nn.init.normal_(network.blocks[0].ffn[2].weight, std=0.02)
    batch = run.shots(1)(0).to(run.distributed.device)
    assert batch.features is not None
    teacher_forced_loss(network, batch, None, preset.base, 5)
    alignment_loss(network, batch.features, preset.base).backward()
    reached = [name for name, one in network.named_parameters() if one.grad is not None and bool(one.grad.any())]
    learns = {".".join(name.split(".")[:2]) for name in reached}
    assert {"blocks.0", "alignment.layers"} <= learns
    assert not {"blocks.1", "head.head"} & learns


def test_a_rollout_without_gradient_predicts_no_features(copy: Copy, lively: Lively) -> None:
    preset = lively(*ALIGNED)
    run = opened(copy("run", "latents", "base"), preset)
    network = build_stage(run, "base").state.trained[NETWORK].network
    batch = run.shots(1)(0).to(run.distributed.device)
    with torch.no_grad():
        teacher_forced_loss(network, batch, None, preset.base, 5)
    assert network.get_submodule("alignment").predicted is None


def test_what_cannot_be_aligned_is_refused() -> None:
    with pytest.raises(InputError, match="trait_reader, or set"):
        get_preset("tiny", ["base.alignment=0.5"])
    with pytest.raises(InputError, match="a manifest"):
        get_preset("tiny", ["shots.features=trait_reader", "source.kind=manifest", "source.manifest=a.csv"])
    with pytest.raises(InputError, match="pictures"):
        PoolConfig(pictures=True, features="trait_reader")
    network = Transformer(TINY.model.transformer)
    with pytest.raises(InputError, match="of the layers"):
        AlignmentHead(network, 2, SIZE)
    with pytest.raises(InputError, match="tokens a latent"):
        AlignmentHead(network, 1, (12, 16))
