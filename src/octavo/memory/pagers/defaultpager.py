"""The default pager: keeps the pages of page-file-backed sections in the page files (Mach's name
for it).

A section's token says in which slot a page is; a page without one was never written out and is
zeros. A page that is returned goes into the slot that it has; others get new ones, in runs where
there are any, so that a cluster goes out as one stretch. Where slots are short, pages that are on
their way out of memory get theirs first, and what fits is written.

What a section may need is charged to the commit limit before, so that there is a frame or a slot
for each page. A page that is in use in a frame keeps its slot as well, as long as nobody is short
of slots: `take_back` frees it then.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, SEGMENT_PAGES, SEGMENT_SHIFT
from octavo.machine.frames import Frames
from octavo.memory.frames.physical import PhysicalMemory
from octavo.memory.pagers.pagefile import PageFiles
from octavo.memory.pages.section import (
    DirtyRun,
    NoRoomError,
    PagerTraits,
    Section,
    Segment,
)
from octavo.memory.pages.writeback import WriteBack
from octavo.printing import counted
from octavo.status import Status, StatusError

Slots = dict[int, int]  # page -> entry that names its slot


class DefaultPager:
    """Serves all page-file-backed sections of one machine."""

    traits = PagerTraits(lazy=False)

    def __init__(self, files: PageFiles, physical: PhysicalMemory, writeback: WriteBack) -> None:
        self.files, self.physical, self.writeback = files, physical, writeback
        self.sections: dict[Section, None] = {}  # that have slots
        files.spare = self.take_back

    @staticmethod
    def slots(section: Section) -> Slots:
        """Where the pages of a section are."""
        assert isinstance(section.token, dict)
        return section.token

    async def data_request(self, section: Section, page: int, frames: Frames, need: range) -> None:
        """Reads what is in slots, in runs; the rest is zeros."""
        slots = self.slots(section)
        pages = frames.length >> PAGE_SHIFT
        i = 0
        while i < pages:
            entry = slots.get(page + i)
            count = 1
            if entry is None:
                frames.part(i << PAGE_SHIFT, PAGE_SIZE).clear()
            else:
                while i + count < pages and slots.get(page + i + count) == entry + (
                    count << PAGE_SHIFT
                ):
                    count += 1
                await self.files.fetch(entry, frames.part(i << PAGE_SHIFT, count << PAGE_SHIFT))
            i += count

    async def data_return(self, runs: Sequence[DirtyRun]) -> list[StatusError | None]:
        """Writes each run into slots, as far as there are any."""
        return [await self._keep(run) for run in runs]

    async def _keep(self, run: DirtyRun) -> StatusError | None:
        files, slots, pages = self.files, self.slots(run.section), run.frames.pages()
        places = self._places(run, len(pages))
        try:
            if places:
                kept = Frames.of(run.frames.ram, [pages[i] for i in places])
                await files.write(files.runs(places.values()), kept)
        except StatusError as failure:
            for entry in places.values():
                files.use(entry, -1)
            return StatusError(failure.status, f"{run.section.name}: {failure.text}")
        self.sections[run.section] = None
        for i, entry in places.items():
            if slots.get(run.page + i) == entry:
                files.use(entry, -1)  # the page's own counts once again
            slots[run.page + i] = entry
        if len(places) == len(pages):
            return None
        text = (
            f"{run.section.name}: the page files have {counted(files.free, 'free slot')} and "
            f"no room for {counted(len(pages) - len(places), 'page')}"
        )
        return NoRoomError(Status.INSUFFICIENT_RESOURCES, text, sum(1 << i for i in places))

    def _places(self, run: DirtyRun, count: int) -> Slots:
        """The entries of the slots, each used once more, that pages of a run are to be written to,
        by the page's index in the run.
        """
        slots, files = self.slots(run.section), self.files
        places = {i: own for i in range(count) if (own := slots.get(run.page + i)) is not None}
        for own in places.values():
            files.use(own, 1)
        rest = [i for i in range(count) if i not in places]
        if len(rest) > files.free:
            rest.sort(key=lambda i: self._in_use(run.section, run.page + i))
            leaving = sum(1 for i in rest if not self._in_use(run.section, run.page + i))
            rest = rest[: max(leaving, files.free)]
        new = [
            files.entry(file, first + i)
            for file, first, size in files.take(len(rest))
            for i in range(size)
        ]
        return dict(sorted([*places.items(), *zip(rest, new, strict=False)]))

    def _in_use(self, section: Section, page: int) -> bool:
        return (
            self.physical.ram.link[
                section.segments[page >> SEGMENT_SHIFT].base + page % SEGMENT_PAGES
            ]
            > 0
        )

    def take_back(self, wanted: int) -> int:
        """Frees up to `wanted` slots of pages that are in use in frames, and count as modified from
        then on; returns how many.
        """
        done = 0
        for section in self.sections:
            for segment in section.segments.values():
                if done < wanted:
                    done += self._take_back(segment, wanted - done)
        return done

    def _take_back(self, segment: Segment, wanted: int) -> int:
        slots, first = self.slots(segment.section), segment.index << SEGMENT_SHIFT
        entries = self.physical.ram.link[segment.base : segment.base + SEGMENT_PAGES].tolist()
        pages = [
            i
            for i, entry in enumerate(entries)
            if entry > 0 and first + i in slots and not segment.writing >> i & 1
        ][:wanted]
        for i in pages:
            self.files.use(slots.pop(first + i), -1)
        self.writeback.mark(segment, sum(1 << i for i in pages), written=False)
        return len(pages)

    def forget(self, section: Section) -> None:
        """Frees the slots of a section that has ended."""
        for entry in self.slots(section).values():
            self.files.use(entry, -1)
        self.slots(section).clear()
        self.sections.pop(section, None)
