"""Docstrings say what comes back or what is done, in plain words: their first word never begins a riddle."""

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "shotstream"
RIDDLES = {"what", "whoever", "whatever", "it", "its", "those", "that", "they", "where", "how", "which", "who"}
"""A sentence that begins so names the thing last, or not at all."""

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def documented(tree: ast.Module, name: str) -> Iterator[tuple[str, Documented, str]]:
    """Yield every public thing that has a docstring: its name, its node, and the docstring's first line."""
    for node in ast.walk(tree):
        if isinstance(node, Documented) and (text := ast.get_docstring(node)):
            own = getattr(node, "name", "")
            if not own.startswith("_") or own == "__init__":
                yield f"{name}:{getattr(node, 'lineno', 1)} {own}", node, text.splitlines()[0]


def riddles(source: Path) -> list[str]:
    """Return the public docstrings of a package that begin with one of `RIDDLES`."""
    return [
        f"{where}: {line}"
        for path in sorted(source.rglob("*.py"))
        for where, _, line in documented(ast.parse(path.read_text(encoding="utf8")), str(path.relative_to(source)))
        if line.split()[0].strip("`,.").lower() in RIDDLES
    ]


def test_no_docstring_begins_with_a_riddle() -> None:
    assert riddles(SOURCE) == []


def test_the_rule_finds_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        '"""Say things."""\ndef f():\n    """What it says."""\ndef _g():\n    """It is private."""\n'
        'class C:\n    """Those that stay."""\n    def __init__(self):\n        """Keep it."""\n'
    )
    assert riddles(tmp_path) == ["a.py:2 f: What it says.", "a.py:6 C: Those that stay."]
