"""The command: exit codes, one line for what cannot be used, help, and a quick start."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from shotstream import cli
from shotstream.cli.options import flat_options
from shotstream.core.errors import InputError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Puts a command that does something in place of all others."""

    def install(run: Callable[[], int]) -> None:
        app = typer.Typer()
        app.command()(run)
        monkeypatch.setattr(cli, "app", app)

    return install


def raising(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


def commands_below(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The words and the object of every command and group."""
    yield names, command
    for name, one in getattr(command, "commands", {}).items():
        yield from commands_below(one, (*names, name))


ALL = dict(commands_below(get_command(cli.app)))


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_is_the_commands(command: Callable[..., None], code: int) -> None:
    command(lambda: code)
    assert cli.main([]) == code


def test_bad_input_is_one_line_and_two(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    command(raising(InputError("expected a story, got nothing; write one")))
    assert cli.main([]) == 2
    assert capsys.readouterr() == ("", "shotstream: expected a story, got nothing; write one\n")


def test_an_interrupt_is_130_without_a_traceback(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(KeyboardInterrupt()))
    assert cli.main([]) == 130
    assert capsys.readouterr().err == "shotstream: interrupted\n"


def test_a_reader_who_leaves_ends_the_command_quietly() -> None:
    code = (
        "import sys, typer\nfrom shotstream import cli\ncli.app = typer.Typer()\n"
        "cli.app.command()(lambda: [print('line', flush=True) for _ in range(100_000)] and 0)\n"
        "sys.exit(cli.main([]))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        assert done.stdout.readline() == "line\n"
        done.stdout.close()
        assert done.stderr.read() == ""
    assert done.returncode == 141


def test_our_own_mistakes_are_not_hidden(command: Callable[..., None]) -> None:
    command(raising(AssertionError("a bug")))
    with pytest.raises(AssertionError, match="a bug"):
        cli.main([])


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == cli.__version__


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generat"], "shotstream: no such command 'generat'. Did you mean 'generate'?; see 'shotstream --help'"),
        (["bench", "--shot", "3"], "shotstream bench: no such option --shot; did you mean --shots?"),
        (["bench", "--viewers", "3"], "shotstream bench: expected --viewers with studio, serve, load-test only"),
        (["bench", "--nonsense"], "shotstream bench: no such option --nonsense; see 'shotstream bench --help'"),
        (["bench", "--shots", "many"], "shotstream bench: invalid value for '--shots'"),
        (["generate", "story.yaml"], "shotstream generate: missing option '--output'"),
    ],
)
def test_unknown_words_are_two(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "shown"), [([], "Live multi-shot video"), (["train"], "Train a model, stage by stage")], ids=str
)
def test_a_group_alone_shows_its_help(words: list[str], shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert shown in said.out
    assert said.err == ""


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*words, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Usage: {' '.join(('shotstream', *words))}" in shown
    if not hasattr(ALL[words], "commands"):
        assert f"Examples shotstream {' '.join(words)}" in shown.replace("SHOTSTREAM_TOKEN=secret ", "")


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_option_is_explained(words: tuple[str, ...]) -> None:
    assert [one.name for one in ALL[words].params if not one.help] == []


def test_the_command_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys\nfrom shotstream.cli import main\nmain(['bench', '--help'])\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "typer" in loaded
    assert loaded & {"torch", "numpy", "transformers", "av", "fastapi", "huggingface_hub", "peft"} == set()


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "shotstream", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == cli.__version__


def test_a_shell_completes_commands_and_options() -> None:
    variables = {"_SHOTSTREAM_COMPLETE": "complete_bash", "COMP_WORDS": "shotstream gen", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "shotstream"]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["generate"]


def test_json_on_standard_output_is_alone_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["world", "words", "--json", "-"]) == 0
    said = capsys.readouterr()
    assert "fox" in json.loads(said.out)["species"]
    assert "what StoryWorld knows" in said.err
    assert cli.main(["world", "words", "--json", str(tmp_path / "words.json")]) == 0
    assert json.loads((tmp_path / "words.json").read_text()) == json.loads(said.out)
    assert "what StoryWorld knows" in capsys.readouterr().out


def test_a_dataclass_becomes_options() -> None:
    from shotstream.cli.options import ModelOptions

    def run(first: str, model: ModelOptions, last: int = 3) -> tuple[object, ...]:
        return first, model, last

    flat = flat_options(run)
    values = {"model": "tiny", "device": "cpu", "text_device": None, "compile": False, "graphs": False}
    rest = {
        "fp8": False,
        "fp8_attention": False,
        "steps": 2,
        "decoder": None,
        "role": None,
        "checkpoint_key": None,
        "policy": None,
        "sampler": None,
    }
    expected = ModelOptions("tiny", "cpu", steps=2)
    assert flat(first="a", last=4, **values, **rest) == ("a", expected, 4)
