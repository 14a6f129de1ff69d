"""Score files: what is written is read again, pooled and compared; wrong ones are refused."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from shotstream.cli import main
from shotstream.core.atomic_files import write_json
from shotstream.core.errors import InputError
from shotstream.scores.compare import ComparedModel, compare_models, comparison_chart
from shotstream.scores.cuts import Cuts
from shotstream.scores.frechet import Frechet
from shotstream.scores.intervals import Share
from shotstream.scores.reports import CROSSING, CUT_ACCURACY, DISTANCE, ScoreReport, pool, read_report, report_data
from shotstream.scores.story_scores import Scores
from shotstream.scores.walks import Walk


def report(right: int, asked: dict[str, object] | None = None) -> ScoreReport:
    """The report of a model that has `right` of ten species right."""
    halves = (Share(min(right, 5), 5), Share(max(right - 5, 0), 5))
    cuts = Cuts((right / 10, 1.0), Share(right, 10), Share(right, right))
    walks = (Walk(right / 20, 0.5), Walk(right / 40, 0.25), Walk(0.0, 0.1))
    traits = {"species": Share(right, 10)}
    kept = {"layout": Share(right, 10)}
    by_distance = {1: Share(right, 10), 3: Share(1, 2)}
    by_shot = ((1.0,), (right / 10,))
    scores = Scores(traits, kept, {"species": halves}, by_shot, cuts, walks, by_distance=by_distance)
    return ScoreReport.of(scores, asked or {"stories": 2, "shots": 10, "phrasing": "grammar"})


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    one = replace(report(4), frechet=Frechet(3.0, 1.0, 20))
    write_json(tmp_path / "a.json", report_data(one))
    assert read_report(tmp_path / "a.json") == one
    none = ScoreReport.of(Scores({}, {}, {}, (), Cuts(), ()), {"stories": 0})
    write_json(tmp_path / "none.json", report_data(none))
    assert read_report(tmp_path / "none.json").metrics == {}


def test_a_pool_is_of_all_stories() -> None:
    both = pool([report(4), report(8)])
    assert both.shares["species"] == Share(12, 20)
    assert both.shares[CROSSING] == Share(1, 2)
    assert both.means[CUT_ACCURACY] == (0.4, 1.0, 0.8, 1.0)
    assert len(both.ratios[DISTANCE]) == 6
    assert both.halves["species"] == (Share(9, 10), Share(3, 10))
    assert both.by_shot == ((1.0, 1.0), (0.4, 0.8))
    assert both.by_distance == {1: Share(12, 20), 3: Share(2, 4)}


def test_drift_is_the_mean_slope_of_stories_over_ten_shots() -> None:
    falling = tuple((1 - 0.02 * shot, 0.9 - 0.01 * shot) for shot in range(20))
    drift = replace(report(4), by_shot=falling).drift
    assert drift is not None
    assert (drift.value, drift.low, drift.high) == pytest.approx((-0.15, -0.2, -0.1))
    assert replace(report(4), by_shot=((1.0, 1.0),) * 3).drift is None, "too few shots"
    assert replace(report(4), by_shot=((1.0, 1.0), (1.0, 1.0), (1.0,), (1.0,))).drift is None, (
        "stories of other lengths"
    )


def test_decay_is_the_second_half_against_the_first() -> None:
    first, second = report(6).decay["species"]
    assert (first.value, second.value) == (1.0, 0.2)
    assert second.minus(first).high < 0


def test_a_table_has_every_figure_of_every_model_and_the_differences() -> None:
    table = compare_models(
        [ComparedModel.of("teacher", [report(8)]), ComparedModel.of("student", [report(6), report(4)])]
    )
    lines = table.splitlines()
    assert lines[0] == "| | teacher | student | student less teacher |"
    assert lines[2] == "| stories | 2 of 10 shots, grammar | 2 of 10 shots, grammar, 2 runs | |"
    (species,) = [line for line in lines if line.startswith("| species |")]
    assert species.endswith("| 80.0% (49.0 to 94.3) | 50.0% (29.9 to 70.1) [40.0%, 60.0%] | -30.0 (-54.7 to +6.9) |")
    assert {line.count("|") for line in lines} == {5}
    assert any(line.startswith(f"| {DISTANCE} |") for line in lines)


def by_stories(rights: list[int], **asked: object) -> ScoreReport:
    """The report of a model that has so many of four species right in each story."""
    stories = tuple({"species": Share(right, 4)} for right in rights)
    scores = Scores({"species": Share(sum(rights), 4 * len(rights))}, {}, {}, (), Cuts(), (), stories)
    return ScoreReport.of(scores, {"stories": len(rights), "shots": 4, **asked})


def test_models_that_told_the_same_stories_are_compared_story_by_story(tmp_path: Path) -> None:
    easy, hard = [4, 1] * 10, [3, 0] * 10  # one less in every story but the first
    hard[0] = 4
    one, other = by_stories(easy), by_stories(hard, phrasing="people")
    write_json(tmp_path / "one.json", report_data(one))
    assert read_report(tmp_path / "one.json") == one
    columns = [ComparedModel.of("one", [one]), ComparedModel.of("other", [other])]
    assert "| -23.8 (-26.2 to -21.3) |" in compare_models(columns)
    elsewhere = ComparedModel.of("other", [by_stories(hard, shots=5)])
    assert "| -23.8 (-37.7 to -8.3) |" in compare_models([columns[0], elsewhere]), "independent"
    seeds = pool([one, other])
    assert seeds.by_story[0]["species"] == Share(8, 8)
    assert pool([one, by_stories(hard[:10])]).by_story == ()


def test_a_chart_is_a_picture_by_itself_with_a_bar_for_every_figure() -> None:
    columns = [ComparedModel.of("a<b", [report(8)]), ComparedModel.of("b", [report(0)])]
    root = ET.fromstring(comparison_chart(columns))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    bars = root.findall(".//{*}title")
    assert len(bars) == sum(len(one.whole.metrics) for one in columns)
    assert bars[0].text == "a<b: 80.0% (49.0 to 94.3)"
    assert all(float(bar.get("width", "-1")) >= 0 for bar in root.iter("{http://www.w3.org/2000/svg}rect"))
    assert "prefers-color-scheme: dark" in ET.tostring(root, encoding="unicode")


def test_what_cannot_be_compared_is_refused() -> None:
    column = ComparedModel.of("a", [report(8)])
    with pytest.raises(InputError, match="expected 2 or more models"):
        compare_models([column])
    with pytest.raises(InputError, match="name of its own"):
        comparison_chart([column, column])


def test_the_command_pools_and_compares_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for right in (4, 6, 8):
        write_json(tmp_path / f"{right}.json", report_data(report(right)))
    files = [str(tmp_path / "8.json"), f"learned={tmp_path / '4.json'},{tmp_path / '6.json'}"]
    assert main(["evaluate", "compare", *files, "--chart", str(tmp_path / "chart.svg")]) == 0
    assert "| | 8 | learned | learned less 8 |" in capsys.readouterr().out
    assert (tmp_path / "chart.svg").read_text().startswith("<svg")
    assert main(["evaluate", "compare", *files, "-o", str(tmp_path / "table.md")]) == 0
    assert "learned less 8" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize("content", ["[]", "{}", '{"asked": {}, "shares": {"species": 3}}', "no JSON"])
def test_other_files_are_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(content)
    assert main(["evaluate", "compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 2
    assert "expected scores of 'shotstream evaluate --json'" in capsys.readouterr().err
    assert main(["evaluate", "compare", str(tmp_path / "none.json")]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_more_than_six_models_have_a_row_each_and_no_chart() -> None:
    models = [ComparedModel.of(f"model{right}", [report(right)]) for right in range(2, 9)]
    head, _, *rows = compare_models(models).splitlines()
    assert head.startswith("| | stories | species |")
    assert [row.split(" | ")[0] for row in rows] == [f"| model{right}" for right in range(2, 9)]
    assert rows[0].startswith("| model2 | 2 of 10 shots, grammar | 20.0% ")
    assert all(row.count("|") == head.count("|") for row in rows)
    with pytest.raises(InputError, match="at most 6 models in a chart, got 7"):
        comparison_chart(models)
