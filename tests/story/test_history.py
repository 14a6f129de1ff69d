"""The history of a story: exact, whole or not at all, small in memory."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from shotstream.core.errors import InputError
from shotstream.core.video import VideoWriter
from shotstream.story.cast import CastMember
from shotstream.story.history import FinishedShot, History
from shotstream.story.record import StoryIdentity
from shotstream.story.selectors import FrameRef, PastShot
from shotstream.story.shot_spec import ShotSpec, Steer
from shotstream.story.take_files import remove_story_files

IDENTITY = StoryIdentity("A fox.", 7, 32, 48, {"kind": "few_step", "steps": (1000.0, 500.0)}, "abc")


def spec(text, chunks):
    return ShotSpec(text, chunks, seed=7)


def shot(index, chunks=1):
    source = np.random.default_rng(index)
    frames = source.integers(0, 256, (12 * chunks - 3, 32, 48, 3), np.uint8)
    exact = {frame: source.standard_normal((3, 32, 48), np.float32) for frame in (0, 4, len(frames) - 1)}
    return FinishedShot(index, spec(f"text {index}", chunks), frames, exact)


@pytest.fixture
def story(tmp_path):
    """A directory with three shots of 9, 21 and 9 frames."""
    history = History.create(IDENTITY, tmp_path / "story")
    for index, chunks in enumerate((1, 2, 1)):
        history.add(shot(index, chunks))
    return history.directory


@pytest.mark.parametrize("temporary", [True, False])
def test_every_frame_of_every_shot_is_read_back_exactly(tmp_path, temporary):
    with History.create(IDENTITY, None if temporary else tmp_path / "story") as history:
        for index, chunks in enumerate((1, 2)):
            history.add(shot(index, chunks))
        assert history.lengths == [9, 21]
        assert history.past == [PastShot(0, 9, "text 0"), PastShot(1, 21, "text 1")]
        assert np.array_equal(history.frames(1), shot(1, 2).frames)
        assert np.array_equal(history.frames(0, [8, 2]), shot(0).frames[[8, 2]])
        chosen = history.read_key_frames([FrameRef(1, 20), FrameRef(0, 0), FrameRef(1, 4)])
        assert np.array_equal(chosen, [shot(1, 2).key_frames[20], shot(0).key_frames[0], shot(1, 2).key_frames[4]])
        assert np.array_equal(np.concatenate(list(history.all_frames()))[9:], shot(1, 2).frames)
    assert history.directory.exists() is not temporary


def test_a_story_is_found_again(story):
    history = History.open_or_create(IDENTITY, story)
    assert history.lengths == [9, 21, 9]
    assert [record.spec.text for record in history.records] == ["text 0", "text 1", "text 2"]
    history.add(shot(3))
    assert np.array_equal(History.open(story).frames(3), shot(3).frames)


@pytest.mark.parametrize("kind", ["mkv", "safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_from_a_damaged_shot_on_all_are_set_aside_and_none_is_lost(story, damage, kind, caplog):
    (story / "shot-001.mp4").write_bytes(b"to look at")
    before = {path.name: path.read_bytes() for path in story.iterdir()}
    path = story / f"shot-001.{kind}"
    whole = path.read_bytes()
    data = bytearray(whole)
    data[len(data) // 2] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flip" else data[:-100])
    assert History.open(story).lengths == [9]
    assert names(story) == ["set-aside-000", "shot-000.mkv", "shot-000.safetensors", "story.json"]
    assert [record.getMessage().split(": ")[-1] for record in caplog.records] == [f"2, in {story / 'set-aside-000'}"]
    caplog.clear()
    assert History.open(story).lengths == [9]
    assert not caplog.records
    path.write_bytes(whole)
    for put_back in (story / "set-aside-000").iterdir():
        if put_back.name != path.name:
            put_back.replace(story / put_back.name)
    assert {path.name: path.read_bytes() for path in story.iterdir() if path.is_file()} == before
    assert History.open(story).lengths == [9, 21, 9]


def test_what_was_set_aside_is_never_replaced(story):
    for number in range(2):
        (story / "shot-002.mkv").write_bytes(b"damaged")
        History.open(story).add(shot(2))
        assert (story / f"set-aside-{number:03d}" / "shot-002.mkv").read_bytes() == b"damaged"


def test_a_killed_process_leaves_the_shots_before(story):
    (story / ".shot-003.mkv.1234.part").write_bytes(b"half a shot")
    (story / "shot-003.mkv").write_bytes(b"written, and not yet named in story.json")
    history = History.open(story)
    assert history.lengths == [9, 21, 9]
    history.add(shot(3))
    assert np.array_equal(history.frames(3), shot(3).frames)
    assert not list(story.glob(".*"))


@pytest.mark.parametrize("step", ["frames", "key frames", "record"])
def test_a_shot_that_cannot_be_written_is_not_kept(story, monkeypatch, step):
    def full(*_):
        raise InputError("the disk is full")

    history = History.open(story)
    with monkeypatch.context() as patch:
        if step == "frames":
            patch.setattr(VideoWriter, "add", full)
        else:
            writes = {"key frames": "write_bytes", "record": "write_record"}
            patch.setattr(f"shotstream.story.history.{writes[step]}", full)
        with pytest.raises(InputError, match="disk is full"):
            history.add(shot(3))
    assert history.lengths == History.open(story).lengths == [9, 21, 9]
    history.add(shot(3))
    assert np.array_equal(History.open(story).frames(3), shot(3).frames)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 8}, "seed: 7 there, 8 here"),
        ({"height": 48}, "height: 32 there, 48 here"),
        ({"sampler": {"kind": "euler"}}, "sampler: "),
        ({"model": "abd"}, "model: 'abc' there, 'abd' here"),
        ({"context": "first"}, "context: 'dynamic' there, 'first' here"),
        ({"global_caption": "An owl."}, "global_caption: 'A fox.' there, 'An owl.' here"),
    ],
)
def test_another_story_is_refused_and_left_alone(story, change, message):
    (story / "shot-001.mkv").write_bytes(b"damaged")
    before = names(story)
    with pytest.raises(InputError, match=message):
        History.open_or_create(StoryIdentity(**(vars(IDENTITY) | change)), story)
    assert names(story) == before


def test_where_nothing_was_made_another_story_may_begin(tmp_path):
    History.create(IDENTITY, tmp_path)
    other = StoryIdentity(**(vars(IDENTITY) | {"seed": 8}))
    history = History.open_or_create(other, tmp_path)
    assert other.difference(History.open(tmp_path).identity) is None
    history.add_cast(np.zeros((32, 48, 3), np.uint8), "a place")
    assert other.difference(History.open(tmp_path).identity) is None
    with pytest.raises(InputError, match="seed: 8 there, 7 here"):
        History.open_or_create(IDENTITY, tmp_path)


def test_a_story_is_not_begun_over_another(story):
    with pytest.raises(InputError, match="holds a story already"):
        History.create(IDENTITY, story)


def test_a_shot_has_several_takes_and_none_is_lost(story):
    history = History.open(story)
    history.switch([0])
    assert history.lengths == History.open(story).lengths == [9]
    history.add(shot(1, 3))
    assert history.lengths == History.open(story).lengths == [9, 33]
    assert names(story)[2:4] == ["shot-001.mkv", "shot-001.safetensors"]
    assert (story / "shot-001.take-1.mkv").exists()
    history.add(shot(2, 4))
    assert [branch.takes for branch in history.tree.branches()] == [(0, 0, 0), (0, 1, 1)]
    assert [branch.current for branch in history.tree.branches()] == [False, True]
    history.switch((0, 0, 0))
    assert np.array_equal(history.frames(1), shot(1, 2).frames)
    assert np.array_equal(history.read_key_frames([FrameRef(1, 20)])[0], shot(1, 2).key_frames[20])
    assert [history.take_file(take).name for take in history.tree.takes[1::2]] == [
        "shot-001.mkv",
        "shot-001.take-1.mkv",
    ]
    again = History.open(story)
    again.switch((0, 1, 1))
    assert np.array_equal(again.frames(1), shot(1, 3).frames)
    assert again.lengths == [9, 33, 45]


def test_a_damaged_take_takes_along_only_what_goes_on_from_it(story):
    history = History.open(story)
    history.switch([0])
    history.add(shot(1, 3))
    history.add(shot(2, 4))
    (story / "shot-001.take-1.mkv").write_bytes(b"damaged")
    history = History.open(story)
    assert history.branch == (0,)
    assert [branch.takes for branch in history.tree.branches()] == [(0, 0, 0)]
    history.switch((0, 0, 0))
    assert history.lengths == [9, 21, 9]
    assert not list(story.glob("*take-1*"))
    assert len(list(story.glob("set-aside-000/*"))) == 5


def test_a_branch_that_cannot_be_written_is_not_stood_on(story, monkeypatch):
    def full(*_):
        raise InputError("the disk is full")

    history = History.open(story)
    monkeypatch.setattr("shotstream.story.history.write_record", full)
    with pytest.raises(InputError, match="disk is full"):
        history.switch([0])
    assert history.branch == (0, 0, 0)


def test_what_a_shot_was_steered_to_is_known_by_frame(story):
    history = History.open(story)
    steered = replace(shot(3, 3), spec=ShotSpec("text 3", 3, seed=8, cast=(0,), steers=(Steer(1, "else"),)))
    history.add(steered)
    take = History.open(story).records[3]
    assert take.spec == steered.spec
    past = History.open(story).past[3]
    assert past == PastShot(3, 33, "text 3", ((9, "else"),))
    assert [past.caption_at(frame) for frame in (0, 8, 9, 32)] == ["text 3", "text 3", "else", "else"]


def test_frames_may_come_in_pieces(story):
    history, whole = History.open(story), shot(3, 2)
    pieces = iter((whole.frames[:9], whole.frames[9:]))
    history.add(replace(whole, frames=pieces))
    assert np.array_equal(history.frames(3), whole.frames)


def test_the_cast_is_kept_in_the_storys_size_and_found_again(story):
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    History.open(story).add_cast(picture, "a fox")
    History.open(story).add_cast(np.full((100, 90, 3), 7, np.uint8), "a place")
    history = History.open(story)
    assert [member.caption for member in history.cast] == ["a fox", "a place"]
    assert np.array_equal(history.cast_frames([0])[0], picture)
    assert history.cast_frames([1])[0].shape == (32, 48, 3)
    history.set_cast([CastMember(1, "a wood")])
    history = History.open(story)
    assert history.cast == (CastMember(1, "a wood"),)
    assert history.add_cast(picture, "a bear") == 2
    assert np.array_equal(history.cast_frames([0])[0], picture), "takes may remember one who left"
    (story / "cast-000.png").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"cast-000\.png is missing or damaged"):
        History.open(story)
    remove_story_files(story)
    assert names(story) == []


def test_a_story_is_removed_and_nothing_else(story):
    others = ["cast-000-sketch.png", "notes.txt", "shot-000-mine.mkv", "shot-1.mkv"]
    for name in others:
        (story / name).touch()
    remove_story_files(story)
    assert names(story) == others


def test_shots_come_in_order_in_the_right_size(story):
    history = History.open(story)
    with pytest.raises(InputError, match="expected shot 3 of the story, got shot 5"):
        history.add(shot(5))
    with pytest.raises(InputError, match="expected frames of 48x32, got 32x32"):
        history.add(FinishedShot(3, spec("text", 1), np.zeros((9, 32, 32, 3), np.uint8), {}))
    for index in (3, -1):
        with pytest.raises(InputError, match="expected a shot from 0 to 2"):
            history.frames(index)
        with pytest.raises(InputError, match="expected a shot from 0 to 2"):
            history.read_key_frames([FrameRef(index, 0)])


def test_a_frame_that_was_not_kept_exactly_is_said_so(story):
    with pytest.raises(InputError, match="shot 1: expected one of its key frames 0, 4, 20, got 5"):
        History.open(story).read_key_frames([FrameRef(1, 4), FrameRef(1, 5)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged, and so is every take beside it"),
        ("[]", "damaged, and so is every take beside it"),
        ('{"version": 9}', "expected version 5, got 9"),
        ('{"version": 5}', "damaged, and so is every take beside it"),
        ("\udcff", "damaged, and so is every take beside it"),
    ],
)
def test_a_record_that_cannot_be_read_and_has_no_take(story, text, message):
    for path in story.glob("*.safetensors"):
        path.write_bytes(b"damaged")
    (story / "story.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=message):
        History.open(story)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_byte_in_the_record_is_noticed_and_it_is_rebuilt(story, place, caplog):
    """The story, its shots, its cast and another take of the last shot are as before; the damaged record is kept."""
    with History.open(story) as history:
        history.add_cast(np.zeros((32, 48, 3), np.uint8), "a fox")
        history.switch((0, 0))
        history.add(FinishedShot(2, spec("another", 1), shot(5).frames, shot(5).key_frames))
    before = json.loads((story / "story.json").read_text())
    data = bytearray((story / "story.json").read_bytes())
    data[int(len(data) * place)] ^= 1
    (story / "story.json").write_bytes(data)
    assert History.open(story).branch == (0, 0, 1)
    assert "story.json was damaged and was rebuilt" in caplog.text
    assert json.loads((story / "story.json").read_text()) == before
    assert (story / "story.damaged.json").read_bytes() == data
    caplog.clear()
    assert History.open(story).branch == (0, 0, 1)
    assert not caplog.records


def test_who_joined_the_cast_after_the_last_take_is_there_when_a_record_is_rebuilt(story, caplog):
    picture = np.random.default_rng(0).integers(256, size=(32, 48, 3), dtype=np.uint8)
    with History.open(story) as history:
        history.add_cast(picture, "a fox")
        history.add_cast(picture, "a bear – «ñ»")
        before = history.record
    (story / "story.json").write_bytes(b"damaged")
    with History.open(story) as history:
        assert "its cast is that of the last take, and who joined later" in caplog.text
        assert history.record == before
        assert np.array_equal(history.cast_frames([0])[0], picture)
    (story / "story.json").write_bytes(b"damaged")
    (story / "cast-001.png").write_bytes((story / "cast-001.png").read_bytes()[:-30])
    with History.open(story) as history:
        assert [member.caption for member in history.cast] == ["a fox"]
        assert history.add_cast(picture, "a bear") == 1


def test_a_rebuilt_record_has_what_is_left(story):
    (story / "story.json").write_bytes(b"damaged")
    (story / "shot-002.safetensors").write_bytes(b"damaged")
    (story / "shot-000.txt").write_text("a foreign file")
    assert History.open(story).lengths == [9, 21]
    assert (story / "shot-000.txt").exists()


def test_takes_that_go_on_from_a_damaged_one_are_put_back_when_it_is_made_again(story):
    before = {path.name: path.read_bytes() for path in story.iterdir()}
    (story / "shot-001.mkv").write_bytes(b"damaged")
    (story / "shot-001.txt").write_text("a foreign file")
    history = History.open(story)
    assert [take.spec.text for take in history.lost] == ["text 1", "text 2"]
    history.add(shot(1, 2))
    assert history.lengths == [9, 21, 9]
    after = {path.name: path.read_bytes() for path in story.iterdir() if path.is_file()}
    assert after == before | {"shot-001.txt": b"a foreign file"}
    assert np.array_equal(History.open(story).frames(2), shot(2).frames)


def test_takes_that_go_on_from_other_frames_stay_aside(story):
    (story / "shot-001.mkv").write_bytes(b"damaged")
    history = History.open(story)
    history.add(FinishedShot(1, spec("text 1", 2), shot(7, 2).frames, shot(1, 2).key_frames))
    assert history.lengths == [9, 21]
    assert (story / "set-aside-000" / "shot-002.mkv").exists()


def test_where_there_is_no_story(tmp_path):
    with pytest.raises(InputError, match="holds no story that can be read"):
        History.open(tmp_path)


@pytest.mark.slow
def test_memory_does_not_grow_with_shots():
    with History.create(IDENTITY) as history:
        history.add(shot(0, 7))
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for index in range(1, 21):
            history.add(shot(index, 7))
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    assert grown < shot(0, 7).frames.nbytes / 2


def test_reading_a_whole_story_holds_one_frame_at_a_time():
    with History.create(IDENTITY) as history:
        history.add(shot(0, 7))
        tracemalloc.start()
        assert sum(len(frames) for frames in history.all_frames()) == 81
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < shot(0, 7).frames.nbytes / 4


def test_the_record_is_plain_and_complete(story):
    data = json.loads((story / "story.json").read_text())
    assert data["identity"]["model"] == "abc"
    assert data["tree"]["branch"] == [0, 0, 0]
    take = data["tree"]["takes"][1]
    assert set(take) == {"shot", "take", "parent", "spec", "length_frames", "sha256", "key_frames_sha256", "cast"}
    assert take["spec"] == {"text": "text 1", "chunks": 2, "extend": False, "seed": 7, "cast": None, "steers": []}


def names(directory):
    return sorted(path.name for path in directory.iterdir())
