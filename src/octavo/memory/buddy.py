"""The buddy allocator: free frames as blocks of 2^order frames, aligned to their size.

Block [p, p + 2^k) has the buddy that begins at p XOR 2^k. A freed block is merged with its buddy for as long as that one
is free and whole. Free lists run through the PFN entries (last in, first out); the first entry of a free block holds its
order, all others -1.

Callers ask for runs: `take(n)` gives n frames in as few contiguous pieces as there are, since a piece is one segment of
an I/O and one copy. Any part of what was taken can be given back.

Source: Knowlton 1965; GNU Mach's vm_page (orders 0 to 10). Departures: a request for n frames is not rounded up to a
power of two, the tail goes back at once.
"""

from __future__ import annotations

from octavo.memory.pfn import NEXT, ORDER, PREV, STATE, WORDS, PfnDatabase, State

MAX_ORDER = 10

Run = tuple[int, int]  # (first frame, number of frames)


class Buddy:
    """The free frames of a PFN database."""

    def __init__(self, pfns: PfnDatabase, max_order: int = MAX_ORDER) -> None:
        self.pfns = pfns
        self.max_order = max_order
        self.heads = [0] * (max_order + 1)
        self.blocks = [0] * (max_order + 1)
        self.free_frames = 0

    def add(self, first: int, count: int) -> None:
        """Gives the allocator frames that were ABSENT until now (boot)."""
        self.pfns.claim(first, count, State.FREE)
        self._release(first, count)

    def free(self, first: int, count: int, was: State) -> None:
        """Gives back `count` frames from `first` on, all in state `was`, with no flags and no PTE."""
        self.pfns.claim(first, count, State.FREE, was)
        self._release(first, count)

    def take(self, count: int, state: State) -> list[Run]:
        """`count` frames in state `state`, as runs in falling size; the caller has seen that `free_frames` suffices."""
        assert 0 < count <= self.free_frames
        out = []
        while count:
            first, size = self._cut(count)
            self.pfns.claim(first, size, state, State.FREE)
            out.append((first, size))
            count -= size
        return out

    def _cut(self, count: int) -> Run:
        """The beginning of the smallest block that holds `count` frames, else the largest block there is."""
        wanted = min((count - 1).bit_length(), self.max_order)
        order = wanted
        while order <= self.max_order and not self.heads[order]:
            order += 1
        if order > self.max_order:
            order = wanted - 1
            while not self.heads[order]:
                order -= 1
        first = self.heads[order]
        self._unlink(first, order)
        self.free_frames -= min(count, 1 << order)
        if count >= 1 << order:
            return first, 1 << order
        # Halve, and put the half that is not needed back: its buddy is in use, so there is nothing to merge.
        start, left = first, count
        while left:
            order -= 1
            if left <= 1 << order:
                self._insert(start + (1 << order), order)
            else:
                left -= 1 << order
                start += 1 << order
            if left == 1 << order:
                break
        return first, count

    def _release(self, first: int, count: int) -> None:
        """Cuts a run into aligned blocks and merges each with its buddies."""
        self.free_frames += count
        while count:
            order = min(first & -first if first else 1 << self.max_order, 1 << (count.bit_length() - 1), 1 << self.max_order).bit_length() - 1
            self._merge(first, order)
            first += 1 << order
            count -= 1 << order

    def _merge(self, first: int, order: int) -> None:
        words = self.pfns.words
        frames = self.pfns.frames
        while order < self.max_order:
            buddy = first ^ (1 << order)
            if buddy >= frames or words[buddy * WORDS + ORDER] != order:
                break
            self._unlink(buddy, order)
            first = min(first, buddy)
            order += 1
        self._insert(first, order)

    def _insert(self, first: int, order: int) -> None:
        words = self.pfns.words
        at = first * WORDS
        head = self.heads[order]
        words[at + ORDER] = order
        words[at + NEXT] = head
        words[at + PREV] = 0
        if head:
            words[head * WORDS + PREV] = first
        self.heads[order] = first
        self.blocks[order] += 1

    def _unlink(self, first: int, order: int) -> None:
        words = self.pfns.words
        at = first * WORDS
        after, before = words[at + NEXT], words[at + PREV]
        if before:
            words[before * WORDS + NEXT] = after
        else:
            self.heads[order] = after
        if after:
            words[after * WORDS + PREV] = before
        words[at + ORDER] = -1
        self.blocks[order] -= 1

    def statistics(self) -> dict[str, object]:
        """Free frames, and free blocks by order (the columns of /proc/buddyinfo)."""
        return {"free_frames": self.free_frames, "blocks": list(self.blocks)}

    def check(self) -> None:
        """Blocks are aligned, disjoint, free to the last frame, counted, and no two buddies are both free."""
        words = self.pfns.words
        seen = 0
        for order in range(self.max_order + 1):
            pfn, before, length = self.heads[order], 0, 0
            while pfn:
                at = pfn * WORDS
                assert words[at + ORDER] == order and words[at + PREV] == before and pfn % (1 << order) == 0
                assert all(words[f * WORDS + STATE] == State.FREE for f in range(pfn, pfn + (1 << order)))
                assert all(words[f * WORDS + ORDER] == -1 for f in range(pfn + 1, pfn + (1 << order)))
                buddy = pfn ^ (1 << order)
                if order < self.max_order and buddy < self.pfns.frames:
                    assert words[buddy * WORDS + ORDER] != order, f"buddies {pfn} and {buddy} of order {order} are not merged"
                length += 1
                seen += 1 << order
                before, pfn = pfn, words[at + NEXT]
            assert length == self.blocks[order]
        assert seen == self.free_frames == self.pfns.counts[State.FREE], (seen, self.free_frames)
