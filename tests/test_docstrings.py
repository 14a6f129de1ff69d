"""Docstrings of functions and properties begin with a verb that says what the function does or returns."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "shotstream"
FOLDERS = (
    "bench", "cli", "core", "data", "engine", "metrics", "model", "parity", "runtime", "scores", "serve",
    "story", "study", "train", "weights", "world",
)  # fmt: skip
NO_VERBS = {
    "a", "all", "also", "an", "any", "as", "at", "each", "every", "everything", "for", "from", "how", "if", "in",
    "it", "its", "no", "nothing", "of", "on", "one", "some", "that", "the", "their", "these", "this", "those", "to",
    "until", "what", "when", "where", "whether", "which", "who", "whoever", "whose", "with",
}  # fmt: skip
"""First words of a riddle, or of a noun phrase."""


def misleading(tree: ast.Module) -> Iterator[str]:
    """Yield functions whose docstring begins with no verb, or in the third person; `__init__` may name arguments."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name == "__init__":
            continue
        text = ast.get_docstring(node)
        if text:
            word = text.split()[0].strip("`,.:;").lower()
            if word in NO_VERBS or (word.endswith("s") and not word.endswith("ss")):
                yield f"{node.name}: {text.splitlines()[0]}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_begin_with_a_verb(folder: str) -> None:
    modules = sorted((SOURCE / folder).rglob("*.py"))
    assert modules
    assert [f"{path.name} {found}" for path in modules for found in misleading(ast.parse(path.read_text()))] == []


def test_a_riddle_is_found() -> None:
    source = '''
def f():
    """What a stranger never guesses."""
def g():
    """Makes it."""
def h():
    """Make it."""
def _i():
    """The thing."""
class C:
    @property
    def p(self):
        """The thing."""
    def passes(self):
        """Pass it on."""
'''
    assert [found.partition(":")[0] for found in misleading(ast.parse(source))] == ["f", "g", "_i", "p"]
