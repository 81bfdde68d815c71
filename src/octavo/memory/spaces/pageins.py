"""Page-in of private pages: from a page file, with neighbours that lie beside them there.

    slots      | s - 2 | s - 1 |   s   | s + 1 | ...
    advice     <-- REVERSE ----| page  |---- NORMAL, SEQUENTIAL -->       RANDOM: the page alone

A neighbour comes along if it is in the next slot, in the same span of its allocation and the same
page table, and a frame can be had for it without waiting. Only the page that was touched is
obligatory. Who wants a page that is being read waits for that.
"""

from __future__ import annotations

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.machine.frames import Frames
from octavo.machine.ram import Ram
from octavo.memory.pagers.pagefile import PageFiles
from octavo.memory.pages.transfers import Transfers
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.fault import Fault
from octavo.memory.spaces.protect import read_only
from octavo.memory.spaces.space import Space
from octavo.status import StatusError
from octavo.threads.wait import Event

CLUSTER = 16  # pages that one page-in brings at most


class PageIns:
    """Reads from `files`; who waits for frames learns by `transfers` that a read has ended."""

    def __init__(self, files: PageFiles, ram: Ram, transfers: Transfers) -> None:
        self.files, self.ram, self.transfers = files, ram, transfers

    async def page_in(self, fault: Fault, entry: int) -> None:
        """Reads the page, which is where `entry` says, into the fault's spare frame, with
        neighbours.

        The spare frame is left only if somebody else reads the page: one that was filled and is
        not needed goes back, not being of zeros any more. StatusError IN_PAGE_ERROR.
        """
        space, start = fault.space, fault.start
        coming = space.coming.get(start)
        if coming is not None:  # a collided fault
            await coming.wait()
            return
        before, after = _cluster(fault, entry)
        before = min(before, len(others := space.pages.try_frames(before + after)))
        frames = [*others[:before], fault.spare, *others[before:]]
        frames, before = await self._fetch(space, start, entry, frames, before)
        fault.take_spare()
        _arrive(space, fault.page - before, entry - (before << PAGE_SHIFT), frames, fault.page)

    async def _fetch(
        self, space: Space, start: int, entry: int, frames: list[int], before: int
    ) -> tuple[list[int], int]:
        """Reads consecutive slots into frames, the obligatory one alone when all cannot be read;
        returns those that were filled, and how many before it.
        """
        files, ram, event = self.files, self.ram, Event()
        first = start - (before << PAGE_SHIFT)
        addresses = range(first, first + (len(frames) << PAGE_SHIFT), PAGE_SIZE)
        space.coming.update(dict.fromkeys(addresses, event))
        try:
            with self.transfers.under_way():
                await files.fetch(entry - (before << PAGE_SHIFT), Frames.of(ram, frames))
            return frames, before
        except StatusError:
            frame = frames.pop(before)
            for other in frames:
                space.pages.give_back(other)
            if not frames:
                raise
            with self.transfers.under_way():
                await files.fetch(entry, Frames.of(ram, [frame]))
            return [frame], 0
        finally:
            for address in addresses:
                if space.coming.get(address) is event:
                    del space.coming[address]
            event.signal()


def _arrive(space: Space, first: int, entry: int, frames: list[int], page: int) -> None:
    """Pages from `first` on have come into frames from slots of which the first is `entry`'s. What
    lies in no span with `page` any more goes back.
    """
    vad = space.vads.find(page)
    low, high, protect = vad.span_at(page) if vad is not None else (0, 0, None)
    left = frames
    if vad is not None and protect is not None:
        # the span may have been cut meanwhile
        skip, end = min(max(low - first, 0), len(frames)), max(min(high - first, len(frames)), 0)
        allowed = read_only(protect) if vad.written is not None else protect
        at = first + skip << PAGE_SHIFT, entry + (skip << PAGE_SHIFT)
        left = frames[:skip] + space.pages.arrive(*at, frames[skip:end], allowed) + frames[end:]
    for frame in left:
        space.pages.give_back(frame)


def _cluster(fault: Fault, entry: int) -> tuple[int, int]:
    """How many pages before and after one lie beside it in its page file: by its advice, in one
    span and one table, CLUSTER in all at most.
    """
    space, page, vad = fault.space, fault.page, fault.vad
    if vad.advice == Advice.RANDOM:
        return 0, 0
    per = space.tables.format.index_bits[-1]
    low, high, _ = vad.span_at(page)
    low, high = max(low, page >> per << per), min(high, (page >> per) + 1 << per)
    step = -1 if vad.advice == Advice.REVERSE else 1
    at, words, coming = space.tables.place(fault.start), space.tables.words, space.coming
    count = 0
    for move in range(step, CLUSTER * step, step):
        may_come = low <= page + move < high and page + move << PAGE_SHIFT not in coming
        if not may_come or words[at + move] != entry + (move << PAGE_SHIFT):
            break
        count += 1
    return (count, 0) if step < 0 else (0, count)
