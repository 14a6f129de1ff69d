"""Files of the project: they parse, agree with each other, and name things that exist."""

import re
import runpy
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

import shotstream
from shotstream.core.spec import FPS, PAPER_SHOT
from shotstream.core.video import write_video
from shotstream.story.script_files import load_scripts

PROJECT = Path(__file__).parent.parent
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf8"))["project"]


def read_yaml(name: str) -> dict[str, object]:
    data = yaml.safe_load((PROJECT / name).read_text(encoding="utf8"))
    assert isinstance(data, dict)
    return data


def test_versions_and_licences_agree() -> None:
    citation = read_yaml("CITATION.cff")
    assert citation["version"] == METADATA["version"] == shotstream.__version__
    assert citation["license"] == METADATA["license"]
    assert f": {shotstream.__version__}" in (PROJECT / "CHANGELOG.md").read_text(encoding="utf8")


def test_workflows_run_what_is_there() -> None:
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf8"), re.MULTILINE)
    jobs = [job for path in (PROJECT / ".github" / "workflows").glob("*.yml") for job in jobs_of(path)]
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    assert ".ci/run" in commands
    for command in commands:
        program, *rest = command.split()
        assert (program == "make" and rest[0] in targets) or program == "python" or (PROJECT / program).is_file()


def jobs_of(path: Path) -> list[dict[str, list[dict[str, str]]]]:
    return list(yaml.safe_load(path.read_text(encoding="utf8"))["jobs"].values())


def test_the_check_of_the_demos_video_refuses_a_flat_one(tmp_path: Path) -> None:
    main = runpy.run_path(str(PROJECT / ".ci" / "check_video.py"))["main"]
    script = PROJECT / "examples" / "fox.yaml"
    (story,) = load_scripts(script)
    count = sum(PAPER_SHOT.frames_of_chunks(shot.chunks) for shot in story.shots)
    lively = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    for name, frames in (("good", lively), ("flat", np.zeros_like(lively)), ("short", lively[:-1])):
        write_video(tmp_path / f"{name}.mp4", frames, FPS)
    main(str(tmp_path / "good.mp4"), str(script))
    for name, said in (("flat", "flat"), ("short", f"expected {count} frames")):
        with pytest.raises(AssertionError, match=said):
            main(str(tmp_path / f"{name}.mp4"), str(script))


def test_hooks_run_tests_that_exist() -> None:
    hooks = [hook for repo in read_yaml(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]  # type: ignore[attr-defined]
    files = [word for hook in hooks for word in hook["entry"].split() if word.startswith("tests/")]
    assert files
    assert all((PROJECT / file).is_file() for file in files)


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md"), PROJECT / "recipes" / "README.md"]
    broken = [
        f"{page.name}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf8"))
        if not link.startswith("http") and not (page.parent / link).exists()
    ]
    assert broken == []
