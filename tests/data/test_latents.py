"""The pool of training samples: the same for the same step, made once, on any number of processes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shotstream.core.errors import InputError
from shotstream.core.spec import CONTEXT_LATENTS
from shotstream.data.latents import Batch, LatentPool, PoolConfig
from shotstream.model.block_codec import BlockCodec
from shotstream.model.config import BlockCodecConfig, TextEncoderConfig
from shotstream.model.text import TextEncoder
from shotstream.model.tokenizer import byte_tokenizer

CONFIG = PoolConfig(latents=48, batches=2, chunks=(1, 2), chunk_shares=(0.5, 0.5))
Networks = tuple[BlockCodec, TextEncoder]


@pytest.fixture(scope="module")
def networks() -> Networks:
    torch.manual_seed(0)
    shape = TextEncoderConfig(
        vocab_size=300, dim=16, attention_dim=16, ffn_dim=16, num_heads=2, num_layers=1, text_len=48
    )
    codec = BlockCodec(BlockCodecConfig(latent_channels=4, width=8, depth=1))
    return codec.eval(), TextEncoder(shape, byte_tokenizer()).eval()


def equal(one: Batch, other: Batch) -> bool:
    tensors = all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("context", "target", "text"))
    return tensors and torch.equal(one.layout.shots, other.layout.shots)


def test_a_step_gives_the_same_samples_whenever_it_is_asked_for(networks: Networks, tmp_path: Path) -> None:
    pool, elsewhere = (LatentPool(tmp_path / name, CONFIG, *networks) for name in ("one", "other"))
    first = pool(1)
    assert equal(first, pool(1))
    assert equal(first, elsewhere(1))
    assert equal(first, pool(1 + CONFIG.batches * CONFIG.steps_a_batch)), "the pool comes again"
    assert not equal(first, LatentPool(tmp_path / "seed", replace(CONFIG, seed=1), *networks)(1))


def test_the_steps_of_a_batch_share_it_out(networks: Networks, tmp_path: Path) -> None:
    pool = LatentPool(tmp_path, CONFIG, *networks)
    whole = LatentPool(tmp_path / "whole", replace(CONFIG, steps_a_batch=1), *networks)(0)
    parts = [pool(0), pool(1)]
    assert sum(len(part.target) for part in parts) == len(whole.target)
    assert torch.equal(parts[0].target, whole.target[::2])
    assert torch.equal(parts[1].target, whole.target[1::2])


def test_a_shot_without_a_past_sees_zeros_and_its_own_caption_only(networks: Networks, tmp_path: Path) -> None:
    pool = LatentPool(tmp_path, replace(CONFIG, latents=240, chunks=(1,), chunk_shares=(1.0,)), *networks)
    batch = pool(0)
    pastless = batch.context.flatten(1).abs().sum(1) == 0
    assert pastless.any()
    assert not pastless.all()
    for row, alone in enumerate(pastless.tolist()):
        assert (int(batch.layout.captions[row].max()) == 0) == alone
        assert (len(batch.layout.captions[row].unique()) > 1) != alone


def test_pictures_come_alone_as_the_first_latent_of_their_shot(networks: Networks, tmp_path: Path) -> None:
    batch = LatentPool(tmp_path, replace(CONFIG, latents=16, pictures=True), *networks)(0)
    assert batch.target.shape[:2] == (8, 1)
    assert batch.context.shape[1] == 0
    assert batch.text.shape[1] == 1
    assert set(batch.layout.positions.flatten().tolist()) == {CONTEXT_LATENTS}
    assert int(batch.layout.shots.min()) >= 1
    assert len({tuple(row.flatten().tolist()) for row in batch.target}) == 8


def test_processes_make_what_one_makes(networks: Networks, tmp_path: Path) -> None:
    alone, many = (LatentPool(tmp_path / name, CONFIG, *networks) for name in ("alone", "many"))
    seen: list[int] = []
    many.fill(2, seen.append)
    assert seen == [1, 2]
    assert len(list((tmp_path / "many").glob("*.safetensors"))) == CONFIG.batches
    assert all(equal(alone(step), many(step)) for step in range(4))


def test_a_pool_of_other_networks_or_settings_is_refused(networks: Networks, tmp_path: Path) -> None:
    LatentPool(tmp_path, CONFIG, *networks)
    with pytest.raises(InputError, match="another codec, text encoder or setting"):
        LatentPool(tmp_path, replace(CONFIG, latents=96), *networks)
    other = BlockCodec(BlockCodecConfig(latent_channels=4, width=8, depth=1))
    with pytest.raises(InputError, match="remove it first"):
        LatentPool(tmp_path, CONFIG, other, networks[1])
