"""The wheel: it holds the pages and the weights, and makes a video with what it says it needs and nothing else."""

import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable
from email import message_from_bytes
from importlib.metadata import Distribution, distribution
from pathlib import Path
from sysconfig import get_path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shotstream.core.spec import PAPER_SHOT
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


def pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("shotstream/")}
    listed = subprocess.run(["git", "ls-files", "src"], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert names == {name.removeprefix("src/") for name in listed.stdout.splitlines()}
    assert {"shotstream/serve/web/index.html", "shotstream/py.typed"} <= names
    assert "shotstream/weights/embedded/storyworld/transformer.safetensors" in names


def distributions_for(requirements: Iterable[str]) -> dict[str, Distribution]:
    """The installed distributions that requirements name, and all that these need in turn, by name."""
    asked: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        one, extra = waiting.pop()
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            new = {(canonicalize_name(one.name), wanted) for wanted in ("", *one.extras)} - asked
            asked |= new
            waiting += [
                (Requirement(text), wanted) for name, wanted in new for text in distribution(name).requires or ()
            ]
    return {name: distribution(name) for name, _ in asked}


def link(found: Iterable[Distribution], packages: Path) -> None:
    """Put what distributions have installed into another environment, as links: to unpack torch takes long."""
    for one in found:
        for name in {file.parts[0] for file in one.files or ()} - {"..", "__pycache__"}:
            if not (packages / name).exists():
                (packages / name).symlink_to(one.locate_file(name))


def test_it_makes_a_video_in_an_environment_of_its_dependencies_alone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        requirements = message_from_bytes(archive.read(metadata)).get_all("Requires-Dist", [])
    found = distributions_for(requirements)
    assert {"torch", "transformers"} <= found.keys()
    assert found.keys().isdisjoint({"fastapi", "uvicorn", "websockets", "peft", "tensorboard", "gguf"})
    venv.create(tmp_path / "env", with_pip=False)
    programs = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    link(found.values(), Path(get_path("purelib", "venv", {"base": str(tmp_path / "env")})))
    pip("--python", str(programs / "python"), "install", "--no-compile", "--no-index", str(wheel))
    video = tmp_path / "fox.mp4"
    command = [programs / "shotstream", "generate", STORY, "-o", video, "--chunks", "1"]
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert probe_video(video).frames == PAPER_SHOT.frames_of_chunks(1)
    served = subprocess.run(
        [programs / "shotstream", "studio"], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert served.returncode == 2
    assert served.stderr.endswith("run pip install 'shotstream[serve]'\n")
