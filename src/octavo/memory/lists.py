"""Page lists: the zeroed, standby and modified frames, oldest first, linked through their PFN entries.

A list owns the state of its frames: appending sets it, removing sets the state that the caller names.
"""

from __future__ import annotations

import numpy as np

from octavo.memory.pfn import NEXT, PREV, SHORT_RUN, STATE, WORDS, PfnDatabase, State


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
        assert before == self.tail and length == self.count == self.pfns.counts[self.state]
