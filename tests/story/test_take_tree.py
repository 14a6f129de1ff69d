"""A story as a tree: which branches there are, and what is refused."""

import pytest

from shotstream.core.errors import InputError
from shotstream.story.shot_spec import ShotSpec
from shotstream.story.take_tree import StoryTree, Take


def take(shot: int, number: int, parent: int | None) -> Take:
    return Take(shot, number, parent, ShotSpec(f"{shot}.{number}", 1, seed=0), 9, "", "")


TREE = StoryTree(
    (take(0, 0, None), take(1, 0, 0), take(2, 0, 0), take(1, 1, 0), take(0, 1, None), take(2, 1, 1)), (0, 1, 1)
)


def test_branches_come_in_the_order_in_which_their_ends_were_made() -> None:
    assert [branch.takes for branch in TREE.branches()] == [(0, 0, 0), (1,), (0, 1, 1)]
    assert [branch.captions for branch in TREE.branches()][2] == ("0.0", "1.1", "2.1")
    assert [branch.current for branch in TREE.branches()] == [False, False, True]
    assert [branch.current for branch in TREE.switch((0, 1)).branches()] == [False] * 3
    assert StoryTree().branches() == []


def test_a_new_take_goes_on_from_the_branch_and_gets_a_number_of_its_own() -> None:
    tree = TREE.switch((0, 0))
    assert tree.next_take() == 2
    grown = tree.add(take(2, 2, 0))
    assert grown.branch == (0, 0, 2)
    assert [branch.takes for branch in grown.branches()] == [(0, 0, 0), (1,), (0, 1, 1), (0, 0, 2)]
    assert TREE.next_take() == 0, "shot 3 has no take yet"


def test_what_goes_on_from_a_lost_take_is_lost_with_it() -> None:
    tree = TREE.without([TREE.takes[3]])
    assert [(t.shot, t.take) for t in tree.takes] == [(0, 0), (1, 0), (2, 0), (0, 1)]
    assert tree.branch == (0,)
    assert TREE.without([TREE.takes[4]]).branch == TREE.branch
    assert TREE.without([TREE.takes[0]]).takes == (TREE.takes[4],)


@pytest.mark.parametrize("branch", [(0, 0, 1), (2,), (0, 1, 1, 0), (0, -1)])
def test_a_branch_that_is_none_is_refused(branch: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected a branch of the story \(\[0\], \[0, 0\]"):
        TREE.switch(branch)


@pytest.mark.parametrize(
    "takes",
    [(take(1, 0, 0),), (take(0, 0, None), take(0, 0, None)), (take(0, 0, 0),), (take(0, 0, None), take(1, 0, 1))],
)
def test_a_take_that_hangs_in_the_air_is_refused(takes: tuple[Take, ...]) -> None:
    with pytest.raises(InputError, match="has no place in the story"):
        StoryTree(takes)
