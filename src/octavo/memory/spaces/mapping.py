"""Mapping: which part of a section is shown where in a space, and the end of that.

Who calls it is `AddressSpace`, which says what its calls are; images are mapped by
`octavo.memory.spaces.imageloader`, with the same steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from octavo.machine.abi import PAGE_SHIFT
from octavo.memory.spaces.allocations import Allocations
from octavo.memory.spaces.commit import Commitment
from octavo.memory.spaces.protect import Protect, check_protect, is_copy, may_write
from octavo.memory.spaces.sectionobjects import SectionObjects
from octavo.memory.spaces.space import Space
from octavo.memory.spaces.spans import Span, pages_for
from octavo.memory.spaces.vad import Vad
from octavo.memory.spaces.view import Attribute, Inherit, SectionObject, View
from octavo.printing import counted
from octavo.status import Status, StatusError

TOP_DOWN = 0x100000
RESERVE = 0x2000
_TYPES = 0x102000  # TOP_DOWN, and RESERVE for a file


@dataclass(frozen=True, slots=True)
class Wish:
    """What `AddressSpace.map` is asked for, by its arguments' names."""

    base: int
    size: int
    offset: int
    protect: int
    inherit: int
    commit: int
    zero_bits: int
    how: int


class Mapper:
    """Maps section objects of `sections` into spaces."""

    def __init__(
        self, sections: SectionObjects, allocations: Allocations, commitment: Commitment
    ) -> None:
        self.sections, self.allocations, self.commitment = sections, allocations, commitment

    def map(self, space: Space, section: SectionObject, wish: Wish) -> tuple[int, int]:
        """See `AddressSpace.map`."""
        self._refuse(space, section, wish)
        allowed = self.sections.allow(section, check_protect(wish.protect, copies=True))
        if wish.how & RESERVE and not may_write(section.protect):
            raise StatusError(
                Status.SECTION_PROTECTION,
                f"{section.name}: was made {section.protect.name}, and a view to grow in "
                "needs one that may be written",
            )
        pages = pages_for(_length(section, wish))
        top_down = bool(wish.how & TOP_DOWN)
        start = self.place(space, section, wish.base >> PAGE_SHIFT, pages, wish.zero_bits, top_down)
        first = wish.offset >> PAGE_SHIFT
        vad = self.show(space, section, start, pages, first, allowed, Inherit(wish.inherit))
        committed = min(pages_for(wish.commit), pages)
        try:
            self.sections.commit(section, first, first + committed)
        except StatusError:
            self.allocations.remove(space, vad)
            raise
        if section.attributes & Attribute.BASED:
            section.based_at = start
        return start << PAGE_SHIFT, pages << PAGE_SHIFT

    def _refuse(self, space: Space, section: SectionObject, wish: Wish) -> None:
        """Arguments of `map` that are wrong whatever the section has."""
        self.sections.check_open(section)
        base, size, low, high = wish.base, wish.size, space.vads.low, space.vads.high
        if section.attributes & Attribute.IMAGE:
            raise StatusError(
                Status.INVALID_PARAMETER, f"{section.name} is an image: map_image loads it"
            )
        outside = base and not low << PAGE_SHIFT <= base < high << PAGE_SHIFT
        if not 0 <= size < 1 << 63 or outside:
            raise StatusError(
                Status.INVALID_PARAMETER_3, f"{size} bytes at {base:#x} are no place for a view"
            )
        if wish.inherit not in (Inherit.SHARE, Inherit.NONE):
            raise StatusError(
                Status.INVALID_PARAMETER_8,
                f"{wish.inherit} is no way for a view to be inherited: SHARE or NONE",
            )
        if wish.how & ~_TYPES or (wish.how & RESERVE and section.paged):
            raise StatusError(
                Status.INVALID_PARAMETER_9, f"{wish.how:#x} is no way to map {section.name}"
            )
        if not 0 <= wish.commit <= section.size or (wish.commit and not section.paged):
            raise StatusError(
                Status.INVALID_PARAMETER_5,
                f"{counted(wish.commit, 'byte')} of {section.name} cannot be committed by "
                "mapping it",
            )

    def place(
        self,
        space: Space,
        section: SectionObject,
        page: int,
        pages: int,
        zero_bits: int = 0,
        top_down: bool = False,
    ) -> int:
        """The page at which a view will begin: `page`, or where the section must be or there is
        room.

        StatusError PROCESS_IS_TERMINATING, INVALID_PARAMETER_4 (zero bits), CONFLICTING_ADDRESSES,
        NO_MEMORY.
        """
        space.check_alive()
        below = space.below(zero_bits, Status.INVALID_PARAMETER_4)
        if zero_bits and page and page + pages > below:
            raise StatusError(
                Status.INVALID_PARAMETER_4,
                f"{pages} pages at {page << PAGE_SHIFT:#x} do not leave {zero_bits} high bits zero",
            )
        page = page or section.based_at
        if not page:
            return space.gap(pages, top_down, below)
        if not space.vads.free(page, page + pages):
            raise StatusError(
                Status.CONFLICTING_ADDRESSES,
                f"{pages} pages at {page << PAGE_SHIFT:#x} are not free",
            )
        return page

    def show(
        self,
        space: Space,
        section: SectionObject,
        start: int,
        pages: int,
        first: int,
        protect: Protect,
        inherit: Inherit,
    ) -> Vad:
        """A view of so many pages of a section from `first` on, at page `start`, where all is free.
        StatusError COMMITMENT_LIMIT.
        """
        spans: list[Span] = [
            (a - first + start, b - first + start, protect if p is not None else None)
            for a, b, p in section.shape.parts(first, first + pages)
        ]
        view = View(space, start, start + pages, section, first)
        vad = Vad(start, start + pages, protect, spans, view, inherit, is_copy(protect))
        if vad.may_copy:
            self.commitment.charge_space(space, pages, spans)
        view.watch()
        space.vads.add(vad)
        return vad

    def unmap(self, space: Space, address: int) -> None:
        """See `AddressSpace.unmap`."""
        found = space.vads.find(address >> PAGE_SHIFT)
        if found is None or (found.view is None and not found.image):
            raise no_view(address)
        parts = list(found.image) if found.image else [found]
        for vad in parts:
            self.allocations.remove(space, vad)
        for vad in parts:
            if vad.view is not None:
                self.sections.release(vad.view.object)


def no_view(address: int) -> StatusError:
    """The error of an address that is in no view."""
    return StatusError(Status.NOT_MAPPED_VIEW, f"no view is mapped at {address:#x}")


def _length(section: SectionObject, wish: Wish) -> int:
    """The bytes of a view, which lie in the section."""
    base, offset, grain = wish.base, wish.offset, 0xFFFF
    if offset & grain or base & grain:
        raise StatusError(
            Status.MAPPED_ALIGNMENT,
            f"offset {offset:#x} and base {base:#x} are not both multiples of 64 KiB",
        )
    length, end = wish.size or section.size - offset, section.shape.end << PAGE_SHIFT
    if not 0 <= offset < end or length <= 0:
        raise StatusError(
            Status.INVALID_VIEW_SIZE,
            f"offset {offset} is not inside {section.name}, which has "
            f"{counted(section.size, 'byte')}",
        )
    if offset + length > end:
        raise StatusError(
            Status.INVALID_VIEW_SIZE,
            f"{counted(length, 'byte')} from {offset} on do not lie in {section.name}, "
            f"which has {section.size}",
        )
    return length
