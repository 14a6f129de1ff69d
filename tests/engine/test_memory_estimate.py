"""A size that cannot fit is refused before anything is made, with the estimate and a size that fits."""

import re
from dataclasses import replace

import pytest
import torch

from shotstream.core.errors import InputError
from shotstream.core.spec import VideoSize
from shotstream.engine import memory_estimate
from shotstream.engine.memory_estimate import available_bytes, check_memory, shot_bytes
from shotstream.model.config import ModelConfig, SamplerConfig, WanVAEConfig

CPU = torch.device("cpu")
WAN = ModelConfig("wan", VideoSize(480, 832), wan_vae=WanVAEConfig())


def test_the_estimate_of_the_published_shape_holds_its_cache() -> None:
    """Keys and values of 27 latents of 1560 tokens in 30 layers of width 1536 are 7.2 GiB in bfloat16."""
    needed = shot_bytes(WAN, WAN.video, 7, torch.bfloat16)
    assert 7.2 * 2**30 < needed < 13.9 * 2**30
    assert needed < shot_bytes(WAN, WAN.video, 7, torch.float32)
    assert shot_bytes(WAN, WAN.video, 1, torch.bfloat16) < needed == shot_bytes(WAN, WAN.video, 30, torch.bfloat16)


def test_with_guidance_the_cache_has_two_rows() -> None:
    guided = replace(WAN, sampler=SamplerConfig(guidance=3.0))
    more = shot_bytes(guided, WAN.video, 7, torch.bfloat16) - shot_bytes(WAN, WAN.video, 7, torch.bfloat16)
    assert more == 2 * 27 * 1560 * 30 * 1536 * 2


def test_what_does_not_fit_is_refused_with_a_size_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_estimate, "available_bytes", lambda _: 4 * 2**30)
    with pytest.raises(InputError, match=r"shot of 832x480 with 7 chunks needs at least .* 4.0 GiB are free") as caught:
        check_memory(WAN, WAN.video, 7, torch.bfloat16, CPU)
    found = re.search(r"a size of (\d+)x(\d+) fits", str(caught.value))
    assert found is not None
    fits = VideoSize(int(found[2]), int(found[1]))
    check_memory(WAN, fits, 7, torch.bfloat16, CPU)
    assert fits.width / fits.height == pytest.approx(832 / 480, rel=0.1)
    monkeypatch.setattr(memory_estimate, "available_bytes", lambda _: None)
    check_memory(WAN, WAN.video, 7, torch.bfloat16, CPU)


def test_where_nothing_fits_another_device_is_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_estimate, "available_bytes", lambda _: 1000)
    with pytest.raises(InputError, match="run it on a device with more memory"):
        check_memory(WAN, WAN.video, 1, torch.bfloat16, CPU)


def test_free_memory_of_this_machine_is_known_on_linux() -> None:
    free = available_bytes(CPU)
    assert free is None or 2**20 < free < 2**50
