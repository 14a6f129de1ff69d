"""Every code block of README and docs runs as it stands, or is checked word by word where it says why it is not run."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest
import typer

from command_line import read_command
from shotstream.world.captions import unknown_words
from snippets import PAGES, PROJECT, Snippet, all_snippets, snippets_of

PYTHON, SHELL = all_snippets("python"), all_snippets("bash")
CAPTIONED = {"story", "shot", "steer", "add_cast"}
"""Methods whose string arguments are captions."""


def place(snippet: Snippet) -> str:
    return snippet.place


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in a directory with the examples of the repository, as in a fresh clone."""
    shutil.copytree(PROJECT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


LANGUAGES = {"python", "bash", "text", "yaml", "json", "jsonl", "csv", "nginx", "caddy"}


def test_every_block_is_of_a_language_that_is_checked() -> None:
    blocks = [snippet for page in PAGES for snippet in snippets_of(page)]
    assert {snippet.language for snippet in blocks} <= LANGUAGES
    assert len(PYTHON) >= 2
    assert len(SHELL) >= 10


@pytest.mark.slow
@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize("page", sorted({snippet.page for snippet in PYTHON}), ids=lambda page: page.name)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path) -> None:
    names: dict[str, object] = {}
    for snippet in (one for one in PYTHON if one.page == page and not one.not_run):
        code = "\n" * (snippet.line - 1) + snippet.text  # tracebacks then name the line of the page
        exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize("snippet", PYTHON, ids=place)
def test_python_compiles_and_its_captions_are_in_words_that_the_model_knows(snippet: Snippet) -> None:
    tree = ast.parse(snippet.text, snippet.place)
    captions = [
        argument.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CAPTIONED
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and " " in argument.value
    ]
    if not snippet.not_run:
        assert {word for caption in captions for word in unknown_words(caption)} == set()


@pytest.mark.slow
@pytest.mark.parametrize("snippet", [one for one in SHELL if not one.not_run], ids=place)
def test_shell_runs(snippet: Snippet, clone: Path) -> None:
    programs = clone / "bin"
    programs.mkdir()
    command = programs / "shotstream"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m shotstream "$@"\n')
    command.chmod(0o755)
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    script = ["bash", "-euo", "pipefail", "-c", snippet.text]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{snippet.place}\n{done.stderr}"


@pytest.mark.parametrize("snippet", SHELL, ids=place)
def test_shell_names_commands_options_and_files_that_exist(snippet: Snippet) -> None:
    subprocess.run(["bash", "-n", "-c", snippet.text], check=True)
    plain = re.sub(r"\\\n", " ", re.sub(r'^\w+="[^"]*"$', "", snippet.text, flags=re.MULTILINE))
    for line in plain.splitlines():
        check_line(shlex.split(line, comments=True))


def check_line(words: list[str]) -> None:
    """Check the words of one command; variables in front of it are left out.

    Raises:
        AssertionError: no such program, file, target or extra.
        typer.TyperException: `shotstream` has no such command or option.
    """
    for is_end, command in groupby(words, lambda word: word in ("&&", "||", "|", ";")):
        if not is_end:
            _check_command(list(command))


def _check_command(words: list[str]) -> None:
    words = [word for word in words if not word.startswith("$")]
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if not words:
        return
    program, *rest = words
    program = program.removeprefix(".venv/bin/")
    if program == "torchrun":
        _check_command(rest[rest.index("--") + 1 :])
    elif program == "shotstream":
        read_command(rest)
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf8"), re.MULTILINE)
        assert rest[0] in targets
    elif program == "pip":
        assert rest[0] == "install"
        assert all(Path(PROJECT / word.partition("[")[0]).is_dir() for word in rest[1:] if word.startswith("."))
    elif "/" in program:
        assert (PROJECT / program).is_file()
    else:
        assert program in ("cd", "curl", "mkdir", "ln", "pre-commit"), program


def test_the_checks_find_what_they_look_for(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: a reason -->\n```bash\nls\n```\n\ntext\n\n```python\nx = 1\n```\n")
    first, second = snippets_of(page)
    assert (first.language, first.line, first.not_run) == ("bash", 3, "a reason")
    assert (second.language, second.line, second.not_run, second.text) == ("python", 9, None, "x = 1\n")
    with pytest.raises(AssertionError):
        check_line(["make", "nothing"])
    with pytest.raises(AssertionError):
        check_line(["A=b", "recipes/nothing.sh"])
    with pytest.raises(typer.TyperException):
        check_line(["cd", "x", "&&", "shotstream", "generate", "a", "-o", "b", "--nothing"])
