"""The database of stories: what was written is there again, whole, in order, and for one server at a time."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from shotstream.core.errors import InputError
from shotstream.serve.doing import Doing, ShotInWork, ShotQueue
from shotstream.serve.errors import RequestError
from shotstream.serve.store import CLAIM, DATABASE, SCHEMA_VERSION, Store, StoryRow, begin_row, copy_row, new_id
from shotstream.story.cast import CastMember
from shotstream.story.shot_spec import ShotSpec

QUEUE = ShotQueue().insert([ShotSpec("The fox walks.", 2), ShotSpec("The fox sleeps.")])
WORK = ShotInWork(ShotSpec("The fox jumps.", 3, seed=5), branch=(0, 2), take=1, cast=(CastMember(0, "a fox"),), made=2)


def full_row() -> StoryRow:
    """A row in which no two fields are equal."""
    plain = ("A title", "A fox.", 7, "dynamic", 80, 128, 2.5, "An owl.", 3, 49)
    return StoryRow(new_id(), 12.5, *plain, Doing(WORK, QUEUE))


def test_every_field_of_a_story_comes_back(tmp_path: Path) -> None:
    row, store = full_row(), Store(tmp_path)
    assert store.add(row) == row
    assert store.get(row.id) == row
    store.close()
    assert Store(tmp_path).all() == [row]


def test_what_a_story_is_doing_is_saved_with_its_counts_and_for_it_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, other = store.add(full_row()), store.add(full_row())
    store.save(one.id, Doing(None, replace(QUEUE, paused=True)), shots=4, frames=81)
    found = store.get(one.id)
    assert found == replace(one, doing=Doing(None, replace(QUEUE, paused=True)), shots=4, frames=81)
    assert store.get(other.id) == other


def test_a_title_is_changed_for_one_story_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, other = store.add(full_row()), store.add(full_row())
    assert store.rename(one.id, "Another") == replace(one, title="Another")
    assert store.get(one.id).title == "Another"
    assert store.get(other.id) == other


def test_a_removed_story_is_gone_and_the_others_are_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, other = store.add(full_row()), store.add(full_row())
    assert store.count() == 2
    store.remove(one.id)
    assert store.count() == 1
    assert store.all() == [other]
    with pytest.raises(RequestError, match="There is no story with this id") as refused:
        store.get(one.id)
    assert refused.value.code == "not_found"


def test_the_newest_story_comes_first_and_equal_times_by_id(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = [
        store.add(replace(full_row(), id=f"{number:016x}", created_s=when)) for number, when in ((3, 1), (2, 5), (1, 1))
    ]
    assert store.all() == [rows[1], rows[2], rows[0]]


def test_a_new_story_has_a_name_of_its_own_and_begins_now(tmp_path: Path) -> None:
    row = begin_row("A fox.", 7, "dynamic", 80, 128, "A title")
    begun = replace(full_row(), id=row.id, created_s=row.created_s, shots=0, frames=0, doing=Doing())
    assert row == replace(begun, guidance=None, negative_prompt="")
    assert abs(row.created_s - time.time()) < 60
    assert len(row.id) == 16
    assert begin_row("A fox.", 7, "dynamic", 80, 128).title == ""
    assert Store(tmp_path).directory(row.id) == tmp_path / "stories" / row.id


def test_a_copy_has_nothing_to_make() -> None:
    row = full_row()
    copied = copy_row(row, "Copy")
    assert copied == replace(row, id=copied.id, created_s=copied.created_s, title="Copy", doing=Doing())
    assert copied.id != row.id
    assert copied.created_s > row.created_s


@pytest.mark.parametrize(
    ("doing", "unfinished"),
    [
        (Doing(), False),
        (Doing(WORK), True),
        (Doing(None, QUEUE), True),
        (Doing(None, replace(QUEUE, paused=True)), False),
        (Doing(WORK, replace(QUEUE, paused=True)), True),
    ],
)
def test_a_story_is_unfinished_while_there_is_something_to_make_now(doing: Doing, unfinished: bool) -> None:
    assert replace(full_row(), doing=doing).unfinished == unfinished


def test_one_server_has_the_stories_until_it_closes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(InputError, match=r"another server uses the stories in .*; stop it or give another --data"):
        Store(tmp_path)
    store.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        store.count()
    Store(tmp_path).close()


def test_a_database_of_another_version_is_refused_and_left_free(tmp_path: Path) -> None:
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / DATABASE) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    for _ in range(2):
        with pytest.raises(InputError, match="holds stories of another version of the server"):
            Store(tmp_path)


def test_a_file_that_is_no_database_is_refused_and_left_free(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"no database" * 100)
    for _ in range(2):
        with pytest.raises(InputError, match="file is not a database"):
            Store(tmp_path)
    assert (tmp_path / CLAIM).exists()


def test_any_thread_may_use_the_store(tmp_path: Path) -> None:
    store, row = Store(tmp_path), full_row()
    with ThreadPoolExecutor(1) as other:
        assert other.submit(store.add, row).result() == row
        assert other.submit(store.get, row.id).result() == row
        other.submit(store.close).result()


def test_commits_are_durable(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_write_that_fails_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(row := full_row())
    store._database.execute("PRAGMA query_only=ON")
    with pytest.raises(RequestError, match="cannot write the database") as refused:
        store.rename(row.id, "Another")
    assert refused.value.code == "full"
    assert store.get(row.id) == row
