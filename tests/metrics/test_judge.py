"""A judge model behind a local server: what it is asked, what its answers become, and what goes wrong."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shotstream.cli import main
from shotstream.core.errors import InputError
from shotstream.core.video import write_video
from shotstream.metrics.backbones import Backbones
from shotstream.metrics.evaluation import FEATURES, Evaluation, evaluate_videos, from_data
from shotstream.metrics.judge import JUDGE_SIDE, RUBRIC, Judge, parse_ratings, pictures_of
from shotstream.metrics.videos import find_videos

GOOD = 'My rating: {"consistency": 4, "prompt": 2, "quality": 5}'


class FakeJudge:
    """An endpoint that answers chat completions with the next of its answers, the last one for ever."""

    def __init__(self, *answers: str | int) -> None:
        self.answers, self.asked = list(answers), list[Any]()
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                judge.asked.append((self.path, self.headers.get("Authorization"), body))
                answer = judge.answers.pop(0) if len(judge.answers) > 1 else judge.answers[0]
                status = answer if isinstance(answer, int) else 200
                data = json.dumps({"choices": [{"message": {"content": answer}}]}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def judging() -> Iterator[Callable[..., FakeJudge]]:
    """Start judges that give the answers they are told."""
    judges: list[FakeJudge] = []

    def start(*answers: str | int) -> FakeJudge:
        judges.append(FakeJudge(*answers))
        return judges[-1]

    yield start
    for one in judges:
        one.stop()


STORIES = ("boat", "fox", "owl")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of two shots, dark and bright, with their scripts."""
    directory = tmp_path_factory.mktemp("videos")
    frames = np.full((24, 48, 64, 3), 30, np.uint8)
    frames[12:] = 220
    for name in STORIES:
        write_video(directory / f"{name}.mp4", frames, 16)
        shots = {"shot1": f"Wide shot: the {name}.", "shot2": f"Close-up: the {name}."}
        (directory / f"{name}.json").write_text(json.dumps({"global_caption": f"A {name}."} | shots))
    return directory


@pytest.fixture(autouse=True)
def no_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the search for cuts, which takes longest."""
    monkeypatch.setattr("shotstream.metrics.features.cut_probabilities", lambda small: np.zeros(len(small)))


def evaluate(videos: Path, output: Path, judge: Judge | None) -> Evaluation:
    return evaluate_videos(find_videos(videos), output, Backbones(torch.device("cpu"), judge=judge))


def test_every_story_is_asked_about_with_its_captions_and_pictures(
    judging: Callable[..., FakeJudge], videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = judging(GOOD, GOOD.replace("2", "4"))
    monkeypatch.setenv("SHOTSTREAM_JUDGE_KEY", "secret")
    words = ["--judge", server.url, "--judge-model", "eyes", "--judge-repeats", "2", "-o", str(tmp_path)]
    assert main(["evaluate", "videos", str(videos), *words]) == 0
    assert len(server.asked) == 2 * len(STORIES)
    path, key, body = server.asked[0]
    assert (path, key, body["model"]) == ("/v1/chat/completions", "Bearer secret", "eyes")
    system, user = body["messages"]
    assert system["content"] == RUBRIC
    texts = [part["text"] for part in user["content"] if part["type"] == "text"]
    assert texts == ["Story: A boat.", "Shot 1: Wide shot: the boat.", "Shot 2: Close-up: the boat."]
    pictures = [part["image_url"]["url"] for part in user["content"] if part["type"] == "image_url"]
    assert len(pictures) == 3 * 2
    assert all(url.startswith("data:image/png;base64,") for url in pictures)

    results = from_data(json.loads((tmp_path / "results.json").read_text()), "")
    assert [story.values["judge_prompt"] for story in results.stories] == [3, 4, 4]
    assert results.means["judge_quality"].value == 5
    assert results.judge["agreement"]["prompt"]["equal_pairs"] == pytest.approx(2 / 3)
    assert results.judge["agreement"]["quality"] == {"equal_pairs": 1, "krippendorff_alpha": None}
    assert "secret" not in (tmp_path / "results.json").read_text()
    with np.load(tmp_path / FEATURES / "boat.npz") as stored:
        assert stored["judge"].tolist() == [[4, 2, 5], [4, 4, 5]]
    assert "| Judge: prompt adherence (1 to 5) | 3.667" in (tmp_path / "results.md").read_text()
    assert "equal pairs of ratings consistency 1.000, prompt 0.667" in (tmp_path / "results.html").read_text()


def test_answers_are_kept_until_the_judge_changes(
    judging: Callable[..., FakeJudge], videos: Path, tmp_path: Path
) -> None:
    server = judging(GOOD)
    for _ in range(2):
        first = evaluate(videos, tmp_path, Judge(server.url, "one", repeats=1))
    assert len(server.asked) == len(STORIES), "the second run asks nothing"
    evaluate(videos, tmp_path, Judge(server.url, "two", repeats=1))
    assert len(server.asked) == 2 * len(STORIES)
    assert first.judge["agreement"]["prompt"] == {"equal_pairs": None, "krippendorff_alpha": None}, "one repeat"
    without = evaluate(videos, tmp_path, None)
    assert "judge_prompt" not in without.means
    assert "Judge" not in {column.title.partition(":")[0] for column in without.columns}


def test_an_answer_in_another_form_is_asked_for_once_more(
    judging: Callable[..., FakeJudge], videos: Path, tmp_path: Path
) -> None:
    server = judging("I cannot say", GOOD)
    results = evaluate(videos, tmp_path, Judge(server.url, "m", repeats=1))
    assert len(server.asked) == len(STORIES) + 1
    assert results.means["judge_consistency"].value == 4


@pytest.mark.parametrize(
    ("answer", "told"), [("no", "answers in another form: 'no'"), (503, "cannot be asked: "), (404, "404")]
)
def test_a_judge_that_fails_is_named_and_the_rest_is_measured(
    answer: str | int, told: str, judging: Callable[..., FakeJudge], videos: Path, tmp_path: Path
) -> None:
    server = judging(answer)
    results = evaluate(videos, tmp_path, Judge(server.url, "m", repeats=1))
    assert told in results.missing["judge_quality"]
    assert "judge_quality" not in results.means
    assert "cut_f1" in results.means
    server.answers = [GOOD]
    assert evaluate(videos, tmp_path, Judge(server.url, "m", repeats=1)).means["judge_quality"].value == 5


def test_old_ratings_do_not_stay_where_a_new_judge_fails(
    judging: Callable[..., FakeJudge], videos: Path, tmp_path: Path
) -> None:
    evaluate(videos, tmp_path, Judge(judging(GOOD).url, "m", repeats=1))
    results = evaluate(videos, tmp_path, Judge("http://127.0.0.1:9/v1", "m", repeats=1))
    assert "judge_quality" not in results.means
    assert "cannot be asked" in results.missing["judge_quality"]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        '{"consistency": 4, "prompt": 2}',
        '{"consistency": 4, "prompt": 2, "quality": 6}',
        '{"consistency": 4, "prompt": 2, "quality": 2.5}',
        '{"consistency": 4, "prompt": 2, "quality": true}',
        '{"consistency": 4, "prompt": 2, "quality": "3"}',
    ],
)
def test_only_three_whole_ratings_are_an_answer(answer: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse_ratings(answer)


def test_pictures_are_the_first_middle_and_last_frame_and_small() -> None:
    frames = np.arange(9, dtype=np.uint8)[:, None, None, None] * np.ones((1, 300, 1024, 3), np.uint8)
    shown = pictures_of(frames)
    assert shown.shape == (3, 150, JUDGE_SIDE, 3)
    assert shown[:, 0, 0, 0].tolist() == [0, 4, 8]
    assert pictures_of(frames[:, :20, :30]).shape == (3, 20, 30, 3)


@pytest.mark.parametrize(
    ("judge", "message"),
    [(("localhost/v1", "m"), "begin with http://"), (("http://x/v1", "m", 0), "at least 1, got 0")],
)
def test_a_judge_that_cannot_be_is_refused(judge: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Judge(*judge)
