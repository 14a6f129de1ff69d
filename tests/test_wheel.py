"""The wheel: it holds the pages and the weights, and makes a video in a fresh environment."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import torch

from shotstream.core.spec import frames_of_chunks
from shotstream.core.video import probe_video

PROJECT = Path(__file__).parent.parent
STORY = "A red fox in a forest by day. | Wide shot: the fox walks left."
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the sources, so that the build leaves nothing behind."""
    place = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if name.startswith("src/") or "/" not in name:
            target = place / "copy" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((PROJECT / name).read_bytes())
    pip("wheel", "--no-deps", "--wheel-dir", str(place), str(place / "copy"))
    return next(place.glob("*.whl"))


def pip(*words: str, python: Path = Path(sys.executable)) -> None:
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("shotstream/")}
    listed = subprocess.run(["git", "ls-files", "src"], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert names == {name.removeprefix("src/") for name in listed.stdout.splitlines()}
    assert {"shotstream/serve/web/index.html", "shotstream/py.typed"} <= names
    assert "shotstream/weights/embedded/storyworld/transformer.safetensors" in names


def test_it_makes_a_video_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    programs = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    version = torch.__version__.partition("+")[0]
    pip("install", "--no-compile", f"torch=={version}", str(wheel), python=programs / "python")
    listed = subprocess.run(
        [programs / "python", "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    installed = {line.partition("==")[0].lower() for line in listed.stdout.splitlines()}
    assert installed.isdisjoint({"fastapi", "uvicorn", "websockets", "peft", "tensorboard", "gguf"})
    video = tmp_path / "fox.mp4"
    command = [programs / "shotstream", "generate", STORY, "-o", video, "--chunks", "1"]
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert probe_video(video).frames == frames_of_chunks(1)
    served = subprocess.run(
        [programs / "shotstream", "studio"], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert served.returncode == 2
    assert served.stderr.endswith("run pip install 'shotstream[serve]'\n")
