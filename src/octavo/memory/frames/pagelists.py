"""Page lists: the zeroed, standby and modified frames, oldest first, linked through their PFN
entries.

A list owns the state of its frames: appending sets it, removing sets the state that the caller
names.

Standby frames are on one of eight lists by priority (NT); those of the lowest one go first. Which
list a frame is on is in bits 8 to 10 of its FLAGS, while it is on one, as the difference (exclusive
or) to PRIORITY: nothing is written for most.
"""

from __future__ import annotations

from octavo.machine.abi import FLAGS, PRIORITY, PRIORITY_SHIFT, State
from octavo.machine.ramps import MOST, rises, rising
from octavo.memory.frames.pfn import SHORT_RUN, PfnDatabase


class PageList:
    """The frames in one state, in the order in which they came."""

    def __init__(self, pfns: PfnDatabase, state: State) -> None:
        self.pfns = pfns
        self.state = state
        self.head = 0
        self.tail = 0
        self.count = 0

    def append(self, first: int, count: int, was: State) -> None:
        """Puts `count` consecutive frames, all in state `was`, at the tail."""
        pfns, tail = self.pfns, self.tail
        last = first + count - 1
        if count < SHORT_RUN:
            before = tail
            for pfn in range(first, last + 1):
                pfns.prev[pfn] = before
                pfns.next[pfn] = pfn + 1
                before = pfn
        else:
            numbers = rising(first - 1, count + 2)
            pfns.next[first : last + 1] = numbers[2:]
            pfns.prev[first : last + 1] = numbers[:-2]
            pfns.prev[first] = tail
        pfns.next[last] = 0
        if tail:
            pfns.next[tail] = first
        else:
            self.head = first
        self.tail = last
        self.count += count
        pfns.claim(first, count, self.state, was)

    def remove(self, pfn: int, state: State) -> None:
        """Takes one frame out, wherever it stands, and puts it into `state`."""
        pfns = self.pfns
        after, before = pfns.next[pfn], pfns.prev[pfn]
        if before:
            pfns.next[before] = after
        else:
            self.head = after
        if after:
            pfns.prev[after] = before
        else:
            self.tail = before
        pfns.state[pfn] = state
        counts = pfns.counts
        counts[self.state] -= 1
        counts[state] += 1
        self.count -= 1

    def pop(self, count: int, state: State) -> list[tuple[int, int]]:
        """Takes up to `count` frames from the head, oldest first, into `state`; returns (first,
        count) runs.
        """
        pfns = self.pfns
        out: list[tuple[int, int]] = []
        pfn = self.head
        left = min(count, self.count)
        self.count -= left
        while left:
            first = pfn
            size = self._run_length(first, left)
            pfn = pfns.next[first + size - 1]
            left -= size
            pfns.claim(first, size, state, self.state)
            out.append((first, size))
        self.head = pfn
        if pfn:
            pfns.prev[pfn] = 0
        else:
            self.tail = 0
        return out

    def _run_length(self, first: int, most: int) -> int:
        """How many frames from `first` on follow one another on the list as they do in memory; at
        most `most`.
        """
        pfns = self.pfns
        size = 1
        while size < most and pfns.next[first + size - 1] == first + size:
            size += 1
            if size == SHORT_RUN and most > SHORT_RUN:
                return self._long_run(first, size, most)
        return size

    def _long_run(self, first: int, size: int, most: int) -> int:
        """As `_run_length`, where `size` frames are known to follow one another: by rows."""
        following = self.pfns.next
        while size < most:
            at, count = first + size - 1, min(MOST, most - size)
            if not rises(following[at : at + count], at + 1):
                while following[at] == at + 1:
                    at += 1
                return at - first + 1
            size += count
        return most

    def check(self) -> None:
        """Links agree both ways, the count is right, every frame is in the list's state."""
        pfns = self.pfns
        pfn, before, length = self.head, 0, 0
        while pfn:
            assert pfns.prev[pfn] == before and pfns.state[pfn] == self.state
            length += 1
            assert length <= self.count, f"the {self.state.name} list loops"
            before, pfn = pfn, pfns.next[pfn]
        assert before == self.tail and length == self.count
        assert self.state == State.STANDBY or length == self.pfns.counts[self.state]


PRIORITIES = 8


class StandbyLists:
    """The standby frames, by priority 0 to 7. `count` is all of them."""

    def __init__(self, pfns: PfnDatabase) -> None:
        self.pfns = pfns
        self.lists = [PageList(pfns, State.STANDBY) for _ in range(PRIORITIES)]
        self.count = 0

    def append(self, first: int, count: int, was: State, priority: int) -> None:
        """Puts `count` consecutive frames, all in state `was` and with no flag set, at the tail of
        a list.
        """
        self.lists[priority].append(first, count, was)
        if priority != PRIORITY:
            self.pfns.fill(first, count, FLAGS, (priority ^ PRIORITY) << PRIORITY_SHIFT)
        self.count += count

    def remove(self, pfn: int, state: State) -> None:
        """Takes one frame out into `state`."""
        flags = self.pfns.flags
        self.lists[flags[pfn] >> PRIORITY_SHIFT ^ PRIORITY].remove(pfn, state)
        flags[pfn] = 0
        self.count -= 1

    def pop(self, count: int, state: State) -> list[tuple[int, int]]:
        """Takes up to `count` frames, of the lowest priority and the oldest first, into `state`;
        returns (first, count) runs.
        """
        out: list[tuple[int, int]] = []
        for priority, pages in enumerate(self.lists):
            if count and pages.count:
                runs = pages.pop(count, state)
                for first, size in runs:
                    if priority != PRIORITY:
                        self.pfns.fill(first, size, FLAGS, 0)
                    count -= size
                    self.count -= size
                out += runs
        return out

    def taken(self, priority: int, head: int, tail: int, count: int) -> None:
        """A kernel has taken frames out of a list, which are active now, and has left the list like
        this.
        """
        pages, counts = self.lists[priority], self.pfns.counts
        gone = pages.count - count
        assert gone >= 0 and bool(count) == bool(head) == bool(tail), "a list grew in a kernel"
        pages.head, pages.tail, pages.count = head, tail, count
        self.count -= gone
        counts[State.STANDBY] -= gone
        counts[State.ACTIVE] += gone

    def by_priority(self) -> list[int]:
        """Frames on each list."""
        return [pages.count for pages in self.lists]

    def check(self) -> None:
        """As for one list, for each, and the priorities agree."""
        for priority, pages in enumerate(self.lists):
            pages.check()
            pfn = pages.head
            while pfn:
                assert self.pfns.flags[pfn] == (priority ^ PRIORITY) << PRIORITY_SHIFT, (
                    "a standby frame is on a list of another priority"
                )
                pfn = self.pfns.next[pfn]
        assert self.count == sum(self.by_priority()) == self.pfns.counts[State.STANDBY]
