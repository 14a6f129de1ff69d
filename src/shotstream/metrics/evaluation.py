"""Evaluate a directory of videos: features, values of each story, means with bootstrap intervals; resumable."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotstream.core.atomic_files import make_directory, write_json
from shotstream.core.errors import InputError
from shotstream.metrics.backbones import BACKBONES, Backbones
from shotstream.metrics.columns import COLUMNS, Column, CutSettings, story_cuts, story_values
from shotstream.metrics.features import (
    CUTS,
    JUDGE,
    NETWORKS,
    StoryFeatures,
    extract_features,
    feature_key,
    groups_to_compute,
    load_features,
    read_features,
    save_features,
)
from shotstream.metrics.judge import JUDGE_QUESTIONS
from shotstream.metrics.videos import ScoredVideo, UnreadableVideo
from shotstream.scores.agreement import agreement, krippendorff_alpha
from shotstream.scores.intervals import Estimate, bootstrap_mean

RESULTS = "results.json"
FEATURES = "features"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoryResult:
    """The values of one story by column key, the counts of its cuts, and the warnings about it."""

    name: str
    video: str
    captions: tuple[str, ...]
    ranges: tuple[tuple[int, int], ...]
    values: Mapping[str, float | None]
    cuts: Mapping[str, float | int | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """The results of a directory of videos.

    `missing` has, for a column that some story lacks, why, or the command that fetches what it needs; `networks` the
    version of each network and package; `failed` the videos that could not be scored, and why; `judge` the judge, its
    rubric, and for each question how far its repeats agree.
    """

    source: str
    stories: tuple[StoryResult, ...]
    failed: tuple[UnreadableVideo, ...]
    missing: Mapping[str, str]
    networks: Mapping[str, str]
    settings: CutSettings
    judge: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> list[Column]:
        """Return the columns of this evaluation's tables; those of the judge only if one was asked."""
        return [column for column in COLUMNS if self.judge or column.group != JUDGE]

    def values(self, key: str) -> list[float]:
        """Return a column's values of all stories that have one."""
        return [value for story in self.stories if (value := story.values.get(key)) is not None]

    @property
    def means(self) -> dict[str, Estimate]:
        """Return the mean of every column over stories, with its bootstrap 95% interval."""
        return {column.key: bootstrap_mean(values) for column in COLUMNS if (values := self.values(column.key))}

    def worst(self, key: str, count: int = 3) -> list[StoryResult]:
        """Return the stories with the lowest values of a column."""
        with_value = [story for story in self.stories if story.values.get(key) is not None]
        return sorted(with_value, key=lambda story: story.values[key] or 0.0)[:count]


def evaluate_videos(
    videos: Iterable[ScoredVideo | UnreadableVideo],
    output: Path,
    backbones: Backbones,
    settings: CutSettings = CutSettings(),  # noqa: B008 (frozen)
    source: str = "",
) -> Evaluation:
    """Evaluate videos and write `results.json` and the features of each into `output`.

    Features that lie there already are used again, so that a run that was stopped goes on. A video that fails is
    reported and the others run.

    Args:
        videos: from `find_videos`.
        output: directory of the results.
        backbones: the networks.
        settings: of the cut metrics.
        source: what was evaluated, for the report.

    Raises:
        InputError: the output cannot be written, or no video can be scored.
    """
    make_directory(output / FEATURES)
    stories: list[StoryResult] = []
    failed: list[UnreadableVideo] = []
    missing: dict[str, str] = {}
    ratings: list[NDArray[Any]] = []
    networks: list[Mapping[str, str]] = []
    for video in videos:
        try:
            if isinstance(video, UnreadableVideo):
                raise InputError(video.reason)
            features = _features_of(video, output / FEATURES / f"{video.name}.npz", backbones)
            stories.append(_result(features, settings))
            missing |= features.missing
            networks.append(features.networks)
            if backbones.judge and features.has(JUDGE):
                ratings.append(features.arrays[JUDGE])
        except InputError as error:
            _log.warning("%s: %s; left out", video.name, error)
            failed.append(UnreadableVideo(video.name, str(error)))
    if not stories:
        reasons = "; ".join(f"{video.name}: {video.reason}" for video in failed)
        raise InputError(f"expected at least one video that can be scored, got none of {len(failed)} ({reasons})")
    of_column = {column.key: missing[column.group] for column in COLUMNS if column.group in missing}
    judge = {} if backbones.judge is None else backbones.judge.description | {"agreement": _agreement(ratings)}
    evaluation = Evaluation(source, tuple(stories), tuple(failed), of_column, _union(networks), settings, judge)
    write_json(output / RESULTS, to_data(evaluation))
    return evaluation


def _features_of(video: ScoredVideo, path: Path, backbones: Backbones) -> StoryFeatures:
    key = feature_key(video, backbones)
    stored = load_features(path, video, key)
    wanted = groups_to_compute(stored, backbones)
    if stored is not None and (backbones.judge is None or JUDGE in wanted):
        stored.arrays = {name: array for name, array in stored.arrays.items() if name != JUDGE}
    if stored is not None and not wanted:
        return stored
    features = extract_features(video, backbones, wanted)
    if stored is not None:
        networks = stored.networks | features.networks
        features.arrays = stored.arrays | features.arrays | {NETWORKS: np.array(json.dumps(networks))}
    save_features(path, features, key)
    return features


def _union(networks: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the networks of all stories; one that has several versions, because runs were apart, with all of them."""
    found: dict[str, set[str]] = {}
    for of_story in networks:
        for name, version in of_story.items():
            found.setdefault(name, set()).add(version)
    return {name: " and ".join(sorted(versions)) for name, versions in found.items()}


def _agreement(ratings: Sequence[NDArray[Any]]) -> dict[str, dict[str, float | None]]:
    """Return, for each question, how far the repeats of a story agree: equal pairs, and Krippendorff's alpha."""
    found = {}
    for index, question in enumerate(JUDGE_QUESTIONS):
        answers = [story[:, index].tolist() for story in ratings]
        values = {"equal_pairs": agreement(answers), "krippendorff_alpha": krippendorff_alpha(answers)}
        found[question] = {name: None if np.isnan(value) else value for name, value in values.items()}
    return found


def _result(features: StoryFeatures, settings: CutSettings) -> StoryResult:
    video = features.video
    cuts: dict[str, Any] = {}
    if features.has(CUTS):
        cuts = asdict(story_cuts(features, settings))
        cuts["offset_frames"] = None if np.isnan(cuts["offset_frames"]) else cuts["offset_frames"]
    values = story_values(features, settings)
    return StoryResult(video.name, str(video.path.resolve()), video.captions, video.ranges, values, cuts, video.notes)


def load_story_features(output: Path, videos: Iterable[ScoredVideo | UnreadableVideo]) -> dict[str, StoryFeatures]:
    """Read the stored features of an evaluation's videos, by name."""
    found = {}
    for video in videos:
        path = output / FEATURES / f"{video.name}.npz"
        if isinstance(video, ScoredVideo) and (features := read_features(path, video)) is not None:
            found[video.name] = features
    return found


def to_data(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain data for JSON, with the means."""
    means = {
        key: {name: None if value != value else value for name, value in asdict(mean).items()}
        for key, mean in evaluation.means.items()
    }
    replaced = {name: spec.replaces for name, spec in BACKBONES.items() if spec.replaces}
    return {"means": means, **asdict(evaluation), "replaced_tools": replaced}


def from_data(data: Mapping[str, Any], where: str) -> Evaluation:
    """Build an evaluation from the data of `to_data`.

    Raises:
        InputError: it is something else.
    """
    try:
        stories = tuple(
            StoryResult(
                **{
                    **story,
                    "captions": tuple(story["captions"]),
                    "ranges": tuple(map(tuple, story["ranges"])),
                    "notes": tuple(story["notes"]),
                }
            )
            for story in data["stories"]
        )
        failed = tuple(UnreadableVideo(**one) for one in data["failed"])
        settings = CutSettings(**data["settings"])
        return Evaluation(data["source"], stories, failed, data["missing"], data["networks"], settings, data["judge"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{where}: expected results.json of 'shotstream evaluate videos', got something else"
        ) from error


def read_evaluation(path: Path) -> Evaluation:
    """Read `results.json`.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path") from error
    except ValueError as error:
        raise InputError(f"{path}: expected JSON of an evaluation: {error}") from error
    return from_data(data, str(path))


def holds_evaluation(path: Path) -> bool:
    """Tell whether a file has results of `evaluate videos`, and not something else or nothing."""
    try:
        data = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and {"stories", "settings", "networks"} <= set(data)
