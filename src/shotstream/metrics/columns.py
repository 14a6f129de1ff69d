"""The columns of the paper's tables: which features each needs, and its value for one story."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shotstream.metrics.cut_detection import cuts_of
from shotstream.metrics.features import CUTS, StoryFeatures
from shotstream.metrics.formulas import (
    aesthetic_quality,
    inter_shot_consistency,
    intra_shot_consistency,
    is_dynamic,
    text_alignment,
)
from shotstream.scores.cuts import TOLERANCE, CutScore, score_cut_frames


@dataclass(frozen=True)
class CutSettings:
    """How cuts are scored. `penalty_frames` None: the length of the story's longest shot."""

    penalty_frames: float | None = None
    tolerance_frames: int = TOLERANCE


@dataclass(frozen=True)
class Column:
    """One column: its key, its heading in the paper's order, the feature group, and the value of a story.

    The value is NaN where a story has nothing to measure (no second shot, no subject, no named characters).
    """

    key: str
    title: str
    group: str
    value: Callable[[StoryFeatures, CutSettings], float]
    in_paper: bool = True


def story_cuts(features: StoryFeatures, settings: CutSettings) -> CutScore:
    """Score the detected cuts of a story against its script's."""
    lengths = features.video.lengths
    penalty = max(lengths) if settings.penalty_frames is None else settings.penalty_frames
    detected = cuts_of(features.arrays["cuts"])
    return score_cut_frames(features.video.cuts, detected, sum(lengths), penalty, settings.tolerance_frames)


def _mean_intra(features: StoryFeatures, name: str) -> float:
    return float(np.mean([intra_shot_consistency(shot) for shot in features.by_shot(name)]))


def _inter(features: StoryFeatures, name: str, *, same_character: bool = False) -> float:
    who: Sequence[Sequence[str]] | None = features.video.characters if same_character else None
    if same_character and who is None:
        return math.nan
    return inter_shot_consistency(features.by_shot(name), who)


def _text(features: StoryFeatures) -> float:
    return text_alignment(*(np.concatenate(features.by_shot(name)) for name in ("video", "text")))


def _dynamic(features: StoryFeatures) -> float:
    shots = [shot for shot in features.by_shot("flow") if len(shot)]
    moving = [is_dynamic(shot, features.height, features.width) for shot in shots]
    return 100 * float(np.mean(moving)) if moving else math.nan


COLUMNS = (
    Column("intra_subject", "Intra-shot subject", "dino", lambda story, _: _mean_intra(story, "dino")),
    Column("intra_background", "Intra-shot background", "clip", lambda story, _: _mean_intra(story, "clip")),
    Column("inter_semantic", "Inter-shot semantic", "video", lambda story, _: _inter(story, "video")),
    Column("inter_subject", "Inter-shot subject", "subjects", lambda story, _: _inter(story, "subject")),
    Column("inter_background", "Inter-shot background", "subjects", lambda story, _: _inter(story, "background")),
    Column("cut_accuracy", "Shot cut accuracy", CUTS, lambda story, settings: story_cuts(story, settings).accuracy),
    Column("text_alignment", "Text alignment", "video", lambda story, _: _text(story)),
    Column(
        "aesthetic",
        "Aesthetic",
        "aesthetic",
        lambda story, _: aesthetic_quality(np.concatenate(story.by_shot("aesthetic"))),
    ),
    Column("dynamic_degree", "Dynamic degree, %", "flow", lambda story, _: _dynamic(story)),
    Column(
        "inter_semantic_character",
        "Inter-shot semantic, same character",
        "video",
        lambda story, _: _inter(story, "video", same_character=True),
        in_paper=False,
    ),
    Column(
        "inter_subject_character",
        "Inter-shot subject, same character",
        "subjects",
        lambda story, _: _inter(story, "subject", same_character=True),
        in_paper=False,
    ),
    Column("cut_f1", "Cut F1", CUTS, lambda story, settings: story_cuts(story, settings).f1, in_paper=False),
    Column(
        "cut_offset",
        "Cut offset, frames",
        CUTS,
        lambda story, settings: story_cuts(story, settings).offset_frames,
        in_paper=False,
    ),
)
"""The paper's columns in its order, then those that it does not have."""


def story_values(features: StoryFeatures, settings: CutSettings) -> dict[str, float | None]:
    """Return the value of every column whose features are there; None where the story has nothing to measure."""
    values = {
        column.key: column.value(features, settings) for column in COLUMNS if column.group not in features.missing
    }
    return {key: None if math.isnan(value) else value for key, value in values.items()}
