"""Eviction of private pages: from frames into page files, when nothing else can give frames.

A hand goes round over the pages of all spaces. A page that was accessed since it last passed has its accessed bit cleared and
stays (second chance); one that is all zeros still is dropped; any other is written to a page file, in batches of BATCH pages
in one stretch where the page file has one.

    present --hand, not accessed--> held, WRITING --written--> paged, frame free
                                        '--touched meanwhile--> present again, slot freed

Pages that a fork shares, and locked ones, stay. Writing needs no frame, and a failed write leaves the page as it was.

Source: Mach's second chance; clustered page-out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from octavo.machine.pagetables import ACCESSED, DIRTY, PRESENT
from octavo.machine.ram import PAGE_SHIFT
from octavo.memory.spaces.addressspace import AddressSpace
from octavo.memory.spaces.privatepages import WRITING, is_paged
from octavo.status import StatusError

if TYPE_CHECKING:
    from octavo.memory.spaces.virtual import VirtualMemory

BATCH = 32
_Pick = tuple[AddressSpace, int, int]  # space, address, entry while it is written


class Eviction:
    """The hand over the spaces of `machine`."""

    def __init__(self, machine: VirtualMemory) -> None:
        self.machine = machine
        self._hand: Iterator[tuple[AddressSpace, int]] = iter(())
        self.dropped = self.evicted = self.kept = 0

    def _round(self) -> Iterator[tuple[AddressSpace, int]]:
        """Every page that is there now, space by space."""
        for space in list(self.machine.spaces):
            for vad in space.vads.all:
                if space not in self.machine.spaces:
                    break  # it ended while the hand stood still: its tables are somebody else's frames
                for address, _ in list(space.tables.entries(vad.start << PAGE_SHIFT, vad.end << PAGE_SHIFT)):
                    yield space, address

    async def evict(self, needed: int) -> int:
        """Frees at least `needed` frames if pages can leave; returns how many it has freed, 0 when none can."""
        freed, picks = self._pick(max(needed, BATCH))
        if not picks:
            return freed
        files = self.machine.files
        runs = files.take(len(picks))
        room = sum(size for _, _, size in runs)
        for pick in picks[room:]:
            self._restore(pick)
        del picks[room:]
        ram = self.machine.physical.ram
        slots = [files.entry(file, first + i) for file, first, size in runs for i in range(size)]
        try:
            await files.write(runs, [ram.frame(space.pages.frame_of(marked)) for space, _, marked in picks])
        except StatusError:
            for pick, slot in zip(picks, slots, strict=True):
                self._restore(pick)
                files.use(slot, -1)
            return freed
        for (space, address, marked), slot in zip(picks, slots, strict=True):
            if space in self.machine.spaces and space.pages.end_write(address, marked, slot):
                freed += 1
                self.evicted += 1
            else:
                files.use(slot, -1)
                self.kept += 1
        return freed

    def _pick(self, wanted: int) -> tuple[int, list[_Pick]]:
        """(frames freed at once, pages marked for writing): up to `wanted` in all, within two rounds of the hand."""
        freed, picks, rounds = 0, list[_Pick](), 0
        while freed + len(picks) < wanted and rounds < 3:
            step = next(self._hand, None)
            if step is None:
                rounds += 1
                self._hand = self._round()
                continue
            space, address = step
            entry = space.tables.get(address) if space in self.machine.spaces else 0
            if not entry or is_paged(entry) or entry & (PRESENT | WRITING) == WRITING:
                continue
            pages = space.pages
            if (not pages.is_shared(entry) and pages.uses(pages.frame_of(entry)) > 1) or address >> PAGE_SHIFT in space.locked:
                continue
            if entry & PRESENT and entry & ACCESSED:
                space.tables.put(address, entry & ~ACCESSED)
                pages.mmu.invalidate(address)
            elif pages.is_shared(entry):
                freed += pages.forget_shared(address, address + 1)
            elif entry & PRESENT and not entry & DIRTY:
                pages.forget_zeros(address, entry)
                self.dropped += 1
                freed += 1
            elif self.machine.files.free > len(picks):
                picks.append((space, address, pages.begin_write(address, entry)))
        return freed, picks

    def _restore(self, pick: _Pick) -> None:
        """Undoes `begin_write` for a page that could not be written."""
        space, address, marked = pick
        if space not in self.machine.spaces or space.tables.get(address) != marked:
            return
        vad = space.vads.find(address >> PAGE_SHIFT)
        protect = vad.run_at(address >> PAGE_SHIFT)[2] if vad is not None else None
        assert protect is not None
        space.pages.remake(address, marked, protect)
