"""Lists of frames for devices and servers that read and write a section's bytes themselves: no copy
is made.

    read             the frames that have the bytes, which stay until `read_complete`
    prepare_write    frames to be filled            nobody sees them yet
    write_complete   they are the section's now     dirty, and written at once if so said
    write_abort      they never were                the section is as if nothing had been asked

    section    | page 0   | page 1   | page 2   |
    list           |======|==========|===|           frames 0 and 2: the bytes from the list are
    complete       copied  moves in   copied         copied into the page, which keeps the others

A write has frames of its own until it is completed, so what a device has filled in half, and gave
up, is seen by nobody. A frame then takes the place of the page; where the page is in page tables,
locked or being written its bytes are copied instead. Memory bounds the lists: NO_MEMORY.

For drivers and servers. Source: NT's CcMdlRead, CcPrepareMdlWrite, CcMdlReadComplete,
CcMdlWriteComplete, CcMdlWriteAbort. Departures: NT has the device write into the cache's own
frames, so that an abort leaves what came; a list is clipped at the section's end for reads, and is
never longer than asked.
"""

from __future__ import annotations

from contextlib import ExitStack

from octavo.arguments import invalid
from octavo.cache.locked import LockedPages
from octavo.cache.unbuffered import Unbuffered
from octavo.cache.valid import behind
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, SEGMENT_PAGES, SEGMENT_SHIFT, State
from octavo.machine.frames import Frames
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import Section, Segment
from octavo.status import Status, StatusError
from octavo.threads.wait import Event, marks, preemption_point

PAGE_MASK = PAGE_SIZE - 1


class FrameList:
    """Bytes [offset, offset + length) of a section, in `frames`. `open` until it is completed or
    aborted.
    """

    __slots__ = ("frames", "length", "offset", "open", "pages", "section", "writes")

    def __init__(
        self, section: Section, offset: int, frames: Frames, pages: tuple[int, ...], writes: bool
    ) -> None:
        self.section, self.offset, self.length = section, offset, frames.length
        self.frames, self.pages, self.writes = frames, pages, writes
        self.open = True

    @property
    def first(self) -> int:
        """Its first page."""
        return self.offset >> PAGE_SHIFT


class FrameLists:
    """All lists of a machine: `count` of them are open."""

    def __init__(self, memory: MemoryManager, locked: LockedPages, unbuffered: Unbuffered) -> None:
        self.memory, self.locked, self.unbuffered = memory, locked, unbuffered
        self.ram, self.link = memory.ram, memory.ram.link
        self.count = 0
        self._holder = memory.pfns.new_holder("writes by lists of frames")

    # -- reading -----------------------------------------------------------------------------------

    async def read(self, section: Section, offset: int, length: int) -> FrameList:
        """The frames of up to `length` bytes from `offset` on; fewer only at the end. StatusError
        INVALID_PARAMETER, NO_MEMORY, or the pager's: nothing is kept then.
        """
        _check(section, offset, length)
        end = min(offset + length, section.size)
        if end <= offset:
            return self._opened(FrameList(section, offset, Frames(self.ram, [], 0), (), False))
        first = offset >> PAGE_SHIFT
        pages = await self.locked.lock(section, first, (end - 1 >> PAGE_SHIFT) + 1)
        frames = self.locked.part(first, pages, offset, end - offset)
        return self._opened(FrameList(section, offset, frames, pages, False))

    def read_complete(self, made: FrameList) -> None:
        """Nobody looks at the frames any more. StatusError NOT_LOCKED for a list that has ended,
        INVALID_PARAMETER for one that is written by.
        """
        self._close(made, False)
        if made.pages:
            self.locked.unlock(made.section, made.first, len(made.pages))

    # -- writing -----------------------------------------------------------------------------------

    async def prepare_write(self, section: Section, offset: int, length: int) -> FrameList:
        """Frames of zeros for `length` bytes at `offset`, which is not behind the section's end.
        The pager must know where the pages go, as of the completion. StatusError INVALID_PARAMETER,
        NO_MEMORY.
        """
        _check(section, offset, length)
        if not length or offset > section.size:
            raise invalid(f"{section.name}: no {length} bytes can be written at {offset}")
        count = (offset + length - 1 >> PAGE_SHIFT) - (offset >> PAGE_SHIFT) + 1
        while (runs := self.memory.physical.try_take_zeroed(count, State.ACTIVE)) is None:
            if marks.on:
                await preemption_point()
            await self.memory.pageout.relieve(count)
        for run in runs:
            self.memory.pfns.hold(*run, self._holder)
        pages = tuple(pfn for first, size in runs for pfn in range(first, first + size))
        frames = self.locked.part(offset >> PAGE_SHIFT, pages, offset, length)
        return self._opened(FrameList(section, offset, frames, pages, True))

    async def write_complete(self, made: FrameList, through: bool = False) -> None:
        """The frames have been filled: they are the section's bytes, all of them at once, and it
        reaches their end. `through`: returns when they are with the pager.

        StatusError of the pager where a page that is kept in part cannot be read, or zeros before
        the list that nobody has written cannot be; END_OF_FILE where the section was cut
        meanwhile: no byte has changed, and the list is open still. With
        `through`, the error of the write: the list is completed, and its pages are dirty.
        """
        self._expect(made, True)
        section, first = made.section, made.first
        async with behind(section, made.offset + made.length):
            await self.unbuffered.fill(section, min(made.offset, section.size))
            await self._complete(made)
        if through:
            await self.memory.writeback.flush(section, first, first + len(made.pages))

    async def _complete(self, made: FrameList) -> None:
        """Its frames move in, the bytes before them being valid."""
        section, first = made.section, made.first
        end = made.offset + made.length
        with ExitStack() as held:
            segments = await self._segments(section, first, first + len(made.pages), held)
            edges = await self._settled(made, held)
            if made.offset > section.size:
                text = f"{section.name}: was cut before byte {made.offset}"
                raise StatusError(Status.END_OF_FILE, text)
            self._close(made, True)
            for segment in segments:
                self._move_in(made, segment, edges)
            section.size = max(section.size, end)
            section.valid = max(section.valid, end)

    def write_abort(self, made: FrameList) -> None:
        """The frames go back, whatever is in them. StatusError as `read_complete`."""
        self._close(made, True)
        self._give_back(made.pages)

    async def _settled(self, made: FrameList, held: ExitStack) -> set[int]:
        """Waits until the list's pages can be replaced; returns those that keep some of their
        bytes, which are locked until `held` ends. Nothing of it holds over the next wait.
        """
        section, edges = made.section, set[int]()
        while True:
            if marks.on:
                await preemption_point()
            end = made.offset + made.length
            here = {made.first} if made.offset & PAGE_MASK else set[int]()
            if end & PAGE_MASK and end < section.size:
                here.add(end >> PAGE_SHIFT)
            if more := here - edges:
                for page in more:
                    await self.locked.lock(section, page, page + 1)
                    held.callback(self.locked.unlock, section, page, 1)
                edges |= more
            elif event := _busy(section, made.first, made.first + len(made.pages)):
                await event.wait()
            else:
                return here

    async def _segments(
        self, section: Section, first: int, end: int, held: ExitStack
    ) -> list[Segment]:
        """The segments of pages, which stay until `held` ends."""
        out: list[Segment] = []
        for index in range(first >> SEGMENT_SHIFT, (end - 1 >> SEGMENT_SHIFT) + 1):
            residency = self.memory.residency
            while (segment := residency.segments.try_get(section, index)) is None:
                await self.memory.pageout.relieve(1)
            held.enter_context(residency.held(segment, 0, SEGMENT_PAGES))
            out.append(segment)
        return out

    def _move_in(self, made: FrameList, segment: Segment, edges: set[int]) -> None:
        """The frames of one segment's pages become theirs, or are copied. Nothing waits here."""
        base = segment.index << SEGMENT_SHIFT
        low, high = max(made.first, base), min(made.first + len(made.pages), base + SEGMENT_PAGES)
        for page in range(low, high):
            frame, i = made.pages[page - made.first], page - base
            entry = self.link[segment.base + i]
            kept = entry and (
                page in edges or segment.locked >> i & 1 or self.memory.pfns.use[abs(entry)]
            )
            if kept:
                self._copy(made, page, frame, abs(entry))
                self._give_back((frame,))
            else:
                if entry:
                    self.memory.writeback.drop(segment, 1 << i)
                self.memory.pfns.hold(frame, 1, 0)
                self.memory.residency.insert(segment, i, [(frame, 1)])
        self.memory.writeback.mark(segment, (1 << high - base) - (1 << low - base))

    def _copy(self, made: FrameList, page: int, frame: int, into: int) -> None:
        """The bytes that a list has of a page, from its frame into the page's."""
        low = max(made.offset - (page << PAGE_SHIFT), 0)
        high = min(made.offset + made.length - (page << PAGE_SHIFT), PAGE_SIZE)
        memory, at, to = self.ram.bytes, frame << PAGE_SHIFT, into << PAGE_SHIFT
        memory[to + low : to + high] = memory[at + low : at + high]

    # -- inside ------------------------------------------------------------------------------------

    def _opened(self, made: FrameList) -> FrameList:
        self.count += 1
        return made

    def _expect(self, made: FrameList, writes: bool) -> None:
        if not made.open:
            raise StatusError(Status.NOT_LOCKED, f"{made.section.name}: the list has ended")
        if made.writes != writes:
            raise invalid(
                f"{made.section.name}: the list is {'written' if made.writes else 'read'} by"
            )

    def _close(self, made: FrameList, writes: bool) -> None:
        self._expect(made, writes)
        made.open = False
        self.count -= 1

    def _give_back(self, pages: tuple[int, ...]) -> None:
        for pfn in pages:
            self.memory.pfns.hold(pfn, 1, 0)
        self.memory.physical.free(list(pages), State.ACTIVE)


def _busy(section: Section, first: int, end: int) -> Event | None:
    """What to wait for before pages can be replaced: they are read, or written."""
    for index in range(first >> SEGMENT_SHIFT, (end - 1 >> SEGMENT_SHIFT) + 1):
        segment, base = section.segments[index], index << SEGMENT_SHIFT
        for read in segment.reads:
            if base + read.first < end and first < base + read.end:
                read.event = read.event or Event()
                return read.event
        if segment.writing:
            section.idle.clear()
            return section.idle
    return None


def _check(section: Section, offset: int, length: int) -> None:
    if type(offset) is not int or type(length) is not int or offset < 0 or length < 0:
        raise invalid(f"{section.name}: there are no {length} bytes at {offset}")
