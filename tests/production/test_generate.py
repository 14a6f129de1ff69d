"""`shotstream generate` as a person runs it: what it writes, what it says, and how it refuses."""

import json
import wave
from dataclasses import replace

import av
import numpy as np
import pytest

import shotstream
from shotstream import cli
from shotstream.cli.generate import plan_outputs
from shotstream.core.errors import InputError
from shotstream.core.images import write_png
from shotstream.core.video import probe_video, read_video
from shotstream.story.history import History

LINE = "A fox. | It walks. | It sleeps."


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys, model):
    """Runs the command in an empty directory; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    opened = []

    def fake_open(source, **options):
        opened.append((source, options))
        return model

    monkeypatch.setattr(shotstream, "open", fake_open, raising=False)

    def run(*arguments):
        code = cli.main(["generate", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    run.opened, run.model = opened, model
    return run


def test_a_line_becomes_a_video(shell, tmp_path):
    code, out, err = shell(
        LINE, "-o", "out.mp4", "--chunks", 1, "--model", "tiny", "--device", "cpu", "--text-device", "cpu"
    )
    assert (code, err) == (0, "")
    assert "out.mp4: 2 shots, 18 frames, seed 0" in out
    assert "FPS, first frame after" in out
    ((source, options),) = shell.opened
    assert (source, options.pop("device"), options.pop("text_device")) == ("tiny", "cpu", "cpu")
    assert not any(options.values()), "nothing else is asked for"
    assert "LOSSY" not in out
    assert probe_video(tmp_path / "out.mp4").frames == 18
    assert [len(read_video(tmp_path / "out.shots" / f"shot-00{shot}.mp4")) for shot in range(2)] == [9, 9]


def test_what_is_lossy_is_said(shell, monkeypatch):
    monkeypatch.setattr(shell.model, "parts", replace(shell.model.parts, lossy=("decoded by a tiny VAE",)))
    code, out, _ = shell(LINE, "-o", "out.mp4", "--chunks", 1, "--decoder", "taew2_1.pth")
    assert code == 0
    assert out.rstrip().endswith("; LOSSY: decoded by a tiny VAE")
    assert shell.opened[0][1]["decoder"] == "taew2_1.pth"


def test_the_seed_of_the_command_goes_before_the_storys(shell, tmp_path):
    (tmp_path / "fox.yaml").write_text("global: A fox.\nseed: 5\nshots:\n- text: It walks.\n  chunks: 1\n")
    assert "seed 5" in shell("fox.yaml", "-o", "a.mp4")[1]
    assert "seed 6" in shell("fox.yaml", "-o", "b.mp4", "--seed", 6)[1]
    first, second = (History.open(tmp_path / f"{name}.shots").frames(0) for name in "ab")
    assert not np.array_equal(first, second)


def test_size_frames_and_gif(shell, tmp_path):
    code, _, err = shell(
        LINE, "-o", "out.mp4", "--chunks", 1, "--size", "32x64", "--frames", "png", "--gif", "out.gif",
        "--context", "first",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert read_video("out.gif").shape == (18, 64, 32, 3)
    assert len(list((tmp_path / "png").iterdir())) == 18
    assert History.open(tmp_path / "out.shots").identity.context == "first"


def test_a_directed_story_from_yaml(shell, tmp_path):
    write_png(tmp_path / "fox.png", np.full((32, 48, 3), 90, np.uint8))
    (tmp_path / "fox.yaml").write_text(
        "global: A fox.\ncast: [{image: fox.png, caption: a fox}]\nshots:\n"
        "- {text: It walks., chunks: 8, extend: true, steer: [{at: 1, text: It runs.}]}\n"
    )
    code, out, err = shell("fox.yaml", "-o", "out.mp4", "--context", "relevant")
    assert (code, err) == (0, "")
    assert "1 shot, 93 frames" in out
    history = History.open(tmp_path / "out.shots")
    assert history.identity.context == "relevant"
    assert history.records[0].spec.steers[0].text == "It runs."
    (tmp_path / "fox.png").unlink()
    code, _, err = shell("fox.yaml", "-o", "other.mp4")
    assert (code, err.count("\n")) == (2, 1)
    assert "fox.yaml, cast 1: cannot read fox.png: no such file" in err
    assert not list(tmp_path.glob("other*"))


def test_what_is_remembered_is_the_models_choice(shell, tmp_path):
    config = shell.model.parts.config
    shell.model.parts = replace(shell.model.parts, config=replace(config, context="first_last"))
    assert shell(LINE, "-o", "out.mp4", "--chunks", 1)[0] == 0
    assert History.open(tmp_path / "out.shots").identity.context == "first_last"


def write_csv(directory, stories):
    rows = ["shot_num_from_caption,json_path,video_path,frame_number"]
    for number in range(stories):
        text = json.dumps({"global_caption": f"Story {number}.", "shot1": "It walks."})
        (directory / f"{number}.json").write_text(text)
        rows.append(f'1,{number}.json,{number}.mp4,"[[0, 9]]"')
    (directory / "stories.csv").write_text("\n".join(rows))


@pytest.mark.parametrize(
    ("output", "files"),
    [("out.mp4", ["out-000.mp4", "out-001.mp4"]), ("new", ["new/story-000.mp4", "new/story-001.mp4"])],
)
def test_many_stories(shell, tmp_path, output, files):
    write_csv(tmp_path, 2)
    code, out, _ = shell("stories.csv", "-o", output)
    assert code == 0
    assert all(f"{file}: 1 shot, 9 frames" in out for file in files)
    assert [probe_video(tmp_path / file).frames for file in files] == [9, 9]


def test_one_story_into_a_directory(tmp_path):
    assert [outputs.video for outputs in plan_outputs(tmp_path, None, None, 1)] == [tmp_path / "story-000.mp4"]


def test_frames_and_gifs_of_many_stories_are_apart(tmp_path):
    first, second = plan_outputs(tmp_path / "a.mp4", tmp_path / "png", tmp_path / "a.gif", 2)
    assert (first.frames, second.frames) == (tmp_path / "png" / "000", tmp_path / "png" / "001")
    assert (first.gif, second.gif) == (tmp_path / "a-000.gif", tmp_path / "a-001.gif")


def test_after_ctrl_c_it_goes_on(shell, tmp_path):
    shell(LINE, "-o", "whole.mp4", "--chunks", 1)
    shell.model.failures = {(1, 0): KeyboardInterrupt()}
    code, out, err = shell(LINE, "-o", "out.mp4", "--chunks", 1)
    assert (code, err) == (130, "shotstream: interrupted\n")
    assert "The finished shots are in out.shots; --resume goes on after them" in out
    assert not (tmp_path / "out.mp4").exists()
    assert probe_video(tmp_path / "out.shots" / "shot-000.mp4").frames == 9
    shell.model.failures = {}
    assert shell(LINE, "-o", "out.mp4", "--chunks", 1, "--resume")[0] == 0
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_caption_that_is_too_long_is_cut_with_a_warning_or_refused(shell, tmp_path):
    long = "A fox. | " + "It walks on. " * 8
    code, _, err = shell(long, "-o", "out.mp4", "--chunks", 1)
    assert code == 0
    assert err.startswith("shotstream: WARNING: shot 1: The model does not read the end of this caption, from ")
    assert err.count("\n") == 1
    code, _, err = shell(long, "-o", "strict.mp4", "--strict")
    assert code == 2
    assert err.startswith("shotstream: shot 1: The model does not read the end of this caption, from ")
    assert not list(tmp_path.glob("strict*"))


EXPORTED = """
global: "A fox. "
export: {scale: 2, fade: 2, soundtrack: tone.wav}
shots:
- {text: It walks., chunks: 1}
- {text: It sleeps., chunks: 1}
"""


def write_tone(path, seconds=0.5):
    """A sound of one pitch."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((8000 * np.sin(np.arange(int(8000 * seconds)) * 0.3)).astype("<i2").tobytes())


def test_the_video_is_exported_as_its_script_says(shell, tmp_path):
    (tmp_path / "fox.yaml").write_text(EXPORTED)
    write_tone(tmp_path / "tone.wav")
    assert shell("fox.yaml", "-o", "plain.mp4", "--gif", "plain.gif")[0] == 0
    info, size = probe_video(tmp_path / "plain.mp4"), shell.model.config.video
    assert (info.frames, info.width, info.height) == (2 * 9 - 2, 2 * size.width, 2 * size.height)
    with av.open(str(tmp_path / "plain.mp4")) as video:
        assert [stream.type for stream in video.streams] == ["video", "audio"]
    before = (tmp_path / "plain.mp4").read_bytes()
    assert shell("fox.yaml", "-o", "plain.mp4", "--resume")[0] == 0
    assert (tmp_path / "plain.mp4").read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (("fade: 2", "fade: 5"), "A fade of 5 frames is too long: the shortest shot has 9 frames"),
        (("tone.wav", "fox.yaml"), "fox.yaml is no soundtrack. Convert it to WAV"),
    ],
)
def test_an_export_that_cannot_be_is_refused_before_anything_is_made(shell, tmp_path, changed, says):
    (tmp_path / "fox.yaml").write_text(EXPORTED.replace(*changed))
    write_tone(tmp_path / "tone.wav")
    code, _, err = shell("fox.yaml", "-o", "out.mp4")
    assert code == 2
    assert says in err
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("asked", [("--guidance", "3"), ("--negative-prompt", "An owl.")])
def test_guidance_that_the_model_does_not_take_is_refused(shell, tmp_path, asked):
    code, _, err = shell(LINE, "-o", "out.mp4", *asked)
    assert (code, err) == (2, "shotstream: This model takes no guidance and no negative prompt. Leave them out.\n")
    assert not list(tmp_path.glob("out*"))


BAD = {
    "no shot": (["A fox. |"], "shot 1: expected the text of a shot, got an empty one"),
    "no story": ([""], "which is neither"),
    "missing file": (["fox.yaml"], "cannot read fox.yaml: No such file"),
    "length": ([LINE, "--chunks", "8"], "expected a shot of 1 to 7 chunks, got 8"),
    "seed": ([LINE, "--seed", "-1"], "expected a seed from 0 to"),
    "size": ([LINE, "--size", "130x80"], "expected a width divisible by 16, got 130; the nearest is 128"),
    "size in words": ([LINE, "--size", "big"], "expected a size as WIDTHxHEIGHT below 100000, got 'big'"),
    "context": ([LINE, "--context", "frist"], "(did you mean 'first'?)"),
    "no mp4": ([LINE, "-o", "out.avi"], "expected an output ending in .mp4, got out.avi"),
    "no directory": ([LINE, "-o", "a/b/out.mp4"], "the directory a/b does not exist; create it first"),
    "no gif": ([LINE, "--gif", "out.png"], "expected an output ending in .gif"),
    "long name": ([LINE, "-o", "x" * 300 + ".mp4"], "the name is too long"),
    "frames is a file": ([LINE, "--frames", "file"], "cannot write frames into file: it is a file; name a directory"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_leaves_nothing(shell, tmp_path, arguments, message):
    (tmp_path / "file").touch()
    if "-o" not in arguments:
        arguments = [*arguments, "-o", "out.mp4"]
    code, out, err = shell(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("shotstream: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert shell.opened == []
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_what_does_not_fit_into_memory_is_one_line_and_is_in_nobodys_way(shell):
    code, _, err = shell(LINE, "-o", "out.mp4", "--size", "99984x99984")
    assert (code, err.count("\n")) == (2, 1)
    assert "a shot of 99984x99984 with 1 chunks needs at least" in err
    assert shell(LINE, "-o", "out.mp4", "--chunks", 1)[0] == 0


def test_what_exists_is_kept(shell, tmp_path):
    (tmp_path / "out.mp4").write_text("somebody's")
    code, _, err = shell(LINE, "-o", "out.mp4")
    assert code == 2
    assert "out.mp4 exists already; --overwrite replaces it" in err
    assert (tmp_path / "out.mp4").read_text() == "somebody's"
    assert shell(LINE, "-o", "out.mp4", "--chunks", 1, "--overwrite")[0] == 0
    assert probe_video(tmp_path / "out.mp4").frames == 18


def test_another_story_is_not_gone_on_with(shell):
    shell(LINE, "-o", "out.mp4", "--chunks", 1)
    code, out, err = shell("A fox. | It walks. | It eats.", "-o", "out.mp4", "--chunks", 1, "--resume")
    assert (code, out) == (2, "")
    assert "shot 2, text: 'It sleeps.' there, 'It eats.' here" in err


def test_a_model_that_cannot_be_opened_leaves_nothing(shell, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise InputError("unknown model 'storywrold' (did you mean 'storyworld'?)")

    monkeypatch.setattr(shotstream, "open", refuse, raising=False)
    assert shell(LINE, "-o", "out.mp4")[::2] == (
        2,
        "shotstream: unknown model 'storywrold' (did you mean 'storyworld'?)\n",
    )
    assert list(tmp_path.iterdir()) == []
