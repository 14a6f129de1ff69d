"""The published layout as training data: what StoryWorld writes comes back, what does not fit is named."""

import csv
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT, VideoSize
from shotstream.core.video import read_video, write_video
from shotstream.data.clips import read_frames
from shotstream.data.manifest import ManifestShots, read_manifest
from shotstream.data.samples import NO_CONTEXT_SHARE, ShotSample
from shotstream.model.config import CaptionChoice
from shotstream.story.selectors import select_dynamic
from shotstream.world.dataset import INDEX_COLUMNS, frame_ranges, write_dataset
from shotstream.world.scene import WorldStory
from shotstream.world.stories import sample_story

SIZE = VideoSize(80, 128)
STORIES = [sample_story(seed, shots=2 + seed, chunks=1 + seed) for seed in range(2)]
"""Two shots of 9 frames, and three of 21."""
Row = dict[str, str]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(STORIES, tmp_path_factory.mktemp("dataset"), caption_variant=0)


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    """The CSV of a copy that a test may spoil."""
    return Path(shutil.copytree(written.parent, tmp_path / "copy")) / written.name


@pytest.fixture(scope="module")
def long_shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One video of a shot of 10 frames, four frames between, and one of 170; every frame has a grey of its own."""
    folder = tmp_path_factory.mktemp("long")
    greys = np.arange(184, dtype=np.uint8)[:, None, None, None]
    write_video(folder / "a.mkv", np.broadcast_to(greys, (184, 32, 48, 3)), 16, lossless=True)
    (folder / "a.json").write_text(json.dumps({"global_caption": "Grey. ", "shot1": "dark", "shot2": "bright"}))
    write_rows(
        folder / "a.csv", [dict(zip(INDEX_COLUMNS, ("2", "a.json", "a.mkv", "[[0, 10], [14, 184]]"), strict=True))]
    )
    return folder / "a.csv"


def read_rows(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)


def edit_json(path: Path, edit: Callable[[dict[str, str]], object]) -> None:
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def set_cell(column: str, value: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        rows = read_rows(path)
        rows[1][column] = value
        write_rows(path, rows)

    return spoil


def set_caption(**captions: str) -> Callable[[Path], None]:
    return lambda path: edit_json(path.with_name("story000001.json"), lambda data: data.update(captions))


def drop_caption(key: str) -> Callable[[Path], None]:
    return lambda path: edit_json(path.with_name("story000001.json"), lambda data: data.pop(key))


def replace_file(name: str, content: bytes | None) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        path.with_name(name).unlink()
        if content is not None:
            path.with_name(name).write_bytes(content)

    return spoil


def cut_video(path: Path) -> None:
    video = path.with_name("story000001.mp4")
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 3 // 4])


def add_value(path: Path) -> None:
    path.write_text(path.read_text().rstrip("\n") + ",more\n")


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "json missing": (replace_file("story000001.json", None), "cannot read .*story000001.json"),
    "json broken": (replace_file("story000001.json", b"{"), "no JSON"),
    "json no text": (replace_file("story000001.json", b"\xff\xff"), "expected UTF-8"),
    "no global caption": (drop_caption("global_caption"), "missing key 'global_caption'"),
    "a gap in the shots": (drop_caption("shot2"), "missing key 'shot2'"),
    "an empty caption": (set_caption(shot2=" "), "shot2: expected the text of a shot, got an empty one"),
    "an empty global caption": (set_caption(global_caption=""), "expected the global caption, got an empty one"),
    "video missing": (
        replace_file("story000001.mp4", None),
        "cannot read .*story000001.mp4': no such file beside stories.csv, nor",
    ),
    "video unreadable": (replace_file("story000001.mp4", b"no video"), "it is no video"),
    "video cut off": (cut_video, "says 63 frames and holds .* cut off"),
    "beyond the end": (set_cell("frame_number", "[[0, 21], [21, 42], [42, 64]]"), r"within 0 to 63 .* \[42, 64\]"),
    "before the start": (set_cell("frame_number", "[[-1, 21], [21, 42], [42, 63]]"), r"within 0 to 63 .* \[-1, 21\]"),
    "an empty range": (
        set_cell("frame_number", "[[0, 21], [21, 21], [42, 63]]"),
        r"at least one frame in frame_number, got \[21, 21\]",
    ),
    "overlap": (set_cell("frame_number", "[[0, 21], [20, 42], [42, 63]]"), r"got \[20, 42\] after \[0, 21\]"),
    "out of order": (set_cell("frame_number", "[[21, 42], [0, 21], [42, 63]]"), "expected shots in order"),
    "no ranges": (set_cell("frame_number", "all"), "expected frame_number as"),
    "ranges of fractions": (set_cell("frame_number", "[[0, 20.5], [21, 42], [42, 63]]"), "expected whole numbers"),
    "too many ranges": (
        set_cell("frame_number", "[[0, 21], [21, 42], [42, 50], [50, 63]]"),
        "frame_number has 4 shots and story000001.json has 3",
    ),
    "a path of nothing": (set_cell("json_path", " "), "expected the path of a file, got an empty one"),
    "too many values": (add_value, "expected as many values as columns"),
}


def test_what_storyworld_writes_comes_back(written: Path) -> None:
    manifest = read_manifest(written)
    assert (len(manifest.videos), manifest.skipped) == (2, 0)
    for number, video in enumerate(manifest.videos):
        path = written.parent / f"story{number:06d}"
        captions = json.loads(path.with_suffix(".json").read_text())
        story = WorldStory.from_dict(json.loads(path.with_suffix(".truth.json").read_text()))
        assert [video.global_caption, *(shot.caption for shot in video.shots)] == list(captions.values())
        assert tuple((shot.start, shot.end) for shot in video.shots) == frame_ranges(story)
        assert {shot.video for shot in video.shots} == {path.with_suffix(".mp4")}
    assert [video.line for video in manifest.videos] == [2, 3]


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_or_left_out_and_counted(case: str, copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    spoil, message = BAD[case]
    spoil(copy)
    with pytest.raises(InputError, match=rf"^stories\.csv, line 3: .*{message}") as caught:
        read_manifest(copy)
    assert "\n" not in str(caught.value)
    with caplog.at_level(logging.WARNING, "shotstream"):
        manifest = read_manifest(copy, skip_bad=True)
    assert [video.line for video in manifest.videos] == [2]
    assert manifest.skipped == 1
    assert [record.getMessage() for record in caplog.records] == [f"{caught.value}; left out"]


def test_the_layout_is_read_as_its_publisher_reads_it(
    copy: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = read_manifest(copy)
    rows = read_rows(copy)
    for number, row in enumerate(rows):
        row["json_path"] = f"copy/{row['json_path']}"
        row["video_path"] = f"copy/{row['video_path']}"
        row["frame_number"] = row["frame_number"].replace("[", "(").replace("]", ")")
        row["colour"], row["shot_num_from_caption"] = "red", "9"
        row[""] = str(number)
    set_caption(video_path="copy/story000001.mp4", sample_id="3", shot4="One more.")(copy)
    write_rows(copy, rows)
    monkeypatch.chdir(copy.parent.parent)
    read = read_manifest(copy)
    assert [video.shots[0].caption for video in read.videos] == [video.shots[0].caption for video in plain.videos]
    assert [[(clip.start, clip.end) for clip in video.shots] for video in read.videos] == [
        [(clip.start, clip.end) for clip in video.shots] for video in plain.videos
    ]
    assert "stories.csv, line 3: story000001.json has 4 shots, of which the first 3 are taken" in caplog.text
    assert "stories.csv, line 3: it counts 9 shots; 3 are taken" in caplog.text


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shot_num_from_caption,json_path,video_path\n1,a,b\n", "line 1: missing column 'frame_number'"),
        (",".join(INDEX_COLUMNS) + ",json_pth\n", r"line 1: unknown name 'json_pth' \(did you mean 'json_path'"),
        (",".join(INDEX_COLUMNS) + ",json_path\n", "line 1: the column 'json_path' stands twice"),
        (";".join(INDEX_COLUMNS) + "\n", "line 1: its columns are separated by semicolons; save it with commas"),
        (",".join(INDEX_COLUMNS) + "\n", "expected at least one row"),
        (",".join(INDEX_COLUMNS) + '\n1,"a\n', "no CSV"),
        ("", "expected a table with the columns"),
    ],
)
def test_a_table_that_is_none_is_refused(text: str, message: str, skip_bad: bool, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=rf"^a\.csv.*{message}"):
        read_manifest(tmp_path / "a.csv", skip_bad=skip_bad)
    with pytest.raises(InputError, match=r"cannot read .*b\.csv"):
        read_manifest(tmp_path / "b.csv", skip_bad=skip_bad)


def test_a_table_of_bad_rows_alone_is_refused(copy: Path) -> None:
    for name in ("story000000.json", "story000001.json"):
        copy.with_name(name).unlink()
    with pytest.raises(InputError, match=r"got none \(2 bad\)"):
        read_manifest(copy, skip_bad=True)


def equal(one: ShotSample, other: ShotSample) -> bool:
    if one.captions != other.captions or (one.context is None) != (other.context is None):
        return False
    contexts_equal = one.context is None or np.array_equal(one.context, other.context)
    return contexts_equal and np.array_equal(one.target, other.target)


def test_equal_generators_draw_equal_samples(written: Path) -> None:
    sources = [ManifestShots(read_manifest(written), SIZE) for _ in range(2)]
    one, again, other = (
        [source.draw(rng, 1) for _ in range(4)] + [source.draw_picture(rng)]
        for source, rng in zip([*sources, sources[0]], map(np.random.default_rng, (1, 1, 2)), strict=True)
    )
    assert all(map(equal, one, again))
    assert not all(map(equal, one, other))


def drawn(source: ManifestShots, chunks: int, shot: str) -> ShotSample:
    """The first sample that is drawn of a shot ("shot2:") with a past, or of the first."""
    rng = np.random.default_rng(0)
    samples = (source.draw(rng, chunks) for _ in range(100))
    return next(one for one in samples if shot in one.captions[-1] and (shot == "shot0:" or one.context is not None))


def test_a_sample_is_the_shot_and_what_the_engine_would_remember(written: Path) -> None:
    manifest = read_manifest(written)
    made = drawn(ManifestShots(manifest, SIZE), 2, "shot2:")
    video, story = manifest.videos[1], read_video(written.with_name("story000001.mp4"))
    assert np.array_equal(made.target, story[42:63])
    references = select_dynamic([21, 21], PAPER_SHOT.context_latents)
    assert made.context is not None
    assert np.array_equal(made.context, story[[21 * one.shot + one.frame for one in references]])
    assert made.captions == tuple(
        f"{video.global_caption}shot{index}:{shot.caption}" for index, shot in enumerate(video.shots)
    )
    assert made.layout.shots[0].tolist() == [0, 0, 0, 1, 1, 1] + [2] * 6
    assert torch.equal(made.layout.captions, made.layout.shots)
    assert made.layout.positions[0].tolist() == list(range(12))


def test_a_first_shot_has_no_past(written: Path) -> None:
    made = drawn(ManifestShots(read_manifest(written), SIZE), 2, "shot0:")
    assert made.context is None
    assert len(made.captions) == 1
    assert made.layout.shots[0].tolist() == [0] * PAPER_SHOT.context_latents + [1] * 6


def test_the_past_is_withheld_as_often_as_it_should(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ManifestShots(read_manifest(written), SIZE)
    monkeypatch.setattr(
        "shotstream.data.manifest.read_frames", lambda _, indices, __: np.zeros((len(indices), 80, 128, 3), np.uint8)
    )
    rng = np.random.default_rng(0)
    samples = [source.draw(rng, 1) for _ in range(900)]
    later = [one.context is None for one in samples if "shot0:" not in one.captions[-1]]
    assert len(later) / 900 == pytest.approx(3 / 5, abs=0.05), "every shot is as likely as another"
    assert np.mean(later) == pytest.approx(NO_CONTEXT_SHARE, abs=0.04)


def test_only_shots_that_are_long_enough_are_drawn(written: Path) -> None:
    source = ManifestShots(read_manifest(written), SIZE)
    rng = np.random.default_rng(0)
    assert all(len(source.draw(rng, 2).target) == 21 for _ in range(5))
    with pytest.raises(InputError, match=r"stories\.csv: expected a shot of 3 chunks \(33 frames\), .* has 21 frames"):
        source.draw(rng, 3)
    with pytest.raises(InputError, match="expected a shot of 1 to 7 chunks"):
        source.draw(rng, 8)


@pytest.mark.parametrize(("chunks", "frames"), [(1, 9), (7, 81)])
def test_a_long_shot_is_strided_then_cut(chunks: int, frames: int, long_shots: Path) -> None:
    made = drawn(ManifestShots(read_manifest(long_shots), VideoSize(32, 48)), chunks, "shot1:")
    assert made.target[:, 0, 0, 0].tolist() == [14 + 2 * index for index in range(frames)]
    assert made.context is not None
    assert made.context[:, 0, 0, 0].tolist() == [0, 2, 4, 5, 7, 9]


@pytest.mark.parametrize("resample", [True, False])
def test_motion_keeps_its_speed_whatever_the_rate_of_the_video(resample: bool, tmp_path: Path) -> None:
    """Three times as many frames a second: every third is shown, and remembered, unless frames stay as they are."""
    greys = np.arange(108, dtype=np.uint8)[:, None, None, None]
    write_video(tmp_path / "a.mkv", np.broadcast_to(greys, (108, 32, 48, 3)), 48, lossless=True)
    (tmp_path / "a.json").write_text(json.dumps({"global_caption": "Grey. ", "shot1": "dark", "shot2": "bright"}))
    row = dict(zip(INDEX_COLUMNS, ("2", "a.json", "a.mkv", "[[0, 54], [54, 108]]"), strict=True))
    write_rows(tmp_path / "a.csv", [row])
    manifest = read_manifest(tmp_path / "a.csv", resample=resample)
    step = 3 if resample else 1
    assert [shot.length_frames for shot in manifest.videos[0].shots] == [54 // step] * 2
    made = drawn(ManifestShots(manifest, VideoSize(32, 48), "first_last"), 1, "shot1:")
    assert made.target[:, 0, 0, 0].tolist() == [54 + step * index for index in range(9)]
    assert made.context is not None
    assert made.context[:, 0, 0, 0].tolist() == [0] * 3 + [54 - step] * 3
    other = read_manifest(tmp_path / "a.csv", resample=not resample)
    assert manifest.digest != other.digest


def test_frames_come_at_the_size_that_is_asked_for(written: Path) -> None:
    made = drawn(ManifestShots(read_manifest(written), VideoSize(48, 64)), 1, "shot1:")
    assert made.context is not None
    assert made.target.shape == (9, 48, 64, 3)
    assert made.context.shape == (6, 48, 64, 3)


def test_a_picture_is_one_frame_of_any_shot(long_shots: Path) -> None:
    manifest, rng = read_manifest(long_shots), np.random.default_rng(0)
    source = ManifestShots(manifest, VideoSize(32, 48))
    pictures = [source.draw_picture(rng) for _ in range(12)]
    for picture in pictures:
        shot = manifest.videos[0].shots["shot1:" in picture.captions[0]]
        assert picture.context is None
        assert picture.layout.positions.tolist() == [[PAPER_SHOT.context_latents]]
        frame = int(picture.target[0, 0, 0, 0])
        assert shot.start <= frame < shot.end
        assert np.array_equal(picture.target, read_frames(shot.video, [frame], VideoSize(32, 48)))
    assert len({picture.captions for picture in pictures}) == 2


def test_the_selector_chooses_what_is_remembered(long_shots: Path) -> None:
    made = drawn(ManifestShots(read_manifest(long_shots), VideoSize(32, 48), "first_last"), 1, "shot1:")
    assert made.context is not None
    assert made.context[:, 0, 0, 0].tolist() == [0, 0, 0, 9, 9, 9]
    with pytest.raises(InputError, match="did you mean 'first_last'"):
        ManifestShots(read_manifest(long_shots), SIZE, "frist_last")


def test_a_context_may_attend_to_the_new_shots_caption(long_shots: Path) -> None:
    source = ManifestShots(read_manifest(long_shots), VideoSize(32, 48), captions="target")
    made = drawn(source, 1, "shot1:")
    assert made.context is not None
    assert made.captions == ("Grey. shot1:bright",)
    assert made.layout.captions.unique().tolist() == [0]


def test_an_identity_is_plain_and_changes_with_what_is_read(copy: Path) -> None:
    def identity(size: VideoSize = SIZE, context: str = "dynamic", captions: CaptionChoice = "per_shot") -> str:
        return json.dumps(ManifestShots(read_manifest(copy, skip_bad=True), size, context, captions).identity)

    first = identity()
    assert identity() == first
    seen = {first, identity(VideoSize(48, 64)), identity(context="first"), identity(captions="target")}
    os.utime(copy.with_name("story000000.mp4"), ns=(0, 1))
    seen.add(identity())
    set_caption(shot1="A caption by another hand.")(copy)
    seen.add(identity())
    set_cell("frame_number", "[[0, 20], [21, 42], [42, 63]]")(copy)
    seen.add(identity())
    copy.with_name("story000001.json").unlink()
    seen.add(identity())
    assert len(seen) == 8
