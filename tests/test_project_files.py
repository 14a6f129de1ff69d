"""Files of the project: they parse, agree with each other, and name things that exist."""

import re
import tomllib
from pathlib import Path

import yaml

import shotstream

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
