"""Second readers, written apart from the package's: what a mutated file really says, to compare with what was read.

Each raises `AssertionError` where the package read something else than the file says, or a file that says nothing.
"""

import ast
import csv
import io
import json
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import av.logging
import numpy as np
import torch
import yaml

from shotstream.model.names import unwrap
from shotstream.story.script import Script, format_script
from shotstream.story.script_files import load_scripts

NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
         "BOOL": "?", "U16": "<u2", "U32": "<u4", "U64": "<u8", "C64": "<c8"}  # fmt: skip
_TYPES = {"F": np.dtype("<f4"), "H": np.dtype("<f2"), "Q": np.dtype("<u8"), "I": np.dtype("<u4")}


def parse_safetensors(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and the metadata of a safetensors file, by its specification."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata = header.pop("__metadata__", None) or {}
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        values = np.frombuffer(data[end + first : end + last], NUMPY[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors, metadata


def parse_torch(data: bytes) -> dict[str, np.ndarray]:
    """The tensors under `generator`, or at the top, of a torch checkpoint: a zip of a pickle and raw storages."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None, "a checksum of the zip does not fit"
    names = [name for name in archive.namelist() if name.endswith("data.pkl")]
    root = names[0].removesuffix("data.pkl")

    def rebuild(storage: np.ndarray, offset: int, size: Any, stride: Any, *_: object) -> np.ndarray:
        strides = tuple(step * storage.itemsize for step in stride)
        assert offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) < max(len(storage), 1)
        return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> np.ndarray:
            _, kind, key, _, count = pid
            return np.frombuffer(archive.read(f"{root}data/{key}"), kind)[:count]

        def find_class(self, module: str, name: str) -> Any:
            known = {
                ("torch._utils", "_rebuild_tensor_v2"): rebuild,
                ("collections", "OrderedDict"): dict,
                ("torch", "FloatStorage"): np.dtype("<f4"),
                ("torch", "HalfStorage"): np.dtype("<f2"),
            }
            return known[module, name]

    found = Unpickler(io.BytesIO(archive.read(names[0]))).load()
    while any(isinstance(value, dict) for value in found.values()):
        found = next(value for value in found.values() if isinstance(value, dict))
    return found


def parse_gguf(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a GGUF file (versions 2 and 3, little-endian): float32, float16, and Q8_0 as float16."""
    place = 8 if data[:4] == b"GGUF" else len(data)

    def take(code: str) -> Any:
        nonlocal place
        place += struct.calcsize("<" + code)
        return struct.unpack_from("<" + code, data, place - struct.calcsize("<" + code))[0]

    def text(errors: str = "strict") -> str:
        nonlocal place
        length = take("Q")
        assert length <= len(data) - place
        place += length
        return data[place - length : place].decode(errors=errors)

    codes = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def value(kind: int) -> Any:
        if kind == 8:
            return text("replace")
        if kind == 9:
            inner, count = take("I"), take("Q")
            assert count <= len(data)
            return [value(inner) for _ in range(count)]
        return take(codes[kind])

    count, keys = take("Q"), take("Q")
    assert count + keys <= len(data)
    fields = {text(): value(take("I")) for _ in range(keys)}
    infos = [(text(), [take("Q") for _ in range(take("I"))][::-1], take("I"), take("Q")) for _ in range(count)]
    align = fields.get("general.alignment", 32)
    start = -(-place // align) * align
    return {name: _gguf_values(data[start + offset :], shape, kind) for name, shape, kind, offset in infos}


def _gguf_values(data: bytes, shape: list[int], kind: int) -> np.ndarray:
    count = math.prod(shape)
    if kind in (0, 1):
        return np.frombuffer(data, "<f4" if kind == 0 else "<f2", count).reshape(shape)
    assert kind == 8, f"unknown type {kind}"
    blocks = np.frombuffer(data, np.dtype([("scale", "<f2"), ("values", "i1", 32)]), count // 32)
    values = blocks["scale"].astype(np.float32)[:, None] * blocks["values"]
    return values.astype(np.float16).reshape(shape)


def same_tensors(found: Mapping[str, torch.Tensor], told: Mapping[str, np.ndarray]) -> None:
    """Check names, dtypes, shapes and every bit; names in the file may have the prefixes of wrappers."""
    plain = {unwrap(name): value for name, value in told.items()}
    assert found.keys() == plain.keys()
    for name, value in found.items():
        here = value.contiguous().numpy()
        assert here.dtype == plain[name].dtype, name
        assert here.shape == plain[name].shape, name
        assert here.tobytes() == np.ascontiguousarray(plain[name]).tobytes(), name


def check_safetensors(path: Path, found: Any) -> None:
    tensors, metadata = parse_safetensors(path.read_bytes())
    same_tensors(found.tensors, tensors)
    assert found.metadata == metadata


def check_torch(path: Path, found: Any) -> None:
    same_tensors(found.tensors, parse_torch(path.read_bytes()))


def check_gguf(path: Path, found: Any) -> None:
    same_tensors(found.tensors, parse_gguf(path.read_bytes()))


def merge_checker(state: Mapping[str, np.ndarray]) -> Callable[[Path, Any], None]:
    """A check of W + alpha / rank * B A for adapters in PEFT's names, with alphas as tensors."""

    def check(path: Path, found: Any) -> None:
        adapter, header = parse_safetensors(path.read_bytes())
        assert not header or not any("alpha" in key or "lora" in key for key in header)
        plain = {unwrap(name): value.astype(np.float64) for name, value in adapter.items()}
        wanted = {name: value.astype(np.float64) for name, value in state.items()}
        used = set()
        for name, up in plain.items():
            module, is_up, _ = name.partition(".lora_B.weight")
            if is_up:
                down, alpha = plain[f"{module}.lora_A.weight"], plain.get(f"{module}.alpha")
                scale = 1.0 if alpha is None else float(alpha.reshape(())) / len(down)
                wanted[f"{module}.weight"] = wanted[f"{module}.weight"] + scale * up @ down
                used |= {name, f"{module}.lora_A.weight", f"{module}.alpha"}
        assert plain.keys() <= used, "every tensor was merged"
        for name, value in found.items():
            np.testing.assert_allclose(value.double().numpy(), wanted[name], rtol=1e-3, atol=1e-3, err_msg=name)

    return check


def check_yaml(path: Path, found: list[Script]) -> None:
    """Compare with what PyYAML's own constructor makes of the text, and read again what would be written."""
    told = yaml.safe_load(path.read_text("utf-8-sig"))
    (script,) = found
    assert {"global", "shots"} <= told.keys() <= {"global", "shots", "seed", "cast"}
    assert (script.global_caption, script.seed) == (told["global"], told.get("seed"))
    for shot, said in zip(script.shots, told["shots"], strict=True):
        assert said.keys() <= {"text", "chunks", "extend", "seed", "cast", "steer"}
        steers = [(steer["at"], steer["text"]) for steer in said.get("steer") or []]
        assert (shot.text, shot.chunks, shot.seed, shot.cast) == (
            said["text"], said.get("chunks", 3), said.get("seed"), said.get("cast"),
        )  # fmt: skip
        assert [(steer.at, steer.text) for steer in shot.steers] == steers
    assert not script.cast
    reparsed(path, found)


def check_json(path: Path, found: list[Script]) -> None:
    (script,) = found
    same_captions(script, json.loads(path.read_text("utf-8-sig")))
    reparsed(path, found)


def same_captions(script: Script, told: Mapping[str, Any], frames: list[int] | None = None) -> None:
    """Compare a story with a published JSON: its captions, and its lengths in frames to the nearest that exists."""
    assert script.global_caption == told["global_caption"]
    count = len(script.shots) if frames else sum(f"shot{number}" in told for number in range(1, 100))
    assert [shot.text for shot in script.shots] == [told[f"shot{number}"] for number in range(1, count + 1)]
    frames = frames or told.get("frames_per_shot")
    for number, shot in enumerate(script.shots):
        made = 12 * shot.chunks - 3
        told_frames = 81 if frames is None else max(frames[number], 9)
        assert abs(made - told_frames) <= (0 if frames is None else 6)


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV, which all have as many values as there are columns."""
    columns, *rows = [row for row in csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")) if row]
    return [dict(zip(columns, row, strict=True)) for row in rows]


def ranges_of(row: Mapping[str, str]) -> list[list[int]]:
    text = row.get("frame_number", "").strip()
    return [list(pair) for pair in ast.literal_eval(text)] if text else []


def check_csv(path: Path, found: list[Script]) -> None:
    for script, row in zip(found, rows_of(path), strict=True):
        told = json.loads((path.parent / row["json_path"]).read_text())
        same_captions(script, told, [end - start for start, end in ranges_of(row)] or None)
    reparsed(path, found)


def check_manifest(path: Path, found: Any) -> None:
    for video, row in zip(found.videos, rows_of(path), strict=True):
        told = json.loads((path.parent / row["json_path"]).read_text())
        assert video.global_caption == told["global_caption"]
        assert [[shot.start, shot.end] for shot in video.shots] == ranges_of(row)
        assert [shot.caption for shot in video.shots] == [told[f"shot{one}"] for one in range(1, len(video.shots) + 1)]
        assert all(shot.video.samefile(path.parent / row["video_path"]) for shot in video.shots)


def check_txt(path: Path, found: list[Script]) -> None:
    lines = [line for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    for script, line in zip(found, lines, strict=True):
        texts = [part.strip() for part in line.split("|")]
        assert [script.global_caption, *(shot.text for shot in script.shots)] == (
            texts if len(texts) > 1 else ["", texts[0]]
        )
        assert all(shot.chunks == 7 for shot in script.shots)
    reparsed(path, found)


def check_jsonl(path: Path, found: list[Script]) -> None:
    lines = [json.loads(line) for line in path.read_text("utf-8-sig").split("\n") if line.strip()]
    for script, told in zip(found, lines, strict=True):
        prompts = told["prompts"] if "prompts" in told else [told["prompt"]]
        assert [shot.text for shot in script.shots] == prompts
        assert script.global_caption == told.get("global_caption", "")
        switches = told.get("switch_frame_indices")
        if switches is None:
            assert all(shot.chunks == 7 for shot in script.shots)
        else:
            starts = [math.ceil(latent / 3) for latent in switches]
            assert [sum(shot.chunks for shot in script.shots[:one]) for one in range(1, len(prompts))] == starts
    reparsed(path, found)


def reparsed(path: Path, found: list[Script]) -> None:
    """Check that every story, written as YAML, is read as the same story."""
    again = path.parent / "again.yaml"
    for script in found:
        again.write_text(format_script(script), "utf-8")
        assert load_scripts(again) == [script]


def check_directory(wanted: Mapping[str, bytes]) -> Callable[[Path, Any], None]:
    """A check that a directory holds these files, by name and byte, and no others."""

    def check(_: Path, directory: Any) -> None:
        assert {path.name: path.read_bytes() for path in directory.iterdir()} == wanted

    return check


def picture_checker(original: np.ndarray) -> Callable[[Path, Any], None]:
    """A check of a picture: a PNG has checksums and must be the original; others must be what FFmpeg decodes.

    Where FFmpeg finds a fault, only Pillow's result is known. A JPEG has no checksum, and decoders differ in what they
    show of damaged blocks: only its size is compared.
    """

    def check(path: Path, found: list[np.ndarray]) -> None:
        (pixels,) = found
        assert pixels.dtype == np.uint8
        start = path.read_bytes()[:4]
        if start == b"\x89PNG":
            assert np.array_equal(pixels, original)
            return
        try:
            with av.open(f"file:{path}", metadata_errors="replace") as container:
                stream = container.streams.video[0]
                stream.codec_context.options = {"err_detect": "crccheck+explode"}
                told = next(iter(container.decode(stream))).to_ndarray(format="rgb24")
        except (av.FFmpegError, ValueError, IndexError, StopIteration):
            return
        assert pixels.shape == told.shape
        assert start[:2] == b"\xff\xd8" or np.array_equal(pixels, told)

    return check


def plain_frames(path: Path) -> list[np.ndarray]:
    """The frames of a video by FFmpeg alone; none where it logs that a checksum of FFV1 does not fit."""
    with av.logging.Capture() as logs, av.open(f"file:{path}", metadata_errors="replace") as container:
        shown = [picture.to_ndarray(format="rgb24") for picture in container.decode(container.streams.video[0])]
    return [] if any("CRC mismatch" in text for _, _, text in logs) else shown


def check_video(path: Path, found: list[np.ndarray]) -> None:
    """Compare a video with what FFmpeg alone decodes; where the file says a shape of pixels, only in number."""
    told = plain_frames(path)
    assert len(found) == len(told)
    assert all(one.dtype == np.uint8 and one.ndim == 3 and one.size for one in found)
    if _is_plain(path):
        assert all(np.array_equal(one, other) for one, other in zip(found, told, strict=True))


def check_clip(path: Path, found: np.ndarray) -> None:
    """Compare a clip with the frames of `plain_frames`, each of which is shown as often as its time asks for."""
    told = plain_frames(path)
    assert told
    if _is_plain(path) and told[0].shape == found.shape[1:]:
        known = {one.tobytes() for one in told}
        assert all(one.tobytes() in known for one in found)


def _is_plain(path: Path) -> bool:
    """Whether frames are shown as they are stored: square pixels, not turned, in SD, and in no wide colours."""
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        stream = container.streams.video[0]
        first = next(iter(container.decode(stream)))
        square = (stream.sample_aspect_ratio or 1) == 1 and not first.side_data and not first.interlaced_frame
        return square and first.width < 1280 and first.height <= 576 and first.color_primaries in (1, 2)
