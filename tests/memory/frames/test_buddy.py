"""The buddy allocator and the page lists against plain models."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octavo.machine.abi import State
from octavo.machine.ram import Ram
from octavo.memory.frames.buddy import Buddy
from octavo.memory.frames.pagelists import PageList
from octavo.memory.frames.pfn import PfnDatabase, runs_of

FRAMES = 300
RUNS = [(1, 100), (128, 130), (270, 29)]


class BuddyMachine(RuleBasedStateMachine):
    """The model is the set of free frames and the set of taken ones."""

    def __init__(self) -> None:
        super().__init__()
        self.pfns = PfnDatabase(Ram(FRAMES, paper=True), FRAMES, 0)
        self.buddy = Buddy(self.pfns, 6)
        for run in RUNS:
            self.buddy.add(*run)
        self.free = {f for first, count in RUNS for f in range(first, first + count)}
        self.taken: set[int] = set()

    @rule(count=st.integers(1, 140))
    def take(self, count: int) -> None:
        """Takes what there is."""
        if count > len(self.free):
            return
        frames = [
            f
            for first, size in self.buddy.take(count, State.ACTIVE)
            for f in range(first, first + size)
        ]
        assert len(frames) == count == len(set(frames))
        assert set(frames) <= self.free
        self.free -= set(frames)
        self.taken |= set(frames)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """Gives back any part of what was taken, as runs."""
        frames = data.draw(st.sets(st.sampled_from(sorted(self.taken)), min_size=1))
        for first, count in runs_of(sorted(frames)):
            self.buddy.free(first, count, State.ACTIVE)
        self.taken -= frames
        self.free |= frames

    @invariant()
    def agrees(self) -> None:
        """Structure, counts and the set of free frames."""
        self.buddy.check()
        self.pfns.check()
        assert {f for f in range(FRAMES) if self.pfns.state_of(f) == State.FREE} == self.free


TestBuddy = BuddyMachine.TestCase
TestBuddy.settings = settings(max_examples=40, stateful_step_count=40)


def test_everything_merges_again() -> None:
    """After any taking and giving back the blocks are those of the beginning."""
    pfns = PfnDatabase(Ram(2048, paper=True), 2048, 0)
    buddy = Buddy(pfns)
    buddy.add(1, 2047)
    before = list(buddy.blocks)
    runs = [buddy.take(n, State.ACTIVE) for n in (1, 7, 64, 100, 3, 513)]
    for parts in reversed(runs):
        for first, count in parts:
            for frame in range(first, first + count):
                buddy.free(frame, 1, State.ACTIVE)
    assert buddy.blocks == before
    buddy.check()


def test_a_cluster_is_contiguous_when_it_can_be() -> None:
    """64 frames come as one run from a fresh allocator: one part of an I/O."""
    pfns = PfnDatabase(Ram(4096, paper=True), 4096, 0)
    buddy = Buddy(pfns)
    buddy.add(1, 4095)
    assert len(buddy.take(64, State.ACTIVE)) == 1
    assert len(buddy.take(37, State.ACTIVE)) == 1


class ListMachine(RuleBasedStateMachine):
    """A page list against a Python list."""

    def __init__(self) -> None:
        super().__init__()
        self.pfns = PfnDatabase(Ram(200, paper=True), 200, 0)
        self.pfns.claim(1, 199, State.ACTIVE)
        self.pages = PageList(self.pfns, State.STANDBY)
        self.model: list[int] = []

    @rule(first=st.integers(1, 199), count=st.integers(1, 40))
    def append(self, first: int, count: int) -> None:
        """Appends the run if none of it is on the list."""
        run = list(range(first, min(200, first + count)))
        if not set(run) & set(self.model):
            self.pages.append(first, len(run), State.ACTIVE)
            self.model += run

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Takes one out of the middle."""
        frame = data.draw(st.sampled_from(self.model))
        self.pages.remove(frame, State.ACTIVE)
        self.model.remove(frame)

    @rule(count=st.integers(1, 60))
    def pop(self, count: int) -> None:
        """Takes the oldest."""
        frames = [
            f
            for first, size in self.pages.pop(count, State.ACTIVE)
            for f in range(first, first + size)
        ]
        assert frames == self.model[:count]
        del self.model[:count]

    @invariant()
    def agrees(self) -> None:
        """Links, count and order."""
        self.pages.check()
        self.pfns.check()
        frame, seen = self.pages.head, []
        while frame:
            seen.append(frame)
            frame = self.pfns.words[frame * 8]
        assert seen == self.model


TestPageList = ListMachine.TestCase
TestPageList.settings = settings(max_examples=40, stateful_step_count=40)
