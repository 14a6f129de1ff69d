"""A database of stories and the work of each: SQLite, beside the directories of their shots.

Finished shots lie in the story's own directory (`story.history`). A shot in the making lies in no file: it is a pure
function of its spec and place, so the database keeps just those (`doing.ShotInWork`), written before each chunk's
frames leave, and it is made again after a crash. WAL with full synchronisation: what was committed is there after a
power cut, too.
"""

import fcntl
import json
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from shotstream.core.atomic_files import make_directory, writing
from shotstream.core.config import from_dict, to_dict
from shotstream.core.errors import InputError
from shotstream.serve.doing import Doing
from shotstream.serve.errors import RequestError

DATABASE = "stories.sqlite3"
SCHEMA_VERSION = 3
"""Of the database's layout."""
CLAIM = "server.lock"
_ID = re.compile(r"[0-9a-f]{16}")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS stories (
    id TEXT PRIMARY KEY,
    created_s REAL NOT NULL,
    title TEXT NOT NULL,
    global_caption TEXT NOT NULL,
    seed INTEGER NOT NULL,
    context TEXT NOT NULL,
    height INTEGER NOT NULL,
    width INTEGER NOT NULL,
    guidance REAL,
    negative_prompt TEXT NOT NULL,
    shots INTEGER NOT NULL DEFAULT 0,
    frames INTEGER NOT NULL DEFAULT 0,
    doing TEXT NOT NULL DEFAULT '{}'
) STRICT
"""


@dataclass(frozen=True)
class StoryRow:
    """A story as the database knows it; `shots` and `frames` are those of its current branch.

    An empty `title` means that the global caption stands for it. `guidance` None is the model's own.
    """

    id: str
    created_s: float
    title: str
    global_caption: str
    seed: int
    context: str
    height: int
    width: int
    guidance: float | None = None
    negative_prompt: str = ""
    shots: int = 0
    frames: int = 0
    doing: Doing = field(default_factory=Doing)

    @property
    def unfinished(self) -> bool:
        """Return whether there is something to make now."""
        return self.doing.unfinished


def new_id() -> str:
    """Return a random id for a new story: 16 hexadecimal digits."""
    return secrets.token_hex(8)


class Store:
    """The stories of a server, which nobody else may use meanwhile. May be used from any thread."""

    def __init__(self, data: Path) -> None:
        """Open the stories in a directory and lock it; make it if there is none.

        Raises:
            InputError: it cannot be written, or another server uses it.
        """
        self.data = make_directory(data)
        self._lock = threading.Lock()
        self._claim = _claim(data)
        with writing(data):
            try:
                self._database = sqlite3.connect(data / DATABASE, check_same_thread=False, isolation_level=None)
                _prepare(self._database, data)
            except sqlite3.Error as error:
                self._claim.close()
                raise OSError(str(error)) from error
            except InputError:
                self._database.close()
                self._claim.close()
                raise

    def close(self) -> None:
        """Close the database and unlock the directory, so that another server may use the stories."""
        with self._lock:
            self._database.close()
            self._claim.close()

    def directory(self, story: str) -> Path:
        """Return the directory of a story's shots."""
        assert _ID.fullmatch(story), "a name from the database"
        return self.data / "stories" / story

    def add(self, row: StoryRow) -> StoryRow:
        """Add a story, and return its row."""
        values = (row.id, row.created_s, row.title, row.global_caption, row.seed, row.context, row.height, row.width)
        guided = (row.guidance, row.negative_prompt)
        doing = json.dumps(to_dict(row.doing))
        with self._writing():
            self._database.execute(
                "INSERT INTO stories "
                "(id, created_s, title, global_caption, seed, context, height, width, guidance, negative_prompt, "
                "shots, frames, doing) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, *guided, row.shots, row.frames, doing),
            )
        return row

    def get(self, story: str) -> StoryRow:
        """Return the story with this id; `story` may be any text from a client.

        Raises:
            RequestError: there is none.
        """
        with self._lock:
            found = self._database.execute("SELECT * FROM stories WHERE id = ?", (story,)).fetchone()
        if found is None:
            raise RequestError("not_found", "There is no story with this id. It may have been removed.")
        return _row(found)

    def all(self) -> list[StoryRow]:
        """Return all stories, newest first."""
        with self._lock:
            return [_row(one) for one in self._database.execute("SELECT * FROM stories ORDER BY created_s DESC, id")]

    def count(self) -> int:
        """Return the number of stories."""
        with self._lock:
            return int(self._database.execute("SELECT count(*) FROM stories").fetchone()[0])

    def save(self, story: str, doing: Doing, shots: int, frames: int) -> None:
        """Save the shot in work, the queue and the counts of a story; they are on disk when this returns.

        Raises:
            RequestError: the disk is full.
        """
        with self._writing():
            self._database.execute(
                "UPDATE stories SET doing = ?, shots = ?, frames = ? WHERE id = ?",
                (json.dumps(to_dict(doing)), shots, frames, story),
            )

    def rename(self, story: str, title: str) -> StoryRow:
        """Give a story another title, and return it."""
        with self._writing():
            self._database.execute("UPDATE stories SET title = ? WHERE id = ?", (title, story))
        return self.get(story)

    def remove(self, story: str) -> None:
        """Remove a story from the database; its directory stays."""
        with self._writing():
            self._database.execute("DELETE FROM stories WHERE id = ?", (story,))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.OperationalError as error:
            raise RequestError("full", f"cannot write the database ({error}); free some space") from error


def _claim(data: Path) -> IO[bytes]:
    """Lock a directory against other servers until the lock is closed or the process ends."""
    with writing(data):
        file = (data / CLAIM).open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise InputError(f"another server uses the stories in {data}; stop it or give another --data") from error
        except OSError:
            file.close()
            raise
    return file


def _prepare(database: sqlite3.Connection, data: Path) -> None:
    """Make the table where it is missing.

    Raises:
        InputError: the database has another layout.
    """
    (found,) = database.execute("PRAGMA user_version").fetchone()
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'stories'").fetchone() and found != SCHEMA_VERSION:
        raise InputError(f"{data} holds stories of another version of the server; give another --data")
    for statement in (
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        _SCHEMA,
        f"PRAGMA user_version={SCHEMA_VERSION}",
    ):
        database.execute(statement)


def _row(values: tuple[Any, ...]) -> StoryRow:
    *plain, doing = values
    row = StoryRow(*plain)
    return replace(row, doing=from_dict(Doing, json.loads(doing), "the database"))


def begin_row(global_caption: str, seed: int, context: str, height: int, width: int, title: str = "") -> StoryRow:
    """Return a story that begins now."""
    return StoryRow(new_id(), time.time(), title, global_caption, seed, context, height, width)


def copy_row(row: StoryRow, title: str) -> StoryRow:
    """Return a story like another one that begins now, with nothing to make."""
    return replace(row, id=new_id(), created_s=time.time(), title=title, doing=Doing())
