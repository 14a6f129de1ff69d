"""The pool of training samples: the same for the same step, made once, on any number of processes."""

import copy
import errno
import fcntl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.data import batches, latents
from shotstream.data.batches import Batch, encode_samples, load_batch, save_batch
from shotstream.data.latents import LatentPool, PoolConfig
from shotstream.data.storyworld import StoryWorldShots
from shotstream.model.config import ConvCodecConfig, TextEncoderConfig
from shotstream.model.conv_codec import ConvCodec
from shotstream.model.text_encoder import TextEncoder
from shotstream.weights.tokenizer import byte_tokenizer

CONFIG = PoolConfig(latents=48, batches=2, chunks=(1, 2), chunk_shares=(0.5, 0.5))
WORLD = StoryWorldShots()
Networks = tuple[ConvCodec, TextEncoder]


@pytest.fixture(scope="module")
def networks() -> Networks:
    torch.manual_seed(0)
    shape = TextEncoderConfig(
        vocab_size=300, dim=16, attention_dim=16, ffn_dim=16, num_heads=2, num_layers=1, text_len=48
    )
    codec = ConvCodec(ConvCodecConfig("conv", 4, (8, 8), (1, 1), (8, 8), (1, 1)))
    return codec.eval(), TextEncoder(shape, byte_tokenizer()).eval()


def equal(one: Batch, other: Batch) -> bool:
    tensors = all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("context", "target", "text"))
    return tensors and torch.equal(one.layout.shots, other.layout.shots)


def test_a_step_gives_the_same_samples_whenever_it_is_asked_for(networks: Networks, tmp_path: Path) -> None:
    pool, elsewhere = (LatentPool(tmp_path / name, CONFIG, WORLD, *networks) for name in ("one", "other"))
    first = pool(1)
    assert equal(first, pool(1))
    assert equal(first, elsewhere(1))
    assert equal(first, pool(1 + CONFIG.batches * CONFIG.steps_per_batch)), "the pool comes again"
    assert not equal(first, LatentPool(tmp_path / "seed", replace(CONFIG, seed=1), WORLD, *networks)(1))


def test_the_steps_of_a_batch_share_it_out(networks: Networks, tmp_path: Path) -> None:
    pool = LatentPool(tmp_path, CONFIG, WORLD, *networks)
    whole = LatentPool(tmp_path / "whole", replace(CONFIG, steps_per_batch=1), WORLD, *networks)(0)
    micro_batches = [pool(0), pool(1)]
    even = len(whole.target) // 2 * 2
    assert even > 0
    assert torch.equal(micro_batches[0].target, whole.target[:even:2])
    assert torch.equal(micro_batches[1].target, whole.target[1:even:2])


def test_the_steps_of_a_batch_have_as_many_samples(networks: Networks, tmp_path: Path) -> None:
    config = replace(
        CONFIG, latents=27, chunks=(1,), chunk_shares=(1.0,)
    )  # three shots, of which two steps get one each
    pool = LatentPool(tmp_path, config, WORLD, *networks)
    assert [len(pool(step).target) for step in range(4)] == [1] * 4


def test_a_shot_without_a_past_sees_zeros_and_its_own_caption_only(networks: Networks, tmp_path: Path) -> None:
    pool = LatentPool(tmp_path, replace(CONFIG, latents=240, chunks=(1,), chunk_shares=(1.0,)), WORLD, *networks)
    batch = pool(0)
    pastless = batch.context.flatten(1).abs().sum(1) == 0
    assert pastless.any()
    assert not pastless.all()
    for row, alone in enumerate(pastless.tolist()):
        assert (int(batch.layout.captions[row].max()) == 0) == alone
        assert (len(batch.layout.captions[row].unique()) > 1) != alone


def test_pictures_come_alone_as_the_first_latent_of_their_shot(networks: Networks, tmp_path: Path) -> None:
    batch = LatentPool(tmp_path, replace(CONFIG, latents=16, pictures=True), WORLD, *networks)(0)
    assert batch.target.shape[:2] == (8, 1)
    assert batch.context.shape[1] == 0
    assert batch.text.shape[1] == 1
    assert set(batch.layout.positions.flatten().tolist()) == {PAPER_SHOT.context_latents}
    assert int(batch.layout.shots.min()) >= 1
    assert len({tuple(row.flatten().tolist()) for row in batch.target}) == 8


@pytest.mark.slow
def test_processes_make_what_one_makes(networks: Networks, tmp_path: Path) -> None:
    alone, many = (LatentPool(tmp_path / name, CONFIG, WORLD, *networks) for name in ("alone", "many"))
    seen: list[int] = []
    many.fill(2, seen.append)
    assert seen == [1, 2]
    assert len(list((tmp_path / "many").glob("*.safetensors"))) == CONFIG.batches
    assert all(equal(alone(step), many(step)) for step in range(4))


def test_the_parts_of_a_batch_have_shots_of_one_length_and_are_made_alone(networks: Networks, tmp_path: Path) -> None:
    config = replace(CONFIG, batches=4)
    pool = LatentPool(tmp_path / "all", config, WORLD, *networks, micro_batches=3)
    assert pool.files == 12
    lengths = []
    for step in range(0, config.batches * config.steps_per_batch, config.steps_per_batch):
        micro_batches = [pool(step, micro_batch) for micro_batch in range(3)]
        assert len({one.target.shape for one in micro_batches}) == 1
        assert not any(torch.equal(micro_batches[0].target, other.target) for other in micro_batches[1:])
        lengths.append(micro_batches[0].target.shape[1])
    assert set(lengths) == {3, 6}
    alone = LatentPool(tmp_path / "alone", config, WORLD, *networks, micro_batches=3)
    assert equal(alone(3, 2), pool(3, 2))
    assert len(list((tmp_path / "alone").glob("*.safetensors"))) == 1


def test_the_first_of_many_parts_is_the_only_one_of_one(networks: Networks, tmp_path: Path) -> None:
    config = replace(CONFIG, batches=1, steps_per_batch=1)
    one, many = (
        LatentPool(tmp_path / str(micro_batches), config, WORLD, *networks, micro_batches=micro_batches)
        for micro_batches in (1, 2)
    )
    assert equal(one(0), many(0, 0))


def test_a_file_that_was_written_is_read_whole_or_by_rows(networks: Networks, tmp_path: Path) -> None:
    samples = [WORLD.draw(np.random.default_rng(seed), 1) for seed in range(3)]
    batch = encode_samples(samples, *networks)
    path = tmp_path / "batch.safetensors"
    save_batch(path, batch, extra=torch.arange(3))
    there, more = load_batch(path, slice(1, None))
    assert more["extra"].tolist() == [1, 2]
    assert torch.equal(there.target, batch.target[1:].bfloat16())
    assert torch.equal(there.layout.captions, batch.layout.captions[1:])


def test_a_full_disk_is_one_line_and_leaves_nothing(
    networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(_: object, path: Path) -> None:
        path.write_bytes(b"half a batch")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(batches, "save_file", fill_the_disk)
    with pytest.raises(InputError, match="the disk is full"):
        LatentPool(tmp_path, CONFIG, WORLD, *networks)(0)
    assert [path.name for path in tmp_path.iterdir()] == [latents.IDENTITY_FILE]


def test_a_pool_of_another_origin_is_refused_by_its_name(networks: Networks, tmp_path: Path) -> None:
    LatentPool(tmp_path, CONFIG, WORLD, *networks)
    torch.manual_seed(1)
    other = ConvCodec(ConvCodecConfig("conv", 4, (8, 8), (1, 1), (8, 8), (1, 1)))
    for what, arguments, micro_batches in (
        ("config", (replace(CONFIG, latents=96), WORLD, *networks), 1),
        ("source", (CONFIG, replace(WORLD, context="first"), *networks), 1),
        ("networks", (CONFIG, WORLD, other, networks[1]), 1),
        ("micro_batches", (CONFIG, WORLD, *networks), 2),
    ):
        with pytest.raises(InputError, match=f"made with another {what}; remove it first"):
            LatentPool(tmp_path, *arguments, micro_batches=micro_batches)


def test_a_codec_whose_decoder_has_learnt_more_makes_the_same_latents(networks: Networks, tmp_path: Path) -> None:
    LatentPool(tmp_path, CONFIG, WORLD, *networks)
    trained = copy.deepcopy(networks[0])
    with torch.no_grad():
        for weight in trained.decoder.parameters():
            weight.add_(1)
    LatentPool(tmp_path, CONFIG, WORLD, trained, networks[1])


def test_a_pool_may_begin_at_another_of_its_batches(networks: Networks, tmp_path: Path) -> None:
    plain, turned = (LatentPool(tmp_path, CONFIG, WORLD, *networks, begin=begin) for begin in (0, 3))
    assert equal(turned(0), plain(CONFIG.steps_per_batch))
    assert equal(turned(CONFIG.steps_per_batch), plain(0))
    assert equal(turned.read_file(0), plain.read_file(0))


@contextmanager
def filled_elsewhere(directory: Path) -> Iterator[None]:
    with (directory / latents.LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_beside_a_process_that_fills_the_pool_steps_draw_on_what_is_there(networks: Networks, tmp_path: Path) -> None:
    config = replace(CONFIG, batches=4, steps_per_batch=1)
    pool, full = (LatentPool(tmp_path / name, config, WORLD, *networks) for name in ("pool", "full"))
    for number in range(2):
        pool.make(number)
    with filled_elsewhere(tmp_path / "pool"):
        assert [equal(pool(step), full(step % 2)) for step in range(4)] == [True] * 4
        with pytest.raises(InputError, match="is being filled by another process"):
            pool.fill(1, lambda _: None)
    assert not (tmp_path / "pool" / "00002.safetensors").exists()
    assert equal(pool(3), full(3)), "nobody fills it any more"


def test_a_pool_with_nothing_in_it_waits_for_the_process_that_fills_it(networks: Networks, tmp_path: Path) -> None:
    pool = LatentPool(tmp_path, CONFIG, WORLD, *networks)
    with filled_elsewhere(tmp_path), ThreadPoolExecutor(1) as other:
        asked = other.submit(pool, 0)
        time.sleep(3 * latents.POLL_S)
        assert not asked.done()
        save_batch(tmp_path / "00000.safetensors", encode_samples(latents.SampleDrawer(CONFIG, WORLD, 1)(0), *networks))
        assert len(asked.result(timeout=10).target)
