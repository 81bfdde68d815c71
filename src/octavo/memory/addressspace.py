"""Address spaces: NT's calls on private memory, with its rounding, granularity and statuses.

    allocate   reserve addresses (64 KiB granularity), commit pages (zeroed at their first touch), or both
    free       decommit pages, or release addresses: all of an allocation, or a part of it
    protect    another protection for committed pages; returns the old one of the first
    query      what lies at an address
    touch      what a reference does: the physical address, or the fault it ends in
    fork       a copy of the space that shares every page until one side writes it

A committed page is charged to the machine's commit limit, and gets a frame when it is touched. A guard page raises
GUARD_PAGE_VIOLATION once and is an ordinary page then; in a stack it moves down a page instead, as far as the second page
of the allocation, where touching it is STACK_OVERFLOW.

Addresses are the space's own; errors name them. Nothing waits but what needs a frame (`touch`, `read`, `write`).

Source: NT's virtual memory calls (the cases of reference/nt.md section 4 are in tests/test_addressspace.py).
Departures: no handles, so a space is an object; write watch and physical (AWE) pages are refused; copy-on-write after fork
counts commit for both sides at once.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octavo.machine.mmukernels import READ, WRITE
from octavo.machine.pagetables import PRESENT, PageTables
from octavo.machine.pagetables import WRITE as WRITABLE
from octavo.machine.ram import PAGE_SHIFT, PAGE_SIZE
from octavo.memory.privatepages import PrivatePages
from octavo.memory.protect import Protect, check_protect, permits
from octavo.memory.vad import Vad, Vads
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.memory.virtual import VirtualMemory

GRANULARITY = 16  # pages
LOWEST = 16  # first page that may be allocated


class Allocate(enum.IntFlag):
    """How `allocate` works, by NT's values."""

    COMMIT = 0x1000
    RESERVE = 0x2000
    RESET = 0x80000
    TOP_DOWN = 0x100000


class Free(enum.IntEnum):
    """What `free` does, by NT's values."""

    DECOMMIT = 0x4000
    RELEASE = 0x8000


class PageState(enum.IntEnum):
    """What `query` finds, by NT's values."""

    COMMIT = 0x1000
    RESERVE = 0x2000
    FREE = 0x10000


@dataclass(frozen=True)
class MemoryInformation:
    """Bytes [base, base + size) around an address that are alike; allocation and protection are those of `state` COMMIT and RESERVE."""

    base: int
    size: int
    state: PageState
    allocation_base: int = 0
    allocation_protect: Protect | None = None
    protect: Protect | None = None


class AddressSpace:
    """One space of `machine`, made by `VirtualMemory.create`."""

    def __init__(self, machine: VirtualMemory, name: str) -> None:
        self.machine, self.name = machine, name
        highest = (1 << 31 if machine.format.virtual_bits == 32 else 1 << (machine.format.virtual_bits - 1)) - (GRANULARITY << PAGE_SHIFT)
        self.vads = Vads(LOWEST, highest >> PAGE_SHIFT)
        self.tables = PageTables(machine.physical.ram, machine.format, machine.table_frame, machine.free_table)
        self.pages = PrivatePages(machine.physical, self.tables, machine.holder, machine.mmu)
        self.charge = 0
        self.locked: set[int] = set()
        self.stacks: set[Vad] = set()
        self.faults = 0

    # -- allocate -------------------------------------------------------------------------------------------------

    def allocate(self, base: int, size: int, how: int, protect: int = Protect.READWRITE) -> tuple[int, int]:
        """Reserves or commits `size` bytes at `base` (0: anywhere); returns the base and size that it came to, in bytes.

        StatusError INVALID_PARAMETER_2 (base), _4 (size), _5 (how), INVALID_PAGE_PROTECTION, CONFLICTING_ADDRESSES, NO_MEMORY
        (no such gap), COMMITMENT_LIMIT.
        """
        self._check_range(base, size)
        if how & ~0x183000 or not how & 0x83000 or (how & Allocate.RESET and how != Allocate.RESET):
            raise StatusError(Status.INVALID_PARAMETER_5, f"{how:#x} is no way to allocate: RESERVE, COMMIT or both, with TOP_DOWN or not; RESET alone")
        allowed = check_protect(protect, copies=False)
        if how & Allocate.RESET:
            return self._reset(base, size)
        if how & Allocate.RESERVE or not base:
            return self._reserve(base, size, how, allowed)
        first, end = base >> PAGE_SHIFT, base + size + PAGE_SIZE - 1 >> PAGE_SHIFT
        self._commit(self._whole(first, end, Status.CONFLICTING_ADDRESSES), first, end, allowed)
        return first << PAGE_SHIFT, end - first << PAGE_SHIFT

    def _check_range(self, base: int, size: int) -> None:
        if base and not self.vads.low << PAGE_SHIFT <= base < self.vads.high << PAGE_SHIFT:
            raise StatusError(Status.INVALID_PARAMETER_2, f"{base:#x} is no user address of {self.name}")
        if size <= 0 or base + size > self.vads.high << PAGE_SHIFT:
            raise StatusError(Status.INVALID_PARAMETER_4, f"{size} bytes at {base:#x} do not lie in user space")

    def _reserve(self, base: int, size: int, how: int, protect: Protect) -> tuple[int, int]:
        top_down = bool(how & Allocate.TOP_DOWN)
        if base:
            first, end = base >> PAGE_SHIFT & -GRANULARITY, base + size + PAGE_SIZE - 1 >> PAGE_SHIFT
            if not self.vads.free(first, end):
                raise StatusError(Status.CONFLICTING_ADDRESSES, f"{end - first} pages at {first << PAGE_SHIFT:#x} are not free")
        else:
            pages = size + PAGE_SIZE - 1 >> PAGE_SHIFT
            first = self.vads.gap(pages, GRANULARITY, top_down, self.vads.high)
            if first < 0:
                raise StatusError(Status.NO_MEMORY, f"{self.name} has no {pages} free pages of addresses in a row")
            end = first + pages
        vad = Vad(first, end, protect)
        if how & Allocate.COMMIT:
            self._commit(vad, first, end, protect)
        self.vads.add(vad)
        return first << PAGE_SHIFT, end - first << PAGE_SHIFT

    def _whole(self, first: int, end: int, status: Status) -> Vad:
        """The allocation that has all of pages [first, end)."""
        vad = self.vads.find(first)
        if vad is None or end > vad.end:
            raise StatusError(status, f"pages {first:#x} to {end - 1:#x} do not lie in one allocation of {self.name}")
        return vad

    def _commit(self, vad: Vad, first: int, end: int, protect: Protect) -> None:
        self._charge(end - first - vad.committed(first, end))
        vad.set(first, end, protect)
        self.pages.protect(first << PAGE_SHIFT, end << PAGE_SHIFT, protect)

    def _charge(self, pages: int) -> None:
        self.machine.charge(pages, self.name)
        self.charge += pages

    def _reset(self, base: int, size: int) -> tuple[int, int]:
        """What committed pages hold is of no interest any more: whole pages are dropped, protections stay."""
        first, end = base >> PAGE_SHIFT, base + size + PAGE_SIZE - 1 >> PAGE_SHIFT
        self._whole(first, end, Status.CONFLICTING_ADDRESSES)
        inside = base + PAGE_SIZE - 1 >> PAGE_SHIFT, base + size >> PAGE_SHIFT
        if inside[0] < inside[1]:
            self.pages.drop(inside[0] << PAGE_SHIFT, inside[1] << PAGE_SHIFT)
        return first << PAGE_SHIFT, end - first << PAGE_SHIFT

    def allocate_stack(self, size: int, commit: int) -> tuple[int, int]:
        """A stack of `size` bytes that begins with `commit` of them, above a guard page; returns (lowest address, exclusive top)."""
        base, size = self.allocate(0, size, Allocate.RESERVE)
        top = base + size
        vad = self._whole(base >> PAGE_SHIFT, top >> PAGE_SHIFT, Status.CONFLICTING_ADDRESSES)
        first = max(top - commit >> PAGE_SHIFT, vad.start + 1)
        self._commit(vad, first, vad.end, Protect.READWRITE)
        self._commit(vad, first - 1, first, Protect.READWRITE | Protect.GUARD)
        self.stacks.add(vad)
        return base, top

    # -- free, protect, lock, query -------------------------------------------------------------------------------

    def free(self, base: int, size: int, how: int) -> tuple[int, int]:
        """Decommits or releases `size` bytes at `base`, rounded out to pages; 0 bytes: the allocation that begins at `base`.

        StatusError MEMORY_NOT_ALLOCATED, FREE_VM_NOT_AT_BASE, UNABLE_TO_FREE_VM, INVALID_PARAMETER_4 for another `how`.
        """
        if how not in (Free.DECOMMIT, Free.RELEASE):
            raise StatusError(Status.INVALID_PARAMETER_4, f"{how:#x} is neither DECOMMIT nor RELEASE")
        vad = self.vads.find(base >> PAGE_SHIFT)
        if vad is None:
            raise StatusError(Status.MEMORY_NOT_ALLOCATED, f"nothing is allocated at {base:#x}")
        first, end = base >> PAGE_SHIFT, base + size + PAGE_SIZE - 1 >> PAGE_SHIFT
        if size == 0:
            if first != vad.start:
                raise StatusError(Status.FREE_VM_NOT_AT_BASE, f"{base:#x} is not where its allocation begins, {vad.start << PAGE_SHIFT:#x}")
            first, end = vad.start, vad.end
        elif size < 0 or end > vad.end:
            raise StatusError(Status.UNABLE_TO_FREE_VM, f"{size} bytes at {base:#x} do not lie in one allocation of {self.name}")
        self.pages.drop(first << PAGE_SHIFT, end << PAGE_SHIFT)
        self._charge(-vad.committed(first, end))
        self.locked.difference_update(range(first, end) if end - first < len(self.locked) else [p for p in self.locked if first <= p < end])
        if how == Free.DECOMMIT:
            vad.set(first, end, None)
        else:
            self.vads.remove(vad)
            self.stacks.discard(vad)
            for rest in vad.cut(first, end):
                self.vads.add(rest)
        return first << PAGE_SHIFT, end - first << PAGE_SHIFT

    def protect(self, base: int, size: int, protect: int) -> tuple[int, int, Protect]:
        """Gives committed pages another protection; returns base and size as rounded, and the old protection of the first page.

        StatusError CONFLICTING_ADDRESSES, NOT_COMMITTED, INVALID_PAGE_PROTECTION, INVALID_PARAMETER_2 and _4: nothing is changed then.
        """
        self._check_range(base, size)
        allowed = check_protect(protect, copies=False)
        first, end = base >> PAGE_SHIFT, base + size + PAGE_SIZE - 1 >> PAGE_SHIFT
        vad = self._whole(first, end, Status.CONFLICTING_ADDRESSES)
        old = vad.run_at(first)[2]
        if old is None or vad.committed(first, end) < end - first:
            raise StatusError(Status.NOT_COMMITTED, f"not all of {end - first} pages at {first << PAGE_SHIFT:#x} are committed")
        vad.set(first, end, allowed)
        self.pages.protect(first << PAGE_SHIFT, end << PAGE_SHIFT, allowed)
        return first << PAGE_SHIFT, end - first << PAGE_SHIFT, old

    def query(self, address: int) -> MemoryInformation:
        """What lies at an address, and how far it is alike. StatusError INVALID_PARAMETER above user space."""
        page = address >> PAGE_SHIFT
        if not 0 <= page < self.vads.high:
            raise StatusError(Status.INVALID_PARAMETER, f"{address:#x} is above the highest user address of {self.name}")
        vad = self.vads.find(page)
        if vad is None:
            end = min((v.start for v in self.vads.all if v.start > page), default=self.vads.high)
            return MemoryInformation(page << PAGE_SHIFT, end - page << PAGE_SHIFT, PageState.FREE)
        _, end, protect = vad.run_at(page)
        state = PageState.RESERVE if protect is None else PageState.COMMIT
        return MemoryInformation(page << PAGE_SHIFT, end - page << PAGE_SHIFT, state, vad.start << PAGE_SHIFT, vad.protect, protect)

    # -- faults ---------------------------------------------------------------------------------------------------

    async def touch(self, address: int, kind: int = READ) -> int:
        """The physical address of a reference, after whatever fault it takes.

        StatusError ACCESS_VIOLATION, GUARD_PAGE_VIOLATION, STACK_OVERFLOW, NO_MEMORY.
        """
        page = address >> PAGE_SHIFT
        start = page << PAGE_SHIFT
        spare = 0
        try:
            while True:
                protect = self._admit(address, page, kind)
                entry = self.tables.get(start)
                if entry & PRESENT and (kind != WRITE or entry & WRITABLE):
                    self.pages.mark(start, entry, kind == WRITE)
                    return self.pages.frame_of(entry) << PAGE_SHIFT | address & PAGE_SIZE - 1
                if entry and not (entry & PRESENT and self.pages.needs_copy(entry)):
                    self.pages.remake(start, entry, protect)  # held, or shared with nobody any more
                    continue
                if not spare:
                    self.faults += 1
                    spare = await self._frame()
                    continue  # others may have been here meanwhile
                try:
                    if entry:
                        self.pages.copy(start, entry, spare, protect)
                    else:
                        self.pages.supply(start, spare, protect)
                    spare = 0
                except StatusError:
                    await self.machine.pageout.relieve(4)  # frames for tables
        finally:
            if spare:
                self.pages.give_back(spare)

    async def _frame(self) -> int:
        while True:
            frame = self.pages.try_frame()
            if frame:
                return frame
            await self.machine.pageout.relieve(1)

    def _admit(self, address: int, page: int, kind: int) -> Protect:
        """The protection of a page that a reference may use; the fault otherwise."""
        vad = self.vads.find(page)
        protect = vad.run_at(page)[2] if vad is not None else None
        if vad is None or protect is None:
            raise StatusError(Status.ACCESS_VIOLATION, f"{self.name}: {address:#x} is not committed")
        if protect & Protect.GUARD:
            self._leave_guard(vad, page, protect, address)
            protect &= ~Protect.GUARD
        if not permits(protect, kind):
            what = ("read", "written", "executed")[kind]
            raise StatusError(Status.ACCESS_VIOLATION, f"{self.name}: {address:#x} is {what} and is {protect.name}")
        return protect

    def _leave_guard(self, vad: Vad, page: int, protect: Protect, address: int) -> None:
        """A guard page was touched: it is an ordinary one now, and the toucher hears of it, unless it is a stack that can still grow."""
        if vad in self.stacks:
            if page - 1 <= vad.start:
                raise StatusError(Status.STACK_OVERFLOW, f"{self.name}: stack overflow at {address:#x}: its {vad.end - vad.start} pages are used up")
            self._commit(vad, page - 1, page, protect)
        self._commit(vad, page, page + 1, protect & ~Protect.GUARD)
        if vad not in self.stacks:
            raise StatusError(Status.GUARD_PAGE_VIOLATION, f"{self.name}: {address:#x} is in a guard page")

    async def _pieces(self, address: int, size: int, kind: int) -> AsyncIterator[memoryview]:
        while size:
            length = min(size, PAGE_SIZE - address % PAGE_SIZE)
            physical = await self.touch(address, kind)
            yield self.machine.physical.ram.bytes[physical : physical + length]
            address += length
            size -= length

    async def read(self, address: int, size: int) -> bytes:
        """Bytes of the space."""
        return b"".join([bytes(piece) async for piece in self._pieces(address, size, READ)])

    async def write(self, address: int, data: bytes) -> None:
        """Bytes into the space; those before a page that cannot be written have been."""
        done = 0
        async for piece in self._pieces(address, len(data), WRITE):
            piece[:] = data[done : done + len(piece)]
            done += len(piece)
