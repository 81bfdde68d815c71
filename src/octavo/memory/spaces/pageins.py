"""Page-in of private pages: from a page file, with neighbours that lie beside them there.

    slots      | s - 2 | s - 1 |   s   | s + 1 | ...
    advice     <-- REVERSE ----| page  |---- NORMAL, SEQUENTIAL -->       RANDOM: the page alone

A neighbour comes along if it is in the next slot, in the same run of its allocation and the same
page table, and a frame can be had for it without waiting. Only the page that was touched is
obligatory. Who wants a page that is being read waits for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.protect import read_only
from octavo.status import StatusError
from octavo.threads.wait import Event

if TYPE_CHECKING:
    from octavo.memory.spaces.spacefaults import SpaceFaults

CLUSTER = 16  # pages that one page-in brings at most


async def page_in(space: SpaceFaults, start: int, entry: int, frame: int) -> int:
    """Reads the page at address `start`, which is where `entry` says, into `frame`, with
    neighbours.

    Returns the frame if somebody else is doing so, else 0: a frame that has been filled and is not
    needed goes back, for it is not of zeros any more. StatusError IN_PAGE_ERROR.
    """
    pages = space.pages
    coming = space.coming.get(start)
    if coming is not None:  # a collided fault
        await coming.wait()
        return frame
    before, after = _cluster(space, start, entry)
    others = pages.try_frames(before + after)
    before = min(before, len(others))
    frames = [*others[:before], frame, *others[before:]]
    frames, before = await _fetch(space, start, entry, frames, before)
    first = (start >> PAGE_SHIFT) - before
    vad = space.vads.find(start >> PAGE_SHIFT)
    low, high, protect = vad.run_at(start >> PAGE_SHIFT) if vad is not None else (0, 0, None)
    skip, end = (
        min(max(low - first, 0), len(frames)),
        max(min(high - first, len(frames)), 0),
    )  # the run may have been cut meanwhile
    if vad is None or protect is None:
        left = frames
    else:
        allowed = read_only(protect) if vad.written is not None else protect
        arrived = pages.arrive(
            first + skip << PAGE_SHIFT,
            entry + (skip - before << PAGE_SHIFT),
            frames[skip:end],
            allowed,
        )
        left = frames[:skip] + arrived + frames[end:]
    for other in left:
        pages.give_back(other)
    return 0


async def _fetch(
    space: SpaceFaults, start: int, entry: int, frames: list[int], before: int
) -> tuple[list[int], int]:
    """Reads consecutive slots into frames, the obligatory one alone when all cannot be read;
    returns those that were filled, and how many before it.
    """
    machine, event = space.machine, Event()
    first = start - (before << PAGE_SHIFT)
    addresses = range(first, first + (len(frames) << PAGE_SHIFT), PAGE_SIZE)
    space.coming.update(dict.fromkeys(addresses, event))
    try:
        with machine.pageout.transfers.under_way():
            await machine.files.fetch(
                entry - (before << PAGE_SHIFT), [machine.physical.ram.frame(f) for f in frames]
            )
        return frames, before
    except StatusError:
        frame = frames.pop(before)
        for other in frames:
            space.pages.give_back(other)
        if not frames:
            raise
        with machine.pageout.transfers.under_way():
            await machine.files.fetch(entry, [machine.physical.ram.frame(frame)])
        return [frame], 0
    finally:
        for address in addresses:
            if space.coming.get(address) is event:
                del space.coming[address]
        event.signal()


def _cluster(space: SpaceFaults, start: int, entry: int) -> tuple[int, int]:
    """How many pages before and after one lie beside it in its page file: by its advice, in one run
    and one table, CLUSTER in all at most.
    """
    page, per = start >> PAGE_SHIFT, space.tables.format.index_bits[-1]
    vad = space.vads.find(page)
    assert vad is not None
    if vad.advice == Advice.RANDOM:
        return 0, 0
    low, high, _ = vad.run_at(page)
    step = -1 if vad.advice == Advice.REVERSE else 1
    at, words = space.tables.place(start), space.tables.words
    count = 0
    while count < CLUSTER - 1:
        move = step * (count + 1)
        number = page + move
        if (
            not low <= number < high
            or number >> per != page >> per
            or number << PAGE_SHIFT in space.coming
        ):
            break
        if words[at + move] != entry + (move << PAGE_SHIFT):
            break
        count += 1
    return (count, 0) if step < 0 else (0, count)
