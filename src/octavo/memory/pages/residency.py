"""The bookkeeper of pages: which page is in which frame, and why it is active, standing by or
modified. **How does a page become standby?** Here, and nowhere else.

    absent --insert----------------------> active        frames were filled at once
    absent --begin_read--> transition --end_read--> active; --fail_read, leave_out--> absent
    active --settle, unmap, unshare------> standby       clean, in no view and in no page table
                                           modified      dirty
                                           transition    being written; end_write sends it on
    standby, modified, transition --activate--> active
    modified --begin_write--> transition --end_write--> standby (clean), modified (dirty again)
    standby --forget--> absent             somebody else has got the frame
    any but in I/O --drop, abandon--> absent, the frame is free

A page is *in use*, and active, while its segment is mapped (the cache shows it: `try_map`, `unmap`)
or page-table entries lead to it (`share`, `unshare`), or somebody has locked it (`lock`, `unlock`).
Others who need pages active for a while hold the segment (`held`): with the end of that, what is
not in use goes to its list.

Only this class changes `used`, `mapped`, `shares`, `holds`, `locked`, `dirty` and `writing` of
segments, their prototype PTEs, and PTE, USE, FLAGS and state of the frames that pages are in.
(`pins` are of `Segment.pinned` and `Pins`; soft faults in bulk are made by a kernel,
`octavo.memory.spaces.bulk`, which has its shares counted here.) What is dirty in all of a section
or of the machine is counted by `octavo.memory.pages.writeback`. Nothing here waits.

Each change asserts what it found and what it leaves, in states and counts; `check` looks at all.
"""

from __future__ import annotations

from octavo.machine.abi import (
    FLAGS,
    HOLDER,
    MODIFIED,
    PTE,
    READING,
    SEGMENT_PAGES,
    SEGMENT_SHIFT,
    WRITING,
    State,
)
from octavo.machine.ramps import negated, rises, rising, same
from octavo.memory.frames.buddy import Run
from octavo.memory.frames.pfn import SHORT_RUN, runs_of
from octavo.memory.frames.physical import PhysicalMemory
from octavo.memory.pages.section import Section, Segment, mask_runs
from octavo.memory.pages.segmenttable import BASE_MASK, SegmentTable


class Residency:
    """The pages of all sections of a machine, in the frames of `physical`."""

    def __init__(self, physical: PhysicalMemory) -> None:
        self.physical = physical
        self.segments = SegmentTable(physical)
        self.pfns = physical.pfns
        if not physical.ram.paper:
            self.link = physical.ram.link
        physical.forget = self._forget

    # -- in use: views and page-table entries ------------------------------------------------------

    def try_map(self, section: Section, index: int) -> Segment | None:
        """The mapped segment of a section; None when there is no frame for its PTEs."""
        segment = self.segments.try_get(section, index)
        if segment is not None:
            segment.mapped = True
        return segment

    def unmap(self, segment: Segment) -> int:
        """Ends the mapping of a segment that nobody has pinned; returns the number of pages that
        left the active state.
        """
        assert segment.mapped and not segment.pins, "a view ends that is none, or is worked on"
        segment.mapped = False
        whole = self._unmap_whole(segment)
        if whole:
            return whole
        return self.settle(segment, 0, SEGMENT_PAGES)

    def held(self, segment: Segment, first: int, end: int) -> Held:
        """For the time of a `with`: the segment stays, to bring pages in; then those among [first,
        end) that nobody uses go to their lists, and the segment if it is empty.
        """
        return Held(self, segment, first, end)

    def share(self, segment: Segment, frame: int) -> None:
        """One more page-table entry leads to an active page."""
        assert self.link[self.pfns.pte[frame]] == frame, "a page that is not active is shown"
        self.pfns.use[frame] += 1
        segment.shares += 1

    def unshare(self, frame: int) -> None:
        """One less page-table entry leads to a page; the last one lets go of it."""
        pfns = self.pfns
        segment = self.segments.by_base[pfns.pte[frame] & BASE_MASK]
        assert pfns.use[frame] > 0 and segment.shares > 0, "an entry ended that nobody had"
        pfns.use[frame] -= 1
        segment.shares -= 1
        self.deactivate(segment, frame)

    def lock(self, segment: Segment, i: int) -> int:
        """An active page stays active, and where it is, until `unlock`; returns its frame. Who asks
        for it counts how often.
        """
        frame = self.link[segment.base + i]
        assert frame > 0, "a page is locked that is not active"
        segment.locked |= 1 << i
        return frame

    def unlock(self, segment: Segment, i: int) -> None:
        """Nobody has locked a page any more."""
        assert segment.locked >> i & 1, "a page is unlocked that was not locked"
        segment.locked ^= 1 << i
        self.deactivate(segment, self.link[segment.base + i])

    def count_shares(self, segment: Segment, count: int) -> None:
        """A kernel has made entries that lead to pages of a segment, which it made active."""
        assert count >= 0, "a kernel has taken entries away"
        segment.shares += count

    def absent(self, segment: Segment, first: int, end: int) -> int:
        """Which of the pages [first, end) of a segment are absent, as a mask."""
        if not segment.used:
            return (1 << end) - (1 << first)
        entries = self.link[segment.base + first : segment.base + end].tolist()
        return sum(1 << i for i, entry in enumerate(entries, first) if not entry)

    # -- pages come --------------------------------------------------------------------------------

    def insert(self, segment: Segment, first: int, runs: list[Run], sign: int = 1) -> None:
        """Makes active frames the pages from `first` on, which were absent; `sign` is for
        `begin_read`.
        """
        pfns, link, at = self.pfns, self.link, segment.base + first
        for start, count in runs:
            assert not link[at] and not pfns.pte[start], "a page or a frame is taken twice"
            if count < SHORT_RUN:
                for pfn in range(start, start + count):
                    pfns.pte[pfn] = at
                    link[at] = pfn * sign
                    at += 1
            else:
                pfns.pte[start : start + count] = rising(at, count)
                frames = rising(start, count) if sign > 0 else negated(start, count)
                link[at : at + count] = frames
                at += count
        segment.used += at - segment.base - first
        assert at <= segment.base + SEGMENT_PAGES, "more pages come than a segment has"

    def begin_read(self, segment: Segment, first: int, runs: list[Run]) -> None:
        """As `insert`, for pages that are in transition until `end_read` or `fail_read`."""
        self.insert(segment, first, runs, -1)
        self._set_states(runs, State.TRANSITION, State.ACTIVE, READING)

    def end_read(self, segment: Segment, first: int, runs: list[Run]) -> None:
        """The pages have been read and are active."""
        at = segment.base + first
        assert self.link[at] == -runs[0][0], "a page that was read has gone"
        self._set_states(runs, State.ACTIVE, State.TRANSITION, 0)
        for start, count in runs:
            self.link[at : at + count] = rising(start, count)
            at += count

    def fail_read(self, segment: Segment, first: int, runs: list[Run]) -> None:
        """The pages could not be read: they are absent again."""
        frames = [pfn for start, count in runs for pfn in range(start, start + count)]
        self._unset(segment, range(first, first + len(frames)))
        self.physical.free(frames, State.TRANSITION)

    def leave_out(self, segment: Segment, pages: list[int]) -> None:
        """Active pages, by their indexes, which nobody uses yet, are absent again."""
        frames = [self.link[segment.base + i] for i in pages]
        assert all(frame > 0 for frame in frames), "a page that is left out is not active"
        self._unset(segment, pages)
        self.physical.free(frames, State.ACTIVE)

    def adopt(self, section: Section, page: int) -> tuple[Segment, int] | None:
        """Its segment and an active frame for a page that is absent; None when the page is there,
        or no frame can be had.

        The caller fills the frame and deactivates it at once.
        """
        segment = self.segments.try_get(section, page >> SEGMENT_SHIFT)
        if segment is None:
            return None
        with self.held(segment, 0, 0):  # taking a frame must not take the segment
            if self.link[segment.base + page % SEGMENT_PAGES]:
                return None
            runs = self.physical.try_take(1, State.ACTIVE)
            if runs is None:
                return None
            self.insert(segment, page % SEGMENT_PAGES, runs)
        return segment, runs[0][0]

    def activate(self, segment: Segment, i: int) -> None:
        """A soft fault: page `i`, in transition and not being read, is taken off its list."""
        at = segment.base + i
        pfn = -self.link[at]
        assert pfn > 0, "a page that is active or absent is made active"
        physical, pfns = self.physical, self.pfns
        state = pfns.state[pfn]
        if state == State.STANDBY:
            physical.standby.remove(pfn, State.ACTIVE)
        elif state == State.MODIFIED:
            physical.modified.remove(pfn, State.ACTIVE)
        else:
            assert pfns.flags[pfn] & WRITING, "a page in transition is not being written"
            pfns.claim(pfn, 1, State.ACTIVE, State.TRANSITION)
        self.link[at] = pfn

    def _set_states(self, runs: list[Run], state: State, was: State, flags: int) -> None:
        pfns = self.pfns
        for start, count in runs:
            assert pfns.state[start] == was == pfns.state[start + count - 1], (
                f"frames to be {state.name} are not {was.name}"
            )
            pfns.claim(start, count, state, was)
            pfns.fill(start, count, FLAGS, flags)

    # -- pages that nobody uses go to their lists --------------------------------------------------

    def deactivate(self, segment: Segment, frame: int, count: int = 1) -> None:
        """Sends active pages in consecutive frames, alike and one after the other in their segment,
        to their list, unless they are in use.
        """
        pfns = self.pfns
        if segment.mapped or pfns.use[frame]:
            return
        link, first, flags = self.link, pfns.pte[frame], pfns.flags[frame]
        if segment.locked and segment.locked >> first - segment.base & 1:
            return
        assert link[first] == frame, "a page that is not active goes to a list"
        for i in range(count):
            link[first + i] = -frame - i
        if flags & WRITING:
            pfns.claim(frame, count, State.TRANSITION, State.ACTIVE)
        elif flags & MODIFIED:
            self.physical.modified.append(frame, count, State.ACTIVE)
        else:
            self.physical.standby.append(frame, count, State.ACTIVE, segment.section.priority)

    def settle(self, segment: Segment, first: int, end: int) -> int:
        """Sends the active pages among [first, end) that nobody uses to their lists, alike ones in
        one go; returns how many. A segment that is empty goes.
        """
        moved = 0
        if not segment.mapped:
            link, use = self.link, self.pfns.use
            at, stop = segment.base + first, segment.base + end
            while at < stop:
                frame, count = link[at], 1
                if frame > 0 and not (use[frame] or segment.locked >> at - segment.base & 1):
                    count = self._alike(segment, at, stop)
                    self.deactivate(segment, frame, count)
                    moved += count
                at += count
        if not segment.used:
            self.segments.release_if_empty(segment)
        return moved

    def _alike(self, segment: Segment, at: int, stop: int) -> int:
        """How many pages, from the one whose PTE is at `at` on, go to the same list: nobody uses
        them, and they are in frames in a row with the same flags.
        """
        if locked := segment.locked >> at - segment.base:
            stop = min(stop, at + (locked & -locked).bit_length() - 1)
        link, use, flags, frame = self.link, self.pfns.use, self.pfns.flags, self.link[at]
        kind, count = flags[frame], 1
        while (
            at + count < stop
            and link[at + count] == frame + count
            and not use[frame + count]
            and flags[frame + count] == kind
        ):
            count += 1
        return count

    def _one_run(self, segment: Segment) -> int:
        """The first frame of a segment whose pages are all active and clean, from its first page
        on and in frames in a row, which no page table shows and nobody reads; else 0.
        """
        link, base, count = self.link, segment.base, segment.used
        first = link[base]
        if (
            not count
            or segment.shares
            or segment.locked
            or segment.dirty
            or segment.writing
            or segment.reads
            or first <= 0
            or link[base + count - 1] != first + count - 1
        ):
            return 0
        return first if rises(link[base : base + count], first) else 0

    def _unmap_whole(self, segment: Segment) -> int:
        """The usual case of a file that was read: one run of clean frames. Returns their number, 0
        for any other case.
        """
        count = segment.used
        first = self._one_run(segment) if count >= SHORT_RUN else 0
        if not first:
            return 0
        self.link[segment.base : segment.base + count] = negated(first, count)
        self.physical.standby.append(first, count, State.ACTIVE, segment.section.priority)
        return count

    # -- pages are modified, and written -----------------------------------------------------------

    def modify(self, segment: Segment, mask: int) -> int:
        """Resident pages hold what their pager has not; returns how many were clean before."""
        new = mask & ~segment.dirty
        segment.dirty |= new
        if new & new - 1:
            for first, end in mask_runs(new):
                for start, count in self._frames_of(segment, first, end):
                    self._flag(start, count, 0, MODIFIED)
        elif new:
            frame = abs(self.link[segment.base + new.bit_length() - 1])
            assert frame, "a page that is absent is modified"
            self.pfns.flags[frame] |= MODIFIED
        return new.bit_count()

    def _flag(self, start: int, count: int, off: int, on: int) -> None:
        """Flags of frames in a row."""
        flags = self.pfns.flags
        if count >= SHORT_RUN:
            part, first = flags[start : start + count], flags[start]
            if part.tobytes() == same(first, count).tobytes():
                self.pfns.fill(start, count, FLAGS, first & ~off | on)
                return
        for frame in range(start, start + count):
            flags[frame] = flags[frame] & ~off | on

    def _frames_of(self, segment: Segment, first: int, end: int) -> list[Run]:
        """The frames of pages [first, end), all of which are there, as runs in the pages' order."""
        entries = self.link[segment.base + first : segment.base + end]
        if entries[0] > 0 and rises(entries, entries[0]):  # as most are
            return [(entries[0], end - first)]
        frames = [abs(entry) for entry in entries.tolist()]
        assert all(frames), "a page that is absent is modified, or written"
        return runs_of(frames)

    def begin_write(self, segment: Segment, first: int, end: int) -> list[Run]:
        """Pages [first, end), all dirty, are written from now on: they count as clean, unless they
        are modified once more. Returns their frames, as runs in the pages' order.
        """
        mask = (1 << end) - (1 << first)
        assert segment.dirty & mask == mask, "a page is written that is not dirty"
        assert not segment.writing & mask, "a page is written twice at once"
        runs = self._frames_of(segment, first, end)
        for start, count in runs:
            self._flag(start, count, MODIFIED, WRITING)
        for entry in self.link[segment.base + first : segment.base + end].tolist():
            if entry < 0 and self.pfns.state[-entry] == State.MODIFIED:
                self.physical.modified.remove(-entry, State.TRANSITION)
        segment.dirty ^= mask
        segment.writing |= mask
        return runs

    def end_write(self, segment: Segment, first: int, end: int) -> None:
        """The writing of pages [first, end) has ended; those that are modified, by its failure or
        since, have been marked. Those that nobody uses go to their lists.
        """
        mask = (1 << end) - (1 << first)
        assert segment.writing & mask == mask, "a write ended that had not begun"
        segment.writing ^= mask
        for start, count in self._frames_of(segment, first, end):
            self._flag(start, count, WRITING, 0)
        flags, physical, idle = self.pfns.flags, self.physical, list[int]()
        for entry in self.link[segment.base + first : segment.base + end].tolist():
            if entry < 0 and flags[-entry] & MODIFIED:
                physical.modified.append(-entry, 1, State.TRANSITION)
            elif entry < 0:
                idle.append(-entry)
        for start, count in runs_of(idle):
            physical.standby.append(start, count, State.TRANSITION, segment.section.priority)

    # -- pages go ----------------------------------------------------------------------------------

    def drop(self, segment: Segment, mask: int) -> int:
        """Frees the frames of pages that no page table shows and that are not in I/O; returns how
        many were dirty. A segment that is empty goes.
        """
        assert not segment.writing & mask, "a page goes while it is written"
        assert not segment.locked & mask, "a page goes that is locked"
        physical, link, pfns = self.physical, self.link, self.pfns
        dirty = segment.dirty & mask
        segment.dirty ^= dirty
        pages = [
            i for low, high in mask_runs(mask) for i in range(low, high) if link[segment.base + i]
        ]
        active, passive = list[int](), list[int]()
        for i in pages:
            entry = link[segment.base + i]
            (active if entry > 0 else passive).append(abs(entry))
        assert not any(pfns.use[pfn] for pfn in active), "a page goes that is in page tables"
        for pfn in passive:
            modified = pfns.state[pfn] == State.MODIFIED
            (physical.modified if modified else physical.standby).remove(pfn, State.ACTIVE)
        segment.prefetched &= ~mask
        self._unset(segment, pages)
        physical.free(active + passive, State.ACTIVE)
        self.segments.release_if_empty(segment)
        return dirty.bit_count()

    def abandon(self, segment: Segment) -> bool:
        """Ends the mapping of a segment whose reader will not come back, and frees its frames at
        once, if they are one run, clean, and nobody works on them; else False, and nothing is done.
        """
        if not segment.mapped or segment.pins or segment.holds:
            return False
        first, count = self._one_run(segment), segment.used
        if not first:
            return False
        self.link[segment.base : segment.base + count] = same(0, count)
        self.pfns.fill(first, count, PTE, 0)
        segment.mapped, segment.used = False, 0
        self.physical.buddy.free(first, count, State.ACTIVE)
        self.segments.release_if_empty(segment)
        return True

    def _unset(self, segment: Segment, pages: range | list[int]) -> None:
        """Pages of a segment, by their indexes, are absent from now on."""
        link, base = self.link, segment.base
        for i in pages:
            link[base + i] = 0
        segment.used -= len(pages)
        assert segment.used >= 0, "more pages went than were there"

    def _forget(self, first: int, count: int) -> None:
        """Frames that were standby are somebody else's: see `octavo.memory.frames.physical`."""
        pfns, link, by_base = self.pfns, self.link, self.segments.by_base
        if count >= SHORT_RUN:
            first, count = self._forget_many(first, count)
        for pfn in range(first, first + count):
            pte = pfns.pte[pfn]
            assert link[pte] == -pfn, "a page that is not standing by is taken away"
            pfns.pte[pfn] = 0
            link[pte] = 0
            self._drop_use(by_base[pte & BASE_MASK], 1)

    def _forget_many(self, first: int, count: int) -> Run:
        """The usual case: parts of segments, in their order. Returns what is left."""
        while count >= SHORT_RUN:
            pte = self.pfns.pte[first]
            base = pte & BASE_MASK
            size = min(count, base + SEGMENT_PAGES - pte)
            if not rises(self.pfns.pte[first : first + size], pte):
                break
            assert self.link[pte] == -first, "a page that is not standing by is taken away"
            self.link[pte : pte + size] = same(0, size)
            self.pfns.fill(first, size, PTE, 0)
            self._drop_use(self.segments.by_base[base], size)
            first += size
            count -= size
        return first, count

    def _drop_use(self, segment: Segment, count: int) -> None:
        segment.used -= count
        assert segment.used >= 0, "more pages went than were there"
        if not segment.used:
            segment.prefetched = 0
            self.segments.release_if_empty(segment)

    # -- all of it ---------------------------------------------------------------------------------

    def check(self) -> None:
        """Prototype PTEs, the frames' entries and the segments' counts and masks agree, to the
        page.
        """
        import numpy as np

        self.segments.check()
        owned = sum(self._check(segment) for segment in self.segments.all())
        table = self.pfns.table
        assert owned == np.count_nonzero(table[table[:, HOLDER] == 0, PTE]), (
            "frames owned by no segment"
        )

    def _check(self, segment: Segment) -> int:
        """One segment; returns its pages."""
        entries = self.link[segment.base : segment.base + SEGMENT_PAGES].tolist()
        assert segment.used == sum(1 for e in entries if e), f"use count of {segment.section.name}"
        shares = 0
        for i, entry in enumerate(entries):
            if entry:
                shares += self._check_page(segment, i, entry)
            else:
                kept = segment.dirty | segment.writing | segment.locked
                assert not kept >> i & 1, "an absent page is dirty, or locked"
        assert shares == segment.shares, "the entries that lead to a segment are miscounted"
        return segment.used

    def _check_page(self, segment: Segment, i: int, entry: int) -> int:
        """One page that is there; returns how many page-table entries lead to it."""
        pfns, pfn = self.pfns, abs(entry)
        state, flags, use = pfns.state[pfn], pfns.flags[pfn], pfns.use[pfn]
        assert pfns.pte[pfn] == segment.base + i, f"frame {pfn} has two owners"
        assert (state == State.ACTIVE) == (entry > 0), (state, entry)
        locked = segment.locked >> i & 1
        held = segment.mapped or use or locked or segment.holds  # by who brings pages in
        assert entry < 0 or held, "an active page that nobody uses"
        assert entry > 0 or not (use or locked), "a page in use is not active"
        assert flags & MODIFIED == (segment.dirty >> i & 1) * MODIFIED, (
            "PFN entry and segment disagree on dirty"
        )
        assert flags & WRITING == (segment.writing >> i & 1) * WRITING, (
            "PFN entry and segment disagree on writing"
        )
        return use


class Held:
    """See `Residency.held`."""

    __slots__ = ("end", "first", "residency", "segment")

    def __init__(self, residency: Residency, segment: Segment, first: int, end: int) -> None:
        self.residency, self.segment, self.first, self.end = residency, segment, first, end

    def __enter__(self) -> None:
        self.segment.holds += 1

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        segment = self.segment
        assert segment.holds > 0, "a segment was let go of that nobody held"
        segment.holds -= 1
        self.residency.settle(segment, self.first, self.end)
