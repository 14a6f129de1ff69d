"""Readers of files that people bring, with valid files that were mutated: what the file says, or an InputError.

50 inputs a reader in the normal suite; `make fuzz` tries 2,000 (`FUZZ_EXAMPLES`). No input may end in another error,
take more than `MAX_S`, or give another result than a second reader of the same file does (`second_readers`).
"""

import io
import json
import os
import signal
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save

from second_readers import (
    check_clip,
    check_csv,
    check_directory,
    check_gguf,
    check_json,
    check_jsonl,
    check_manifest,
    check_safetensors,
    check_torch,
    check_txt,
    check_video,
    check_yaml,
    merge_checker,
    picture_checker,
)
from shotstream.core.errors import InputError
from shotstream.core.images import decode_image, read_image
from shotstream.core.spec import VideoSize
from shotstream.core.video import iter_video, write_video
from shotstream.data.clips import read_frames, read_times, resample_frames
from shotstream.data.manifest import read_manifest
from shotstream.serve.imports import unpack
from shotstream.serve.limits import Limits
from shotstream.story.history import FinishedShot, History
from shotstream.story.record import StoryIdentity
from shotstream.story.script_files import load_scripts
from shotstream.story.shot_spec import ShotSpec
from shotstream.weights.lora import merge_adapter
from shotstream.weights.tensors import read_checkpoint

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "50"))
MAX_S = 10
NUMBERS = [0, 1, 127, 128, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
WORDS = [
    *(b"\x00", b"\xff", b'"', b"'", b"{", b"[", b"]]", b",", b";", b"\n", b"\t", b": ", b"- ", b"|", b"shot1", b"-1"),
    *(b"1e999", b"NaN", b"null", b"true", b"&a", b"*a", b"!!python/name:os.system", b"\xed\xa0\x80", b"../", b"9" * 50),
]
SIZE = VideoSize(16, 32)


@dataclass(frozen=True)
class Reader:
    """A reader, the valid files that are mutated, and a check that a result is what the file says."""

    suffix: str
    seeds: tuple[bytes, ...]
    read: Callable[[Path], Any]
    check: Callable[[Path, Any], None]


def mutate(data: bytes, steps: list[tuple[str, float, int]]) -> bytes:
    """Return the bytes after some changes: bits flipped, numbers and words put in, pieces cut, doubled or left out."""
    changed = bytearray(data)
    for kind, place, value in steps:
        at = int(place * len(changed))
        match kind:
            case "flip" if changed:
                changed[min(at, len(changed) - 1)] ^= 1 << (value % 8)
            case "number":
                number = struct.pack("<Q" if value % 2 else ">Q", NUMBERS[value % len(NUMBERS)])
                width = (1, 2, 4, 8)[value // 2 % 4]
                changed[at : at + width] = number[:width] if value % 2 else number[-width:]
            case "word":
                changed[at:at] = WORDS[value % len(WORDS)]
            case "cut":
                del changed[at:]
            case "double":
                changed[at:at] = changed[at : at + value % 200]
            case "drop":
                del changed[at : at + value % 50]
    return bytes(changed)


def steps() -> st.SearchStrategy[list[tuple[str, float, int]]]:
    kinds = st.sampled_from(["flip", "number", "word", "cut", "double", "drop"])
    near_start = st.floats(0, 0.05)
    return st.lists(st.tuples(kinds, st.one_of(st.floats(0, 1), near_start), st.integers(0, 10_000)), max_size=4)


@contextmanager
def in_time() -> Iterator[None]:
    """Raise TimeoutError where the block takes longer than `MAX_S`."""

    def expire(*_: object) -> None:
        raise TimeoutError(f"more than {MAX_S} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(MAX_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def frames(count: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE.height, SIZE.width, 3), np.uint8)


def tensors() -> dict[str, np.ndarray]:
    return {"blocks.0.ffn.0.weight": np.ones((8, 4), np.float32), "blocks.0.ffn.0.bias": np.zeros(8, np.float16)}


def torch_bytes() -> bytes:
    out = io.BytesIO()
    torch.save({"generator": {f"model.{name}": torch.from_numpy(value) for name, value in tensors().items()}}, out)
    return out.getvalue()


def gguf_bytes(folder: Path) -> bytes:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(folder / "x.gguf", "wan")
    writer.add_tensor("a.weight", np.ones((4, 64), np.float32))
    quant = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("b.weight", gguf.quantize(np.ones((4, 64), np.float32), quant), raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (folder / "x.gguf").read_bytes()


def image_bytes(kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(frames(1)[0]).save(out, kind, lossless=True)
    return out.getvalue()


def video_bytes(folder: Path, suffix: str) -> bytes:
    path = folder / f"seed{suffix}"
    write_video(path, frames(), 16, lossless=suffix == ".mkv")
    return path.read_bytes()


def zip_bytes(folder: Path) -> bytes:
    identity = StoryIdentity("A fox.", 7, SIZE.height, SIZE.width, {"kind": "few_step"}, "abc")
    history = History.create(identity, folder / "story")
    pixels = {frame: np.zeros((3, SIZE.height, SIZE.width), np.float32) for frame in (0, 4, 8)}
    history.add(FinishedShot(0, ShotSpec("It walks.", 1, seed=7), frames(), pixels))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "story").iterdir()):
            archive.write(path, path.name)
    return out.getvalue()


def read_zip(path: Path) -> Path:
    target = path.parent / f"unpacked-{len(list(path.parent.iterdir()))}"
    unpack(path, target, Limits())
    return target


def read_clip(path: Path) -> np.ndarray:
    times = read_times(path)
    shown = resample_frames(times, 0, len(times) - 1)[:20]
    return read_frames(path, shown.tolist(), SIZE)


def merge(path: Path) -> dict[str, torch.Tensor]:
    merged, _ = merge_adapter({name: torch.from_numpy(value) for name, value in tensors().items()}, path)
    return merged


YAML = b"""global: "A fox. "
seed: 3
shots:
  - text: It walks.
    chunks: 2
    steer: [{at: 1, text: It runs.}]
  - {text: It sleeps., seed: 5}
"""
STORY = {"global_caption": "A fox.", "shot1": "It walks.", "shot2": "It eats.", "frames_per_shot": [9, 21], "id": 3}
CSV = b'shot_num_from_caption,json_path,video_path,frame_number\n2,a.json,a.mp4,"[[0, 4], [4, 9]]"\n'
JSONL = b'{"prompts": ["A fox.", "An owl."], "switch_frame_indices": [6]}\n{"prompt": "A fox."}\n'


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    folder = tmp_path_factory.mktemp("seeds")
    lora = {"blocks.0.ffn.0.lora_A.weight": np.ones((2, 4), np.float32), "blocks.0.ffn.0.alpha": np.float32([2]),
            "blocks.0.ffn.0.lora_B.weight": np.ones((8, 2), np.float32)}  # fmt: skip
    story, mp4, mkv = json.dumps(STORY).encode(), video_bytes(folder, ".mp4"), video_bytes(folder, ".mkv")
    archive, pictures = zip_bytes(folder), tuple(map(image_bytes, ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")))
    files = {one.name: one.read_bytes() for one in (folder / "story").iterdir()}
    return {
        "safetensors": Reader(".safetensors", (save(tensors(), {"a": "b"}),), read_checkpoint, check_safetensors),
        "torch": Reader(".pt", (torch_bytes(),), read_checkpoint, check_torch),
        "gguf": Reader(".gguf", (gguf_bytes(folder),), read_checkpoint, check_gguf),
        "lora": Reader(".safetensors", (save(lora),), merge, merge_checker(tensors())),
        "yaml": Reader(".yaml", (YAML,), load_scripts, check_yaml),
        "json": Reader(".json", (story,), load_scripts, check_json),
        "csv": Reader(".csv", (CSV,), load_scripts, check_csv),
        "txt": Reader(".txt", (b"A fox walks.\nA wood. | It eats.\n",), load_scripts, check_txt),
        "jsonl": Reader(".jsonl", (JSONL,), load_scripts, check_jsonl),
        "manifest": Reader(".csv", (CSV,), read_manifest, check_manifest),
        "image": Reader(".png", pictures, lambda path: [read_image(path)], picture_checker(frames(1)[0])),
        "upload": Reader(
            ".png",
            pictures,
            lambda path: [decode_image(path.read_bytes(), ("PNG", "JPEG"))],
            picture_checker(frames(1)[0]),
        ),
        "video": Reader(".mkv", (mp4, mkv), lambda path: list(iter_video(path)), check_video),
        "clip": Reader(".mkv", (mp4, mkv), read_clip, check_clip),
        "zip": Reader(".zip", (archive,), read_zip, check_directory(files)),
    }


NAMES = ("safetensors", "torch", "gguf", "lora", "yaml", "json", "csv", "txt", "jsonl", "manifest", "image", "upload",
         "video", "clip", "zip")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_mutated_file_is_read_or_refused_in_one_line(
    name: str, readers: dict[str, Reader], tmp_path_factory: pytest.TempPathFactory
) -> None:
    reader, folder = readers[name], tmp_path_factory.mktemp(name)
    (folder / "a.json").write_text(json.dumps(STORY))
    write_video(folder / "a.mp4", frames(), 16)
    path = folder / f"input{reader.suffix}"

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=EXAMPLES == 50,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),  # without that which explains failures, which traces every line
    )
    @given(st.sampled_from(reader.seeds), steps())
    def run(seed: bytes, changes: list[tuple[str, float, int]]) -> None:
        path.write_bytes(mutate(seed, changes))
        try:
            with in_time():
                result = reader.read(path)
        except InputError as error:
            refusal = str(error)
        else:
            refusal = "it was read"
            reader.check(path, result)
        assert len(refusal.splitlines()) == 1

    run()
    for seed in reader.seeds if name not in ("upload",) else reader.seeds[:2]:
        path.write_bytes(seed)
        reader.check(path, reader.read(path))  # the files that are mutated are valid
