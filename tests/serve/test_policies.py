"""Every live policy behind a session: steering or the next shot in its place, cuts, retries, branches, reopening."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shotstream.api import Model, with_policy
from shotstream.core.errors import InputError
from shotstream.engine.policies import SYSTEMS
from shotstream.serve.commands import CutShot, MakeShot, RetryShot, SteerShot, Switch
from shotstream.serve.limits import Limits
from shotstream.serve.messages import SteerView
from shotstream.serve.session import Session
from shotstream.serve.store import Store, begin_row
from shotstream.weights.build import ModelComponents, random_components
from tiny import live_model

LIVE = [name for name, system in SYSTEMS.items() if system.spec.live]
Open = Callable[[str], Session]


@pytest.fixture(scope="module")
def parts() -> ModelComponents:
    return random_components(live_model())


@pytest.fixture
def open_session(parts: ModelComponents, tmp_path: Any) -> Any:
    """Opens the one story of a directory with a policy; again, after it was closed."""
    store = Store(tmp_path / "data")
    row = store.add(begin_row("A red fox.", 1, "dynamic", 32, 48))

    def open_it(name: str) -> Session:
        (again,) = [one for one in store.all() if one.id == row.id]
        return Session(Model(with_policy(parts, name)), store, again, Limits(ahead_chunks=10**6), lambda _: None)

    yield open_it
    store.close()


def finish(session: Session) -> list[np.ndarray]:
    """Makes all that waits; the frames of every shot."""
    while session.working:
        session.step()
    history = session.story.history
    return [history.frames(shot) for shot in range(len(history))]


@pytest.mark.parametrize("name", LIVE)
def test_a_story_is_directed_as_its_policy_admits(open_session: Open, name: str) -> None:
    session = open_session(name)
    session.apply(MakeShot(type="shot", text="It walks.", chunks=1))
    finish(session)
    session.apply(MakeShot(type="shot", text="It runs.", chunks=3))
    session.step()
    notes = session.apply(SteerShot(type="steer", text="It jumps.", shown="1.0.0"))
    assert ("next_shot" in [note.code for note in notes]) is not SYSTEMS[name].spec.steers
    session.step()
    session.apply(CutShot(type="cut", shown="1.0.0"))
    cut = finish(session)
    made = session.story.history.records[1].spec
    assert [steer.text for steer in made.steers] == (
        ["It jumps."] if made.chunks > 1 and SYSTEMS[name].spec.steers else []
    )
    session.apply(RetryShot(type="retry", shot=1, seed=5))
    again = finish(session)
    assert np.array_equal(again[0], cut[0])
    assert len(again[1]) == len(cut[1])
    assert not np.array_equal(again[1], cut[1])
    session.apply(Switch(type="switch", takes=(0, 0)))
    assert np.array_equal(finish(session)[1], cut[1])
    session.close()
    session = open_session(name)
    session.apply(MakeShot(type="shot", text="It sleeps.", chunks=1))
    assert [len(frames) > 0 for frames in finish(session)] == [True] * 3
    assert all(map(np.array_equal, finish(session)[:2], cut))
    session.close()


@pytest.mark.parametrize("name", [name for name in LIVE if not SYSTEMS[name].spec.steers])
def test_a_shot_with_steers_is_refused_where_there_can_be_none(open_session: Open, name: str) -> None:
    session = open_session(name)
    steered = MakeShot(type="shot", text="It walks.", chunks=2, steers=(SteerView(at=1, text="It runs."),))
    with pytest.raises(InputError, match=f"policy {name} cannot steer a shot while it is made; remove the steers"):
        session.apply(steered)
    assert not session.working
    session.close()
