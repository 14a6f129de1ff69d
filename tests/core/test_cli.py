"""The command: exit codes, one line for what cannot be used, and no more imports than the command needs."""

import argparse
import subprocess
import sys
from collections.abc import Callable

import pytest

from shotstream import cli
from shotstream.core.errors import InputError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[argparse.Namespace], int]], None]:
    """Puts a command that does something in place of all others."""

    def install(run: Callable[[argparse.Namespace], int]) -> None:
        def build(_: object = None) -> argparse.ArgumentParser:
            parser = argparse.ArgumentParser()
            parser.set_defaults(run=run)
            return parser

        monkeypatch.setattr(cli, "build_parser", build)

    return install


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_is_the_commands(command: Callable[..., None], code: int) -> None:
    command(lambda _: code)
    assert cli.main([]) == code


def test_bad_input_is_one_line_and_two(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def run(_: argparse.Namespace) -> int:
        raise InputError("expected a story, got nothing; write one")

    command(run)
    assert cli.main([]) == 2
    assert capsys.readouterr() == ("", "shotstream: expected a story, got nothing; write one\n")


def test_an_interrupt_is_130_without_a_traceback(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    command(run)
    assert cli.main([]) == 130
    assert capsys.readouterr().err == "shotstream: interrupted\n"


def test_a_reader_who_has_seen_enough_is_left_in_peace() -> None:
    code = (
        "import sys\nfrom argparse import ArgumentParser\nfrom shotstream import cli\n"
        "parser = ArgumentParser()\n"
        "parser.set_defaults(run=lambda _: [print('line', flush=True) for _ in range(100_000)] and 0)\n"
        "cli.build_parser = lambda _: parser\nsys.exit(cli.main([]))"
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
    def run(_: argparse.Namespace) -> int:
        raise AssertionError("a bug")

    command(run)
    with pytest.raises(AssertionError, match="a bug"):
        cli.main([])


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.strip() == cli.__version__


@pytest.mark.parametrize("words", [[], ["generat"], ["bench", "--shot"]])
def test_unknown_words_are_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert left.value.code == 2
    assert "usage: shotstream" in capsys.readouterr().err


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as left:
            cli.main([name, "--help"])
        assert left.value.code == 0
        assert f"usage: shotstream {name}" in capsys.readouterr().out


def test_a_command_loads_only_its_own_module() -> None:
    code = (
        "import sys\nfrom shotstream.cli import build_parser\nbuild_parser(['bench'])\n"
        "print(*(n for n in sys.modules if n.startswith('shotstream.cli.') or n == 'torch'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"shotstream.cli.bench", "shotstream.cli.opening"}
