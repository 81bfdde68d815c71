"""The PFN database: 32 bytes for each frame, in frames of their own.

One entry, eight int32 words:

    word  0      1      2     3      4      5      6      7
        +------+------+-----+------+------+------+------+------+
        | next | prev | pte | state| flags| order| use  |holder|
        +------+------+-----+------+------+------+------+------+
    next, prev   neighbours on a page list or on a buddy free list; 0 is the end (frame 0 is never
                 given out)
    pte          where the prototype PTE of this frame lies, as an index into `Ram.link`; 0 for none
    state        `State`
    flags        MODIFIED, READING, WRITING
    order        of the free block that begins here; -1 for every other frame
    use          the holder's own; a frame with a holder may use next, prev and pte as well
    holder       who has the frame where no section does: an index into `holders` (a slab cache, a
                 pool, stacks); 0 for none

`next[pfn]` to `holder[pfn]` are the columns, as memoryviews (fast for one element). For kernels
`words` shows the entries as one flat memoryview and `flat` as a flat array; `table` is an array of
shape (frames, 8), for many at once (arrays are made when they are first asked for). `counts[state]`
is the number of frames in each state; whoever changes a state keeps it.

Source: NT's MMPFN, with its page locations; GNU Mach's vm_page. Departures: the owner is found
through the PTE's index, not through a pointer; a frame that is no RAM, or that the firmware keeps,
is ABSENT.
"""

from __future__ import annotations

import mmap
from array import array
from functools import cached_property
from typing import TYPE_CHECKING

from octavo.machine.abi import (
    FLAGS,
    HOLDER,
    MODIFIED,
    ORDER,
    PAGE_SHIFT,
    PTE,
    STATE,
    USE,
    WORDS,
    State,
)
from octavo.machine.ram import Ram
from octavo.machine.ramps import same

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ENTRY_BYTES = WORDS * 4

BLOCK = 4096  # entries written in one go
SHORT_RUN = 8  # from here on rows (octavo.machine.ramps) beat a loop over elements


class PfnDatabase:
    """The entries of frames [0, frames), in RAM from frame `first` on; on a paper machine in an
    array beside it.
    """

    def __init__(self, ram: Ram, frames: int, first: int) -> None:
        self.frames = frames
        self.first = first
        if ram.paper:
            self.words = memoryview(mmap.mmap(-1, frames * ENTRY_BYTES)).cast("i")
        else:
            start = first << PAGE_SHIFT
            self.words = ram.bytes[start : start + frames * ENTRY_BYTES].cast("i")
        (
            self.next,
            self.prev,
            self.pte,
            self.state,
            self.flags,
            self.order,
            self.use,
            self.holder,
        ) = (self.words[column::WORDS] for column in range(WORDS))
        self._describe_absent()
        self.counts = [0] * (max(State) + 1)
        self.counts[State.ABSENT] = frames
        self.holders = [""]  # names, by HOLDER
        self._spare: list[int] = []  # numbers of holders who are gone
        self.wired = 0  # frames of holders who have them for good
        self._paged = {0}  # holders who can do without
        self.since: npt.NDArray[np.int64] | None = (
            None  # debug: when each frame was last claimed, in claims
        )
        self.claims = 0

    @cached_property
    def flat(self) -> npt.NDArray[np.int32]:
        """See above."""
        import numpy as np

        return np.frombuffer(self.words, np.int32)

    @cached_property
    def table(self) -> npt.NDArray[np.int32]:
        """See above."""
        return self.flat.reshape(self.frames, WORDS)

    def debug(self) -> None:
        """From now on, notes for each frame when it changed its state: `since[pfn]` is the number
        of that claim. 8 bytes a frame.
        """
        import numpy as np

        self.since = np.zeros(self.frames, np.int64)

    def new_holder(self, name: str, wired: bool = True) -> int:
        """A number for somebody who holds frames; not `wired`, they can be had from him when memory
        is short.
        """
        if not self._spare:
            self._spare.append(len(self.holders))
            self.holders.append("")
        number = self._spare.pop()
        self.holders[number] = name
        if not wired:
            self._paged.add(number)
        return number

    def end_holder(self, number: int) -> None:
        """Takes a number back from somebody who holds no frame any more: the next one gets it."""
        self.holders[number] = ""
        self._paged.discard(number)
        self._spare.append(number)

    def hold(self, first: int, count: int, holder: int) -> None:
        """Says who has `count` frames from `first` on; 0 takes it back, with what the holder wrote
        into the entries.
        """
        if (holder or self.holder[first]) not in self._paged:
            self.wired += count if holder else -count
        self.fill(first, count, HOLDER, holder)
        if not holder:
            self.fill(first, count, USE, 0)
            self.fill(first, count, PTE, 0)

    def _describe_absent(self) -> None:
        """Writes every entry once, by blocks, at the speed of memcpy: a machine may have 2^28 of
        them.
        """
        entry = [0] * WORDS
        entry[STATE], entry[ORDER] = State.ABSENT, -1
        words, size = self.words, BLOCK * WORDS
        block = memoryview(array("i", entry) * min(BLOCK, self.frames))
        for at in range(0, len(words), size):
            words[at : at + size] = block[: len(words) - at]

    def claim(self, first: int, count: int, state: State, was: State = State.ABSENT) -> None:
        """Moves `count` frames from `first` on, all in state `was`, to `state`."""
        self.fill(first, count, STATE, state)
        self.counts[was] -= count
        self.counts[state] += count
        if self.since is not None:
            self.claims += 1
            self.since[first : first + count] = self.claims

    def fill(self, first: int, count: int, column: int, value: int) -> None:
        """Sets one word of `count` entries."""
        if count < SHORT_RUN:
            words = self.words
            for at in range(first * WORDS + column, (first + count) * WORDS + column, WORDS):
                words[at] = value
        else:
            start, end = first * WORDS + column, (first + count) * WORDS
            self.words[start:end:WORDS] = same(value, count)

    def state_of(self, pfn: int) -> State:
        """The state of one frame."""
        return State(self.state[pfn])

    def pages_by_state(self) -> dict[str, int]:
        """Frames in each state, by name."""
        return {state.name.lower(): self.counts[state] for state in State}

    def check(self) -> None:
        """Every frame is in exactly one state, and the counts say so; flags fit the state."""
        import numpy as np

        states = self.table[:, STATE]
        found = np.bincount(states, minlength=len(self.counts))
        assert found.tolist() == self.counts, (found.tolist(), self.counts)
        flags = self.table[:, FLAGS]
        idle = np.isin(states, [State.FREE, State.ZEROED, State.ABSENT, State.POOLED])
        assert not flags[idle].any(), "a frame without contents has flags"
        assert not self.table[idle, PTE].any(), "a frame without contents has a PTE"
        assert not self.table[idle, HOLDER].any(), "a frame that nobody has has a holder"
        assert not (flags[states == State.STANDBY] & MODIFIED).any(), "a standby frame is modified"
        assert not np.isin(self.table[:, HOLDER], self._spare).any(), (
            "a frame has a holder who is gone"
        )
        assert self.wired == np.count_nonzero(~np.isin(self.table[:, HOLDER], list(self._paged))), (
            "frames that somebody has for good are miscounted"
        )
        assert (flags[states == State.MODIFIED] & MODIFIED).all(), (
            "a frame on the modified list is clean"
        )


def runs_of(frames: list[int]) -> list[tuple[int, int]]:
    """A list of frame numbers as (first, count) runs, in the list's order."""
    out: list[tuple[int, int]] = []
    first, expected = -1, -1
    for pfn in frames:
        if pfn != expected:
            if first >= 0:
                out.append((first, expected - first))
            first = pfn
        expected = pfn + 1
    if first >= 0:
        out.append((first, expected - first))
    return out
