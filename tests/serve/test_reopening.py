"""A session that is dropped after any step, and opened again from what is on disk, tells the same story."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shotstream.api import Model
from shotstream.serve.commands import AddCast, MakeShot, NewShot, QueueShots, SteerShot
from shotstream.serve.limits import Limits
from shotstream.serve.news import Chunk
from shotstream.serve.packets import FrameKey
from shotstream.serve.session import Session
from shotstream.serve.store import Store, begin_row

LIMITS = Limits(ahead_chunks=10**6)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "data")
    yield store
    store.close()


def tell(model: Model, store: Store, drop_after: int | None) -> dict[FrameKey, Any]:
    """Frames of a steered shot and a queued one; the session is dropped once after that many steps."""
    row, frames, steered = store.add(begin_row("A red fox.", 1, "dynamic", 32, 48)), {}, False

    def publish(item: Any) -> None:
        if isinstance(item, Chunk):
            for offset, frame in enumerate(item.frames):
                key = item.key._replace(frame=item.key.frame + offset)
                assert np.array_equal(frames.setdefault(key, frame), frame), key

    session = Session(model, store, row, LIMITS, publish)
    session.apply(MakeShot(type="shot", text="It walks.", chunks=3))
    session.apply(QueueShots(type="queue", shots=(NewShot(text="It sleeps.", chunks=2, seed=9),)))
    step = 0
    while session.working:
        session.step()
        step += 1
        if step == drop_after:
            session.close()
            session = Session(model, store, store.get(row.id), LIMITS, publish)
        work = store.get(row.id).doing.work
        if not steered and work is not None and work.made == 2:
            session.apply(SteerShot(type="steer", text="It jumps.", shown="0.0.9"))
            session.apply(AddCast(np.full((32, 48, 3), 90, np.uint8), "a bear"))
            steered = True
    assert [(take.spec.seed, len(take.cast)) for take in session.story.history.records] == [(1, 0), (9, 1)]
    session.close()
    doing = store.get(row.id).doing
    assert (doing.work, doing.queue.shots) == (None, ())
    return frames


def test_a_session_dropped_after_any_step_changes_nothing(model: Model, store: Store) -> None:
    whole = tell(model, store, None)
    for drop_after in range(1, 8):
        again = tell(model, store, drop_after)
        assert again.keys() == whole.keys()
        assert all(np.array_equal(again[key], whole[key]) for key in whole), drop_after


def test_a_shot_that_was_finished_before_the_database_knew_is_not_made_twice(model: Model, store: Store) -> None:
    row = store.add(begin_row("A red fox.", 1, "dynamic", 32, 48))
    session = Session(model, store, row, LIMITS, lambda _: None)
    session.apply(MakeShot(type="shot", text="It walks.", chunks=1))
    session.step()
    stale = store.get(row.id)
    assert stale.doing.work is not None
    session.step()
    session.close()
    again = Session(model, store, replace(stale, shots=1), LIMITS, lambda _: None)
    assert not again.working
    assert again.story.history.branch == (0,)
    again.close()


@pytest.mark.parametrize("name", ["shot-001.mkv", "shot-001.safetensors", "story.json"])
def test_a_flipped_byte_costs_the_take_that_it_hit(name: str, model: Model, store: Store) -> None:
    """The take is made again, what goes on from it is put back, and every file is as it was."""
    row = store.add(begin_row("A red fox.", 1, "dynamic", 32, 48))
    session = Session(model, store, row, LIMITS, lambda _: None)
    shots = tuple(NewShot(text=text, chunks=1) for text in ("It walks.", "It eats.", "It sleeps."))
    session.apply(QueueShots(type="queue", shots=shots))
    while session.working:
        session.step()
    session.close()
    directory = store.directory(row.id)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    data = bytearray(before[name])
    data[len(data) // 2] ^= 1
    (directory / name).write_bytes(data)
    session = Session(model, store, store.get(row.id), LIMITS, lambda _: None)
    steps = 0
    while session.working:
        session.step()
        steps += 1
    assert steps == (0 if name == "story.json" else 2), "one chunk and the end of its shot"
    assert session.story.history.branch == (0, 0, 0)
    session.close()
    after = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    assert {name: after[name] for name in before} == before
