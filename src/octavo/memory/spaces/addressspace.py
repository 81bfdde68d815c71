"""Address spaces: NT's calls on private memory, with its rounding, granularity and statuses.

    allocate   reserve addresses (64 KiB granularity), commit pages (zeroed at their first touch),
               or both
    free       decommit pages, or release addresses: all of an allocation, or a part of it
    protect    another protection for committed pages; returns the old one of the first
    query      what lies at an address
    touch, read, write, lock: what a reference does, in `octavo.memory.spaces.spacefaults`; fork is
               `VirtualMemory`'s

A committed page is charged to the machine's commit limit, and gets a frame when it is touched. A
guard page raises GUARD_PAGE_VIOLATION once and is an ordinary page then; in a stack it moves down a
page instead, as far as the second page of the allocation, where touching it is STACK_OVERFLOW.

Addresses are the space's own; errors name them. Nothing waits but what needs a frame (`touch`,
`read`, `write`).

Views of sections are mapped and unmapped in `octavo.memory.spaces.spaceviews`; protect, query and
lock are for them, too, and committing pages of a RESERVE section is.

Source: NT's virtual memory calls (docs/statuses.md has the cases). Departures: no handles, so a
space is an object; physical (AWE) pages are refused; zero bits that are a mask are refused;
copy-on-write after fork counts commit for both sides at once; a page of a view whose protection
changes leaves the tables until it is touched.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octavo.arguments import numbers, whole
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.machine.pagetables import PageTables
from octavo.memory.spaces.privatepages import PrivatePages
from octavo.memory.spaces.protect import Protect, check_protect, copied, is_copy, read_only
from octavo.memory.spaces.sections import Attribute
from octavo.memory.spaces.spaceviews import GRANULARITY, SpaceViews
from octavo.memory.spaces.vad import Vad, Vads
from octavo.printing import counted
from octavo.status import Status, StatusError
from octavo.threads.wait import Event

if TYPE_CHECKING:
    from octavo.memory.spaces.virtual import VirtualMemory

LOWEST = 16  # first page that may be allocated


class Allocate(enum.IntFlag):
    """How `allocate` works, by NT's values."""

    COMMIT = 0x1000
    RESERVE = 0x2000
    RESET = 0x80000
    TOP_DOWN = 0x100000
    WRITE_WATCH = 0x200000  # with RESERVE: `write_watch` tells which pages were written


class Free(enum.IntEnum):
    """What `free` does, by NT's values."""

    DECOMMIT = 0x4000
    RELEASE = 0x8000


class MemoryType(enum.IntEnum):
    """What lies at an address, by NT's values."""

    PRIVATE = 0x20000
    MAPPED = 0x40000
    IMAGE = 0x1000000


class PageState(enum.IntEnum):
    """What `query` finds, by NT's values."""

    COMMIT = 0x1000
    RESERVE = 0x2000
    FREE = 0x10000


@dataclass(frozen=True)
class MemoryInformation:
    """Bytes [base, base + size) around an address that are alike.

    `protect` is NOACCESS where nothing is allocated, and None where nothing is committed.
    """

    base: int
    size: int
    state: PageState
    allocation_base: int = 0
    allocation_protect: Protect | None = None
    protect: Protect | None = None
    type: MemoryType | None = None


class AddressSpace(SpaceViews):
    """One space of `machine`, made by `VirtualMemory.create`."""

    def __init__(self, machine: VirtualMemory, name: str, family: int) -> None:
        self.machine, self.name = machine, name
        highest = (
            1 << 31 if machine.format.virtual_bits == 32 else 1 << (machine.format.virtual_bits - 1)
        ) - (GRANULARITY << PAGE_SHIFT)
        self.vads = Vads(LOWEST, highest >> PAGE_SHIFT)
        self.tables = PageTables(
            machine.physical.ram,
            machine.format,
            machine.table_frames.take,
            machine.table_frames.free,
        )
        self.pages = PrivatePages(
            machine.residency,
            self.tables,
            machine.holder,
            machine.mmu,
            machine.files,
            machine.replacement,
            family,
        )
        self.charge = 0
        self.locked: dict[int, int] = {}
        self.stacks: set[Vad] = set()
        self.faults = 0
        self.coming: dict[
            int, Event
        ] = {}  # addresses of pages that are being read from a page file
        self.minimum = 0  # pages that it keeps in frames whatever others want
        self.maximum: int | None = None  # pages beyond which it is trimmed first
        self.protected = False  # it is not ended for want of memory
        self.ended = ""  # why it was, if it was
        # of a pager: it may use the frames in reserve, without which pageout could not finish
        self.privileged = False

    # -- allocate ---------------------------------------------------------------------------------

    def allocate(
        self, base: int, size: int, how: int, protect: int = Protect.READWRITE, zero_bits: int = 0
    ) -> tuple[int, int]:
        """Reserves or commits `size` bytes at `base` (0: anywhere); returns the base and size that
        it came to, in bytes.

        Anywhere is where so many high bits of 32 are zero; with a base they are not heeded.
        StatusError INVALID_PARAMETER_2 (base), _3 (zero bits), _4 (size), _5 (how),
        INVALID_PAGE_PROTECTION, CONFLICTING_ADDRESSES, NO_MEMORY (no such gap), COMMITMENT_LIMIT.
        """
        self.check_alive()
        numbers(how=how, protect=protect, zero_bits=zero_bits)
        self._check_range(base, size, 1, Status.INVALID_PARAMETER_4)
        if 0 < base < self.vads.low << PAGE_SHIFT:
            raise StatusError(
                Status.INVALID_PARAMETER_2,
                f"{base:#x} is below the lowest address of an allocation, "
                f"{self.vads.low << PAGE_SHIFT:#x}",
            )
        below = self.below(zero_bits, Status.INVALID_PARAMETER_3)
        watch = how & Allocate.WRITE_WATCH and not how & Allocate.RESERVE
        if (
            how & ~0x383000
            or not how & 0x83000
            or watch
            or (how & Allocate.RESET and how != Allocate.RESET)
        ):
            raise StatusError(
                Status.INVALID_PARAMETER_5,
                f"{how:#x} is no way to allocate: RESERVE, COMMIT or both, with TOP_DOWN "
                "or not; RESET alone",
            )
        allowed = check_protect(protect, copies=False)
        if how & Allocate.RESET:
            return self._reset(base, size)
        if how & Allocate.RESERVE or not base:
            return self._reserve(base, size, how, allowed, below)
        first, end = base >> PAGE_SHIFT, base + size + PAGE_SIZE - 1 >> PAGE_SHIFT
        self._commit(self._whole(first, end, Status.CONFLICTING_ADDRESSES), first, end, allowed)
        return first << PAGE_SHIFT, end - first << PAGE_SHIFT

    def _check_range(self, base: int, size: int, least: int, wrong: Status) -> None:
        """At least `least` bytes of user space. StatusError INVALID_PARAMETER_2 for another base,
        `wrong` for another size.
        """
        numbers(base=base, size=size)
        end = self.vads.high << PAGE_SHIFT
        if not 0 <= base < end:
            raise StatusError(
                Status.INVALID_PARAMETER_2, f"{base:#x} is no user address of {self.name}"
            )
        if size < least:
            raise StatusError(
                wrong, f"a size of {counted(size, 'byte')} cannot be: {least} or more are needed"
            )
        if base + size > end:
            raise StatusError(
                wrong,
                f"{counted(size, 'byte')} from {base:#x} on do not lie in user space, "
                f"which ends at {end:#x}",
            )

    def _reserve(
        self, base: int, size: int, how: int, protect: Protect, below: int
    ) -> tuple[int, int]:
        top_down = bool(how & Allocate.TOP_DOWN)
        if base:
            first, end = (
                base >> PAGE_SHIFT & -GRANULARITY,
                base + size + PAGE_SIZE - 1 >> PAGE_SHIFT,
            )
            if not self.vads.free(first, end):
                raise StatusError(
                    Status.CONFLICTING_ADDRESSES,
                    f"{end - first} pages at {first << PAGE_SHIFT:#x} are not free",
                )
        else:
            pages = size + PAGE_SIZE - 1 >> PAGE_SHIFT
            first = self.vads.gap(pages, GRANULARITY, top_down, below)
            if first < 0:
                raise self._no_gap(pages, below)
            end = first + pages
        vad = Vad(first, end, protect, written=set() if how & Allocate.WRITE_WATCH else None)
        if how & Allocate.COMMIT:
            self._commit(vad, first, end, protect)
        self.vads.add(vad)
        return first << PAGE_SHIFT, end - first << PAGE_SHIFT

    def _whole(self, first: int, end: int, status: Status) -> Vad:
        """The allocation that has all of pages [first, end)."""
        vad = self.vads.find(first)
        if vad is None or end > vad.end:
            raise StatusError(
                status,
                f"pages {first:#x} to {end - 1:#x} do not lie in one allocation of {self.name}",
            )
        return vad

    def _commit(self, vad: Vad, first: int, end: int, protect: Protect) -> None:
        if vad.view is not None:
            made = vad.view.object
            protect = self._for_view(vad, protect)
            self.machine.sections.commit(made, vad.view.page_at(first), vad.view.page_at(end))
        else:
            self._charge(end - first - vad.committed(first, end), [(first, end, protect)])
        self._set(vad, first, end, protect)

    def _set(self, vad: Vad, first: int, end: int, protect: Protect) -> None:
        """Gives committed pages a protection; watched ones are to fault at their next write."""
        vad.set(first, end, protect)
        self.pages.protect(
            first << PAGE_SHIFT,
            end << PAGE_SHIFT,
            protect if vad.written is None else read_only(protect),
        )

    def write_watch(self, base: int, size: int, reset: bool = False) -> list[int]:
        """The addresses of the pages of a WRITE_WATCH allocation, ascending, that were written
        since they were watched, or since the last reset.

        StatusError INVALID_PARAMETER_2 where not all is in one such allocation, _3 for no bytes and
        for more than user space has there.
        """
        self._check_range(base, size, 1, Status.INVALID_PARAMETER_3)
        first, end = base >> PAGE_SHIFT, base + size + PAGE_SIZE - 1 >> PAGE_SHIFT
        vad = self.vads.find(first)
        if vad is None or vad.written is None or end > vad.end:
            raise StatusError(
                Status.INVALID_PARAMETER_2,
                f"{size} bytes at {base:#x} do not lie in an allocation with write watch",
            )
        written = sorted(page for page in vad.written if first <= page < end)
        if reset:
            vad.written.difference_update(written)
            for a, b, protect in vad.parts(first, end):
                if protect is not None:
                    self._set(vad, a, b, protect)
        return [page << PAGE_SHIFT for page in written]

    def _for_view(self, vad: Vad, protect: Protect) -> Protect:
        """The protection that pages of a view get when they are to have this one; what may be
        copied is charged. StatusError SECTION_PROTECTION.
        """
        assert vad.view is not None
        if is_copy(vad.protect):  # what is mapped copy-on-write stays it
            protect = copied(protect)
        protect = self.machine.sections.allow(vad.view.object, protect)
        if is_copy(protect) and not vad.copies:
            self._charge(vad.end - vad.start, vad.runs)
            vad.copies = True
        return protect

    def _reset(self, base: int, size: int) -> tuple[int, int]:
        """What committed pages hold is of no interest any more: whole pages are dropped,
        protections stay.
        """
        first, end = base >> PAGE_SHIFT, base + size + PAGE_SIZE - 1 >> PAGE_SHIFT
        if self._whole(first, end, Status.CONFLICTING_ADDRESSES).view is not None:
            raise StatusError(
                Status.CONFLICTING_ADDRESSES,
                f"{base:#x} is in a view: what a section holds is not reset",
            )
        inside = base + PAGE_SIZE - 1 >> PAGE_SHIFT, base + size >> PAGE_SHIFT
        if inside[0] < inside[1]:
            self.pages.drop(inside[0] << PAGE_SHIFT, inside[1] << PAGE_SHIFT)
        return first << PAGE_SHIFT, end - first << PAGE_SHIFT

    def allocate_stack(self, size: int, commit: int) -> tuple[int, int]:
        """A stack of `size` bytes that begins with `commit` of them, a page at least, above a guard
        page.

        Returns (lowest address, exclusive top). StatusError INVALID_PARAMETER for less than two
        pages and for a commit that is not from 0 to `size`; NO_MEMORY, COMMITMENT_LIMIT: nothing is
        kept then.
        """
        whole(size, f"{self.name}: the size of a stack", PAGE_SIZE + 1)
        whole(commit, f"{self.name}: what a stack begins with", 0, size + -size % PAGE_SIZE)
        base, size = self.allocate(0, size, Allocate.RESERVE)
        vad = self._whole(
            base >> PAGE_SHIFT, base + size >> PAGE_SHIFT, Status.CONFLICTING_ADDRESSES
        )
        guard = max(vad.end - max(-(-commit // PAGE_SIZE), 1) - 1, vad.start)
        try:
            self._commit(vad, guard, vad.end, Protect.READWRITE)
        except StatusError:
            self.free(base, 0, Free.RELEASE)
            raise
        self._set(vad, guard, guard + 1, Protect.READWRITE | Protect.GUARD)
        self.stacks.add(vad)
        return base, base + size

    def set_working_set(self, minimum: int, maximum: int | None = None) -> None:
        """Pages that the space keeps in frames, and pages beyond which it is trimmed first when
        memory is short. StatusError INVALID_PARAMETER.
        """
        numbers(minimum=minimum, maximum=minimum if maximum is None else maximum)
        total = sum(s.minimum for s in self.machine.spaces if s is not self) + minimum
        frames = self.machine.commitment.frames_left
        if minimum < 0 or (maximum is not None and maximum < minimum) or total > frames // 2:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{self.name}: a working set of {minimum} to {maximum} pages cannot be "
                f"promised with {counted(frames, 'frame')} for pages",
            )
        self.minimum, self.maximum = minimum, maximum

    # -- free, protect, lock, query ---------------------------------------------------------------

    def free(self, base: int, size: int, how: int) -> tuple[int, int]:
        """Decommits or releases `size` bytes at `base`, rounded out to pages; 0 bytes: the
        allocation that begins at `base`.

        StatusError INVALID_PARAMETER_2 for a base, _3 for a size that user space has not, _4 for
        another `how`; MEMORY_NOT_ALLOCATED, FREE_VM_NOT_AT_BASE, UNABLE_TO_FREE_VM.
        """
        numbers(how=how)
        if how not in (Free.DECOMMIT, Free.RELEASE):
            raise StatusError(
                Status.INVALID_PARAMETER_4, f"{how:#x} is neither DECOMMIT nor RELEASE"
            )
        self._check_range(base, size, 0, Status.INVALID_PARAMETER_3)
        vad = self.vads.find(base >> PAGE_SHIFT)
        if vad is None:
            raise StatusError(Status.MEMORY_NOT_ALLOCATED, f"nothing is allocated at {base:#x}")
        if vad.view is not None or vad.image is not None:
            raise StatusError(
                Status.UNABLE_TO_DELETE_SECTION, f"{base:#x} is in a view or an image: unmap it"
            )
        first, end = base >> PAGE_SHIFT, base + size + PAGE_SIZE - 1 >> PAGE_SHIFT
        if size == 0:
            if first != vad.start:
                raise StatusError(
                    Status.FREE_VM_NOT_AT_BASE,
                    f"{base:#x} is not where its allocation begins, {vad.start << PAGE_SHIFT:#x}",
                )
            first, end = vad.start, vad.end
        elif end > vad.end:
            raise StatusError(
                Status.UNABLE_TO_FREE_VM,
                f"{size} bytes at {base:#x} do not lie in one allocation of {self.name}",
            )
        self.pages.drop(first << PAGE_SHIFT, end << PAGE_SHIFT)
        self._charge(-vad.committed(first, end))
        self.forget_locks(first, end)
        if vad.written is not None:
            vad.written.difference_update([page for page in vad.written if first <= page < end])
        if how == Free.DECOMMIT:
            vad.set(first, end, None)
        else:
            self.vads.remove(vad)
            self.stacks.discard(vad)
            for rest in vad.cut(first, end):
                self.vads.add(rest)
        return first << PAGE_SHIFT, end - first << PAGE_SHIFT

    def protect(self, base: int, size: int, protect: int) -> tuple[int, int, Protect]:
        """Gives committed pages another protection; returns base and size as rounded, and the old
        protection of the first page.

        StatusError CONFLICTING_ADDRESSES, NOT_COMMITTED, INVALID_PAGE_PROTECTION,
        INVALID_PARAMETER_2 (base) and _3 (size): nothing is changed then.
        """
        self._check_range(base, size, 1, Status.INVALID_PARAMETER_3)
        numbers(protect=protect)
        first, end = base >> PAGE_SHIFT, base + size + PAGE_SIZE - 1 >> PAGE_SHIFT
        found = self.vads.find(first)
        allowed = check_protect(protect, copies=found is not None and found.view is not None)
        vad = self._whole(first, end, Status.CONFLICTING_ADDRESSES)
        old = vad.run_at(first)[2]
        if old is None or vad.committed(first, end) < end - first:
            raise StatusError(
                Status.NOT_COMMITTED,
                f"not all of {end - first} pages at {first << PAGE_SHIFT:#x} are committed",
            )
        if vad.view is not None:
            allowed = self._for_view(vad, allowed)
        self._set(vad, first, end, allowed)
        return first << PAGE_SHIFT, end - first << PAGE_SHIFT, old

    def query(self, address: int) -> MemoryInformation:
        """What lies at an address, and how far it is alike. StatusError INVALID_PARAMETER above
        user space.
        """
        numbers(address=address)
        page = address >> PAGE_SHIFT
        if not 0 <= page < self.vads.high:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{address:#x} is above the highest user address of {self.name}",
            )
        vad = self.vads.find(page)
        if vad is None:
            end = min((v.start for v in self.vads.all if v.start > page), default=self.vads.high)
            return MemoryInformation(
                page << PAGE_SHIFT,
                end - page << PAGE_SHIFT,
                PageState.FREE,
                protect=Protect.NOACCESS,
            )
        _, end, protect = vad.run_at(page)
        state = PageState.RESERVE if protect is None else PageState.COMMIT
        image = vad.view is not None and vad.view.object.attributes & Attribute.IMAGE
        kind = (
            MemoryType.PRIVATE
            if vad.view is None
            else MemoryType.IMAGE
            if image
            else MemoryType.MAPPED
        )
        return MemoryInformation(
            page << PAGE_SHIFT,
            end - page << PAGE_SHIFT,
            state,
            vad.start << PAGE_SHIFT,
            vad.protect,
            protect,
            kind,
        )
