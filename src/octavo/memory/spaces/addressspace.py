"""Address spaces: NT's calls on private memory, with its rounding, granularity and statuses.

    allocate   reserve addresses (64 KiB granularity), commit pages (zeroed at their first touch),
               or both
    free       decommit pages, or release addresses: all of an allocation, or a part of it
    protect    another protection for committed pages; returns the old one of the first
    query      what lies at an address
    touch, read, write, lock: what a reference does, see `octavo.memory.spaces.faults`
    map        shows a part of a section at addresses of the space; map_image loads a program
    unmap      ends a view, found by any address in it; all parts of an image go together
    flush      writes what is dirty of a view
    advise     how memory will be used, private or mapped: what faults bring in, and WILLNEED and
               DONTNEED at once
    set_inheritance     what a fork makes of an allocation; fork is `VirtualMemory`'s

A committed page is charged to the machine's commit limit, and gets a frame when it is touched. A
guard page raises GUARD_PAGE_VIOLATION once and is an ordinary page then; in a stack it moves down a
page instead, as far as the second page of the allocation, where touching it is STACK_OVERFLOW.

Addresses are the space's own; errors name them. Nothing waits but what needs a frame (`touch`,
`read`, `write`, `lock`, `map_image`, `advise`) or a device (`flush`). Protect, query and lock are
for views, too, and committing pages of a RESERVE section is.

Source: NT's virtual memory calls, NtMapViewOfSection and its relatives (docs/statuses.md has the
cases); Mach's vm_inherit and behaviours of map entries. Departures: no handles, so a space is an
object; physical (AWE) pages are refused; zero bits that are a mask are refused; copy-on-write after
fork counts commit for both sides at once; a page of a view whose protection changes leaves the
tables until it is touched; a view of a file may be mapped with RESERVE and grows with `extend` and
another `map`, not in place; an allocation of private memory cannot be shared with children
afterwards: map a section instead; a view's pages may be given any protection that its section
allows, whatever the view was mapped with.
"""

from __future__ import annotations

import enum
from collections.abc import Coroutine
from typing import Any

from octavo.arguments import numbers, octets, whole
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.machine.mmukernels import READ, WRITE
from octavo.memory.pages.writeback import WriteBack
from octavo.memory.spaces.adviser import Adviser
from octavo.memory.spaces.allocations import Allocations
from octavo.memory.spaces.faults import FaultResolver
from octavo.memory.spaces.imageloader import ImageLoader
from octavo.memory.spaces.locks import Lock, Locks
from octavo.memory.spaces.mapping import Mapper, Wish, no_view
from octavo.memory.spaces.privatepages import PrivatePages
from octavo.memory.spaces.protect import Protect, check_protect
from octavo.memory.spaces.query import MemoryInformation, describe
from octavo.memory.spaces.space import GRANULARITY, Space
from octavo.memory.spaces.spans import pages_for, pages_in
from octavo.memory.spaces.vad import Vad
from octavo.memory.spaces.view import Inherit, SectionObject, View
from octavo.printing import counted
from octavo.status import Status, StatusError


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


_WAYS = Allocate.COMMIT | Allocate.RESERVE | Allocate.RESET
_KNOWN_WAYS = _WAYS | Allocate.TOP_DOWN | Allocate.WRITE_WATCH


def _check_how(how: int) -> None:
    """StatusError INVALID_PARAMETER_5 for what is no way to allocate."""
    watch = how & Allocate.WRITE_WATCH and not how & Allocate.RESERVE
    alone = not how & Allocate.RESET or how == Allocate.RESET
    if how & ~int(_KNOWN_WAYS) or not how & _WAYS or watch or not alone:
        raise StatusError(
            Status.INVALID_PARAMETER_5,
            f"{how:#x} is no way to allocate: RESERVE, COMMIT or both, with TOP_DOWN "
            "or not; RESET alone",
        )


class AddressSpace(Space):
    """One space, made by `VirtualMemory.create`, with the parts of its machine that do what it is
    asked.
    """

    def __init__(
        self,
        name: str,
        pages: PrivatePages,
        allocations: Allocations,
        faults: FaultResolver,
        locks: Locks,
        mapper: Mapper,
        loader: ImageLoader,
        adviser: Adviser,
        writeback: WriteBack,
    ) -> None:
        super().__init__(name, pages)
        self._allocations, self._faults, self._locks = allocations, faults, locks
        self._mapper, self._loader, self._adviser = mapper, loader, adviser
        self._writeback = writeback

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
        _check_how(how)
        allowed = check_protect(protect, copies=False)
        if how & Allocate.RESET:
            return self._reset(base, size)
        if how & Allocate.RESERVE or not base:
            return self._reserve(base, size, how, allowed, below)
        first, end = pages_in(base, size)
        vad = self.whole(first, end, Status.CONFLICTING_ADDRESSES)
        self._allocations.commit(self, vad, first, end, allowed)
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
        if base:
            first, end = pages_in(base, size)
            first &= -GRANULARITY
            if not self.vads.free(first, end):
                raise StatusError(
                    Status.CONFLICTING_ADDRESSES,
                    f"{end - first} pages at {first << PAGE_SHIFT:#x} are not free",
                )
        else:
            first = self.gap(pages_for(size), bool(how & Allocate.TOP_DOWN), below)
            end = first + pages_for(size)
        vad = Vad(first, end, protect, written=set() if how & Allocate.WRITE_WATCH else None)
        if how & Allocate.COMMIT:
            self._allocations.commit(self, vad, first, end, protect)
        self.vads.add(vad)
        return first << PAGE_SHIFT, end - first << PAGE_SHIFT

    def write_watch(self, base: int, size: int, reset: bool = False) -> list[int]:
        """The addresses of the pages of a WRITE_WATCH allocation, ascending, that were written
        since they were watched, or since the last reset.

        StatusError INVALID_PARAMETER_2 where not all is in one such allocation, _3 for no bytes and
        for more than user space has there.
        """
        self._check_range(base, size, 1, Status.INVALID_PARAMETER_3)
        first, end = pages_in(base, size)
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
                    self._allocations.protect(self, vad, a, b, protect)
        return [page << PAGE_SHIFT for page in written]

    def _reset(self, base: int, size: int) -> tuple[int, int]:
        """What committed pages hold is of no interest any more: whole pages are dropped,
        protections stay.
        """
        first, end = pages_in(base, size)
        if self.whole(first, end, Status.CONFLICTING_ADDRESSES).view is not None:
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
        vad = self.whole(*pages_in(base, size), Status.CONFLICTING_ADDRESSES)
        guard = max(vad.end - max(-(-commit // PAGE_SIZE), 1) - 1, vad.start)
        try:
            self._allocations.commit(self, vad, guard, vad.end, Protect.READWRITE)
        except StatusError:
            self.free(base, 0, Free.RELEASE)
            raise
        guarded = Protect.READWRITE | Protect.GUARD
        self._allocations.protect(self, vad, guard, guard + 1, guarded)
        self.stacks.add(vad)
        return base, base + size

    def set_working_set(self, minimum: int, maximum: int | None = None) -> None:
        """Pages that the space keeps in frames, and pages beyond which it is trimmed first when
        memory is short. StatusError INVALID_PARAMETER.
        """
        numbers(minimum=minimum, maximum=minimum if maximum is None else maximum)
        self._locks.set_working_set(self, minimum, maximum)

    # -- free, protect, query ---------------------------------------------------------------------

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
        vad, first, end = self._to_free(base, size)
        parts = self._allocations
        change = parts.decommit if how == Free.DECOMMIT else parts.release
        change(self, vad, first, end)
        return first << PAGE_SHIFT, end - first << PAGE_SHIFT

    def _to_free(self, base: int, size: int) -> tuple[Vad, int, int]:
        """The allocation, the first page and the end of what `free` is called for."""
        vad = self.vads.find(base >> PAGE_SHIFT)
        if vad is None:
            raise StatusError(Status.MEMORY_NOT_ALLOCATED, f"nothing is allocated at {base:#x}")
        if vad.view is not None or vad.image is not None:
            raise StatusError(
                Status.UNABLE_TO_DELETE_SECTION, f"{base:#x} is in a view or an image: unmap it"
            )
        first, end = pages_in(base, size)
        if size == 0 and first == vad.start:
            return vad, vad.start, vad.end
        if size == 0:
            raise StatusError(
                Status.FREE_VM_NOT_AT_BASE,
                f"{base:#x} is not where its allocation begins, {vad.start << PAGE_SHIFT:#x}",
            )
        if end > vad.end:
            raise StatusError(
                Status.UNABLE_TO_FREE_VM,
                f"{size} bytes at {base:#x} do not lie in one allocation of {self.name}",
            )
        return vad, first, end

    def protect(self, base: int, size: int, protect: int) -> tuple[int, int, Protect]:
        """Gives committed pages another protection; returns base and size as rounded, and the old
        protection of the first page.

        StatusError CONFLICTING_ADDRESSES, NOT_COMMITTED, INVALID_PAGE_PROTECTION,
        INVALID_PARAMETER_2 (base) and _3 (size): nothing is changed then.
        """
        self._check_range(base, size, 1, Status.INVALID_PARAMETER_3)
        numbers(protect=protect)
        first, end = pages_in(base, size)
        found = self.vads.find(first)
        allowed = check_protect(protect, copies=found is not None and found.view is not None)
        vad = self.whole(first, end, Status.CONFLICTING_ADDRESSES)
        old = vad.span_at(first)[2]
        if old is None or vad.committed(first, end) < end - first:
            raise StatusError(
                Status.NOT_COMMITTED,
                f"not all of {end - first} pages at {first << PAGE_SHIFT:#x} are committed",
            )
        if vad.view is not None:
            allowed = self._allocations.for_view(self, vad, allowed)
        self._allocations.protect(self, vad, first, end, allowed)
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
        return describe(self, page)

    # -- references -------------------------------------------------------------------------------

    def touch(self, address: int, kind: int = READ) -> Coroutine[Any, Any, int]:
        """The physical address of a reference, after whatever fault it takes.

        StatusError ACCESS_VIOLATION, GUARD_PAGE_VIOLATION, STACK_OVERFLOW, IN_PAGE_ERROR,
        NO_MEMORY; INVALID_PARAMETER for what is no address or none of the kinds of
        `octavo.machine.mmukernels`.
        """
        return self._faults.touch(self, address, kind)

    async def read(self, address: int, size: int) -> bytes:
        """`size` bytes of the space. StatusError as `touch`; INVALID_PARAMETER if negative."""
        numbers(address=address, size=size)
        if size < 0:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{self.name}: {size} bytes at {address:#x} cannot be read",
            )
        pieces = self._faults.pieces(self, address, size, READ)
        return b"".join([bytes(piece) async for piece in pieces])

    async def write(self, address: int, data: bytes) -> None:
        """Bytes into the space; those before a page that cannot be written have been. StatusError
        as `touch`; INVALID_PARAMETER for what is no bytes.
        """
        numbers(address=address)
        view, done = octets(data, "what is written"), 0
        async for piece in self._faults.pieces(self, address, len(view), WRITE):
            piece[:] = view[done : done + len(piece)]
            done += len(piece)

    async def lock(self, base: int, size: int, how: int = Lock.PROCESS) -> Status:
        """Brings committed pages in and keeps them in frames; WAS_LOCKED when one of them was
        locked so before, else SUCCESS.

        StatusError INVALID_PARAMETER for no bytes or a `how` that is no `Lock`, ACCESS_VIOLATION
        where a page may not be read, NO_MEMORY: none is locked then.
        """
        return await self._locks.lock(self, base, size, how)

    def unlock(self, base: int, size: int, how: int = Lock.PROCESS) -> None:
        """Ends what `lock` began.

        StatusError NOT_LOCKED, and nothing is unlocked, where a page is not locked so;
        INVALID_PARAMETER as there.
        """
        self._locks.unlock(self, base, size, how)

    # -- views ------------------------------------------------------------------------------------

    def map(
        self,
        section: SectionObject,
        base: int = 0,
        size: int = 0,
        offset: int = 0,
        protect: int = Protect.READWRITE,
        inherit: int = Inherit.SHARE,
        commit: int = 0,
        zero_bits: int = 0,
        how: int = 0,
    ) -> tuple[int, int]:
        """Shows `size` bytes of a section (0: all to its end) from `offset` on, at `base` (0:
        anywhere); returns base and size.

        With RESERVE in `how` the section is a file's that may be written. For an image use
        `map_image`. StatusError INVALID_PARAMETER_3 (base or size), _4 (zero bits), _5 (commit), _8
        (inherit), _9 (how), MAPPED_ALIGNMENT, INVALID_VIEW_SIZE, INVALID_PAGE_PROTECTION,
        SECTION_PROTECTION, CONFLICTING_ADDRESSES, NO_MEMORY, COMMITMENT_LIMIT, FILE_CLOSED (the
        section): nothing is mapped then.
        """
        numbers(
            base=base,
            size=size,
            offset=offset,
            protect=protect,
            inherit=inherit,
            commit=commit,
            zero_bits=zero_bits,
            how=how,
        )
        wish = Wish(base, size, offset, protect, inherit, commit, zero_bits, how)
        return self._mapper.map(self, section, wish)

    async def map_image(self, section: SectionObject) -> tuple[int, int, Status]:
        """Loads an image section; returns where it begins, its entry point, and whether that is
        where its headers say.

        That is SUCCESS, or IMAGE_NOT_AT_BASE. One that can be anywhere is where they say if that is
        free. StatusError SECTION_NOT_IMAGE, INVALID_IMAGE_FORMAT, CONFLICTING_ADDRESSES,
        COMMITMENT_LIMIT, NO_MEMORY, FILE_CLOSED (the section), NOT_MAPPED_VIEW (somebody has
        unmapped it meanwhile): nothing is mapped then.
        """
        return await self._loader.load(self, section)

    def unmap(self, address: int) -> None:
        """Ends the view that an address is in. StatusError NOT_MAPPED_VIEW."""
        numbers(address=address)
        self._mapper.unmap(self, address)

    def _view(self, address: int) -> View:
        numbers(address=address)
        vad = self.vads.find(address >> PAGE_SHIFT)
        if vad is None or vad.view is None:
            raise no_view(address)
        return vad.view

    async def flush(self, address: int, size: int = 0) -> tuple[int, int]:
        """Writes what is dirty of `size` bytes of a view from `address` on (0: to its end) to where
        its section is kept; returns them rounded to pages.

        StatusError NOT_MAPPED_VIEW, INVALID_PARAMETER_3 (size), or that of the write.
        """
        numbers(size=size)
        view = self._view(address)
        first = address >> PAGE_SHIFT
        end = pages_in(address, size)[1] if size else view.end
        if size < 0 or end > view.end:
            raise StatusError(
                Status.INVALID_PARAMETER_3,
                f"{size} bytes at {address:#x} do not lie in the view there",
            )
        pages = view.page_at(first), view.page_at(end)
        await self._writeback.flush(view.object.section, *pages)
        return first << PAGE_SHIFT, end - first << PAGE_SHIFT

    def set_inheritance(self, address: int, inherit: int) -> None:
        """What a fork makes of the allocation at an address. StatusError MEMORY_NOT_ALLOCATED,
        INVALID_PARAMETER.
        """
        numbers(address=address, inherit=inherit)
        vad = self.vads.find(address >> PAGE_SHIFT)
        if vad is None:
            raise StatusError(Status.MEMORY_NOT_ALLOCATED, f"nothing is allocated at {address:#x}")
        possible = (
            (Inherit.COPY, Inherit.NONE) if vad.view is None else (Inherit.SHARE, Inherit.NONE)
        )
        if inherit not in possible:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{address:#x} can be inherited as {' or '.join(i.name for i in possible)} only",
            )
        vad.inherit = Inherit(inherit)

    async def advise(self, base: int, size: int, advice: int) -> None:
        """How [base, base + size) will be used; all but WILLNEED and DONTNEED hold for whole
        allocations. Advice never fails for want of memory.

        StatusError INVALID_PARAMETER for no advice or a negative size, MEMORY_NOT_ALLOCATED where
        nothing is.
        """
        numbers(base=base, size=size, advice=advice)
        await self._adviser.advise(self, base, size, advice)
