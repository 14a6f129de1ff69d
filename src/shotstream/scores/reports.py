"""Write and read the scores of a model as JSON, with the counts behind them, so that files can be pooled."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from shotstream.core.errors import InputError
from shotstream.scores.frechet import Frechet
from shotstream.scores.intervals import Estimate, Share, bootstrap_mean, mean_estimate, ratio_estimate
from shotstream.scores.story_scores import KEPT_PREFIX, Scores
from shotstream.scores.walks import Walk, crossing, mean_gap

CUT_ACCURACY = "shot cut accuracy"
CROSSING = "walks that cross a quarter"
DISTANCE = "way walked of the true one"
DRIFT_SHOTS = 4
Pairs = tuple[tuple[float, float], ...]
Name = TypeVar("Name", str, int)
Value = TypeVar("Value")


@dataclass(frozen=True)
class ScoreReport:
    """The metrics of one model. `asked` says what was evaluated, as plain data.

    `shares` are of right answers; `means` have a value a story, `ratios` (made, true) a shot. `halves` are the shares
    of traits in the first and in the second half of stories. `by_shot` has for every story as long as that the share of
    traits that are right in its first shot, its second, and so on; `by_story` the shares of every story by name;
    `by_distance` the shares of hidden traits that are kept, by shots since they were last seen; `frechet` the distance
    of the shots' features from those of true renders, where that was asked for.
    """

    asked: Mapping[str, Any]
    shares: Mapping[str, Share]
    means: Mapping[str, tuple[float, ...]]
    ratios: Mapping[str, Pairs]
    halves: Mapping[str, tuple[Share, Share]]
    by_shot: tuple[tuple[float, ...], ...]
    by_story: tuple[Mapping[str, Share], ...] = ()
    by_distance: Mapping[int, Share] = field(default_factory=dict)
    frechet: Frechet | None = None

    @classmethod
    def of(cls, scores: Scores, asked: Mapping[str, Any], frechet: Frechet | None = None) -> "ScoreReport":
        """Return the report of scores."""
        kept = {KEPT_PREFIX + trait: share for trait, share in scores.kept.items()}
        cuts = {"cuts found": scores.cuts.found, "cuts that were wanted": scores.cuts.wanted}
        return cls(
            asked,
            {**scores.visible, **kept, **cuts, CROSSING: crossing(scores.walks)},
            {CUT_ACCURACY: scores.cuts.accuracies},
            {DISTANCE: tuple((walk.made, walk.true) for walk in scores.walks)},
            scores.halves,
            scores.by_shot,
            scores.by_story,
            scores.by_distance,
            frechet,
        )

    @property
    def metrics(self) -> dict[str, Estimate]:
        """Return every metric with at least one case, in reading order."""
        return {
            **{name: share.estimate for name, share in self.shares.items() if share.total},
            **{name: mean_estimate(values) for name, values in self.means.items() if values},
            **{name: ratio_estimate(pairs) for name, pairs in self.ratios.items() if len(pairs) > 1},
        }

    @property
    def decay(self) -> dict[str, tuple[Estimate, Estimate]]:
        """Return the shares of the first and the second half of stories, where both have cases."""
        pairs = {name: (first, second) for name, (first, second) in self.halves.items() if first.total and second.total}
        return {name: (first.estimate, second.estimate) for name, (first, second) in pairs.items()}

    @property
    def shots(self) -> list[Estimate]:
        """Return the mean share of visible traits that are right, by shot number."""
        return [mean_estimate(values) for values in self.by_shot]

    @property
    def drift(self) -> Estimate | None:
        """Return the change over ten shots of the share of right visible traits: the mean of the stories' slopes.

        The interval is a bootstrap over stories. None where stories have fewer than four shots or differ in length.
        """
        counts = {len(values) for values in self.by_shot}
        if len(self.by_shot) < DRIFT_SHOTS or len(counts) != 1:
            return None
        shares = np.array(self.by_shot)
        slopes = np.polyfit(np.arange(len(shares)), shares, 1)[0]
        return bootstrap_mean((10 * slopes).tolist())

    @property
    def walk_gap(self) -> float:
        """Return the mean distance of walks from the true ones, as a share of the picture's width."""
        return mean_gap(self.walks)

    @property
    def walks(self) -> list[Walk]:
        return [Walk(made, true) for made, true in self.ratios[DISTANCE]]


def pool(reports: Sequence[ScoreReport]) -> ScoreReport:
    """Pool several reports into one of all their stories; it keeps `asked` of the first.

    Where all told as many stories these are the same ones, and `by_story` has each with the answers of all reports.
    The Fréchet distance of several reports together cannot be had from their own, and is left out.
    """
    first = reports[0]
    alike = all(same_stories(first, one) for one in reports)
    return ScoreReport(
        first.asked,
        _merge((one.shares for one in reports), _sum),
        _merge((one.means for one in reports), lambda values: sum(values, ())),
        _merge((one.ratios for one in reports), lambda pairs: sum(pairs, ())),
        _merge((one.halves for one in reports), _add_halves),
        tuple(sum(shots, ()) for shots in zip(*(one.by_shot for one in reports), strict=False)),
        tuple(_merge(told, _sum) for told in zip(*(one.by_story for one in reports), strict=True)) if alike else (),
        _merge((one.by_distance for one in reports), _sum),
        first.frechet if len(reports) == 1 else None,
    )


def same_stories(one: ScoreReport, other: ScoreReport) -> bool:
    """Tell whether two reports are of the same stories (their number and length; seeds start at the same one)."""
    asked = [(report.asked.get("stories"), report.asked.get("shots"), len(report.by_story)) for report in (one, other)]
    return asked[0] == asked[1] and bool(one.by_story)


def report_data(report: ScoreReport) -> dict[str, Any]:
    """Return a report as plain data for JSON, which `read_report` reads back."""
    metrics = report.metrics
    return {
        "asked": dict(report.asked),
        "shares": {name: _share(share) for name, share in report.shares.items()},
        "means": {name: _known(metrics.get(name)) | {"values": values} for name, values in report.means.items()},
        "ratios": {name: _known(metrics.get(name)) | {"pairs": pairs} for name, pairs in report.ratios.items()},
        "walk_gap": report.walk_gap if report.walks else None,
        "halves": {name: [_share(share) for share in both] for name, both in report.halves.items()},
        "by_story": [{name: [share.right, share.total] for name, share in story.items()} for story in report.by_story],
        "by_distance": {str(distance): _share(share) for distance, share in report.by_distance.items()},
        "frechet": None if report.frechet is None else asdict(report.frechet),
        "drift_per_ten_shots": _known(report.drift),
        "by_shot": [_known(mean_estimate(values)) | {"values": values} for values in report.by_shot],
    }


def read_report(path: Path) -> ScoreReport:
    """Read a report from the JSON file of its `report_data`.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf8"))
        return ScoreReport(
            data["asked"],
            {name: _read_share(share) for name, share in data["shares"].items()},
            {name: tuple(mean["values"]) for name, mean in data["means"].items()},
            {name: tuple((made, true) for made, true in ratio["pairs"]) for name, ratio in data["ratios"].items()},
            {name: (_read_share(a), _read_share(b)) for name, (a, b) in data["halves"].items()},
            tuple(tuple(shot["values"]) for shot in data["by_shot"]),
            tuple({name: Share(*share) for name, share in story.items()} for story in data["by_story"]),
            {int(distance): _read_share(share) for distance, share in data["by_distance"].items()},
            None if data["frechet"] is None else Frechet(**data["frechet"]),
        )
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: expected scores of 'shotstream evaluate --json', got something else") from error


def _merge(maps: Iterable[Mapping[Name, Value]], join: Any) -> dict[Name, Value]:
    """Join the values of each name, with names in order of first appearance."""
    found: dict[Name, list[Value]] = {}
    for one in maps:
        for name, value in one.items():
            found.setdefault(name, []).append(value)
    return {name: join(values) for name, values in found.items()}


def _sum(shares: Sequence[Share]) -> Share:
    return sum(shares, Share(0, 0))


def _add_halves(halves: Sequence[tuple[Share, Share]]) -> tuple[Share, Share]:
    return reduce(lambda one, other: (one[0] + other[0], one[1] + other[1]), halves)


def _share(share: Share) -> dict[str, Any]:
    rate = share.rate if share.total else None
    return {"right": share.right, "total": share.total, "rate": rate, "interval": share.interval}


def _known(figure: Estimate | None) -> dict[str, Any]:
    """Return an estimate as JSON data; empty without one."""
    return {"value": figure.value, "interval": (figure.low, figure.high)} if figure else {}


def _read_share(data: Mapping[str, int]) -> Share:
    return Share(data["right"], data["total"])
