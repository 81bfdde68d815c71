"""What a reference to an address space does: the physical address, or the fault that it ends in.

    not committed, not permitted    ACCESS_VIOLATION
    guard                           GUARD_PAGE_VIOLATION once; in a stack the guard moves down,
                                    until STACK_OVERFLOW
    absent                          demand-zero: a frame of zeros
    paged                           from its page file, see `octavo.memory.spaces.pageins`
    held                            present again
    copy-on-write                   a copy in a frame of its own, or the frame itself once it is
                                    nobody else's
    of a view                       see `octavo.memory.spaces.viewfaults`

`lock` brings pages in and keeps eviction away from them.

Only paths that need a frame, or a page from a page file, wait; after a wait everything is looked at
again.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from octavo.arguments import hexed, numbers, octets, whole
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, PRESENT, WRITABLE
from octavo.machine.mmukernels import EXECUTE, READ, WRITE
from octavo.machine.pagetables import PageTables
from octavo.memory.spaces.pageins import page_in
from octavo.memory.spaces.privatepages import PrivatePages, is_paged
from octavo.memory.spaces.protect import Protect, is_guard, permits
from octavo.memory.spaces.vad import Vad, Vads
from octavo.memory.spaces.viewfaults import copies, view_fault
from octavo.printing import counted
from octavo.status import Status, StatusError
from octavo.threads.wait import Event

if TYPE_CHECKING:
    from octavo.memory.spaces.virtual import VirtualMemory

MOST_TABLES = 4  # frames that one address may need beside its page


class Lock(enum.IntFlag):
    """What `lock` keeps a page in, by NT's values: the space's working set, memory, or both.

    Each is ended by itself, and eviction heeds both.
    """

    PROCESS = 1
    SYSTEM = 2


class SpaceFaults(ABC):
    """The part of an `AddressSpace` that resolves faults."""

    machine: VirtualMemory
    name: str
    vads: Vads
    tables: PageTables
    pages: PrivatePages
    stacks: set[Vad]
    locked: dict[int, int]  # pages, and how
    faults: int
    ended: str
    privileged: bool
    coming: dict[int, Event]

    @abstractmethod
    def _commit(self, vad: Vad, first: int, end: int, protect: Protect) -> None: ...

    async def touch(self, address: int, kind: int = READ) -> int:
        """The physical address of a reference, after whatever fault it takes.

        StatusError ACCESS_VIOLATION, GUARD_PAGE_VIOLATION, STACK_OVERFLOW, IN_PAGE_ERROR,
        NO_MEMORY; INVALID_PARAMETER for what is no address or none of the kinds of
        `octavo.machine.mmukernels`.
        """
        if type(address) is not int or type(kind) is not int or not READ <= kind <= EXECUTE:
            numbers(address=address)
            whole(kind, f"{self.name}: a kind of reference", READ, EXECUTE)
        page = address >> PAGE_SHIFT
        start = page << PAGE_SHIFT
        spare = 0
        try:
            while True:
                vad, protect = self._admit(address, page, kind)
                if vad.written is not None and kind != WRITE:
                    protect = vad.effective(page, protect)
                entry = self.tables.get(start)
                if entry & PRESENT and (kind != WRITE or entry & WRITABLE):
                    self.pages.mark(start, entry, kind == WRITE)
                    if vad.written is not None and kind == WRITE:
                        vad.written.add(page)
                    return self.pages.frame_of(entry) << PAGE_SHIFT | address & PAGE_SIZE - 1
                if (
                    vad.view is not None
                    and (not entry or self.pages.is_shared(entry))
                    and (spare or not copies(vad.view, protect, kind))
                ):
                    spare = await self._view_fault(vad, page, kind, protect, spare)
                    continue
                if self._has_page(entry):
                    self.pages.remake(start, entry, protect)  # held, or shared with nobody any more
                    continue
                if not spare:
                    self.faults += 1
                    if not entry & PRESENT:
                        self.pages.replacement.miss(self.pages.family, page)
                    spare = await self._frame()
                    continue  # others may have been here meanwhile
                try:
                    if is_paged(entry):
                        spare = await page_in(self, start, entry, spare)
                        continue
                    if entry:
                        self.pages.copy(start, entry, spare, protect)
                    else:
                        self.pages.supply(start, spare, protect)
                    spare = 0
                except StatusError as error:
                    if error.status != Status.INSUFFICIENT_RESOURCES:
                        raise
                    await self.machine.pageout.relieve(MOST_TABLES)
        finally:
            if spare:
                self.pages.give_back(spare)

    def _has_page(self, entry: int) -> bool:
        """True for a private page in a frame of its own, which only needs another entry."""
        if not entry or is_paged(entry) or self.pages.is_shared(entry):
            return False
        return not (entry & PRESENT and self.pages.needs_copy(entry))

    async def _view_fault(
        self, vad: Vad, page: int, kind: int, protect: Protect, spare: int
    ) -> int:
        """Returns the spare frame that is left, 0 if none."""
        try:
            return 0 if await view_fault(self, vad, page, kind, protect, spare) else spare
        except StatusError as error:
            if error.status != Status.INSUFFICIENT_RESOURCES:
                raise
            await self.machine.pageout.relieve(MOST_TABLES)
            return spare

    async def lock(self, base: int, size: int, how: int = Lock.PROCESS) -> Status:
        """Brings committed pages in and keeps them in frames; WAS_LOCKED when one of them was
        locked so before, else SUCCESS.

        StatusError INVALID_PARAMETER for no bytes or a `how` that is no `Lock`, ACCESS_VIOLATION
        where a page may not be read, NO_MEMORY: none is locked then.
        """
        pages = self._locked_range(base, size, how)
        self._check_lockable(pages)
        mine: list[tuple[int, int]] = []
        was = False
        try:
            for page in pages:
                if page not in self.locked:
                    await self.touch(page << PAGE_SHIFT)
                held = self.locked.get(page, 0)  # now: another thread may have locked it meanwhile
                was |= bool(held & how)
                self.locked[page] = held | how
                mine.append((page, how & ~held))
        except StatusError:
            for page, new in mine:
                self._unlock(page, new)
            raise
        return Status.WAS_LOCKED if was else Status.SUCCESS

    def _unlock(self, page: int, how: int) -> None:
        left = self.locked.pop(page, 0) & ~how
        if left:
            self.locked[page] = left

    def forget_locks(self, first: int, end: int) -> None:
        """Pages [first, end) are gone, and so is what kept them. StatusError INVALID_PARAMETER for
        what are no numbers.
        """
        numbers(first=first, end=end)
        pages = range(first, end)
        for page in [
            p
            for p in (pages if end - first < len(self.locked) else self.locked)
            if p in pages and p in self.locked
        ]:
            del self.locked[page]

    def _check_lockable(self, pages: range) -> None:
        """Refuses what cannot be locked by looking at allocations only, not at pages."""
        self.check_alive()
        page = pages.start
        while page < pages.stop:
            vad = self.vads.find(page)
            _, end, protect = vad.run_at(page) if vad is not None else (0, 0, None)
            if protect is None:
                raise StatusError(
                    Status.ACCESS_VIOLATION,
                    f"{self.name}: {page << PAGE_SHIFT:#x} is not committed",
                )
            page = end
        more = (
            sum(1 for page in pages if page not in self.locked)
            if len(pages) <= self.machine.total
            else len(pages)
        )
        if not self.machine.commitment.keeps(more):
            frames = self.machine.commitment.frames_left
            raise StatusError(
                Status.NO_MEMORY,
                f"{self.name}: {len(pages)} pages cannot be locked with "
                f"{counted(frames, 'frame')} for pages, of which others are kept",
            )

    def unlock(self, base: int, size: int, how: int = Lock.PROCESS) -> None:
        """Ends what `lock` began.

        StatusError NOT_LOCKED, and nothing is unlocked, where a page is not locked so;
        INVALID_PARAMETER as there.
        """
        pages = self._locked_range(base, size, how)
        for page in pages:
            if how & ~self.locked.get(page, 0):
                raise StatusError(
                    Status.NOT_LOCKED,
                    f"{self.name}: the page at {page << PAGE_SHIFT:#x} is not locked",
                )
        for page in pages:
            self._unlock(page, how)

    def _locked_range(self, base: int, size: int, how: int) -> range:
        numbers(base=base, size=size, how=how)
        if size <= 0 or base < 0:
            raise StatusError(
                Status.INVALID_PARAMETER, f"{self.name}: {size} bytes at {base:#x} cannot be locked"
            )
        if not 0 < how <= Lock.PROCESS | Lock.SYSTEM:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{self.name}: {how:#x} is no way to lock pages: PROCESS, SYSTEM or both",
            )
        return range(base >> PAGE_SHIFT, base + size + PAGE_SIZE - 1 >> PAGE_SHIFT)

    async def _frame(self) -> int:
        while True:
            frame = self.pages.try_frame(self.privileged)
            if frame:
                return frame
            await self.machine.pageout.relieve(1)

    def check_alive(self) -> None:
        """StatusError PROCESS_IS_TERMINATING for a space that has ended: its tables are somebody
        else's frames.
        """
        if self.ended:
            raise StatusError(Status.PROCESS_IS_TERMINATING, self.ended)

    def _admit(self, address: int, page: int, kind: int) -> tuple[Vad, Protect]:
        """The allocation and protection of a page that a reference may use; the fault otherwise."""
        vad = self.vads.find(page)
        protect = vad.run_at(page)[2] if vad is not None else None
        self.check_alive()
        if vad is None or protect is None:
            raise StatusError(
                Status.ACCESS_VIOLATION, f"{self.name}: {hexed(address)} is not committed"
            )
        if is_guard(protect):
            protect = self._leave_guard(vad, page, protect, address)
        if not permits(protect, kind):
            what = ("read", "written", "executed")[kind]
            raise StatusError(
                Status.ACCESS_VIOLATION,
                f"{self.name}: {address:#x} is {what} and is {protect.name}",
            )
        return vad, protect

    def _leave_guard(self, vad: Vad, page: int, protect: Protect, address: int) -> Protect:
        """A guard page was touched: it is an ordinary one now, and the toucher hears of it, unless
        it is a stack that can still grow.
        """
        plain = protect & ~Protect.GUARD
        if vad in self.stacks:
            if page - 1 <= vad.start:
                raise StatusError(
                    Status.STACK_OVERFLOW,
                    f"{self.name}: stack overflow at {address:#x}: its "
                    f"{vad.end - vad.start} pages are used up",
                )
            self._commit(vad, page - 1, page, protect)
        self._commit(vad, page, page + 1, plain)
        if vad not in self.stacks:
            raise StatusError(
                Status.GUARD_PAGE_VIOLATION, f"{self.name}: {address:#x} is in a guard page"
            )
        return plain

    async def _pieces(self, address: int, size: int, kind: int) -> AsyncIterator[memoryview]:
        while size:
            length = min(size, PAGE_SIZE - address % PAGE_SIZE)
            physical = await self.touch(address, kind)
            yield self.machine.physical.ram.bytes[physical : physical + length]
            address += length
            size -= length

    async def read(self, address: int, size: int) -> bytes:
        """`size` bytes of the space. StatusError as `touch`; INVALID_PARAMETER if negative."""
        numbers(address=address, size=size)
        if size < 0:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{self.name}: {size} bytes at {address:#x} cannot be read",
            )
        return b"".join([bytes(piece) async for piece in self._pieces(address, size, READ)])

    async def write(self, address: int, data: bytes) -> None:
        """Bytes into the space; those before a page that cannot be written have been. StatusError
        as `touch`; INVALID_PARAMETER for what is no bytes.
        """
        numbers(address=address)
        view, done = octets(data, "what is written"), 0
        async for piece in self._pieces(address, len(view), WRITE):
            piece[:] = view[done : done + len(piece)]
            done += len(piece)
