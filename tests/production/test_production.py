"""A script to files: what stands after every kind of end, and that going on equals never having stopped."""

import errno
import shutil
from dataclasses import replace

import numpy as np
import pytest

from shotstream.core.errors import InputError
from shotstream.core.images import write_png
from shotstream.core.spec import VideoSize
from shotstream.core.video import VideoWriter, probe_video, read_video
from shotstream.engine.render import Outputs, produce
from shotstream.model.config import SamplerConfig
from shotstream.story.history import History
from shotstream.story.script import CastEntry, Script
from shotstream.story.shot_spec import ShotSpec, Steer

SCRIPT = Script("A fox. ", (ShotSpec("It walks.", 2), ShotSpec("It jumps.", 1), ShotSpec("It sleeps.", 2)))
FRAMES = [21, 9, 21]
KINDS = ("mkv", "mp4", "safetensors")
SUMS = "SHA256SUMS"
FIRST_TWO = [SUMS, *(f"shot-00{shot}.{kind}" for shot in range(2) for kind in KINDS), "story.json"]


class Recorder:
    """Notes what it hears, and may raise when a chunk of a shot is made."""

    def __init__(self, raise_at=None, look=None):
        self.heard, self.raise_at, self.look = [], raise_at, look

    def kept(self, frames):
        self.heard.append(("kept", frames))

    def made(self, shot_index, frames):
        self.heard.append((shot_index, frames))
        if self.look:
            self.look(shot_index)
        if shot_index == self.raise_at:
            raise KeyboardInterrupt


def run(model, script, outputs, *, seed, **options):
    return produce(
        lambda directory: model.story(script.global_caption, seed=seed, directory=directory), script, outputs, **options
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory, make_model):
    """An uninterrupted run: its outputs, to be left as they are."""
    outputs = Outputs(tmp_path_factory.mktemp("made") / "out.mp4")
    run(make_model(), SCRIPT, outputs, seed=1)
    return outputs


@pytest.fixture
def whole(made, tmp_path):
    """A copy of the uninterrupted run."""
    return Outputs(shutil.copytree(made.video.parent, tmp_path / "whole") / "out.mp4")


@pytest.fixture
def outputs(tmp_path):
    return Outputs(tmp_path / "out.mp4")


def assert_same(ours, theirs):
    assert ours.video.read_bytes() == theirs.video.read_bytes()
    for mine, other in zip(History.open(ours.shots).all_frames(), History.open(theirs.shots).all_frames(), strict=True):
        assert np.array_equal(mine, other)
    assert files(ours.shots) == files(theirs.shots)


def files(directory):
    return sorted(path.name for path in directory.iterdir() if path.is_file())


def test_a_story_becomes_a_video_and_its_shots(model, outputs):
    recorder = Recorder()
    assert run(model, SCRIPT, outputs, seed=1, watch=recorder) == sum(FRAMES)
    assert recorder.heard == [(0, 9), (0, 12), (1, 9), (2, 9), (2, 12)]
    assert probe_video(outputs.video).frames == sum(FRAMES)
    assert files(outputs.shots) == sorted(
        [SUMS, "story.json", *(f"shot-00{shot}.{kind}" for shot in range(3) for kind in KINDS)]
    )
    shots = [read_video(outputs.shots / f"shot-00{shot}.mp4") for shot in range(3)]
    assert [len(shot) for shot in shots] == FRAMES
    assert np.array_equal(read_video(outputs.video), np.concatenate(shots))
    exact = np.concatenate(list(History.open(outputs.shots).all_frames()))
    brightness = [(frames @ (0.2126, 0.7152, 0.0722)).ravel() for frames in (read_video(outputs.video), exact)]
    assert np.corrcoef(brightness)[0, 1] > 0.95


def test_a_shot_is_playable_while_the_next_is_made(model, outputs):
    def look(shot):
        done = [len(read_video(outputs.shots / f"shot-00{index}.mp4")) for index in range(shot)]
        assert done == FRAMES[:shot]
        assert not (outputs.shots / f"shot-00{shot}.mp4").exists()

    run(model, SCRIPT, outputs, seed=1, watch=Recorder(look=look))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("chunk", [0, 1])
def test_after_a_stop_in_the_model_the_story_goes_on_as_if_nothing_had_been(make_model, outputs, whole, kind, chunk):
    model = make_model(failures={(2, chunk): kind("stop")})
    with pytest.raises(kind):
        run(model, SCRIPT, outputs, seed=1)
    assert not outputs.video.exists()
    assert files(outputs.shots) == FIRST_TWO
    assert [len(read_video(outputs.shots / f"shot-00{shot}.mp4")) for shot in range(2)] == FRAMES[:2]
    again, recorder = make_model(), Recorder()
    run(again, SCRIPT, outputs, seed=1, mode="resume", watch=recorder)
    assert again.made == [(2, 0), (2, 1)]
    assert recorder.heard == [("kept", 21), ("kept", 9), (2, 9), (2, 12)]
    assert_same(outputs, whole)


@pytest.mark.parametrize("shot", [0, 1, 2])
def test_after_a_stop_while_frames_are_written_the_story_goes_on(model, make_model, outputs, whole, shot):
    with pytest.raises(KeyboardInterrupt):
        run(model, SCRIPT, outputs, seed=1, watch=Recorder(raise_at=shot))
    assert not outputs.video.exists()
    assert len(list(outputs.shots.glob("*.mp4"))) == shot
    run(make_model(), SCRIPT, outputs, seed=1, mode="resume")
    assert_same(outputs, whole)


def test_after_a_full_disk_the_story_goes_on(model, make_model, outputs, whole, monkeypatch):
    real = VideoWriter._picture

    def full(writer, frame):
        if writer.path.name == "shot-001.mkv":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(writer, frame)

    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, "_picture", full)
        with pytest.raises(InputError, match=r"shot-001\.mkv: the disk is full"):
            run(model, SCRIPT, outputs, seed=1)
    assert files(outputs.shots) == [*FIRST_TWO[:4], "story.json"]
    assert files(outputs.video.parent) == []
    run(make_model(), SCRIPT, outputs, seed=1, mode="resume")
    assert_same(outputs, whole)


def test_a_killed_process_and_a_damaged_shot_cost_only_what_they_hit(model, make_model, outputs, whole):
    run(model, SCRIPT, outputs, seed=1)
    outputs.video.unlink()
    (outputs.shots / "shot-000.mp4").unlink()
    playable = (outputs.shots / "shot-001.mp4").read_bytes()
    (outputs.shots / "shot-001.mp4").write_bytes(playable[: len(playable) // 2])
    (outputs.shots / "shot-002.mkv").write_bytes(b"damaged")
    (outputs.shots / ".shot-002.mp4.12.part").write_bytes(b"half")
    again = make_model()
    run(again, SCRIPT, outputs, seed=1, mode="resume")
    assert again.made == [(2, 0), (2, 1)]
    assert_same(outputs, whole)


@pytest.mark.parametrize("name", ["shot-001.mkv", "shot-001.safetensors", "shot-001.mp4", "story.json", SUMS])
def test_a_flipped_byte_costs_only_what_it_hits(model, make_model, outputs, whole, name):
    run(model, SCRIPT, outputs, seed=1)
    path = outputs.shots / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    again = make_model()
    run(again, SCRIPT, outputs, seed=1, mode="resume")
    assert {shot for shot, _ in again.made} == ({1} if name in ("shot-001.mkv", "shot-001.safetensors") else set())
    for file in files(whole.shots):
        assert (outputs.shots / file).read_bytes() == (whole.shots / file).read_bytes(), file
    assert outputs.video.read_bytes() == whole.video.read_bytes()


def test_another_script_touches_nothing_of_a_damaged_story(model, whole):
    (whole.shots / "shot-001.mkv").write_bytes(b"damaged")
    before = {path.name: path.read_bytes() for path in whole.shots.iterdir()}
    with pytest.raises(InputError, match="shot 3, text: "):
        run(model, replace(SCRIPT, shots=(*SCRIPT.shots[:2], ShotSpec("It eats.", 2))), whole, seed=1, mode="resume")
    assert {path.name: path.read_bytes() for path in whole.shots.iterdir()} == before


def test_going_on_with_a_finished_story_makes_nothing(model, make_model, outputs, whole):
    run(model, SCRIPT, outputs, seed=1)
    again = make_model()
    assert run(again, SCRIPT, outputs, seed=1, mode="resume") == sum(FRAMES)
    assert again.made == []
    assert_same(outputs, whole)


def test_going_on_where_nothing_is_begins(model, outputs, whole):
    run(model, SCRIPT, outputs, seed=1, mode="resume")
    assert_same(outputs, whole)


def test_a_finished_story_can_be_given_further_shots(make_model, outputs, whole):
    run(make_model(), Script(SCRIPT.global_caption, SCRIPT.shots[:2]), outputs, seed=1)
    again = make_model()
    run(again, SCRIPT, outputs, seed=1, mode="resume")
    assert again.made == [(2, 0), (2, 1)]
    assert_same(outputs, whole)


@pytest.mark.parametrize(
    ("traits", "script", "seed", "message"),
    [
        ({}, SCRIPT, 2, "seed: 1 there, 2 here"),
        ({"weights": 1}, SCRIPT, 1, "model: "),
        ({"sampler": SamplerConfig(steps=(1000.0,))}, SCRIPT, 1, "sampler: "),
        ({"size": VideoSize(48, 48)}, SCRIPT, 1, "height: 32 there, 48 here"),
        ({"context": "first"}, SCRIPT, 1, "context: 'dynamic' there, 'first' here"),
        ({}, Script("An owl.", SCRIPT.shots), 1, "global_caption: 'A fox. ' there, 'An owl.' here"),
        ({}, Script("A fox. ", (SCRIPT.shots[0], ShotSpec("It eats.", 1))), 1, "fewer shots"),
        ({}, Script("A fox. ", (SCRIPT.shots[0], ShotSpec("It eats.", 1), SCRIPT.shots[2])), 1, "shot 2, text: "),
        ({}, Script("A fox. ", (ShotSpec("It walks.", 3), *SCRIPT.shots[1:])), 1, "shot 1, chunks: 2 there, 3 here"),
    ],
)
def test_another_story_is_not_gone_on_with(make_model, whole, traits, script, seed, message):
    before = files(whole.shots), whole.video.read_bytes()
    message = "holds 3 shots, the story has 2" if message == "fewer shots" else message
    other = make_model(weights=traits.get("weights", 0))
    other.options = {name: value for name, value in traits.items() if name != "weights"}
    with pytest.raises(InputError, match=message):
        run(other, script, whole, seed=seed, mode="resume")
    assert (files(whole.shots), whole.video.read_bytes()) == before


def test_what_exists_is_not_overwritten_unasked(model, whole):
    with pytest.raises(InputError, match=r"out\.mp4 exists already; --overwrite replaces it"):
        run(model, SCRIPT, whole, seed=1)
    whole.video.unlink()
    with pytest.raises(InputError, match=r"out\.shots holds a story; --resume goes on"):
        run(model, SCRIPT, whole, seed=1)
    assert model.made == []


def test_a_video_without_its_shots_is_not_gone_on_with(model, outputs):
    outputs.video.write_bytes(b"somebody's")
    with pytest.raises(InputError, match="holds no story to go on with"):
        run(model, SCRIPT, outputs, seed=1, mode="resume")
    assert outputs.video.read_bytes() == b"somebody's"


def test_overwriting_begins_anew_and_leaves_other_files(model, whole):
    for name in ("notes.txt", "shot-000-mine.mp4"):
        (whole.shots / name).touch()
    shorter = Script("An owl.", (ShotSpec("It flies.", 1),))
    assert run(model, shorter, whole, seed=3, mode="overwrite") == probe_video(whole.video).frames == 9
    assert files(whole.shots) == [SUMS, "notes.txt", "shot-000-mine.mp4", *FIRST_TWO[1:4], "story.json"]


def test_a_story_of_which_nothing_was_made_is_in_nobodys_way(make_model, outputs, whole):
    with pytest.raises(KeyboardInterrupt):
        run(make_model(failures={(0, 0): KeyboardInterrupt()}), SCRIPT, outputs, seed=2)
    assert files(outputs.shots) == ["story.json"]
    run(make_model(), SCRIPT, outputs, seed=1)
    assert_same(outputs, whole)


def test_a_picture_that_cannot_be_read_costs_nothing(model, whole, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    script = replace(SCRIPT, cast=(CastEntry(str(tmp_path / "text.png"), "a fox"),))
    before = files(whole.shots)
    with pytest.raises(InputError, match=r"text\.png: .*it is no video"):
        run(model, script, whole, seed=1, mode="overwrite")
    assert files(whole.shots) == before
    with pytest.raises(InputError, match="it is no video"):
        run(model, script, Outputs(tmp_path / "new.mp4"), seed=1)
    assert not list(tmp_path.glob("new*"))


def test_frames_and_gif(model, tmp_path):
    outputs = Outputs(tmp_path / "out.mp4", tmp_path / "frames", tmp_path / "out.gif")
    run(model, SCRIPT, outputs, seed=1)
    exact = np.concatenate(list(History.open(outputs.shots).all_frames()))
    pictures = sorted(outputs.frames.iterdir())
    assert [path.name for path in pictures] == [f"frame-{number:05d}.png" for number in range(sum(FRAMES))]
    assert np.array_equal(np.concatenate([read_video(path) for path in pictures]), exact)
    assert len(read_video(outputs.gif)) == sum(FRAMES)
    with pytest.raises(InputError, match="exists already"):
        Outputs(tmp_path / "new.mp4", None, outputs.gif).check("new")
    with pytest.raises(InputError, match="frames is not empty"):
        Outputs(tmp_path / "new.mp4", outputs.frames).check("new")
    with pytest.raises(InputError, match="frames is not empty"):
        Outputs(tmp_path / "new.mp4", outputs.frames).check("resume")
    Outputs(outputs.video, outputs.frames).check("resume")
    (outputs.frames / "frame-of-mine.png").touch()
    (outputs.frames / "frame-001.png").touch()
    shorter = Script("An owl.", (ShotSpec("It flies.", 1),))
    run(model, shorter, outputs, seed=1, mode="overwrite")
    ours = [f"frame-{number:05d}.png" for number in range(9)]
    assert files(outputs.frames) == sorted([*ours, "frame-001.png", "frame-of-mine.png"])
    assert len(read_video(outputs.gif)) == 9


@pytest.fixture(scope="module")
def directed(tmp_path_factory):
    """A story with a cast, a steered shot and a long one."""
    folder = tmp_path_factory.mktemp("cast")
    for number in range(2):
        write_png(folder / f"{number}.png", np.full((40, 60, 3), 90 * number, np.uint8))
    shots = (
        ShotSpec("It walks.", 3, steers=(Steer(1, "It runs."),)),
        ShotSpec("It jumps.", 9, extend=True, steers=(Steer(8, "It sits."),)),
        ShotSpec("It sleeps.", 1),
        ShotSpec("It wakes.", 1, seed=8, cast=(0,)),
    )
    return Script("A fox. ", shots, cast=tuple(CastEntry(str(folder / f"{n}.png"), f"fox {n}") for n in range(2)))


@pytest.fixture(scope="module")
def directed_made(tmp_path_factory, make_model, directed):
    """An uninterrupted run of it: its outputs, to be left as they are."""
    outputs = Outputs(tmp_path_factory.mktemp("directed") / "out.mp4")
    assert run(make_model(), directed, outputs, seed=1) == 33 + 105 + 9 + 9
    return outputs


@pytest.mark.parametrize("stop", [(0, 1), (1, 8), (2, 0)])
def test_a_directed_story_goes_on_after_a_stop_as_if_nothing_had_been(
    make_model, outputs, directed, directed_made, stop
):
    with pytest.raises(KeyboardInterrupt):
        run(make_model(failures={stop: KeyboardInterrupt()}), directed, outputs, seed=1)
    run(make_model(), directed, outputs, seed=1, mode="resume")
    assert_same(outputs, directed_made)


def test_a_directed_story_is_made_as_written(make_model, outputs, directed, directed_made):
    history = History.open(directed_made.shots)
    assert [take.spec.steers for take in history.records] == [shot.steers for shot in directed.shots]
    assert [member.caption for member in history.cast] == ["fox 0", "fox 1"]
    assert [(take.spec.seed, len(take.cast)) for take in history.records] == [(1, 2), (1, 2), (1, 2), (8, 1)]
    shots = tuple(replace(shot, steers=(), cast=None) for shot in directed.shots[:1])
    run(make_model(), Script("A fox. ", shots), outputs, seed=1)
    made, unsteered = (History.open(some.shots).frames(0) for some in (directed_made, outputs))
    assert not np.array_equal(made[:9], unsteered[:9]), "the cast is seen"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: replace(s, cast=s.cast[:1]), r"cast: \['fox 0', 'fox 1'\] there, \['fox 0'\] here"),
        (
            lambda s: replace(s, cast=(s.cast[0], replace(s.cast[0], caption="fox 1"))),
            "is another image than the story",
        ),
        (lambda s: replace(s, shots=(replace(s.shots[0], steers=()), *s.shots[1:])), "shot 1, steer: "),
        (lambda s: replace(s, shots=(*s.shots[:3], replace(s.shots[3], cast=(1,)))), r"cast: \(0,\) there, \(1,\)"),
    ],
)
def test_another_direction_is_not_gone_on_with(make_model, tmp_path, directed, directed_made, change, message):
    outputs = Outputs(shutil.copytree(directed_made.video.parent, tmp_path / "copy") / "out.mp4")
    with pytest.raises(InputError, match=message):
        run(make_model(), change(directed), outputs, seed=1, mode="resume")
