"""The queue of a story: what its commands do to it, that it can be paused, and that every change can be undone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shotstream.api import Model
from shotstream.core.errors import InputError
from shotstream.serve.commands import (
    AnyCommand,
    CutShot,
    DuplicateQueued,
    EditQueued,
    MakeShot,
    MoveQueued,
    NewShot,
    PauseQueue,
    QueueShots,
    RemoveQueued,
    RetryShot,
    Rewind,
    SteerShot,
    Undo,
)
from shotstream.serve.limits import Limits
from shotstream.serve.messages import QueuedView, State, SteerView
from shotstream.serve.session import Session
from shotstream.serve.store import Store, begin_row

UNDO = Undo(type="undo")
WALKS, EATS, SLEEPS = "It walks.", "It eats.", "It sleeps."


class Direct:
    """A session without a server around it, and the last state that it published."""

    def __init__(self, model: Model, store: Store, **limits: int) -> None:
        self.row = store.add(begin_row("A red fox.", 1, "dynamic", 32, 48))
        self.state: State
        limits = {"ahead_chunks": 10**6} | limits
        self.session = Session(model, store, self.row, Limits(**limits), self._hear)

    def _hear(self, news: Any) -> None:
        if isinstance(news, State):
            self.state = news

    def do(self, *commands: AnyCommand) -> list[str]:
        """Carry out commands; return the captions that wait then."""
        for command in commands:
            self.session.apply(command)
        return [shot.text for shot in self.state.queue]

    def finish(self) -> list[tuple[str, int]]:
        """Make all there is to make; return the caption and length of every shot of the branch."""
        while self.session.working:
            self.session.step()
        return [(take.spec.text, take.spec.chunks) for take in self.session.story.history.records]

    def id_of(self, text: str) -> int:
        return next(shot.id for shot in self.state.queue if shot.text == text)


@pytest.fixture
def direct(model: Model, tmp_path: Path) -> Iterator[Direct]:
    """A story that waits to make three shots of one chunk."""
    store = Store(tmp_path / "data")
    direct = Direct(model, store)
    direct.do(PauseQueue(type="pause", paused=True), queue(WALKS, EATS, SLEEPS))
    yield direct
    direct.session.close()
    store.close()


def queue(*texts: str, at: int | None = None) -> QueueShots:
    return QueueShots(type="queue", shots=tuple(NewShot(text=text, chunks=1) for text in texts), at=at)


def shot(text: str, chunks: int = 1) -> MakeShot:
    return MakeShot(type="shot", text=text, chunks=chunks)


def test_a_paused_queue_waits_until_it_is_let_go(direct: Direct) -> None:
    assert not direct.session.working
    assert direct.state.paused
    assert direct.do(PauseQueue(type="pause", paused=False)) == [WALKS, EATS, SLEEPS]
    assert direct.finish() == [(WALKS, 1), (EATS, 1), (SLEEPS, 1)]
    assert direct.state.queue == []


def test_a_pause_finishes_the_shot_in_the_making(direct: Direct) -> None:
    direct.do(PauseQueue(type="pause", paused=False))
    direct.session.step()
    direct.do(PauseQueue(type="pause", paused=True))
    assert direct.finish() == [(WALKS, 1)]
    assert [queued.text for queued in direct.state.queue] == [EATS, SLEEPS]


def test_shots_are_moved_duplicated_edited_removed_and_inserted(direct: Direct) -> None:
    sleeps, eats = direct.id_of(SLEEPS), direct.id_of(EATS)
    assert direct.do(MoveQueued(type="move", queued=sleeps, to=0)) == [SLEEPS, WALKS, EATS]
    assert direct.do(MoveQueued(type="move", queued=sleeps, to=99)) == [WALKS, EATS, SLEEPS]
    assert direct.do(DuplicateQueued(type="duplicate", queued=eats)) == [WALKS, EATS, EATS, SLEEPS]
    edit = EditQueued(type="edit", queued=eats, text="It jumps.", chunks=9, extend=True, seed=4)
    assert direct.do(edit) == [WALKS, "It jumps.", EATS, SLEEPS]
    assert direct.state.queue[1] == QueuedView(
        id=eats, text="It jumps.", chunks=9, extend=True, seed=4, cast=None, steers=[]
    )
    assert direct.do(RemoveQueued(type="remove", queued=eats)) == [WALKS, EATS, SLEEPS]
    assert direct.do(queue("It waves.", "It runs.", at=1)) == [WALKS, "It waves.", "It runs.", EATS, SLEEPS]
    ids = [queued.id for queued in direct.state.queue]
    assert len(set(ids)) == len(ids)
    assert eats not in ids


def test_an_edit_keeps_replaces_or_removes_the_steers_of_a_queued_shot(direct: Direct) -> None:
    steers = tuple(SteerView(at=at, text=f"It jumps {at}.") for at in (1, 3))
    walks = direct.id_of(WALKS)

    def edited(chunks: int, **more: Any) -> list[int]:
        direct.do(EditQueued(type="edit", queued=walks, text=WALKS, chunks=chunks, **more))
        return [steer.at for steer in direct.state.queue[0].steers]

    assert edited(4, steers=steers) == [1, 3]
    assert edited(3) == [1], "those that fit the length are kept"
    assert edited(3, steers=steers[:1]) == [1]
    assert edited(3, steers=()) == []
    direct.do(UNDO)
    assert [steer.at for steer in direct.state.queue[0].steers] == [1]


def test_what_does_not_wait_any_more_cannot_be_edited(direct: Direct) -> None:
    walks, before = direct.id_of(WALKS), direct.state
    for wrong in (
        RemoveQueued(type="remove", queued=99),
        EditQueued(type="edit", queued=walks, text=" "),
        EditQueued(type="edit", queued=walks, text=WALKS, chunks=8),
        queue(*[WALKS] * 50),
    ):
        with pytest.raises(InputError):
            direct.do(wrong)
    assert direct.state == before
    direct.do(PauseQueue(type="pause", paused=False))
    direct.session.step()
    with pytest.raises(InputError, match="does not wait any more"):
        direct.do(MoveQueued(type="move", queued=walks, to=1))


def test_changes_of_the_queue_are_undone_one_by_one(direct: Direct) -> None:
    direct.do(RemoveQueued(type="remove", queued=direct.id_of(EATS)))
    direct.do(MoveQueued(type="move", queued=direct.id_of(SLEEPS), to=0))
    assert direct.state.undo == "move"
    assert direct.do(UNDO) == [WALKS, SLEEPS]
    assert direct.state.undo == "remove"
    assert direct.do(UNDO) == [WALKS, EATS, SLEEPS]
    assert direct.do(UNDO) == []
    direct.do(UNDO)
    assert (direct.state.paused, direct.state.undo) == (False, None)
    with pytest.raises(InputError, match="nothing to undo"):
        direct.do(UNDO)


def test_undoing_a_change_of_the_queue_queues_no_shot_that_has_begun(direct: Direct) -> None:
    direct.do(PauseQueue(type="pause", paused=False))
    direct.do(RemoveQueued(type="remove", queued=direct.id_of(SLEEPS)))
    direct.session.step()
    assert direct.do(UNDO) == [EATS, SLEEPS]
    assert direct.finish() == [(WALKS, 1), (EATS, 1), (SLEEPS, 1)]


def test_undoing_a_shot_makes_the_one_it_cut_again_and_queues_what_it_dropped(direct: Direct) -> None:
    direct.do(UNDO, UNDO, shot(WALKS, 3), queue(EATS))
    direct.session.step()
    direct.do(shot("It jumps."))
    assert direct.finish() == [(WALKS, 1), ("It jumps.", 1)]
    assert direct.do(UNDO) == [WALKS, EATS]
    assert direct.finish() == [(WALKS, 3), (EATS, 1)]


@pytest.mark.parametrize(
    "command", [Rewind(type="rewind", shot=1), RetryShot(type="retry", shot=0, seed=5, rest=True), CutShot(type="cut")]
)
def test_undoing_goes_back_to_the_branch_and_its_queue(direct: Direct, command: AnyCommand) -> None:
    direct.do(UNDO, UNDO, queue(WALKS, EATS))
    direct.finish()
    direct.do(PauseQueue(type="pause", paused=True), queue(SLEEPS))
    direct.do(command)
    direct.finish()
    assert direct.do(UNDO) == [SLEEPS]
    assert (direct.state.branch, direct.state.paused) == ([0, 0], True)
    assert direct.finish() == [(WALKS, 1), (EATS, 1)]


def test_undoing_a_steer_makes_the_shot_again_without_it(direct: Direct) -> None:
    direct.do(UNDO, UNDO, shot(WALKS, 2))
    direct.session.step()
    direct.do(SteerShot(type="steer", text="It jumps."), UNDO)
    assert direct.finish() == [(WALKS, 2)]
    assert direct.session.story.history.records[0].spec.steers == ()


def test_a_command_that_fails_is_none_to_undo(direct: Direct) -> None:
    undo = direct.state.undo
    with pytest.raises(InputError):
        direct.do(Rewind(type="rewind", shot=9))
    direct.do(PauseQueue(type="pause", paused=True))
    assert undo == "queue"
    direct.do(UNDO)
    assert direct.state.undo == "queue"


def test_a_story_can_begin_with_a_plan_that_waits(serve: Any) -> None:
    shots = [{"text": WALKS, "chunks": 1}, {"text": EATS, "chunks": 1}]
    with serve() as studio:
        body = {"global_caption": "A red fox.", "shots": shots, "paused": True}
        story = studio.client.post("/api/stories", json=body).json()
        assert not story["unfinished"]
        with studio.watch(story["id"]) as watcher:
            state = watcher.until(type="state")
            assert [queued["text"] for queued in state["queue"]] == [WALKS, EATS]
            assert state["paused"]
            watcher.say(type="remove", queued=state["queue"][0]["id"])
            watcher.say(type="pause", paused=False)
            watcher.rest()
        tree = studio.client.get(f"/api/stories/{story['id']}/tree").json()
        assert [take["text"] for take in tree["takes"]] == [EATS]
