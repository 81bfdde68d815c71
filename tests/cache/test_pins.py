"""Control blocks: which is whose, who waits for whom, what is beyond the end, and how many there
can be. Cases 91 to 95 of NT's are here.
"""

from __future__ import annotations

import pytest

from octavo.cache.pins import ControlBlock
from octavo.machine.abi import PAGE_SIZE
from octavo.memory.frames.physical import RESERVE
from octavo.memory.pages.section import VIEW_SIZE
from octavo.status import Status, StatusError
from tests.cache.caches import Cached, at
from tests.machines import fails


def text(c: Cached, block: ControlBlock, page: int) -> bytes:
    """The first bytes of a page, by a block."""
    return c.cache.blocks.part(block, at(page), 4).read()


def test_a_map_of_the_same_range_is_the_same_block() -> None:
    """Case 91: of a part of it, too, whose bytes are where the others are; the pages stay until the
    last use ends.
    """
    c = Cached()
    blocks = c.cache.blocks
    one = c.run(blocks.map(c.section, at(4), 4 * PAGE_SIZE))
    two = c.run(blocks.map(c.section, at(4), 4 * PAGE_SIZE))
    three = c.run(blocks.map(c.section, at(5, 100), 200))
    assert one is two is three and one.uses == 3 and c.pager.requests == [(4, 4)]
    whole = blocks.part(one, at(4), 4 * PAGE_SIZE).read()
    assert blocks.part(three, at(5, 100), 200).read() == whole[PAGE_SIZE + 100 :][:200]
    wider = c.run(blocks.map(c.section, at(3), 2 * PAGE_SIZE))
    assert wider is not one and c.pager.requests == [(4, 4), (3, 1)]
    for block in (one, two, three, wider):
        assert c.section.is_locked(4)
        blocks.unpin(block)
        c.check()
    assert not c.section.is_locked(0) and not blocks.count and not c.cache.locked.count
    fails(Status.NOT_LOCKED, blocks.unpin, one)
    fails(Status.NOT_LOCKED, blocks.repin, one)


def test_a_map_of_more_than_a_view_has_to_wait() -> None:
    """Case 92: without waiting there is none, though all of it is in memory."""
    c = Cached(pages=160)
    c.read(0, 160)
    blocks = c.cache.blocks
    assert blocks.try_map(c.section, 0, VIEW_SIZE + 1) is None
    whole = blocks.try_map(c.section, 0, VIEW_SIZE)
    more = c.run(blocks.map(c.section, 0, VIEW_SIZE + 1))
    assert whole is not None and len(whole.frames) == 128 and len(more.frames) == 129
    assert blocks.part(more, 0, VIEW_SIZE + 1).read() == c.data[: VIEW_SIZE + 1]
    assert len(c.pager.requests) == 2, "what was in memory was read again"
    blocks.unpin(whole)
    blocks.unpin(more)
    c.check()


def test_a_pin_is_another_block_than_a_map_and_one_for_two() -> None:
    """Case 94: only where a pin is already, there is none before the first; the second shared one
    is the same.
    """
    c = Cached()
    blocks = c.cache.blocks
    c.read(0, 8)
    mapped = c.run(blocks.map(c.section, at(2), PAGE_SIZE))
    assert blocks.try_pin(c.section, at(2), PAGE_SIZE, only_pinned=True) is None
    one = c.run(blocks.pin(c.section, at(2), 2 * PAGE_SIZE))
    two = blocks.try_pin(c.section, at(2), PAGE_SIZE, only_pinned=True)
    assert one is two is not mapped and one.pinned and not mapped.pinned
    assert mapped.frames[0] == one.frames[0], "there are two copies of a page"
    fails(Status.INVALID_PARAMETER, blocks.set_dirty, mapped)
    again = c.run(blocks.pin_mapped(mapped))
    assert again is one and one.uses == 3 and not mapped.uses
    fails(Status.INVALID_PARAMETER, c.run, blocks.pin_mapped(one))
    blocks.repin(one)
    for _ in range(4):
        blocks.unpin(one)
    assert not blocks.count
    c.check()


def test_an_exclusive_pin_is_alone() -> None:
    """Case 95: others that pin get nothing without waiting, and wait for its end; maps are had. A
    pin of other pages is not in its way.
    """
    c = Cached()
    blocks = c.cache.blocks
    held = c.run(blocks.pin(c.section, at(4), 4 * PAGE_SIZE, exclusive=True))
    for page, exclusive in ((4, False), (7, False), (5, True)):
        assert blocks.try_pin(c.section, at(page), PAGE_SIZE, exclusive) is None
    assert blocks.try_pin(c.section, at(3), 2 * PAGE_SIZE) is None
    mapped = blocks.try_map(c.section, at(5), PAGE_SIZE)
    beside = c.run(blocks.pin(c.section, at(8), PAGE_SIZE, exclusive=True))
    assert mapped is not None
    order = list[str]()

    async def other(exclusive: bool) -> None:
        block = await blocks.pin(c.section, at(6), PAGE_SIZE, exclusive)
        order.append("exclusive" if exclusive else "shared")
        c.check()
        await c.scheduler.sleep(0.01)
        blocks.unpin(block)

    for exclusive in (False, True, False):
        c.scheduler.spawn(other(exclusive), "other")
    c.sleep()
    assert not order
    blocks.unpin(held)
    c.sleep()
    assert sorted(order) == ["exclusive", "shared", "shared"]
    blocks.unpin(mapped)
    blocks.unpin(beside)
    assert not blocks.count
    c.check()


def test_what_is_pinned_and_changed_is_dirty() -> None:
    """Its pages, and no others; a flush writes them while they are pinned; at the end of a use they
    are written if so said, and an error of that is told though the use has ended.
    """
    c = Cached()
    blocks = c.cache.blocks
    c.read(0, 16)
    block = c.run(blocks.pin(c.section, at(3, 10), PAGE_SIZE))
    blocks.part(block, at(3, 10), 4).fill(b"new!")
    before = c.memory.writeback.dirty
    blocks.set_dirty(block)
    assert (before, c.section.dirty) == (0, 2) and c.read(3)[10:14] == b"new!"
    c.run(c.cache.flush(c.section))
    assert c.pager.data[at(3, 10) : at(3, 14)] == b"new!" and not c.memory.writeback.dirty
    blocks.part(block, at(4), 4).fill(b"more")
    blocks.set_dirty(block)
    blocks.repin(block)
    c.run(blocks.unpin_through(block))
    assert c.pager.data[at(4) : at(4, 4)] == b"more" and block.uses == 1
    blocks.set_dirty(block)
    c.pager.broken = {"write"}
    fails(Status.IO_DEVICE_ERROR, c.run, blocks.unpin_through(block))
    assert not block.uses and not blocks.count
    c.check()


def test_what_is_pinned_stays_and_cannot_be_cut() -> None:
    """Trimmed, purged, cut or dropped: nothing of it happens to pinned pages; others go."""
    c = Cached()
    blocks = c.cache.blocks
    c.read(0, 20)
    block = c.run(blocks.pin(c.section, at(5), PAGE_SIZE))
    c.memory.pageout.trim(1000)
    assert text(c, block, 5) == b"   5" and c.memory.physical.standby.count == 19
    c.check()
    assert not c.run(c.cache.purge_range(c.section, 0, at(20)))
    assert c.section.resident() == 1 and c.run(c.cache.purge_range(c.section, at(6), at(20)))
    for call in (c.cache.purge(c.section, at(5)), c.cache.drop(c.section)):
        fails(Status.USER_MAPPED_FILE, c.run, call)
    assert c.section.size == len(c.data) and c.section.resident() == 1
    c.run(c.cache.purge(c.section, at(6)))
    blocks.unpin(block)
    c.run(c.cache.drop(c.section))
    c.check()


def test_beyond_the_end() -> None:
    """The last page's rest, and what is allocated, are zeros; what is beyond is END_OF_FILE."""
    c = Cached(pages=10)
    blocks = c.cache.blocks
    c.section.size = at(8, 100)
    block = c.run(blocks.pin(c.section, at(8), PAGE_SIZE))
    assert blocks.part(block, at(8), PAGE_SIZE).read() == c.data[at(8) :][:100].ljust(4096, b"\0")
    for call in (blocks.try_pin, blocks.try_map):
        fails(Status.END_OF_FILE, call, c.section, at(8, 4000), 100)
    c.run(c.cache.sizes.set(c.section, at(10, 1), at(8, 100), at(8, 100)))
    behind = c.run(blocks.pin(c.section, at(9), 2 * PAGE_SIZE))
    assert blocks.part(behind, at(9), 2 * PAGE_SIZE).read() == bytes(2 * PAGE_SIZE)
    assert c.section.size == at(8, 100) and c.pager.requests == [(8, 1)]
    fails(Status.END_OF_FILE, c.run, blocks.map(c.section, at(10), PAGE_SIZE + 1))
    for offset, length in ((-1, 5), (0, 0), (0, -1)):
        fails(Status.INVALID_PARAMETER, c.run, blocks.map(c.section, offset, length))
    fails(Status.INVALID_PARAMETER, blocks.part, block, at(7), 10)
    blocks.unpin(block)
    blocks.unpin(behind)
    c.check()


def test_what_is_prepared_is_not_read() -> None:
    """Absent pages are zeros without a read and dirty at once; those in memory keep their bytes
    unless zeros are asked for.
    """
    c = Cached()
    blocks = c.cache.blocks
    c.read(3)
    before = len(c.pager.requests)
    block = c.run(blocks.prepare_write(c.section, at(2), 3 * PAGE_SIZE))
    assert text(c, block, 3) == b"   3" and text(c, block, 2) == text(c, block, 4) == bytes(4)
    assert len(c.pager.requests) == before and c.section.dirty == 3 and block.exclusive
    blocks.unpin(block)
    block = c.run(blocks.prepare_write(c.section, at(3), PAGE_SIZE, zero=True))
    assert text(c, block, 3) == bytes(4)
    blocks.unpin(block)
    fails(Status.INVALID_PARAMETER, c.run, blocks.prepare_write(c.section, 10, PAGE_SIZE))
    c.check()


def test_memory_bounds_what_is_pinned() -> None:
    """To the last ordinary frame; one beyond is NO_MEMORY, and nothing of it stays; what ends makes
    room.
    """
    c = Cached(pages=400, frames=160)
    blocks, kept = c.cache.blocks, list[ControlBlock]()
    with pytest.raises(StatusError) as caught:
        while True:
            kept.append(c.run(blocks.pin(c.section, at(3 * len(kept)), 3 * PAGE_SIZE)))
    assert caught.value.status == Status.NO_MEMORY
    assert len(kept) > 30 and c.memory.physical.available < RESERVE + 4
    while c.memory.physical.available > RESERVE:
        kept.append(c.run(blocks.pin(c.section, at(3 * len(kept)), PAGE_SIZE)))
    fails(Status.NO_MEMORY, c.run, blocks.map(c.section, at(390), PAGE_SIZE))
    locked = c.cache.locked.count
    assert blocks.count == len(kept) and locked == sum(len(b.frames) for b in kept)
    c.check()
    blocks.unpin(kept.pop())
    kept.append(c.run(blocks.map(c.section, at(390), PAGE_SIZE)))
    for block in kept:
        blocks.unpin(block)
    c.check()
    assert c.read(200, 3) == c.data[at(200) : at(203)]


def test_blocks_are_bounded() -> None:
    """As many as there are frames, though all of them have the same page."""
    c = Cached(pages=64)
    blocks = c.cache.blocks
    blocks.most = 5
    c.read(0, 64)
    kept = [c.run(blocks.map(c.section, at(5 - n), (1 + n) * PAGE_SIZE)) for n in range(5)]
    assert len({id(block) for block in kept}) == 5
    fails(Status.INSUFFICIENT_RESOURCES, c.run, blocks.map(c.section, at(9), 5))
    fails(Status.INSUFFICIENT_RESOURCES, blocks.try_pin, c.section, at(9), 5)
    assert blocks.count == 5
    c.check()
    for block in kept:
        blocks.unpin(block)
    c.check()


@pytest.mark.parametrize("k", range(1, 8))
def test_a_pin_whose_kth_read_fails_leaves_nothing(k: int) -> None:
    """The error is the pager's, no page is locked, and the same pin works afterwards."""
    c = Cached(pages=300)
    for page in range(0, 20, 4):
        c.read(page)  # so that what is absent lies in pieces
    blocks, begun = c.cache.blocks, len(c.pager.requests)
    c.pager.fail_at = begun + k
    try:
        block = c.run(blocks.pin(c.section, at(1), 140 * PAGE_SIZE))
    except StatusError as error:
        assert error.status == Status.IO_DEVICE_ERROR
        assert not blocks.count and not c.cache.locked.count
        c.check()
        block = c.run(blocks.pin(c.section, at(1), 140 * PAGE_SIZE))
    assert blocks.part(block, at(1), 140 * PAGE_SIZE).read() == c.data[at(1) : at(141)]
    blocks.unpin(block)
    c.check()


def test_two_pins_at_once_are_one() -> None:
    """Two threads that ask for pages which must be read get one block; an exclusive one comes after
    whoever was first.
    """
    c = Cached()
    blocks, got = c.cache.blocks, list[ControlBlock]()

    async def pin(exclusive: bool) -> None:
        block = await blocks.pin(c.section, at(3), 2 * PAGE_SIZE, exclusive)
        if not exclusive:
            got.append(block)
        await c.scheduler.sleep(1)
        c.check()
        blocks.unpin(block)

    for exclusive in (False, False, True):
        c.scheduler.spawn(pin(exclusive), "pin")
    c.sleep(5)
    assert len(got) == 2 and got[0] is got[1] and not blocks.count
    assert sum(pages for _, pages in c.pager.requests) == 2
    c.check()
