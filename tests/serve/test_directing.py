"""Commands: what they do to the story, what they flush, and how several stories share the model."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shotstream.api import Model
from shotstream.core.errors import InputError
from shotstream.core.spec import FPS, PAPER_SHOT
from shotstream.serve.commands import MakeShot, NewShot, QueueShots, RetryShot, Rewind, SteerShot
from shotstream.serve.limits import Limits
from shotstream.serve.messages import Flush, State, SteerView
from shotstream.serve.news import Chunk, Retract
from shotstream.serve.session import Session
from shotstream.serve.store import Store, begin_row
from shotstream.serve.views import shot_view
from shotstream.weights.build import random_components
from tiny import live_model


class Direct:
    """A session without a server around it, and all that it publishes."""

    def __init__(self, model: Model, store: Store, ahead_chunks: int = 10**6) -> None:
        self.published: list[Any] = []
        self.row = store.add(begin_row("A red fox.", 1, "dynamic", 32, 48))
        self.session = Session(model, store, self.row, Limits(ahead_chunks=ahead_chunks), self.published.append)

    def names(self) -> list[str]:
        names = {Chunk: "chunk", Retract: "retract"}
        return [names.get(type(item)) or item.type for item in self.published]


def queue_shot(text: str, chunks: int, seed: int | None = None) -> QueueShots:
    return QueueShots(type="queue", shots=(NewShot(text=text, chunks=chunks, seed=seed),))


@pytest.fixture
def store(tmp_path: Any) -> Any:
    store = Store(tmp_path / "data")
    yield store
    store.close()


def test_a_new_shot_takes_the_place_of_the_one_in_the_making(model: Model, store: Store) -> None:
    direct = Direct(model, store)
    direct.session.apply(MakeShot(type="shot", text="It walks.", chunks=5))
    direct.session.apply(queue_shot("It eats.", 2))
    direct.session.step()
    direct.published.clear()
    direct.session.apply(MakeShot(type="shot", text="It jumps.", chunks=1))
    assert direct.session.working
    assert direct.names()[:2] == ["retract", "flush"]
    direct.session.step()
    chunk = next(item for item in direct.published if isinstance(item, Chunk))
    assert chunk.key == (1, 0, 0)
    assert chunk.first == PAPER_SHOT.frames_of_chunks(1)
    assert [take.spec.chunks for take in direct.session.story.history.records] == [1]
    direct.session.step()
    assert not direct.session.working
    direct.session.close()


def test_a_steer_shows_with_the_next_chunk(model: Model, store: Store) -> None:
    direct = Direct(model, store)
    direct.session.apply(MakeShot(type="shot", text="It walks.", chunks=2))
    direct.session.step()
    direct.session.apply(SteerShot(type="steer", text="It jumps."))
    while direct.session.working:
        direct.session.step()
    (steer,) = direct.session.story.history.records[0].spec.steers
    assert (steer.at, steer.text) == (1, "It jumps.")
    direct.session.close()


@pytest.mark.parametrize("shown", [0, 8, 9, 20])
def test_a_steer_changes_all_that_has_not_been_shown(model: Model, store: Store, shown: int) -> None:
    """The frames differ from the unsteered twin from the first chunk on of which nothing was shown."""
    twin, direct = Direct(model, store), Direct(model, store)
    for session in (twin.session, direct.session):
        session.apply(MakeShot(type="shot", text="It walks.", chunks=3))
        for _ in range(3):
            session.step()
    assert direct.session.apply(SteerShot(type="steer", text="It jumps.", shown=f"0.0.{shown}")) == []
    first = 9 if shown < 9 else 21
    assert Retract(0, 0, first) in direct.published
    assert direct.published[-2] == Flush(after=f"0.0.{first - 1}")
    finish(twin)
    finish(direct)
    plain, steered = (one.session.story.history.frames(0) for one in (twin, direct))
    assert np.array_equal(plain[:first], steered[:first])
    assert all((a != b).any() for a, b in zip(plain[first:], steered[first:], strict=True))


def test_a_steer_at_the_end_of_a_shot_becomes_the_next_one(model: Model, store: Store) -> None:
    direct = Direct(model, store)
    direct.session.apply(MakeShot(type="shot", text="It walks.", chunks=2))
    direct.session.apply(queue_shot("It eats.", 1))
    for _ in range(4):
        direct.session.step()
    assert direct.session.story.history.branch == (0,), "the second shot is made, and the first still plays"
    (note,) = direct.session.apply(SteerShot(type="steer", text="It jumps.", shown="0.0.12"))
    assert note.code == "next_shot"
    assert direct.published[-3:-1] == [Retract(1, 0, 0), Flush(after="0.0.20")]
    finish(direct)
    (note,) = direct.session.apply(SteerShot(type="steer", text="It sleeps.", shown="2.0.8"))
    finish(direct)
    made = [(take.spec.text, take.spec.chunks) for take in direct.session.story.history.records]
    assert made == [("It walks.", 2), ("It jumps.", 2), ("It eats.", 1), ("It sleeps.", 1)]
    assert [take.spec.steers for take in direct.session.story.history.records] == [()] * 4
    direct.session.close()


def test_a_model_that_makes_a_shot_as_a_whole_is_steered_by_the_next_shot(store: Store) -> None:
    config = live_model()
    whole = replace(config, sampler=replace(config.sampler, order="whole", later_chunks_from=None))
    direct = Direct(Model(random_components(whole)), store)
    assert not direct.session.story._system.spec.steers
    shot = NewShot(text="It walks.", chunks=2, steers=(SteerView(at=1, text="It runs."),))
    with pytest.raises(InputError, match="cannot steer a shot while it is made; remove the steers"):
        direct.session.apply(QueueShots(type="queue", shots=(shot,)))
    direct.session.apply(MakeShot(type="shot", text="It walks.", chunks=2))
    direct.session.step()
    (note,) = direct.session.apply(SteerShot(type="steer", text="It jumps.", shown="0.0.2"))
    assert note.message == "The shot is made as a whole by this model, so this becomes the next shot."
    finish(direct)
    assert [take.spec.text for take in direct.session.story.history.records] == ["It walks.", "It jumps."]
    direct.session.close()


def test_a_steer_before_anything_is_shown_changes_the_whole_shot(model: Model, store: Store) -> None:
    direct = Direct(model, store)
    with pytest.raises(InputError, match="no shot to steer yet"):
        direct.session.apply(SteerShot(type="steer", text="It jumps."))
    direct.session.apply(MakeShot(type="shot", text="It walks.", chunks=1))
    assert direct.session.apply(SteerShot(type="steer", text="It jumps.")) == []
    finish(direct)
    assert [steer.at for steer in direct.session.story.history.records[0].spec.steers] == [0]
    direct.session.close()


def test_a_shot_is_tried_again_with_its_steers(model: Model, store: Store) -> None:
    direct = Direct(model, store)
    direct.session.apply(MakeShot(type="shot", text="It walks.", chunks=3))
    direct.session.step()
    direct.session.apply(SteerShot(type="steer", text="It jumps."))
    direct.session.step()
    direct.session.apply(SteerShot(type="steer", text="It eats.", shown="0.0.9"))
    finish(direct)
    direct.session.apply(RetryShot(type="retry", shot=0, seed=5))
    finish(direct)
    direct.session.apply(RetryShot(type="retry", shot=0, seed=6))
    direct.session.step()
    direct.session.apply(SteerShot(type="steer", text="It sleeps."))
    texts = [item.work.text for item in direct.published if item.__class__ is State and item.work]
    assert texts[-1] == "It sleeps."
    finish(direct)
    first, again, other = direct.session.story.history.tree.takes
    assert again.spec == replace(first.spec, seed=5)
    assert [(steer.at, steer.text) for steer in first.spec.steers] == [(1, "It jumps."), (2, "It eats.")]
    assert [(steer.at, steer.text) for steer in other.spec.steers] == [(1, "It sleeps.")], "what is said last holds"
    view = shot_view(again)
    assert [(steer.at, steer.text) for steer in view.steers] == [(1, "It jumps."), (2, "It eats.")]
    direct.session.close()


def test_what_followed_a_shot_is_made_again_after_another_take_of_it(model: Model, store: Store) -> None:
    direct = Direct(model, store)
    for text, seed in (("It walks.", 1), ("It jumps.", 2), ("It eats.", None)):
        direct.session.apply(queue_shot(text, 1, seed))
    finish(direct)
    before = direct.session.story.history.records
    direct.session.apply(RetryShot(type="retry", shot=1, seed=9, rest=True))
    finish(direct)
    after = direct.session.story.history.records
    assert direct.session.story.history.branch == (0, 1, 1)
    assert [take.spec for take in after] == [before[0].spec, replace(before[1].spec, seed=9), before[2].spec]
    direct.session.close()


def test_a_shot_that_cannot_be_tried_again_stays_where_it_is(serve: Any) -> None:
    with serve(shots=2) as studio:
        name = studio.begin()
        with studio.watch(name) as watcher:
            watcher.make("The fox walks.", 1)
            watcher.make("The fox sleeps.", 1)
        for shot, code in ((0, "full"), (2, "conflict")):
            assert studio.command(name, type="retry", shot=shot, seed=1).json()["code"] == code
        assert studio.client.get(f"/api/stories/{name}/tree").json()["current"] == [0, 0]


def finish(direct: Direct) -> None:
    while direct.session.working:
        direct.session.step()


def test_no_more_is_made_than_is_shown_soon(model: Model, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("shotstream.serve.production.time.monotonic", lambda: now_s)
    direct = Direct(model, store, ahead_chunks=1)
    direct.session.apply(MakeShot(type="shot", text="It walks.", chunks=2))
    assert direct.session.due_s == 0.0
    direct.session.step()
    assert direct.session.due_s == now_s, "while one chunk plays, the next one is made"
    direct.session.step()
    assert direct.session.due_s == now_s + PAPER_SHOT.frames_of_chunks(1) / FPS, "and no more"
    direct.session.apply(SteerShot(type="steer", text="It jumps."))
    assert direct.session.due_s == now_s
    direct.session.close()


def test_a_command_that_cannot_be_done_changes_nothing(model: Model, store: Store) -> None:
    direct = Direct(model, store)
    direct.session.apply(MakeShot(type="shot", text="It walks.", chunks=2))
    direct.session.step()
    before = store.get(direct.row.id)
    for wrong, said in (
        (Rewind(type="rewind", shot=7), "shot"),
        (MakeShot(type="shot", text="x" * 3000), "Shorten it to 2000"),
        (SteerShot(type="steer", text=" "), "caption"),
    ):
        with pytest.raises(ValueError, match=said):
            direct.session.apply(wrong)
    assert store.get(direct.row.id) == before
    assert direct.session.step() == 12
    direct.session.close()


def test_at_rest_the_next_shot_is_prepared(serve: Any) -> None:
    def last_shot(prepare: bool) -> tuple[int, list[bytes]]:
        with serve() as studio:
            worker, prepared = studio.client.app.state.server.worker, []
            plain = worker._prepare
            worker._prepare = lambda story, turn: prepared.append(story) or plain(story, turn)
            if not prepare:
                worker._next_ahead = lambda: None
            name = studio.begin(seed=3)
            for text in ("It walks.", "It eats."):
                assert studio.command(name, type="shot", text=text, chunks=1).status_code == 200
                studio.wait(name)
                worker.apply(name, SteerShot(type="steer", text=" ")).exception()  # the worker has come round once more
            studio.client.app.state.server.open_stories._encoder.submit(
                lambda: None
            ).result()  # and all its news has come
            with studio.watch(name) as watcher:
                watcher.make("It jumps.", 1)
            return len(prepared), list(watcher.frames.values())

    (times, ahead), (never, plain) = last_shot(True), last_shot(False)
    assert times >= 2
    assert never == 0
    assert ahead == plain


def test_a_story_that_is_only_watched_is_not_prepared(model: Model, store: Store) -> None:
    direct = Direct(model, store)
    direct.session.apply(MakeShot(type="shot", text="It walks.", chunks=1))
    while direct.session.working:
        direct.session.step()
    assert direct.session.can_prepare
    direct.session.prepare()
    assert not direct.session.can_prepare
    direct.session.close()
    again = Session(model, store, store.get(direct.row.id), Limits(), direct.published.append)
    assert again.story.can_prepare
    assert not again.can_prepare
    again.close()


def test_a_story_goes_back_and_stands_on_any_branch(studio: Any) -> None:
    name = studio.begin()
    with studio.watch(name) as watcher:
        watcher.make("The fox walks.", 1)
        watcher.make("The fox sleeps.", 1)
        assert studio.command(name, type="rewind", shot=1).status_code == 200
        state = watcher.make("The fox jumps.", 2)
        assert state["branch"] == [0, 1]
        assert studio.command(name, type="switch", takes=[0, 0]).status_code == 200
        watcher.until(type="state", branch=[0, 0])
    tree = studio.client.get(f"/api/stories/{name}/tree").json()
    assert tree["current"] == [0, 0]
    assert [(branch["takes"], branch["current"]) for branch in tree["branches"]] == [([0, 0], True), ([0, 1], False)]
    assert studio.client.get(f"/api/stories/{name}").json()["shots"] == 2


def test_two_stories_take_turns(serve: Any) -> None:
    with serve() as studio:
        names = [studio.begin(seed=seed) for seed in (1, 2)]
        order: list[str] = []
        worker = studio.client.app.state.server.worker
        plain, both_wait = worker._step, threading.Event()

        def step(story: str, turn: Any) -> None:
            order.append(story)
            assert both_wait.wait(10)
            plain(story, turn)

        worker._step = step
        for name in names:
            assert studio.command(name, type="cut").status_code == 200
        begun = worker.apply
        worker.apply = lambda story, command: (begun(story, command), story == names[1] and both_wait.set())[0]
        for name in names:
            assert studio.command(name, type="shot", text="It walks.", chunks=7).status_code == 200
        for name in names:
            assert studio.wait(name)["frames"] == PAPER_SHOT.frames_of_chunks(7)
    both = order[order.index(names[1]) :][:8]
    assert both == [names[1], names[0]] * 4


def test_who_comes_too_many_waits_in_line(serve: Any) -> None:
    with serve(sessions=1) as studio:
        first, second = studio.begin(), studio.begin()
        with studio.watch(first) as watcher:
            watcher.until(type="hello")
            assert studio.command(second, type="cut").json()["code"] == "busy"
            with studio.watch(second) as waiting:
                assert waiting.read() == {"type": "waiting", "position": 1}
                watcher.socket.close()
                waiting.until(type="hello", story=second)
