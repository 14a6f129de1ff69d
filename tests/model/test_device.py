"""Where a model runs and in which precision."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from shotstream.core.errors import InputError
from shotstream.model import device
from shotstream.model.device import (
    cpu_flags,
    has_fast_bfloat16,
    has_little_memory,
    pick_device,
    pick_dtype,
    send,
    within_memory,
)


@pytest.fixture
def without_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("without_accelerators")
def test_auto_is_the_cpu_where_there_is_nothing_else() -> None:
    assert pick_device("auto") == torch.device("cpu")


@pytest.mark.usefixtures("without_accelerators")
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"expected a (CUDA|MPS) device, found none; use --device cpu"):
        pick_device(name)


@pytest.mark.parametrize("name", ["gpu", "cpu:", "cpu:1", "cuda:", "cuda:x", "cuda:١", "auto:", ""])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected a device of auto, cpu, cuda, mps"):
        pick_device(name)


def test_auto_prefers_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cuda")


def test_a_cuda_number_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InputError, match="number below 2, got 2"):
        pick_device("cuda:2")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse2 avx512_bf16 amx_bf16", True),
        ("fpu sse2 sse4a avx512_bf16", True),
        ("fpu sse2 avx512_bf16", False),
        ("fpu sse2 sse4a avx2", False),
        ("fp asimd sve bf16", True),
    ],
)
def test_training_is_in_bfloat16_where_products_are_faster_in_it(
    flags: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "cpu_flags", lambda: frozenset(flags.split()))
    assert has_fast_bfloat16(torch.device("cpu")) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu sse2 avx512_bf16 amx_bf16", torch.bfloat16),
        ("flags\t\t: fpu sse2 avx512_bf16", torch.float32),
        ("Features\t: fp asimd sve bf16", torch.bfloat16),
        ("flags\t\t: fpu sse2 avx2", torch.float32),
    ],
)
def test_a_cpu_with_bfloat16_uses_it(
    line: str, expected: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    monkeypatch.setattr(device.platform, "system", lambda: "Linux")
    flags = cpu_flags(tmp_path / "cpuinfo")
    monkeypatch.setattr(device, "cpu_flags", lambda: flags)
    assert pick_dtype(torch.device("cpu")) == expected
    assert pick_dtype(torch.device("mps")) == torch.float32


def test_flags_are_none_where_the_system_does_not_say(tmp_path: Path) -> None:
    assert cpu_flags(tmp_path / "nothing") == frozenset()


def test_what_is_sent_is_pinned_on_its_way_to_cuda_and_only_then() -> None:
    asked: list[tuple[str, object]] = []

    class Sent(torch.Tensor):
        def pin_memory(self) -> "Sent":  # type: ignore[override]
            asked.append(("pin", None))
            return self

        def to(self, device: torch.device, non_blocking: bool = False) -> "Sent":  # type: ignore[override]
            asked.append((device.type, non_blocking))
            return self

    tensor = torch.zeros(2).as_subclass(Sent)
    send(tensor, torch.device("cpu"))
    assert asked == [("cpu", False)]
    send(tensor, torch.device("cuda"))
    assert asked[1:] == [("pin", None), ("cuda", True)]


@pytest.mark.parametrize(("gib", "little"), [(16, True), (24, False), (80, False)])
def test_cards_below_20_gib_have_little_memory(gib: int, little: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=gib * 2**30))
    assert has_little_memory(torch.device("cuda:1")) == little
    assert not has_little_memory(torch.device("cpu"))


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_what_does_not_fit_into_memory_is_named(error: Exception) -> None:
    with (
        pytest.raises(InputError, match="a story of 9984x9984 needs more memory"),
        within_memory("a story of 9984x9984"),
    ):
        raise error
    with pytest.raises(RuntimeError, match="else"), within_memory("a story"):
        raise RuntimeError("something else")
