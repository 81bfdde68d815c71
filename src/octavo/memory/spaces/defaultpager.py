"""The default pager: keeps the pages of page-file-backed sections in the page files (Mach's name for it).

A section's token says in which slot a page is; a page without one was never written out and is zeros. Slots are taken when
pages are returned, in runs where there are any, so that a cluster goes out as one stretch; a page that is returned again
leaves its old slot. What a section may need is charged to the commit limit before, so that there is a frame or a slot.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo.machine.ram import PAGE_SHIFT, PAGE_SIZE
from octavo.memory.section import DirtyRun, Section, pages_of
from octavo.memory.spaces.pagefile import PageFiles
from octavo.status import Status, StatusError

Slots = dict[int, int]  # page -> entry that names its slot


class DefaultPager:
    """Serves all page-file-backed sections of one machine."""

    def __init__(self, files: PageFiles) -> None:
        self.files = files

    @staticmethod
    def slots(section: Section) -> Slots:
        """Where the pages of a section are."""
        assert isinstance(section.token, dict)
        return section.token

    async def data_request(self, section: Section, page: int, buffers: list[memoryview], need: range) -> None:
        """Reads what is in slots, in runs; the rest is zeros."""
        slots = self.slots(section)
        pages = pages_of(buffers)
        i = 0
        while i < len(pages):
            entry = slots.get(page + i)
            count = 1
            if entry is None:
                pages[i][:] = bytes(PAGE_SIZE)
            else:
                while i + count < len(pages) and slots.get(page + i + count) == entry + (count << PAGE_SHIFT):
                    count += 1
                await self.files.fetch(entry, pages[i : i + count])
            i += count

    async def data_return(self, runs: Sequence[DirtyRun]) -> list[StatusError | None]:
        """Writes each run into slots."""
        return [await self._keep(run) for run in runs]

    async def _keep(self, run: DirtyRun) -> StatusError | None:
        files, slots, pages = self.files, self.slots(run.section), pages_of(run.buffers)
        taken = files.take(len(pages))
        entries = [files.entry(file, first + i) for file, first, size in taken for i in range(size)]
        error: StatusError | None = None
        if len(entries) < len(pages):
            error = StatusError(Status.INSUFFICIENT_RESOURCES, f"{run.section.name}: the page files have {files.free} free slots and no room for {len(pages)} pages")
        else:
            try:
                await files.write(taken, pages)
            except StatusError as failure:
                error = StatusError(failure.status, f"{run.section.name}: {failure.text}")
        if error is not None:
            for entry in entries:
                files.use(entry, -1)
            return error
        for i, entry in enumerate(entries):
            old = slots.get(run.page + i)
            if old is not None:
                files.use(old, -1)
            slots[run.page + i] = entry
        return None

    def forget(self, section: Section) -> None:
        """Frees the slots of a section that has ended."""
        for entry in self.slots(section).values():
            self.files.use(entry, -1)
        self.slots(section).clear()
