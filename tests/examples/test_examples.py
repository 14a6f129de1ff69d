"""The programs and the notebook of examples/ run, and do what they say."""

import io
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from shotstream.core.spec import PAPER_SHOT
from shotstream.core.video import probe_video, read_video

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
ADDRESS_LINE = "ShotStream is at "
pytestmark = pytest.mark.slow
Run = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the examples, to run them in."""
    copy = Path(shutil.copytree(EXAMPLES, tmp_path / "examples"))
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run an example as a program, with lines from the keyboard, and return what it prints."""

    def as_program(*words: str, keys: str = "") -> str:
        monkeypatch.setattr(sys, "argv", list(words))
        monkeypatch.setattr(sys, "stdin", io.StringIO(keys))
        runpy.run_path(str(folder / words[0]), run_name="__main__")
        return capsys.readouterr().out

    return as_program


def test_every_example_is_here() -> None:
    programs = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    assert programs == {"batch.py", "game.py", "live.py", "steer.py", "tour.ipynb", "websocket_client.py"}


def test_live_frames_go_into_a_file(folder: Path, run: Run) -> None:
    said = run("live.py", "--output", "fox.mp4", "--shots", "2", "--chunks", "1")
    assert said == f"{2 * PAPER_SHOT.frames_of_chunks(1)} frames\n"
    assert probe_video(folder / "fox.mp4").frames == 2 * PAPER_SHOT.frames_of_chunks(1)


def test_a_story_is_steered_from_the_keyboard(folder: Path, run: Run) -> None:
    keys = "Wide shot: the fox walks left.\n> Wide shot: the fox jumps.\nClose-up: the fox eats.\n"
    said = run("steer.py", "story.mp4", keys=keys).splitlines()
    assert [line.partition("'")[2] for line in said] == [
        "Wide shot: the fox walks left.'",
        *["Wide shot: the fox jumps.'"] * 3,
        *["Close-up: the fox eats.'"] * 4,
    ]
    assert probe_video(folder / "story.mp4").frames == 2 * PAPER_SHOT.frames_of_chunks(4)


def test_the_game_keeps_every_branch(folder: Path, run: Run) -> None:
    said = run("game.py", "endings", keys="1\n2\nb\n7\n1\nq\n")
    assert "choose one of 1, 2, b, q" in said
    assert said.endswith("2 videos in endings\n")
    first, second = (read_video(folder / "endings" / f"ending-{number}.mp4") for number in range(2))
    shared, length = 2 * PAPER_SHOT.frames_of_chunks(2), 3 * PAPER_SHOT.frames_of_chunks(2)
    assert len(first) == len(second) == length
    difference = np.abs(first.astype(int) - second.astype(int)).mean((1, 2, 3))
    assert difference[: shared - 1].max() < difference[shared:].min()


def test_a_batch_goes_on_where_it_was_stopped(folder: Path, run: Run) -> None:
    for name, shot in (("a", "the fox waves"), ("b", "the fox eats")):
        (folder / f"{name}.yaml").write_text(f"global: A red fox.\nshots:\n  - {{text: {shot}, chunks: 1}}\n")
    expected = "a.mp4: 1 shots\nb.mp4: 1 shots\n"
    assert run("batch.py", "videos", "a.yaml", "b.yaml") == expected
    made = (folder / "videos" / "a.shots" / "shot-000.mkv").stat().st_mtime_ns
    assert run("batch.py", "videos", "a.yaml", "b.yaml") == expected
    assert (folder / "videos" / "a.shots" / "shot-000.mkv").stat().st_mtime_ns == made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, "-m", "shotstream", "serve", "--port", "0", "--data", str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith(ADDRESS_LINE)
            yield line.removeprefix(ADDRESS_LINE).strip().rstrip("/")
        finally:
            process.terminate()


def test_a_client_directs_a_story_over_the_socket(folder: Path, run: Run, server: str) -> None:
    said = run("websocket_client.py", server, "frames").splitlines()
    assert said[:2] == ["command 1 is carried out", "command 2 is carried out"]
    pictures = sorted((folder / "frames").glob("000-*.jpg"))
    assert len(pictures) == PAPER_SHOT.frames_of_chunks(3)
    assert all(picture.read_bytes().startswith(b"\xff\xd8") for picture in pictures)


def test_the_notebook_runs(folder: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(folder / "tour.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "outputs are not kept in the repository"
    os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 4
    assert probe_video(folder / "tour.mp4").frames > 0
