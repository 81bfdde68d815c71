"""Control blocks: bytes of a section that stay where they are while somebody looks at them, or
changes them.

    map             to be looked at             shared; one block serves every map inside of it
    pin             to be changed               shared or exclusive; one block serves every pin
                                                inside of it, and never a map
    prepare_write   to be written over          as pin; what is absent is zeros and not read, and
                                                all of it is dirty
    set_dirty       what is pinned was changed  its pages are dirty
    unpin           ends one use; with the last one the pages are let go of
    try_map, try_pin        as these, without waiting: None, and the read is started

A block covers whole pages, and `part` says in which frames some bytes of it are. An exclusive pin
waits for other pins that share a page with it to end, and they for it; maps wait for nobody. Pages
that a background write finds dirty are written, pinned or not: whoever changes pinned bytes does it
between two awaits, and marks them then.

What is behind the section's end, up to the end of its allocation or of its last page, is zeros and
can be mapped and pinned; what is beyond is StatusError END_OF_FILE. Memory bounds all of it
(`octavo.cache.locked`), and as many blocks as there are frames.

For file systems and drivers. Source: NT's CcMapData, CcPinRead, CcPinMappedData, CcPreparePinWrite,
CcSetDirtyPinnedData, CcUnpinData, CcRepinBcb, CcUnpinRepinnedBcb. Departures: no log sequence
numbers; the pages of a block are not in a row in memory, so it has frames, not an address; a pin
for writing beyond the end of the section does not extend it; what is prepared is zeros always; a
thread that has an exclusive pin waits for itself when it asks for another one.
"""

from __future__ import annotations

from octavo.arguments import invalid
from octavo.cache.ahead import Ahead
from octavo.cache.locked import LockedPages
from octavo.cache.unbuffered import Unbuffered
from octavo.cache.valid import behind
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, SEGMENT_PAGES, SEGMENT_SHIFT
from octavo.machine.frames import Frames
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import VIEW_SIZE, Section
from octavo.status import Status, StatusError
from octavo.threads.wait import Event, marks, preemption_point


class ControlBlock:
    """Pages [first, end) of a section, kept for `uses` users. It is `pinned`, or only mapped."""

    __slots__ = ("end", "exclusive", "first", "frames", "pinned", "section", "uses")

    def __init__(
        self, section: Section, first: int, frames: tuple[int, ...], pinned: bool, exclusive: bool
    ) -> None:
        self.section, self.first, self.end = section, first, first + len(frames)
        self.frames, self.pinned, self.exclusive = frames, pinned, exclusive
        self.uses = 1


class ControlBlocks:
    """All control blocks of a machine, at most `most` of them."""

    def __init__(
        self, memory: MemoryManager, locked: LockedPages, ahead: Ahead, unbuffered: Unbuffered
    ) -> None:
        self.memory, self.locked, self.ahead = memory, locked, ahead
        self.unbuffered = unbuffered
        self.most = memory.limit
        self.count = 0
        self._blocks: dict[Section, list[ControlBlock]] = {}
        self._ended = Event()

    # -- maps and pins -----------------------------------------------------------------------------

    async def map(self, section: Section, offset: int, length: int) -> ControlBlock:
        """A block for bytes [offset, offset + length) that are looked at. StatusError END_OF_FILE,
        INSUFFICIENT_RESOURCES, NO_MEMORY, or the pager's.
        """
        return await self._map(section, *self._pages(section, offset, length))

    def try_map(self, section: Section, offset: int, length: int) -> ControlBlock | None:
        """As `map`, without waiting. None for more than a view has, too."""
        first, end = self._pages(section, offset, length)
        if length > VIEW_SIZE:
            return None
        return self._found(section, first, end, False) or self._try_lock(
            section, first, end, False, False
        )

    async def pin(
        self, section: Section, offset: int, length: int, exclusive: bool = False
    ) -> ControlBlock:
        """A block for bytes that are changed, as `map`."""
        first, end = self._pages(section, offset, length)
        return await self._pin(section, first, end, exclusive, True)

    def try_pin(
        self,
        section: Section,
        offset: int,
        length: int,
        exclusive: bool = False,
        only_pinned: bool = False,
    ) -> ControlBlock | None:
        """As `pin`, without waiting; `only_pinned`: None also where no pin has these bytes."""
        first, end = self._pages(section, offset, length)
        waits = section.valid < min(first << PAGE_SHIFT, section.size) or (
            section.raising is not None and section.valid < min(end << PAGE_SHIFT, section.size)
        )
        if waits or self._in_the_way(section, first, end, exclusive):
            return None
        if not exclusive and (block := self._found(section, first, end, True)):
            return block
        return None if only_pinned else self._try_lock(section, first, end, True, exclusive)

    async def prepare_write(
        self, section: Section, offset: int, length: int, zero: bool = False
    ) -> ControlBlock:
        """A block, pinned exclusively, for bytes that will be written over; all of them are zeros
        if so said, and those are that were not in memory. Its pages are dirty.

        Only whole pages: StatusError INVALID_PARAMETER; and as `map`.
        """
        if (offset | length) % PAGE_SIZE:
            raise invalid(f"{section.name}: only whole pages can be written over without a read")
        first, end = self._pages(section, offset, length)
        block = await self._pin(section, first, end, True, False)
        if zero:
            self.part(block, offset, length).clear()
        self.set_dirty(block)
        return block

    async def pin_mapped(self, block: ControlBlock, exclusive: bool = False) -> ControlBlock:
        """A pinned block for what a mapped one has, in whose place it comes: the map is ended.

        StatusError as `pin`, and the map is as it was.
        """
        self._check(block, False)
        pinned = await self._pin(block.section, block.first, block.end, exclusive, True)
        self.unpin(block)
        return pinned

    def part(self, block: ControlBlock, offset: int, length: int) -> Frames:
        """Where bytes [offset, offset + length) of the section are, which the block covers."""
        if not block.first << PAGE_SHIFT <= offset <= offset + length <= block.end << PAGE_SHIFT:
            raise invalid(f"{block.section.name}: the block has no {length} bytes at {offset}")
        return self.locked.part(block.first, block.frames, offset, length)

    # -- what was changed --------------------------------------------------------------------------

    def set_dirty(self, block: ControlBlock) -> None:
        """What a pinned block has was changed. StatusError INVALID_PARAMETER for a mapped one."""
        self._check(block, True)
        section, page = block.section, block.first
        while page < block.end:
            i = page % SEGMENT_PAGES
            stop = min(SEGMENT_PAGES, i + block.end - page)
            segment = section.segments[page >> SEGMENT_SHIFT]
            self.memory.writeback.mark(segment, (1 << stop) - (1 << i))
            page += stop - i
        if section.valid < min(block.end << PAGE_SHIFT, section.size):
            section.valid = min(block.end << PAGE_SHIFT, section.size)

    # -- the end of a use --------------------------------------------------------------------------

    def repin(self, block: ControlBlock) -> None:
        """One more use of a block, to be ended by an `unpin` of its own."""
        self._check(block)
        block.uses += 1

    def unpin(self, block: ControlBlock) -> None:
        """Ends one use of a block. StatusError NOT_LOCKED for one that has ended."""
        self._check(block)
        block.uses -= 1
        if block.uses:
            return
        blocks = self._blocks[block.section]
        blocks.remove(block)
        if not blocks:
            del self._blocks[block.section]
        self.count -= 1
        self.locked.unlock(block.section, block.first, len(block.frames))
        self._ended.signal()

    async def unpin_through(self, block: ControlBlock) -> None:
        """As `unpin`, after what is dirty of it has been written; it ends, too, when that fails,
        with the error.
        """
        self._check(block)
        try:
            await self.memory.writeback.flush(block.section, block.first, block.end)
        finally:
            self.unpin(block)

    # -- inside ------------------------------------------------------------------------------------

    def _pages(self, section: Section, offset: int, length: int) -> tuple[int, int]:
        """The pages of a range. StatusError END_OF_FILE beyond what the section can have."""
        if type(offset) is not int or type(length) is not int or offset < 0 or length <= 0:
            raise invalid(f"{section.name}: there are no {length} bytes at {offset} to be kept")
        first, end = offset >> PAGE_SHIFT, offset + length - 1 >> PAGE_SHIFT
        most = max(section.size, section.allocation) + PAGE_SIZE - 1 >> PAGE_SHIFT
        if end >= most:
            raise StatusError(
                Status.END_OF_FILE,
                f"{section.name}: {length} bytes at {offset} are beyond the end, which is at byte "
                f"{max(section.size, section.allocation)}",
            )
        return first, end + 1

    def _check(self, block: ControlBlock, pinned: bool | None = None) -> None:
        """StatusError NOT_LOCKED for a block that has ended, INVALID_PARAMETER for one that is not
        pinned, or is.
        """
        if not block.uses:
            raise StatusError(
                Status.NOT_LOCKED, f"{block.section.name}: the block of {block.first} has ended"
            )
        if pinned is not None and block.pinned != pinned:
            raise invalid(f"{block.section.name}: a block that is {_kind(block)} only will not do")

    def _found(self, section: Section, first: int, end: int, pinned: bool) -> ControlBlock | None:
        """A block of its kind that has these pages, used once more."""
        for block in self._blocks.get(section, ()):
            if block.pinned == pinned and block.first <= first and end <= block.end:
                block.uses += 1
                return block
        return None

    def _in_the_way(self, section: Section, first: int, end: int, exclusive: bool) -> bool:
        """Whether a pin of one of these pages must end before another one may be."""
        return any(
            b.pinned and (exclusive or b.exclusive) and b.first < end and first < b.end
            for b in self._blocks.get(section, ())
        )

    async def _pin(
        self, section: Section, first: int, end: int, exclusive: bool, read: bool
    ) -> ControlBlock:
        while True:
            if marks.on:
                await preemption_point()
            if self._in_the_way(section, first, end, exclusive):
                self._ended.clear()
                await self._ended.wait()
            else:
                block = None if exclusive else self._found(section, first, end, True)
                block = block or await self._lock_valid(section, first, end, exclusive, read)
                if block is not None:
                    return block

    async def _lock_valid(
        self, section: Section, first: int, end: int, exclusive: bool, read: bool
    ) -> ControlBlock | None:
        """As `_lock`, for a pin: the bytes before it are valid, for its own are when it has changed
        them; while zeros are written nobody comes to have pages behind the valid bytes.
        """
        async with behind(section, min(end << PAGE_SHIFT, section.size)):
            await self.unbuffered.fill(section, min(first << PAGE_SHIFT, section.size))
            return await self._lock(section, first, end, True, exclusive, read)

    async def _map(self, section: Section, first: int, end: int) -> ControlBlock:
        while True:
            if block := self._found(section, first, end, False):
                return block
            if block := await self._lock(section, first, end, False, False, True):
                return block

    async def _lock(
        self, section: Section, first: int, end: int, pinned: bool, exclusive: bool, read: bool
    ) -> ControlBlock | None:
        """A new block; None, and nothing done, when somebody else has made one meanwhile that is in
        its way, or serves as well.
        """
        self._reserve(section)
        try:
            frames = await self.locked.lock(section, first, end, read)
        except BaseException:
            self.count -= 1
            raise
        if self._is_outrun(section, first, end, pinned, exclusive):
            self.count -= 1
            self.locked.unlock(section, first, len(frames))
            return None
        return self._add(section, first, frames, pinned, exclusive)

    def _is_outrun(
        self, section: Section, first: int, end: int, pinned: bool, exclusive: bool
    ) -> bool:
        """Whether a block that was made meanwhile is in the way of a new one, or serves as well."""
        if pinned and self._in_the_way(section, first, end, exclusive):
            return True
        return any(
            b.pinned == pinned and b.first <= first and end <= b.end
            for b in self._blocks.get(section, ())
        )

    def _try_lock(
        self, section: Section, first: int, end: int, pinned: bool, exclusive: bool
    ) -> ControlBlock | None:
        frames = self.locked.try_lock(section, first, end)
        if frames is None:
            self.ahead.start(section, first, end)
            return None
        try:
            self._reserve(section)
        except StatusError:
            self.locked.unlock(section, first, len(frames))
            raise
        return self._add(section, first, frames, pinned, exclusive)

    def _reserve(self, section: Section) -> None:
        """There will be one block more. StatusError INSUFFICIENT_RESOURCES."""
        if self.count >= self.most:
            raise StatusError(
                Status.INSUFFICIENT_RESOURCES,
                f"{section.name}: {self.count} blocks are mapped or pinned, and there are no more",
            )
        self.count += 1

    def _add(
        self,
        section: Section,
        first: int,
        frames: tuple[int, ...],
        pinned: bool,
        exclusive: bool,
    ) -> ControlBlock:
        block = ControlBlock(section, first, frames, pinned, exclusive)
        self._blocks.setdefault(section, []).append(block)
        return block

    def check(self) -> None:
        """Blocks are counted, in use, and where their section's pages are."""
        blocks = [block for some in self._blocks.values() for block in some]
        assert len(blocks) <= self.count, "more control blocks than were counted"
        for block in blocks:
            assert block.uses > 0 and block.end - block.first == len(block.frames)
            assert self.locked.are(block.section, block.first, block.frames)
            others = [b for b in self._blocks[block.section] if b is not block and b.pinned]
            assert not (block.pinned and block.exclusive) or all(
                b.end <= block.first or block.end <= b.first for b in others
            ), "an exclusive pin has company"


def _kind(block: ControlBlock) -> str:
    return "pinned" if block.pinned else "mapped"
