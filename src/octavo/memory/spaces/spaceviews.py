"""Views in an address space: NT's calls on mapped sections.

    map        shows a part of a section at addresses of the space, or loads an image
    unmap      ends a view, found by any address in it; all parts of an image go together
    flush      writes what is dirty of a view
    advise     how memory will be used, private or mapped: what faults bring in, and WILLNEED and
               DONTNEED at once
    set_inheritance     what a fork makes of an allocation

Source: NT's NtMapViewOfSection and its relatives; Mach's vm_inherit and behaviours of map entries.
Departures: a view of a file may be mapped with RESERVE and grows with `extend` and another `map`,
not in place; an allocation of private memory cannot be shared with children afterwards: map a
section instead; a view's pages may be given any protection that its section allows, whatever the
view was mapped with; zero bits that are a mask are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo.arguments import given, numbers, shown
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, SEGMENT_PAGES, SEGMENT_SHIFT
from octavo.machine.mmukernels import WRITE
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.image import HEADER_BYTES, Image, Part, parse_image
from octavo.memory.spaces.privatepages import is_paged
from octavo.memory.spaces.protect import Protect, check_protect, is_copy, is_held, may_write
from octavo.memory.spaces.sections import Attribute, SectionObject
from octavo.memory.spaces.spacefaults import SpaceFaults
from octavo.memory.spaces.vad import Run, Vad
from octavo.memory.spaces.view import Inherit, View
from octavo.printing import counted
from octavo.status import Status, StatusError

GRANULARITY = 16  # pages
TOP_DOWN = 0x100000
MOST_ZERO_BITS = 21
RESERVE = 0x2000
_TYPES = 0x102000  # TOP_DOWN, and RESERVE for a file


class SpaceViews(SpaceFaults):
    """The part of an `AddressSpace` that maps sections."""

    charge: int
    minimum: int
    maximum: int | None

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
        self._refuse_mapping(section, base, size, inherit, commit, how)
        allowed = self.machine.sections.allow(section, check_protect(protect, copies=True))
        if how & RESERVE and not may_write(section.protect):
            raise StatusError(
                Status.SECTION_PROTECTION,
                f"{section.name}: was made {section.protect.name}, and a view to grow in "
                "needs one that may be written",
            )
        length = self._length(section, base, size, offset)
        pages = length + PAGE_SIZE - 1 >> PAGE_SHIFT
        start = self._place(section, base >> PAGE_SHIFT, pages, zero_bits, bool(how & TOP_DOWN))
        first = offset >> PAGE_SHIFT
        vad = self._show(section, start, pages, first, allowed, Inherit(inherit))
        try:
            self.machine.sections.commit(
                section, first, first + min(commit + PAGE_SIZE - 1 >> PAGE_SHIFT, pages)
            )
        except StatusError:
            self.remove(vad)
            raise
        if section.attributes & Attribute.BASED:
            section.base = start
        return start << PAGE_SHIFT, pages << PAGE_SHIFT

    def _refuse_mapping(
        self, section: SectionObject, base: int, size: int, inherit: int, commit: int, how: int
    ) -> None:
        """Arguments of `map` that are wrong whatever the section has."""
        self.machine.sections.check_open(section)
        if section.attributes & Attribute.IMAGE:
            raise StatusError(
                Status.INVALID_PARAMETER, f"{section.name} is an image: map_image loads it"
            )
        if (
            size < 0
            or size >= 1 << 63
            or (base and not self.vads.low << PAGE_SHIFT <= base < self.vads.high << PAGE_SHIFT)
        ):
            raise StatusError(
                Status.INVALID_PARAMETER_3, f"{size} bytes at {base:#x} are no place for a view"
            )
        if inherit not in (Inherit.SHARE, Inherit.NONE):
            raise StatusError(
                Status.INVALID_PARAMETER_8,
                f"{inherit} is no way for a view to be inherited: SHARE or NONE",
            )
        if how & ~_TYPES or (how & RESERVE and section.paged):
            raise StatusError(
                Status.INVALID_PARAMETER_9, f"{how:#x} is no way to map {section.name}"
            )
        if commit < 0 or commit > section.size or (commit and not section.paged):
            raise StatusError(
                Status.INVALID_PARAMETER_5,
                f"{counted(commit, 'byte')} of {section.name} cannot be committed by mapping it",
            )

    def _length(self, section: SectionObject, base: int, size: int, offset: int) -> int:
        """The bytes of a view, which lie in the section."""
        grain = 0xFFFF
        if offset & grain or base & grain:
            raise StatusError(
                Status.MAPPED_ALIGNMENT,
                f"offset {offset:#x} and base {base:#x} are not both multiples of 64 KiB",
            )
        length = size or section.size - offset
        if not 0 <= offset < section.shape.end << PAGE_SHIFT or length <= 0:
            raise StatusError(
                Status.INVALID_VIEW_SIZE,
                f"offset {offset} is not inside {section.name}, which has "
                f"{counted(section.size, 'byte')}",
            )
        if offset + length > section.shape.end << PAGE_SHIFT:
            raise StatusError(
                Status.INVALID_VIEW_SIZE,
                f"{counted(length, 'byte')} from {offset} on do not lie in {section.name}, "
                f"which has {section.size}",
            )
        return length

    def _place(
        self, section: SectionObject, page: int, pages: int, zero_bits: int, top_down: bool
    ) -> int:
        """The page at which a view will begin."""
        self.check_alive()
        below = self.below(zero_bits, Status.INVALID_PARAMETER_4)
        if zero_bits and page and page + pages > below:
            raise StatusError(
                Status.INVALID_PARAMETER_4,
                f"{pages} pages at {page << PAGE_SHIFT:#x} do not leave {zero_bits} high bits zero",
            )
        page = page or section.base
        if page:
            if not self.vads.free(page, page + pages):
                raise StatusError(
                    Status.CONFLICTING_ADDRESSES,
                    f"{pages} pages at {page << PAGE_SHIFT:#x} are not free",
                )
        else:
            page = self.vads.gap(pages, GRANULARITY, top_down, below)
            if page < 0:
                raise self._no_gap(pages, below)
        return page

    def below(self, zero_bits: int, status: Status) -> int:
        """The page below which addresses have so many high bits of 32 zero (0: where user space
        ends).

        StatusError `status` for what is no such number, INVALID_PARAMETER for what is no number.
        """
        numbers(zero_bits=zero_bits)
        if not 0 <= zero_bits <= MOST_ZERO_BITS:
            raise StatusError(
                status,
                "the number of an address's high bits that are zero cannot be "
                f"{shown(zero_bits)}: it is from 0 to {MOST_ZERO_BITS}",
            )
        return (
            min(self.vads.high, 1 << 32 - zero_bits >> PAGE_SHIFT) if zero_bits else self.vads.high
        )

    def _no_gap(self, pages: int, below: int) -> StatusError:
        """The error of addresses that are not to be had below page `below`."""
        low = self.vads.low << PAGE_SHIFT
        if below <= self.vads.low:
            return StatusError(
                Status.NO_MEMORY,
                f"{self.name} has no addresses with so many zero bits: the lowest is {low:#x}",
            )
        return StatusError(
            Status.NO_MEMORY,
            f"{self.name} has no {counted(pages, 'page')} of free addresses in a row "
            f"between {low:#x} and {below << PAGE_SHIFT:#x}",
        )

    def _show(
        self,
        section: SectionObject,
        start: int,
        pages: int,
        first: int,
        protect: Protect,
        inherit: Inherit,
    ) -> Vad:
        runs: list[Run] = [
            (a - first + start, b - first + start, protect if p is not None else None)
            for a, b, p in section.shape.parts(first, first + pages)
        ]
        vad = Vad(start, start + pages, protect, runs, None, inherit, is_copy(protect))
        if vad.copies:
            self._charge(pages, runs)
        vad.view = View(self, vad, section, first)
        self.watch(vad.view)
        self.vads.add(vad)
        return vad

    def watch(self, view: View) -> None:
        """Makes a view known to its section. StatusError INVALID_PARAMETER for what is no view."""
        given(view, View, "a view")
        view.object.views.append(view)
        if not view.object.frame:
            view.object.section.views.append(view)

    def _charge(self, pages: int, runs: Sequence[Run] = ()) -> None:
        """Charges private pages, which will lie in these runs, or gives charge back where they are
        negative.
        """
        self.machine.commitment.charge(pages, self.name, self.machine.commitment.tables_for(runs))
        self.charge += pages

    # -- images -----------------------------------------------------------------------------------

    async def map_image(self, section: SectionObject) -> tuple[int, int, Status]:
        """Loads an image section; returns where it begins, its entry point, and whether that is
        where its headers say.

        That is SUCCESS, or IMAGE_NOT_AT_BASE. One that can be anywhere is where they say if that is
        free. StatusError SECTION_NOT_IMAGE, INVALID_IMAGE_FORMAT, CONFLICTING_ADDRESSES,
        COMMITMENT_LIMIT, NO_MEMORY, FILE_CLOSED (the section), NOT_MAPPED_VIEW (somebody has
        unmapped it meanwhile): nothing is mapped then.
        """
        self.machine.sections.check_open(section)
        if not section.attributes & Attribute.IMAGE:
            raise StatusError(Status.SECTION_NOT_IMAGE, f"{section.name} was not made as an image")
        parts: list[Vad] = []
        try:
            head = await self._head(section)
            self.machine.sections.check_open(section)
            image = parse_image(
                section.name,
                head,
                section.section.size,
                self.tables.format.entry_size == 8 and self.tables.format.virtual_bits > 32,
            )
            shift = self._shift(section, image)
            for part in image.parts:  # nothing waits before all of them are there
                self._show_part(section, part, shift, parts)
            for part in image.parts:
                await self._clear_tail(section, part, shift, parts)
        except StatusError:
            for vad in parts:
                self.remove(vad)
            self.machine.sections.release(section)
            raise
        return (
            image.pages[0] + shift << PAGE_SHIFT,
            image.entry + (shift << PAGE_SHIFT),
            Status.IMAGE_NOT_AT_BASE if shift else Status.SUCCESS,
        )

    def _shift(self, section: SectionObject, image: Image) -> int:
        """By how many pages an image is moved from where its headers say."""
        low, high = image.pages
        if self.vads.free(low, high):
            return 0
        if image.fixed:
            raise StatusError(
                Status.CONFLICTING_ADDRESSES,
                f"{section.name} must be at {low << PAGE_SHIFT:#x}, which is not free",
            )
        place = self.vads.gap(high - low, GRANULARITY, False, self.vads.high)
        if place < 0:
            raise self._no_gap(high - low, self.vads.high)
        return place - low

    async def _head(self, section: SectionObject) -> bytes:
        """The first bytes of an image, seen through a view that is there for a moment."""
        pages = min(section.shape.end, HEADER_BYTES >> PAGE_SHIFT)
        vad = self._show(
            section,
            self._place(section, 0, pages, 0, True),
            pages,
            0,
            Protect.READONLY,
            Inherit.NONE,
        )
        try:
            head = await self.read(vad.start << PAGE_SHIFT, min(HEADER_BYTES, section.section.size))
            if self.vads.find(vad.start) is not vad:
                raise StatusError(
                    Status.NOT_MAPPED_VIEW,
                    f"{section.name} was unmapped from {self.name} while it was loaded",
                )
            return head
        finally:
            self.remove(vad)

    def _show_part(self, section: SectionObject, part: Part, shift: int, parts: list[Vad]) -> None:
        start, middle = part.page + shift, part.page + shift + part.mapped
        if part.mapped:
            self._join(
                self._show(section, start, part.mapped, part.first, part.protect, Inherit.SHARE),
                parts,
            )
        if part.pages > part.mapped:
            rest = Vad(middle, start + part.pages, Protect.READWRITE)
            self._charge(part.pages - part.mapped, [(rest.start, rest.end, Protect.READWRITE)])
            rest.set(rest.start, rest.end, Protect.READWRITE)
            self.vads.add(rest)
            self._join(rest, parts)

    async def _clear_tail(
        self, section: SectionObject, part: Part, shift: int, parts: list[Vad]
    ) -> None:
        """Fills what the last page of a part's file has behind it with zeros, in a copy."""
        if not part.mapped or part.tail == PAGE_SIZE or not is_copy(part.protect):
            return
        last = part.page + shift + part.mapped - 1
        physical = await self.touch(last << PAGE_SHIFT, WRITE)
        if self.vads.find(last) not in parts:
            raise StatusError(
                Status.NOT_MAPPED_VIEW,
                f"{section.name} was unmapped from {self.name} while it was loaded",
            )
        self.machine.physical.ram.bytes[physical + part.tail : physical + PAGE_SIZE] = bytes(
            PAGE_SIZE - part.tail
        )

    @staticmethod
    def _join(vad: Vad, image: list[Vad]) -> None:
        vad.image = image
        image.append(vad)

    # -- ending, flushing, advice -----------------------------------------------------------------

    def _view(self, address: int) -> View:
        numbers(address=address)
        vad = self.vads.find(address >> PAGE_SHIFT)
        if vad is None or vad.view is None:
            raise StatusError(Status.NOT_MAPPED_VIEW, f"no view is mapped at {address:#x}")
        return vad.view

    def unmap(self, address: int) -> None:
        """Ends the view that an address is in. StatusError NOT_MAPPED_VIEW."""
        numbers(address=address)
        found = self.vads.find(address >> PAGE_SHIFT)
        parts = (
            list(found.image) if found is not None and found.image else [self._view(address).vad]
        )
        for vad in parts:
            self.remove(vad)
        for vad in parts:
            if vad.view is not None:
                self.machine.sections.release(vad.view.object)

    def remove(self, vad: Vad) -> None:
        """Takes an allocation away, unless the space has ended with it meanwhile; the section of a
        view goes on to be.

        StatusError INVALID_PARAMETER for what is no allocation.
        """
        given(vad, Vad, "an allocation")
        if self.vads.find(vad.start) is not vad:
            return
        self.pages.drop(vad.start << PAGE_SHIFT, vad.end << PAGE_SHIFT)
        self._charge(-vad.charge)
        self.forget_locks(vad.start, vad.end)
        self.vads.remove(vad)
        self.stacks.discard(vad)
        if vad.view is not None:
            vad.view.object.views.remove(vad.view)
            if not vad.view.object.frame:
                vad.view.object.section.views.remove(vad.view)

    async def flush(self, address: int, size: int = 0) -> tuple[int, int]:
        """Writes what is dirty of `size` bytes of a view from `address` on (0: to its end) to where
        its section is kept; returns them rounded to pages.

        StatusError NOT_MAPPED_VIEW, INVALID_PARAMETER_3 (size), or that of the write.
        """
        numbers(size=size)
        vad = (view := self._view(address)).vad
        first, end = (
            address >> PAGE_SHIFT,
            address + size + PAGE_SIZE - 1 >> PAGE_SHIFT if size else vad.end,
        )
        if size < 0 or end > vad.end:
            raise StatusError(
                Status.INVALID_PARAMETER_3,
                f"{size} bytes at {address:#x} do not lie in the view there",
            )
        await self.machine.pageout.writeback.flush(
            view.object.section, view.page_at(first), view.page_at(end)
        )
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
        if size < 0:
            raise StatusError(
                Status.INVALID_PARAMETER, f"{size} bytes at {base:#x} are none to advise on"
            )
        if advice not in tuple(Advice):
            raise StatusError(Status.INVALID_PARAMETER, f"{advice} is no advice")
        first, end = base >> PAGE_SHIFT, base + max(size, 1) + PAGE_SIZE - 1 >> PAGE_SHIFT
        vads = [vad for vad in self.vads.all if vad.start < end and vad.end > first]
        if not vads:
            raise StatusError(Status.MEMORY_NOT_ALLOCATED, f"nothing is allocated at {base:#x}")
        for vad in vads:
            if (
                self.vads.find(vad.start) is vad
            ):  # it may have gone while those before it were attended to
                await self._advise(vad, max(first, vad.start), min(end, vad.end), Advice(advice))

    async def _advise(self, vad: Vad, first: int, end: int, advice: Advice) -> None:
        view = vad.view
        if advice not in (Advice.WILLNEED, Advice.DONTNEED):
            vad.advice = advice
            if view is not None:
                view.advice = advice
        elif view is None:
            if advice == Advice.DONTNEED:
                await self.machine.eviction.let_go(self, first, end)
            else:
                await self._bring(first, end)
        elif advice == Advice.DONTNEED:
            view.let_go(view.page_at(first), view.page_at(end))
        else:
            await self._fetch(view, view.page_at(first), view.page_at(end))

    async def _bring(self, first: int, end: int) -> None:
        """Brings private pages back from page files, as far as half of what is available goes."""
        end = min(end, first + self.machine.physical.available // 2)
        try:
            for address, entry in list(self.tables.entries(first << PAGE_SHIFT, end << PAGE_SHIFT)):
                if is_paged(entry) and self._can_be_read(address >> PAGE_SHIFT):
                    await self.touch(address)
        except StatusError:
            pass  # whoever needs the page will hear of it

    def _can_be_read(self, page: int) -> bool:
        """True for a page that can be touched without anybody noticing."""
        vad = self.vads.find(page)
        protect = vad.run_at(page)[2] if vad is not None else None
        return protect is not None and not is_held(protect)

    async def _fetch(self, view: View, first: int, end: int) -> None:
        """Brings pages to the standby list, as far as half of what is available goes, while the
        view is there.
        """
        residency, faults, section = (
            self.machine.residency,
            self.machine.faults,
            view.object.section,
        )
        most = first + self.machine.physical.available // 2
        while first < (end := min(end, most, section.pages)) and view in section.views:
            segment = residency.segments.try_get(section, first >> SEGMENT_SHIFT)
            if segment is None:
                return
            i, stop = first % SEGMENT_PAGES, min(SEGMENT_PAGES, first % SEGMENT_PAGES + end - first)
            try:
                with residency.held(segment, i, stop):
                    await faults.make_resident(segment, i, stop, stop)
            except StatusError:
                return  # whoever needs the page will hear of it
            first += stop - i
