"""Page lists: the zeroed, standby and modified frames, oldest first, linked through their PFN entries.

A list owns the state of its frames: appending sets it, removing sets the state that the caller names.

Standby frames are on one of eight lists by priority (NT); those of the lowest one go first. Which list a frame is on is in
bits 8 to 10 of its FLAGS, while it is on one, as the difference (exclusive or) to PRIORITY: nothing is written for most.
"""

from __future__ import annotations

import numpy as np

from octavo.machine.abi import FLAGS, NEXT, PREV, PRIORITY, PRIORITY_SHIFT, STATE, WORDS, State
from octavo.memory.pfn import SHORT_RUN, PfnDatabase


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
        words = pfns.words
        if count < SHORT_RUN:
            before = tail
            for pfn in range(first, last + 1):
                at = pfn * WORDS
                words[at + PREV] = before
                words[at + NEXT] = pfn + 1
                before = pfn
        else:
            numbers = np.arange(first, last + 1, dtype=np.int32)
            pfns.table[first : last + 1, NEXT] = numbers + 1
            pfns.table[first : last + 1, PREV] = numbers - 1
            words[first * WORDS + PREV] = tail
        words[last * WORDS + NEXT] = 0
        if tail:
            words[tail * WORDS + NEXT] = first
        else:
            self.head = first
        self.tail = last
        self.count += count
        pfns.claim(first, count, self.state, was)

    def remove(self, pfn: int, state: State) -> None:
        """Takes one frame out, wherever it stands, and puts it into `state`."""
        words = self.pfns.words
        at = pfn * WORDS
        after, before = words[at + NEXT], words[at + PREV]
        if before:
            words[before * WORDS + NEXT] = after
        else:
            self.head = after
        if after:
            words[after * WORDS + PREV] = before
        else:
            self.tail = before
        words[at + STATE] = state
        counts = self.pfns.counts
        counts[self.state] -= 1
        counts[state] += 1
        self.count -= 1

    def pop(self, count: int, state: State) -> list[tuple[int, int]]:
        """Takes up to `count` frames from the head, oldest first, into `state`; returns (first, count) runs."""
        pfns = self.pfns
        words = pfns.words
        out: list[tuple[int, int]] = []
        pfn = self.head
        left = min(count, self.count)
        self.count -= left
        while left:
            first = pfn
            size = self._run_length(first, left)
            pfn = words[(first + size - 1) * WORDS + NEXT]
            left -= size
            pfns.claim(first, size, state, self.state)
            out.append((first, size))
        self.head = pfn
        if pfn:
            words[pfn * WORDS + PREV] = 0
        else:
            self.tail = 0
        return out

    def _run_length(self, first: int, most: int) -> int:
        """How many frames from `first` on follow one another on the list as they do in memory; at most `most`."""
        words = self.pfns.words
        size = 1
        while size < most and words[(first + size - 1) * WORDS + NEXT] == first + size:
            size += 1
            if size == SHORT_RUN and most > SHORT_RUN:
                nexts = self.pfns.table[first : first + most, NEXT]
                breaks = nexts != np.arange(first + 1, first + 1 + len(nexts), dtype=np.int32)
                at = int(breaks.argmax())
                return at + 1 if breaks[at] else most
        return size

    def check(self) -> None:
        """Links agree in both directions, the count is right, every frame is in the list's state."""
        words = self.pfns.words
        pfn, before, length = self.head, 0, 0
        while pfn:
            at = pfn * WORDS
            assert words[at + PREV] == before and words[at + STATE] == self.state
            length += 1
            assert length <= self.count, f"the {self.state.name} list loops"
            before, pfn = pfn, words[at + NEXT]
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
        """Puts `count` consecutive frames, all in state `was` and with no flag set, at the tail of a list."""
        self.lists[priority].append(first, count, was)
        if priority != PRIORITY:
            self.pfns.fill(first, count, FLAGS, (priority ^ PRIORITY) << PRIORITY_SHIFT)
        self.count += count

    def remove(self, pfn: int, state: State) -> None:
        """Takes one frame out into `state`."""
        at = pfn * WORDS + FLAGS
        self.lists[self.pfns.words[at] >> PRIORITY_SHIFT ^ PRIORITY].remove(pfn, state)
        self.pfns.words[at] = 0
        self.count -= 1

    def pop(self, count: int, state: State) -> list[tuple[int, int]]:
        """Takes up to `count` frames, of the lowest priority and the oldest first, into `state`; returns (first, count) runs."""
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

    def by_priority(self) -> list[int]:
        """Frames on each list."""
        return [pages.count for pages in self.lists]

    def check(self) -> None:
        """As for one list, for each, and the priorities agree."""
        for priority, pages in enumerate(self.lists):
            pages.check()
            pfn = pages.head
            while pfn:
                assert self.pfns.words[pfn * WORDS + FLAGS] == (priority ^ PRIORITY) << PRIORITY_SHIFT, "a standby frame is on a list of another priority"
                pfn = self.pfns.words[pfn * WORDS]
        assert self.count == sum(self.by_priority()) == self.pfns.counts[State.STANDBY]
