"""A story as a tree: every shot may have several takes, each of which goes on from one take of the shot before.

A *branch* is a way through the tree from the first shot on: the number of the take of every shot. Pure data; what
belongs to a take lies in `story.history`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from shotstream.core.errors import InputError
from shotstream.story.cast import CastMember
from shotstream.story.shot_spec import ShotSpec


@dataclass(frozen=True)
class Take:
    """The record of a finished shot.

    Attributes:
        shot: the shot's number, from 0.
        take: its number among all takes of that shot, from 0.
        parent: the take of the shot before that this one continues; None for a first shot.
        spec: what it was asked to be; its seed is never None.
        length_frames: frames in its video.
        sha256: hash of its video file.
        key_frames_sha256: hash of its file of key frames.
        cast: the members of the cast that it knew, as they were then.
    """

    shot: int
    take: int
    parent: int | None
    spec: ShotSpec
    length_frames: int
    sha256: str
    key_frames_sha256: str
    cast: tuple[CastMember, ...] = ()

    @property
    def seed(self) -> int:
        """Return the seed of its noise."""
        assert self.spec.seed is not None, "a recorded spec names its seed"
        return self.spec.seed


@dataclass(frozen=True)
class Branch:
    """One way through the whole tree: the take of every shot, and the captions with which they began."""

    takes: tuple[int, ...]
    captions: tuple[str, ...]
    current: bool


@dataclass(frozen=True)
class StoryTree:
    """All takes in the order in which they were made, and the branch that the story stands on.

    That branch may end before the tree does: then the next shot becomes another take of what follows.

    Raises:
        InputError: a take goes on from none that was made before it, stands there twice, or the branch is none.
    """

    takes: tuple[Take, ...] = ()
    branch: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        known: set[tuple[int, int]] = set()
        for take in self.takes:
            place, before = (take.shot, take.take), (take.shot - 1, take.parent)
            if place in known or (before not in known if take.shot else take.parent is not None):
                raise InputError(f"take {take.take} of shot {take.shot} has no place in the story; make the story anew")
            known.add(place)
        self._check_branch(self.branch)

    @property
    def current(self) -> tuple[Take, ...]:
        """Return the takes of the current branch, one a shot."""
        found = {(take.shot, take.take): take for take in self.takes}
        return tuple(found[place] for place in enumerate(self.branch))

    def branches(self) -> list[Branch]:
        """Return every way to an end of the tree, in the order in which the ends were made."""
        continued = {(take.shot - 1, take.parent) for take in self.takes}
        ends = [take for take in self.takes if (take.shot, take.take) not in continued]
        ways = [self.switch(self._way_to(end)) for end in ends]
        return [
            Branch(way.branch, tuple(take.spec.text for take in way.current), way.branch == self.branch) for way in ways
        ]

    def switch(self, branch: Sequence[int]) -> "StoryTree":
        """Return the tree on another branch, or on the beginning of one.

        Raises:
            InputError: there is no such way through the tree.
        """
        return replace(self, branch=tuple(branch))

    def next_take(self) -> int:
        """Return the number of the take that the next shot will be."""
        return 1 + max((take.take for take in self.takes if take.shot == len(self.branch)), default=-1)

    def add(self, take: Take) -> "StoryTree":
        """Return the tree with one more take at the end of the current branch."""
        return StoryTree((*self.takes, take), (*self.branch, take.take))

    def without(self, lost: Iterable[Take]) -> "StoryTree":
        """Return the tree without some takes and those that follow them; the branch ends where it breaks."""
        gone = {(take.shot, take.take) for take in lost}
        kept = []
        for take in self.takes:
            if (take.shot, take.take) in gone or (take.shot - 1, take.parent) in gone:
                gone.add((take.shot, take.take))
            else:
                kept.append(take)
        whole = next((shot for shot, take in enumerate(self.branch) if (shot, take) in gone), len(self.branch))
        return StoryTree(tuple(kept), self.branch[:whole])

    def _way_to(self, end: Take) -> tuple[int, ...]:
        parents = {(take.shot, take.take): take.parent for take in self.takes}
        way, take = [], end.take
        for shot in range(end.shot, -1, -1):
            way.append(take)
            take = parents[shot, take] or 0
        return tuple(reversed(way))

    def _check_branch(self, branch: tuple[int, ...]) -> None:
        parents = {(take.shot, take.take): take.parent for take in self.takes}
        for shot, take in enumerate(branch):
            before = branch[shot - 1] if shot else None
            if (shot, take) not in parents or parents[shot, take] != before:
                known = ", ".join(str(list(self._way_to(take))) for take in self.takes) or "none yet"
                raise InputError(
                    f"expected a branch of the story ({known}) or its beginning, got {list(branch)}; choose one of them"
                )
