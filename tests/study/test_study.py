"""A study's directory, its votes and its report; bad input is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from shotstream.cli import main
from shotstream.core.errors import InputError
from shotstream.core.video import write_video
from shotstream.study.app import make_app
from shotstream.study.files import Study, read_study
from shotstream.study.report import make_report, report_data, to_markdown
from shotstream.study.votes import VOTES_FILE, Vote, Votes, order_of
from study.study_videos import FRAMES, STORIES, write_script, write_system, write_systems


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A study of two systems."""
    output = tmp_path / "study"
    assert main(["study", "make", *write_systems(tmp_path, "bright", "dark"), "-o", str(output)]) == 0
    return output


@pytest.fixture
def study(directory: Path) -> Study:
    return read_study(directory)


def test_a_study_has_its_own_copies_and_can_be_moved(directory: Path, tmp_path: Path) -> None:
    moved = directory.rename(tmp_path / "elsewhere")
    for name in ("bright", "dark"):
        (tmp_path / name).rename(tmp_path / f"{name}-gone")
    study = read_study(moved)
    assert (study.systems, [story.name for story in study.stories]) == (("bright", "dark"), list(STORIES))
    assert study.stories[0].starts_s == (0.0, FRAMES / 2 / 16)
    assert all((moved / video).is_file() for story in study.stories for video in story.videos)


def test_stories_that_cannot_be_compared_are_named_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_system(tmp_path / "one", 200, (*STORIES, "owl", "cat", "yak"))
    other = write_system(tmp_path / "other", 20, (*STORIES, "owl", "cat"))
    whole = (one / "owl.mp4").read_bytes()
    (one / "owl.mp4").write_bytes(whole[: len(whole) - 100])
    write_script(other / "fox.json", "wolf")
    (other / "cat.mp4").unlink()
    write_video(other / "cat.mkv", np.zeros((FRAMES, 48, 64, 3), np.uint8), 16, lossless=True)
    (other / "boat.json").unlink()
    assert main(["study", "make", str(one), str(other), "-o", str(tmp_path / "study")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "left out: boat: other: no script beside it" in told
    assert "left out: cat: other: cat.mkv has ffv1 video, which not every browser plays" in told
    assert "left out: fox: the systems' scripts of it differ" in told
    assert "left out: yak: other has no video of it" in told
    assert "left out: owl: one: owl.mp4 is cut off or damaged; copy or encode it again" in told
    assert "1 story of 2 systems, 5 left out" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a"], "expected 2 to 6 directories of videos, got 1"),
        (["a", "x/a"], "two systems are called 'a'"),
        (["a", "none"], "expected a directory of videos, or a CSV that names them, got none"),
        (["a", "empty"], "expected videos (.mp4"),
        (["a", "b", "-o", "full"], "it is not empty"),
    ],
)
def test_what_makes_no_study_is_named(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "x/a"):
        write_system(tmp_path / name, 9, ("boat",))
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert main(["study", "make", *words, *([] if "-o" in words else ["-o", "study"])]) == 2
    assert message in capsys.readouterr().err


def test_a_study_that_is_gone_or_lacks_videos_is_named(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "serve", str(tmp_path / "none")]) == 2
    assert "expected study.json of 'shotstream study make'" in capsys.readouterr().err
    (directory / read_study(directory).stories[1].videos[0]).unlink()
    assert main(["study", "report", str(directory)]) == 2
    assert "1 of 6 videos are missing (videos/0/fox.mp4)" in capsys.readouterr().err
    (directory / "study.json").write_text('{"systems": []}')
    assert main(["study", "report", str(directory)]) == 2
    assert "study.json" in capsys.readouterr().err


def test_votes_of_another_study_are_refused(directory: Path, study: Study) -> None:
    Votes(directory, study)
    with pytest.raises(InputError, match="votes of another study"):
        Votes(directory, Study("other", study.systems, study.stories))


def test_a_study_that_is_moved_while_it_is_served_says_so(directory: Path, study: Study, tmp_path: Path) -> None:
    client = TestClient(make_app(directory, study, Votes(directory, study)))
    rater = client.post("/api/raters").json()["rater"]
    assert client.get(f"/api/raters/{rater}/stories/0/videos/0").status_code == 200
    directory.rename(tmp_path / "elsewhere")
    answer = client.put(f"/api/raters/{rater}/stories/0/votes/quality", json={"choice": 0})
    assert answer.status_code == 503
    assert "if the study was moved or deleted" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/raters/nobody", None, 404),
        ("/api/raters/{rater}/stories/9/videos/0", None, 404),
        ("/api/raters/{rater}/stories/0/videos/2", None, 404),
        ("/api/raters/{rater}/stories/0/votes/taste", {"choice": 0}, 404),
        ("/api/raters/{rater}/stories/0/votes/quality", {"choice": 2}, 422),
        ("/api/raters/{rater}/stories/0/votes/quality", {"choice": "bright"}, 422),
    ],
)
def test_requests_that_do_not_fit_store_nothing(
    path: str, body: Any, status: int, directory: Path, study: Study
) -> None:
    votes = Votes(directory, study)
    client = TestClient(make_app(directory, study, votes))
    url = path.format(rater=votes.add_rater())
    answer = client.get(url) if body is None else client.put(url, json=body)
    assert answer.status_code == status
    assert votes.all() == []


def test_orders_are_random_hidden_and_the_same_for_one_link(directory: Path, study: Study) -> None:
    orders = [order_of(study, f"rater {number}") for number in range(300)]
    assert order_of(study, "rater 7") == orders[7]
    first = np.mean([order.systems[0][0] == 0 for order in orders])
    assert 0.4 < first < 0.6, "each system is as often on the left"
    assert {order.stories for order in orders} == {(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)}
    client = TestClient(make_app(directory, study, Votes(directory, study)))
    rater = client.post("/api/raters").json()["rater"]
    answers = [client.get(f"/api/raters/{rater}"), client.get(f"/api/raters/{rater}/stories/0/videos/0")]
    told = "".join(f"{answer.headers}" for answer in answers) + answers[0].text
    assert "bright" not in told
    assert "dark" not in told


def ballots(*answers: tuple[str, str, str | None]) -> list[Vote]:
    return [Vote(rater, story, "quality", choice) for rater, story, choice in answers]


def test_rates_agreement_and_ties_of_known_votes(study: Study) -> None:
    votes = ballots(
        ("r1", "boat", "bright"), ("r2", "boat", "bright"), ("r1", "fox", "dark"), ("r2", "fox", None)
    )  # fmt: skip
    report = make_report(study, votes)
    quality = report.questions[2]
    assert (report.raters, report.complete, quality.votes) == (2, 0, 4)
    assert [quality.rates[name].value for name in study.systems] == [0.5, 0.25]
    assert quality.no_difference.value == 0.25
    assert quality.agreement == 0.5
    assert "votes, taken as independent" in report.intervals_over
    assert report_data(report)["questions"].keys() == {"quality"}  # type: ignore[attr-defined]
    table = to_markdown(report)
    assert "| bright | " in table
    assert "50.0% (15.0 to 85.0)" in table
    assert "no story has two raters" in table, "nobody answered the other questions"


def test_intervals_are_over_stories_where_there_are_enough(study: Study) -> None:
    many = Study("x", study.systems, study.stories * 4)
    votes = [Vote(f"r{n}", f"s{k}", "quality", "bright" if k < 8 else "dark") for n in range(5) for k in range(12)]
    quality = make_report(many, votes).questions[2]
    rate = quality.rates["bright"]
    assert rate.value == pytest.approx(8 / 12)
    assert rate.high - rate.low > 0.4, "12 stories, not 60 independent votes"
    assert make_report(many, votes).intervals_over == "stories (bootstrap)"


def test_a_report_without_votes_says_what_to_do(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "report", str(directory)]) == 2
    assert "expected votes, got none yet; run 'shotstream study serve'" in capsys.readouterr().err


def test_the_report_goes_to_files(directory: Path, study: Study, tmp_path: Path) -> None:
    votes = Votes(directory, study)
    rater = votes.add_rater()
    for story in study.stories:
        for question in study.questions:
            votes.add(Vote(rater, story.name, question.key, "dark"))
            votes.add(Vote(rater, story.name, question.key, "bright"))
    assert (directory / VOTES_FILE).is_file()
    words = ["-o", str(tmp_path / "study.md"), "--json", str(tmp_path / "study.json")]
    assert main(["study", "report", str(directory), *words]) == 0
    data = json.loads((tmp_path / "study.json").read_text())
    assert (data["raters"], data["complete_raters"]) == (1, 1)
    assert data["questions"]["prompt"]["rates"]["bright"]["rate"] == 1, "a later answer replaces an earlier one"
    assert (
        (tmp_path / "study.md").read_text().startswith("| | Visual consistency | Prompt adherence | Visual quality |")
    )
