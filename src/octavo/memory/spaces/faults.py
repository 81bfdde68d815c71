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

Only paths that need a frame, or a page from a page file, wait. What a reference has learnt is in
its `Fault`; after a wait it is looked at again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from octavo.arguments import hexed, numbers, whole
from octavo.machine.abi import ACCESSED, DIRTY, FRAME_MASK, PAGE_SIZE, PRESENT, WRITABLE
from octavo.machine.mmukernels import EXECUTE, READ, WRITE
from octavo.memory.pagers.pagefile import is_paged
from octavo.memory.reclaim.pageout import Pageout
from octavo.memory.spaces.allocations import Allocations
from octavo.memory.spaces.fault import STALE, Fault
from octavo.memory.spaces.pageins import PageIns
from octavo.memory.spaces.privatepages import PrivatePages
from octavo.memory.spaces.protect import Protect, admits, is_guard, permits
from octavo.memory.spaces.space import Space
from octavo.memory.spaces.vad import Vad
from octavo.memory.spaces.viewfaults import ViewFaults, makes_copy
from octavo.status import Status, StatusError
from octavo.threads.wait import marks, preemption_point

MOST_TABLES = 4  # frames that one address may need beside its page


class FaultResolver:
    """Resolves the faults of all spaces of a machine. Frames are waited for at `pageout`."""

    def __init__(
        self, pageout: Pageout, allocations: Allocations, view_faults: ViewFaults, page_ins: PageIns
    ) -> None:
        self.pageout, self.allocations = pageout, allocations
        self.view_faults, self.page_ins = view_faults, page_ins
        self.ram = pageout.physical.ram

    async def touch(self, space: Space, address: int, kind: int) -> int:
        """See `AddressSpace.touch`."""
        if type(address) is not int or type(kind) is not int or not READ <= kind <= EXECUTE:
            numbers(address=address)
            whole(kind, f"{space.name}: a kind of reference", READ, EXECUTE)
        fault = Fault(space, address, kind)
        try:
            while True:
                if fault.entry == STALE:
                    if marks.on:
                        await preemption_point()
                    self._look(fault)
                entry = fault.entry
                if entry & PRESENT and (kind != WRITE or entry & WRITABLE):
                    return self._reach(fault)
                try:
                    view = fault.vad.view
                    if view is not None and (not entry or space.pages.is_of_section(entry)):
                        fault.copies = makes_copy(view, fault.protect, kind)
                        if fault.spare or not fault.copies:
                            await self.view_faults.resolve(fault, view)
                        elif not self._try_spare(fault):
                            await self._wait_for_spare(fault)
                    elif not self._resolve_at_once(fault):
                        await self._resolve_slowly(fault)
                except StatusError as error:
                    if error.status != Status.INSUFFICIENT_RESOURCES:
                        raise
                    fault.entry = STALE
                    await self.pageout.relieve(MOST_TABLES)
        finally:
            if fault.spare:
                space.pages.give_back(fault.spare)

    # -- looking ----------------------------------------------------------------------------------

    def _look(self, fault: Fault) -> None:
        """Finds the allocation, the protection and the entry of a page that the reference may use;
        the error otherwise.
        """
        space, page = fault.space, fault.page
        vad = space.vads.find(page)
        protect = vad.span_at(page)[2] if vad is not None else None
        if space.ended:
            space.check_alive()
        if vad is None or protect is None:
            raise StatusError(
                Status.ACCESS_VIOLATION, f"{space.name}: {hexed(fault.address)} is not committed"
            )
        if not admits(protect, fault.kind):
            protect = self._leave_guard(fault, vad, protect)
        if vad.written is not None and fault.kind != WRITE:
            protect = vad.effective(page, protect)
        fault.vad, fault.protect, fault.version = vad, protect, vad.version
        fault.entry = space.tables.get(fault.start)

    def _leave_guard(self, fault: Fault, vad: Vad, protect: Protect) -> Protect:
        """Lets a reference into a guard page by; StatusError ACCESS_VIOLATION for what is not
        permitted.
        """
        if is_guard(protect):
            protect = self._touch_guard(fault, vad, protect)
        if not permits(protect, fault.kind):
            what = ("read", "written", "executed")[fault.kind]
            raise StatusError(
                Status.ACCESS_VIOLATION,
                f"{fault.space.name}: {fault.address:#x} is {what} and is {protect.name}",
            )
        return protect

    def _touch_guard(self, fault: Fault, vad: Vad, protect: Protect) -> Protect:
        """A guard page was touched: it is an ordinary one now, and the toucher hears of it, unless
        it is a stack that can still grow.
        """
        space, page, plain = fault.space, fault.page, protect & ~Protect.GUARD
        is_stack = vad in space.stacks
        if is_stack:
            if page - 1 <= vad.start:
                raise _overflow(fault, vad)
            self.allocations.commit(space, vad, page - 1, page, protect)
        self.allocations.commit(space, vad, page, page + 1, plain)
        if not is_stack:
            raise StatusError(
                Status.GUARD_PAGE_VIOLATION, f"{space.name}: {fault.address:#x} is in a guard page"
            )
        return plain

    @staticmethod
    def _reach(fault: Fault) -> int:
        """The reference is made: accessed and dirty bits are set, as the processor does."""
        space, entry, written = fault.space, fault.entry, fault.kind == WRITE
        marked = entry | ACCESSED | DIRTY if written else entry | ACCESSED
        if marked != entry:
            space.tables.put(fault.start, marked)
        if written and fault.vad.written is not None:
            fault.vad.written.add(fault.page)
        return entry & FRAME_MASK | fault.address & PAGE_SIZE - 1

    # -- private pages ----------------------------------------------------------------------------

    def _resolve_at_once(self, fault: Fault) -> bool:
        """Brings a private page as far as that needs no wait; False when it must be waited."""
        pages, entry = fault.space.pages, fault.entry
        if entry and self._has_page(pages, entry):  # held, or shared with nobody any more
            fault.entry = pages.remake(fault.start, entry, fault.protect)
            return True
        if not fault.spare and not self._try_spare(fault):
            return False
        if is_paged(entry):
            return False
        if entry:
            fault.entry = pages.copy(fault.start, entry, fault.spare, fault.protect)
        else:
            used = ACCESSED | DIRTY if fault.kind == WRITE else ACCESSED
            fault.entry = pages.supply(fault.start, fault.spare, fault.protect, used)
        fault.take_spare()
        return True

    async def _resolve_slowly(self, fault: Fault) -> None:
        """Waits for a frame, or for a page from a page file."""
        if not fault.spare:
            await self._wait_for_spare(fault)
            return
        entry, fault.entry = fault.entry, STALE
        await self.page_ins.page_in(fault, entry)

    @staticmethod
    def _try_spare(fault: Fault) -> bool:
        """Counts a fault that needs a frame, and takes one; False when none is to be had now."""
        pages = fault.space.pages
        fault.space.faults += 1
        if not fault.entry & PRESENT:
            pages.replacement.miss_private(pages.family, fault.page)
        fault.spare = pages.try_frame(fault.space.privileged)
        return fault.spare != 0

    async def _wait_for_spare(self, fault: Fault) -> None:
        fault.entry = STALE  # others may be here meanwhile
        space = fault.space
        while not fault.spare:
            await self.pageout.relieve(1)
            fault.spare = space.pages.try_frame(space.privileged)

    @staticmethod
    def _has_page(pages: PrivatePages, entry: int) -> bool:
        """True for a private page in a frame of its own, which only needs another entry."""
        if is_paged(entry) or pages.is_of_section(entry):
            return False
        return not (entry & PRESENT and pages.needs_copy(entry))

    # -- bytes ------------------------------------------------------------------------------------

    async def pieces(
        self, space: Space, address: int, size: int, kind: int
    ) -> AsyncIterator[memoryview]:
        """The bytes of [address, address + size), a page or less at a time, each good until the
        next wait. StatusError as `touch`.
        """
        while size:
            length = min(size, PAGE_SIZE - address % PAGE_SIZE)
            physical = await self.touch(space, address, kind)
            yield self.ram.bytes[physical : physical + length]
            address += length
            size -= length


def _overflow(fault: Fault, vad: Vad) -> StatusError:
    return StatusError(
        Status.STACK_OVERFLOW,
        f"{fault.space.name}: stack overflow at {fault.address:#x}: its "
        f"{vad.end - vad.start} pages are used up",
    )
