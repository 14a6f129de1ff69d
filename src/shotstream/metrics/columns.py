"""The columns of the paper's tables: which features each needs, and its value for one story."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shotstream.metrics.cut_detection import cuts_of
from shotstream.metrics.features import CUTS, JUDGE, StoryFeatures
from shotstream.metrics.formulas import (
    aesthetic_quality,
    inter_shot_consistency,
    intra_shot_consistency,
    is_dynamic,
    text_alignment,
)
from shotstream.metrics.judge import JUDGE_QUESTIONS
from shotstream.scores.cuts import CUT_TOLERANCE_FRAMES, CutScore, score_cut_frames


@dataclass(frozen=True)
class CutSettings:
    """Settings of the cut score. `penalty_frames` None: the length of the story's longest shot."""

    penalty_frames: float | None = None
    tolerance_frames: int = CUT_TOLERANCE_FRAMES


@dataclass(frozen=True)
class Column:
    """One column: its key, its heading in the paper's order, the feature group, and the value of a story.

    The value is NaN where a story has nothing to measure (no second shot, no subject, no named characters).
    """

    key: str
    title: str
    group: str
    value: Callable[[StoryFeatures, CutSettings], float]


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


def _aesthetic(features: StoryFeatures) -> float:
    return aesthetic_quality(np.concatenate(features.by_shot("aesthetic")))


def _dynamic(features: StoryFeatures) -> float:
    shots = [shot for shot in features.by_shot("flow") if len(shot)]
    moving = [is_dynamic(shot, features.height, features.width) for shot in shots]
    return 100 * float(np.mean(moving)) if moving else math.nan


def _inter_column(key: str, title: str, group: str, name: str, *, same_character: bool = False) -> Column:
    """Return the column of similarity between shots: over all pairs, or over pairs that show the same character."""
    return Column(
        f"inter_{key}_character" if same_character else f"inter_{key}",
        f"Inter-shot {title} (same character)" if same_character else f"Inter-shot {title}",
        group,
        lambda story, _: _inter(story, name, same_character=same_character),
    )


def _cut_column(key: str, title: str, value: Callable[[CutScore], float]) -> Column:
    return Column(key, title, CUTS, lambda story, settings: value(story_cuts(story, settings)))


def _judge_column(question: str, title: str) -> Column:
    index = JUDGE_QUESTIONS.index(question)
    return Column(
        f"judge_{question}",
        f"Judge: {title} (1 to 5)",
        JUDGE,
        lambda story, _: float(np.mean(story.arrays[JUDGE][:, index])),
    )


COLUMNS = (
    Column("intra_subject", "Intra-shot subject", "dino", lambda story, _: _mean_intra(story, "dino")),
    Column("intra_background", "Intra-shot background", "clip", lambda story, _: _mean_intra(story, "clip")),
    _inter_column("semantic", "semantic", "video", "video"),
    _inter_column("subject", "subject", "subjects", "subject"),
    _inter_column("background", "background", "subjects", "background"),
    _cut_column("cut_accuracy", "Shot cut accuracy", lambda score: score.accuracy),
    Column("text_alignment", "Text alignment", "video", lambda story, _: _text(story)),
    Column("aesthetic", "Aesthetic", "aesthetic", lambda story, _: _aesthetic(story)),
    Column("dynamic_degree", "Dynamic degree (%)", "flow", lambda story, _: _dynamic(story)),
    _inter_column("semantic", "semantic", "video", "video", same_character=True),
    _inter_column("subject", "subject", "subjects", "subject", same_character=True),
    _cut_column("cut_f1", "Cut F1", lambda score: score.f1),
    _cut_column("cut_offset", "Cut offset (frames)", lambda score: score.offset_frames),
    _judge_column("consistency", "visual consistency"),
    _judge_column("prompt", "prompt adherence"),
    _judge_column("quality", "visual quality"),
)
"""The paper's columns in its order, then those that it does not have; the last three where a judge was asked."""


def story_values(features: StoryFeatures, settings: CutSettings) -> dict[str, float | None]:
    """Return the value of every column whose features are there; None where the story has nothing to measure."""
    values = {column.key: column.value(features, settings) for column in COLUMNS if features.has(column.group)}
    return {key: None if math.isnan(value) else value for key, value in values.items()}
