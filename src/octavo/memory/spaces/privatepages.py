"""The pages of one address space: frames behind its page tables, private ones and those of
sections (of files, page files, external pagers, devices).

    entry      present   the hardware's format; COPY (bit 9) on a page that may be written once it
                         is nobody else's
               held      frame << 12 | HELD (bit 1), not present: the page has a frame and no access
                         is allowed (NOACCESS, GUARD), or it is being written to a page file
                         (WRITING, bit 3)
               paged     in a page file, see `octavo.memory.pagers.pagefile`
               0         no page: demand-zero if the run is committed
    dirty      set where the page is not all zeros, for all that is known: only such pages have to
               be written
    PFN entry  HOLDER "private memory" for a private page, else 0; USE the number of entries that
               lead to the frame, in all spaces: after a fork several have a private page, and copy
               it when they write

An entry for a page of a section is present or 0, and writable only while the page is marked as
modified. Device memory has entries, too, which nobody counts.

Nothing here looks at protections' meaning beyond making entries: which access is allowed is
the question of `octavo.memory.spaces.faults`.
"""

from __future__ import annotations

from octavo.machine.abi import (
    ACCESSED,
    DIRTY,
    FRAME_MASK,
    PAGE_SHIFT,
    PAGE_SIZE,
    PRESENT,
    WRITABLE,
    State,
)
from octavo.machine.mmu import SoftMmu
from octavo.machine.mmukernels import WRITE
from octavo.machine.pagetables import PageTables
from octavo.memory.frames.physical import RESERVE
from octavo.memory.pagers.pagefile import PageFiles, is_paged
from octavo.memory.pages.residency import Residency
from octavo.memory.pages.section import Segment
from octavo.memory.reclaim.replacement import Replacement
from octavo.memory.spaces.protect import Protect, entry_bits, is_held, permits

HELD = 1 << 1
WRITING = 1 << 3
COPY = 1 << 9
_KEPT = ACCESSED | DIRTY


def is_leaving(entry: int) -> bool:
    """True for the entry of a page that is being written to a page file."""
    return entry & (PRESENT | WRITING) == WRITING


class PrivatePages:
    """The pages behind `tables`; `holder` is "private memory" in the PFN database."""

    def __init__(
        self,
        residency: Residency,
        tables: PageTables,
        holder: int,
        mmu: SoftMmu,
        files: PageFiles,
        replacement: Replacement,
        family: int,
    ) -> None:
        self.residency, self.physical = residency, residency.physical
        self.tables, self.holder = tables, holder
        self.mmu, self.files = mmu, files
        self.replacement, self.family = replacement, family
        self.resident = 0  # entries that have a frame
        self.of_sections = 0  # those of them that are of sections or devices
        self.leaving = 0  # those that are being written to a page file
        self.paged = 0  # entries that lead to a page file
        self.copied = 0

    @property
    def staying(self) -> int:
        """Pages in frames that are not on their way out."""
        return self.resident - self.leaving

    # -- frames -----------------------------------------------------------------------------------

    def uses(self, frame: int) -> int:
        """Entries that lead to a frame."""
        return self.physical.pfns.use[frame]

    def _use(self, frame: int, change: int) -> None:
        """Counts one more or one less entry; the last one frees a private frame, and lets go of a
        section's.
        """
        pfns = self.physical.pfns
        self.resident += change
        if pfns.holder[frame] != self.holder:
            self.of_sections += change
            if pfns.pte[frame]:
                if pfns.use[frame] == 1:
                    self.replacement.gone(frame)
                self.residency.unshare(frame)
            return
        pfns.use[frame] += change
        if not pfns.use[frame]:
            self.replacement.gone(frame)
            self.physical.pfns.hold(frame, 1, 0)
            self.physical.free([frame], State.ACTIVE)

    def try_frame(self, privileged: bool = False) -> int:
        """A zeroed frame that no entry leads to yet; 0 when none is to be had now."""
        runs = self.physical.try_take_zeroed(1, State.ACTIVE, privileged)
        if runs is None:
            return 0
        self.physical.pfns.hold(runs[0][0], 1, self.holder)
        return runs[0][0]

    def try_frames(self, count: int) -> list[int]:
        """Up to `count` frames with any contents that no entry leads to yet, without waiting."""
        count = min(count, self.physical.available - RESERVE)
        runs = self.physical.try_take(count, State.ACTIVE) if count > 0 else None
        for run in runs or []:
            self.physical.pfns.hold(*run, self.holder)
        return [pfn for first, size in runs or [] for pfn in range(first, first + size)]

    def give_back(self, frame: int) -> None:
        """Frees a frame from `try_frame` that was not needed."""
        self.physical.pfns.hold(frame, 1, 0)
        self.physical.free([frame], State.ACTIVE)

    # -- entries ----------------------------------------------------------------------------------

    @staticmethod
    def frame_of(entry: int) -> int:
        """The frame of an entry that is not 0."""
        return (entry & FRAME_MASK) >> PAGE_SHIFT

    def leads_to(self, entry: int, frame: int) -> bool:
        """True for an entry, not 0, that leads to a frame."""
        return not is_paged(entry) and self.frame_of(entry) == frame

    def _make(self, frame: int, protect: Protect, old: int = 0) -> int:
        """A frame's entry: held where nothing is allowed, copy-on-write where others use it."""
        if is_held(protect):
            return frame << PAGE_SHIFT | HELD
        alone = self.uses(frame) <= 1
        copy = COPY if not alone and permits(protect, WRITE) else 0
        bits = self.tables.fit(entry_bits(protect, alone))
        known = old & _KEPT if old & PRESENT else DIRTY if old else 0
        return frame << PAGE_SHIFT | bits | copy | PRESENT | known

    def supply(self, address: int, frame: int, protect: Protect, used: int = 0) -> int:
        """A new page of zeros, in a frame from `try_frame`; `used` are the accessed and dirty bits
        of the reference that wants it. Returns its entry.

        StatusError INSUFFICIENT_RESOURCES without a frame for a table; the frame is the caller's
        then.
        """
        entry = self._make(frame, protect) | used
        self.tables.put(address, entry)
        self.physical.pfns.use[frame] = 1
        self.resident += 1
        self.replacement.enter_private(frame, self.family, address >> PAGE_SHIFT)
        return entry

    def remake(self, address: int, entry: int, protect: Protect) -> int:
        """Gives a page that is there another protection, and returns its entry; one of a section
        leaves the tables, and has it when it comes back.
        """
        if self.is_of_section(entry):
            self.forget_sections(address, address + PAGE_SIZE)
            return 0
        self.leaving -= is_leaving(entry)
        made = self._make(self.frame_of(entry), protect, entry)
        self.tables.put(address, made)
        self.mmu.invalidate(address)
        return made

    def protect(self, start: int, end: int, protect: Protect) -> None:
        """Gives all pages of [start, end) that are there another protection."""
        for address, entry in list(self.tables.entries(start, end)):
            if not is_paged(entry):
                self.remake(address, entry, protect)

    def drop(self, start: int, end: int) -> None:
        """Takes all pages of [start, end) away, with the tables that become empty."""
        for address, entry in list(self.tables.entries(start, end)):
            self.tables.put(address, 0)
            if is_paged(entry):
                self.files.use(entry, -1)
                self.paged -= 1
            else:
                self.mmu.invalidate(address)
                self.leaving -= is_leaving(entry)
                self._use(self.frame_of(entry), -1)
        self.tables.prune(start, end)

    # -- pages of sections ------------------------------------------------------------------------

    def is_of_section(self, entry: int) -> bool:
        """True for a present entry that leads to no private page: to one of a section, which may be
        a device's.
        """
        if not entry & PRESENT:
            return False
        return self.physical.pfns.holder[(entry & FRAME_MASK) >> PAGE_SHIFT] != self.holder

    def map_page(
        self, address: int, segment: Segment, frame: int, protect: Protect, writable: bool, key: int
    ) -> int:
        """Makes an entry for an active page of a section, which the replacement policy knows by
        `key`, and returns it. StatusError INSUFFICIENT_RESOURCES without a frame for a table.
        """
        entry = self._section_entry(frame, protect, writable)
        self.tables.put(address, entry)
        self.residency.share(segment, frame)
        if self.physical.pfns.use[frame] == 1:
            self.replacement.enter(frame, key)
        self.resident += 1
        self.of_sections += 1
        return entry

    def map_device(self, address: int, frame: int, protect: Protect) -> int:
        """An entry for a frame that is no memory, which is returned. StatusError
        INSUFFICIENT_RESOURCES without a frame for a table.
        """
        entry = self._section_entry(frame, protect, True)
        self.tables.put(address, entry)
        self.resident += 1
        self.of_sections += 1
        return entry

    def _section_entry(self, frame: int, protect: Protect, writable: bool) -> int:
        return (
            frame << PAGE_SHIFT
            | self.tables.fit(entry_bits(protect, writable))
            | PRESENT
            | ACCESSED
        )  # by the reference that faulted

    def make_writable(self, address: int, entry: int) -> int:
        """Lets a section's page be written, which has been marked as modified; returns its
        entry.
        """
        entry |= WRITABLE | DIRTY
        self.tables.put(address, entry)
        return entry

    def forget_sections(self, start: int, end: int) -> None:
        """Takes the pages of sections in [start, end) out of the tables."""
        one = end - start == PAGE_SIZE  # which eviction asks for
        found = [(start, self.tables.get(start))] if one else list(self.tables.entries(start, end))
        for address, entry in found:
            if self.is_of_section(entry):
                self.tables.put(address, 0)
                self.mmu.invalidate(address)
                self._use(self.frame_of(entry), -1)

    # -- sharing ----------------------------------------------------------------------------------

    def needs_copy(self, entry: int) -> bool:
        """True when a write to this present page must copy it first."""
        return not entry & WRITABLE and self.uses(self.frame_of(entry)) > 1

    def copy(self, address: int, entry: int, frame: int, protect: Protect) -> int:
        """Gives a page a copy of its own in `frame`, from `try_frame`, which counts as written: it
        holds what the page held. The page may be a section's. Returns the copy's entry.
        """
        old, ram = self.frame_of(entry), self.physical.ram
        ram.frame(frame)[:] = ram.frame(old)
        self.physical.pfns.use[frame] = 1
        self.replacement.enter_private(frame, self.family, address >> PAGE_SHIFT)
        made = self._make(frame, protect, entry) | DIRTY
        self.tables.put(address, made)
        self.mmu.invalidate(address)
        self._use(old, -1)
        self.resident += 1
        self.copied += 1
        return made

    def share_with(self, other: PrivatePages, start: int, end: int, protect: Protect) -> None:
        """Makes the pages of [start, end) pages of `other` too, at the same addresses, copied by
        whoever writes first.
        """
        for address, entry in list(self.tables.entries(start, end)):
            if is_paged(entry):
                other.tables.put(address, entry)
                other.paged += 1
                self.files.use(entry, 1)
                continue
            if self.is_of_section(entry):
                continue  # the other one has the view, and will find it
            frame = self.frame_of(entry)
            other.tables.put(address, frame << PAGE_SHIFT | HELD)
            other._use(frame, 1)
            other.tables.put(address, other._make(frame, protect, entry))
            self.remake(address, entry, protect)

    # -- page files -------------------------------------------------------------------------------

    def begin_write(self, address: int, entry: int) -> int:
        """Takes a page out of reach while it is written to a page file; returns the entry that says
        so.
        """
        marked = self.frame_of(entry) << PAGE_SHIFT | HELD | WRITING
        self.tables.put(address, marked)
        self.mmu.invalidate(address)
        self.leaving += 1
        return marked

    def end_write(self, address: int, marked: int, entry: int) -> None:
        """The page is in the page file now, as `entry` says."""
        self.tables.put(address, entry)
        self.paged += 1
        self.leaving -= 1
        self._use(self.frame_of(marked), -1)

    def forget_zeros(self, address: int, entry: int) -> None:
        """Lets go of a page that is all zeros still."""
        self.tables.put(address, 0)
        self.mmu.invalidate(address)
        self._use(self.frame_of(entry), -1)

    def arrive(self, address: int, entry: int, frames: list[int], protect: Protect) -> list[int]:
        """Pages have come from consecutive slots, the first of `entry`, into frames; their entries
        lie in one table.

        Returns the frames of those whose entries have changed meanwhile.
        """
        at = self.tables.place(address)
        words, pfns = self.tables.words, self.physical.pfns
        left, came = [], []
        bits = self._make(0, protect, HELD)  # nobody shares them
        for i, frame in enumerate(frames):
            if at < 0 or words[at + i] != entry + (i << PAGE_SHIFT):
                left.append(frame)
                continue
            came.append(i)
            pfns.use[frame] = 1
            words[at + i] = frame << PAGE_SHIFT | bits
            self.replacement.enter_private(frame, self.family, (address >> PAGE_SHIFT) + i)
        if left:
            for i in came:
                self.files.use(entry + (i << PAGE_SHIFT), -1)
        elif came:  # as ever
            self.files.drop(entry, len(came))
        self.paged -= len(came)
        self.resident += len(came)
        return left
