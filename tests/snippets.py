"""Find the code blocks of the Markdown pages, and which of them are not to be run.

A block runs unless an HTML comment above it says why not: `<!-- not run: REASON -->`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

PROJECT = Path(__file__).parent.parent
PAGES = (
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "recipes/README.md")),
    *sorted((PROJECT / "docs").glob("*.md")),
)
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+?) -->")


@dataclass(frozen=True)
class Snippet:
    """A code block: its page, the line of its first line of code, its language, its text, and why it is not run."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None

    @property
    def place(self) -> str:
        """Return the page and line, for test names and messages."""
        return f"{self.page.relative_to(PROJECT)}:{self.line}"


def snippets_of(page: Path) -> Iterator[Snippet]:
    """Yield the fenced code blocks of a page, in order."""
    reason = None
    for token in MarkdownIt().parse(page.read_text(encoding="utf8")):
        if token.type == "html_block":
            found = NOT_RUN.search(token.content)
            reason = found["reason"] if found else None
        elif token.type == "fence":
            assert token.map is not None
            yield Snippet(page, token.map[0] + 2, token.info.strip(), token.content, reason)
            reason = None
        elif token.nesting >= 0:
            reason = None


def all_snippets(language: str) -> list[Snippet]:
    """Return the blocks in a language on all pages."""
    return [snippet for page in PAGES for snippet in snippets_of(page) if snippet.language == language]
