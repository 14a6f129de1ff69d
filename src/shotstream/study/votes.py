"""Votes of a study in SQLite: who is a random link, and nothing else is known of them."""

import random
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from shotstream.core.errors import InputError
from shotstream.study.files import Study

VOTES_FILE = "votes.sqlite"
TOKEN_BYTES = 9
_SCHEMA = """
create table if not exists study (id text primary key);
create table if not exists raters (token text primary key);
create table if not exists votes (
  rater text not null references raters, story text not null, question text not null, choice text,
  primary key (rater, story, question)
);
"""


@dataclass(frozen=True)
class Vote:
    """One answer; `choice` is the name of a system, None for no difference."""

    rater: str
    story: str
    question: str
    choice: str | None


@dataclass(frozen=True)
class Order:
    """Order of one rater: the stories, and for each the systems by position."""

    stories: tuple[int, ...]
    systems: tuple[tuple[int, ...], ...]


def order_of(study: Study, rater: str) -> Order:
    """Return the random order of stories and systems that belongs to a rater's link; always the same for one link."""
    source = random.Random(f"{study.id} {rater}")
    stories = source.sample(range(len(study.stories)), len(study.stories))
    systems = [source.sample(range(len(study.systems)), len(study.systems)) for _ in stories]
    return Order(tuple(stories), tuple(map(tuple, systems)))


class Votes:
    """The votes of one study. A connection lasts for one call, so that any thread may call.

    Raises:
        InputError: the file cannot be used, or belongs to another study.
    """

    def __init__(self, directory: Path, study: Study) -> None:
        self._path = directory / VOTES_FILE
        with self._database(create=True) as database:
            database.executescript(_SCHEMA)
            database.execute("insert into study select ? where not exists (select 1 from study)", (study.id,))
            [[stored]] = database.execute("select id from study").fetchall()
        if stored != study.id:
            raise InputError(f"{self._path} has the votes of another study; put it back where it belongs")

    @contextmanager
    def _database(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        mode = "rwc" if create else "rw"
        try:
            uri = f"{self._path.resolve().as_uri()}?mode={mode}"
            with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection, connection:
                yield connection
        except sqlite3.Error as error:
            raise InputError(
                f"cannot use {self._path}: {error}; if the study was moved or deleted, serve it where it is now"
            ) from error

    def add_rater(self) -> str:
        """Return the link of a new rater."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with self._database() as database:
            database.execute("insert into raters values (?)", (token,))
        return token

    def knows(self, rater: str) -> bool:
        """Tell whether a link is one of this study's."""
        with self._database() as database:
            return database.execute("select 1 from raters where token = ?", (rater,)).fetchone() is not None

    def add(self, vote: Vote) -> None:
        """Store an answer; a later one to the same question replaces it."""
        with self._database() as database:
            row = (vote.rater, vote.story, vote.question, vote.choice)
            database.execute("insert or replace into votes values (?, ?, ?, ?)", row)

    def all(self, rater: str | None = None) -> list[Vote]:
        """Return all votes, or those of one rater."""
        with self._database() as database:
            rows = database.execute(
                "select rater, story, question, choice from votes where ?1 is null or rater = ?1 order by 1, 2, 3",
                (rater,),
            )
            return [Vote(*row) for row in rows]
