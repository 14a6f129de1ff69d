"""A size that cannot fit is refused before anything is made, with the estimate and a size that fits."""

import re
from dataclasses import replace

import pytest
import torch

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT, VideoSize
from shotstream.engine import memory_estimate
from shotstream.engine.memory_estimate import ShotMemory, available_bytes, check_memory
from shotstream.engine.policies import find_system
from shotstream.engine.policy import HeldLatents
from shotstream.model.config import ModelConfig, WanVAEConfig
from shotstream.story.script import Script
from shotstream.story.shot_spec import ShotSpec

CPU = torch.device("cpu")
WAN = ModelConfig("wan", VideoSize(480, 832), wan_vae=WanVAEConfig())
SHOTS = Script("A fox.", (ShotSpec("It walks.", 2), ShotSpec("It eats.", 5)))


def memory(chunks: int = 7, policy: str = "shotstream", branches: int = 1, *, whole: bool = False) -> ShotMemory:
    held = find_system(policy).spec.held_latents(chunks, SHOTS, PAPER_SHOT, whole=whole)
    return ShotMemory(WAN, held, branches, torch.bfloat16)


def test_the_estimate_of_the_published_shape_holds_its_cache() -> None:
    """Keys and values of 27 latents of 1560 tokens in 30 layers of width 1536 are 7.2 GiB in bfloat16."""
    needed = memory().needed(WAN.video)
    assert 7.2 * 2**30 < needed < 13.9 * 2**30
    assert needed < replace(memory(), dtype=torch.float32).needed(WAN.video)
    assert memory(1).needed(WAN.video) < needed == memory(30).needed(WAN.video)


def test_with_guidance_the_cache_has_two_rows() -> None:
    more = memory(branches=2).needed(WAN.video) - memory().needed(WAN.video)
    assert more == 2 * 27 * 1560 * 30 * 1536 * 2


@pytest.mark.parametrize(
    ("policy", "whole", "cached", "at_once"),
    [
        ("shotstream", False, 27, 6),
        ("shotstream", True, 0, 27),
        ("self_forcing", False, 21, 3),
        ("longlive", False, 12, 3),
        ("full", False, 0, 21),
    ],
)
def test_every_policy_counts_its_own_cache(policy: str, whole: bool, cached: int, at_once: int) -> None:
    assert memory(policy=policy, whole=whole).held == HeldLatents(cached, at_once)


def test_what_does_not_fit_is_refused_with_a_size_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_estimate, "available_bytes", lambda _: 4 * 2**30)
    with pytest.raises(InputError, match=r"shot of 832x480 with 7 chunks needs at least .* 4.0 GiB are free") as caught:
        check_memory(memory(), WAN.video, 7, CPU)
    found = re.search(r"a size of (\d+)x(\d+) fits", str(caught.value))
    assert found is not None
    fits = VideoSize(int(found[2]), int(found[1]))
    check_memory(memory(), fits, 7, CPU)
    assert fits.width / fits.height == pytest.approx(832 / 480, rel=0.1)
    monkeypatch.setattr(memory_estimate, "available_bytes", lambda _: None)
    check_memory(memory(), WAN.video, 7, CPU)


def test_where_nothing_fits_another_device_is_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_estimate, "available_bytes", lambda _: 1000)
    with pytest.raises(InputError, match="run it on a device with more memory"):
        check_memory(memory(1), WAN.video, 1, CPU)


def test_free_memory_of_this_machine_is_known_on_linux() -> None:
    free = available_bytes(CPU)
    assert free is None or 2**20 < free < 2**50
