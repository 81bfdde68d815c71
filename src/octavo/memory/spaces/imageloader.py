"""Loading images: their parts are mapped where the headers say, or moved together.

The parts of an image belong together: they come and go as one. Nothing waits between the first of
them and the last, so nobody sees half an image; what comes before (reading the headers) and after
(zeros behind the file's bytes) is looked at again.
"""

from __future__ import annotations

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.machine.mmukernels import READ, WRITE
from octavo.memory.spaces.allocations import Allocations
from octavo.memory.spaces.faults import FaultResolver
from octavo.memory.spaces.image import HEADER_BYTES, Image, Part, parse_image
from octavo.memory.spaces.mapping import Mapper
from octavo.memory.spaces.protect import Protect, is_copy
from octavo.memory.spaces.sectionobjects import SectionObjects
from octavo.memory.spaces.space import Space
from octavo.memory.spaces.vad import Vad
from octavo.memory.spaces.view import Attribute, Inherit, SectionObject
from octavo.status import Status, StatusError


class ImageLoader:
    """Loads images into spaces, by `mapper`; what it writes goes through `faults`."""

    def __init__(
        self,
        sections: SectionObjects,
        allocations: Allocations,
        mapper: Mapper,
        faults: FaultResolver,
    ) -> None:
        self.sections, self.allocations = sections, allocations
        self.mapper, self.faults = mapper, faults

    async def load(self, space: Space, section: SectionObject) -> tuple[int, int, Status]:
        """See `AddressSpace.map_image`."""
        self.sections.check_open(section)
        if not section.attributes & Attribute.IMAGE:
            raise StatusError(Status.SECTION_NOT_IMAGE, f"{section.name} was not made as an image")
        parts: list[Vad] = []
        try:
            head = await self._head(space, section)
            self.sections.check_open(section)
            layout = space.tables.format
            wide = layout.entry_size == 8 and layout.virtual_bits > 32
            image = parse_image(section.name, head, section.section.size, wide)
            shift = self._shift(space, section, image)
            for part in image.parts:  # nothing waits before all of them are there
                self._show(space, section, part, shift, parts)
            for part in image.parts:
                await self._clear_tail(space, section, part, shift, parts)
        except StatusError:
            for vad in parts:
                self.allocations.remove(space, vad)
            self.sections.release(section)
            raise
        return (
            image.pages[0] + shift << PAGE_SHIFT,
            image.entry + (shift << PAGE_SHIFT),
            Status.IMAGE_NOT_AT_BASE if shift else Status.SUCCESS,
        )

    @staticmethod
    def _shift(space: Space, section: SectionObject, image: Image) -> int:
        """By how many pages an image is moved from where its headers say."""
        low, high = image.pages
        if space.vads.free(low, high):
            return 0
        if image.fixed:
            raise StatusError(
                Status.CONFLICTING_ADDRESSES,
                f"{section.name} must be at {low << PAGE_SHIFT:#x}, which is not free",
            )
        return space.gap(high - low, False, space.vads.high) - low

    async def _head(self, space: Space, section: SectionObject) -> bytes:
        """The first bytes of an image, seen through a view that is there for a moment."""
        pages = min(section.shape.end, HEADER_BYTES >> PAGE_SHIFT)
        start = self.mapper.place(space, section, 0, pages)
        vad = self.mapper.show(space, section, start, pages, 0, Protect.READONLY, Inherit.NONE)
        try:
            size = min(HEADER_BYTES, section.section.size)
            pieces = self.faults.pieces(space, start << PAGE_SHIFT, size, READ)
            head = b"".join([bytes(piece) async for piece in pieces])
            if space.vads.find(vad.start) is not vad:
                raise _was_unmapped(space, section)
            return head
        finally:
            self.allocations.remove(space, vad)

    def _show(
        self, space: Space, section: SectionObject, part: Part, shift: int, parts: list[Vad]
    ) -> None:
        start, middle = part.page + shift, part.page + shift + part.mapped
        if part.mapped:
            vad = self.mapper.show(
                space, section, start, part.mapped, part.first, part.protect, Inherit.SHARE
            )
            _join(vad, parts)
        if part.pages > part.mapped:
            rest = Vad(middle, start + part.pages, Protect.READWRITE)
            self.allocations.commit(space, rest, rest.start, rest.end, Protect.READWRITE)
            space.vads.add(rest)
            _join(rest, parts)

    async def _clear_tail(
        self, space: Space, section: SectionObject, part: Part, shift: int, parts: list[Vad]
    ) -> None:
        """Fills what the last page of a part's file has behind it with zeros, in a copy."""
        if not part.mapped or part.tail == PAGE_SIZE or not is_copy(part.protect):
            return
        last = part.page + shift + part.mapped - 1
        size = PAGE_SIZE - part.tail
        async for piece in self.faults.pieces(space, (last << PAGE_SHIFT) + part.tail, size, WRITE):
            if space.vads.find(last) not in parts:
                raise _was_unmapped(space, section)
            piece[:] = bytes(size)


def _was_unmapped(space: Space, section: SectionObject) -> StatusError:
    return StatusError(
        Status.NOT_MAPPED_VIEW, f"{section.name} was unmapped from {space.name} while it was loaded"
    )


def _join(vad: Vad, image: list[Vad]) -> None:
    vad.image = image
    image.append(vad)
