"""Page files: spaces larger than memory, eviction's second chance, several files, failures, and
threads that interleave.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from octavo.machine.abi import ACCESSED, PAGE_SIZE, State
from octavo.machine.clock import VirtualClock
from octavo.machine.mmu import reference
from octavo.machine.mmukernels import WRITE
from octavo.memory.pagers.medium import Op, Request
from octavo.memory.pagers.pagefile import MOST_FILES, PageFiles, is_paged
from octavo.memory.spaces.addressspace import AddressSpace, Allocate
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.pageins import CLUSTER
from octavo.memory.spaces.protect import Protect
from octavo.statistics import EvictionStatistics
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.threads.scheduler import Scheduler
from tests.machines import Machine, MemoryFile, fails
from tests.stores import Store, make

COMMIT = Allocate.COMMIT


@pytest.mark.parametrize("arch", ["i386", "pae", "x86-64", "la57"])
def test_a_space_eight_times_as_large_as_memory(arch: str) -> None:
    """Written and read in sequence and at random: every byte is right, by clusters in both
    directions, and the ledger balances.
    """
    machine, store = make(100, 1000, arch)
    base, _ = machine.space.allocate(0, 800 * PAGE_SIZE, COMMIT)
    for page in range(800):
        machine.write(base + page * PAGE_SIZE + 100, b"page %d" % page)
    machine.check()
    for page in range(800):
        assert machine.read(base + page * PAGE_SIZE + 100, 9).rstrip(b"\0") == b"page %d" % page
    choose = random.Random(1)
    for _ in range(300):
        page = choose.randrange(800)
        assert machine.read(base + page * PAGE_SIZE + 100, 9).rstrip(b"\0") == b"page %d" % page
    machine.check()
    sizes = {kind: [n for k, _, n in store.requests if k == kind] for kind in ("read", "write")}
    assert sum(sizes["write"]) >= 700 and max(sizes["read"]) == CLUSTER
    assert sum(sizes["write"]) / len(sizes["write"]) > 8
    machine.virtual.destroy(machine.space)
    assert machine.memory.physical.available == 100 and machine.virtual.files.free == 1000
    machine.check()


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("arch", ["i386", "pae", "x86-64", "la57"])
def test_pages_at_the_top_of_a_space_leave_and_come_back(arch: str, bulk: bool) -> None:
    """Made by a kernel or one by one: a frame knows of its page by the whole of its number."""
    machine, store = make(100, 1000, arch)
    base, _ = machine.space.allocate(
        0, 40 * PAGE_SIZE, COMMIT | Allocate.RESERVE | Allocate.TOP_DOWN
    )
    if bulk:
        assert (
            machine.run(
                machine.virtual.run(
                    machine.space,
                    np.array(
                        [reference(base + page * PAGE_SIZE, WRITE) for page in range(40)], np.int64
                    ),
                )
            )
            == 40
        )
        assert machine.virtual.bulk.filled == 40
    for page in range(40):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    machine.check()
    while machine.run(machine.virtual.eviction.evict(64)):
        pass
    assert (
        machine.space.pages.resident == 0
        and sum(n for kind, _, n in store.requests if kind == "write") == 40
    )
    assert [machine.read(base + page * PAGE_SIZE, 2).rstrip(b"\0") for page in range(40)] == [
        b"%d" % page for page in range(40)
    ]
    machine.check()


def test_pages_of_zeros_are_dropped_not_written() -> None:
    """Pages that were only read cost nothing to let go of."""
    machine, store = make()
    base, _ = machine.space.allocate(0, 500 * PAGE_SIZE, COMMIT)
    for page in range(500):
        assert machine.read(base + page * PAGE_SIZE, 4) == bytes(4)
    assert store.requests == [] and machine.virtual.eviction.dropped > 400
    resident, dropped = machine.space.pages.resident, machine.virtual.eviction.dropped
    # they were read: the first look gives them their second chance
    machine.virtual.replacement.harvest()
    left = machine.run(machine.virtual.eviction.evict(5))
    assert (
        5
        <= left
        == resident - machine.space.pages.resident
        == machine.virtual.eviction.dropped - dropped
    )


def test_second_chance() -> None:
    """Pages accessed since the hand passed stay and lose their accessed bit; the others leave,
    whatever their order.
    """
    machine, store = make(200)
    base, _ = machine.space.allocate(0, 64 * PAGE_SIZE, COMMIT)
    tables = machine.space.tables
    for page in range(64):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    assert machine.virtual.replacement.harvest() == 64
    for page in range(0, 64, 2):
        machine.touch(base + page * PAGE_SIZE)
    assert machine.scheduler.run(machine.virtual.eviction.evict(32)) == 32
    for page in range(64):
        entry = tables.get(base + page * PAGE_SIZE)
        assert (entry & (1 | ACCESSED) == 1) == (page % 2 == 0)
    assert machine.scheduler.run(machine.virtual.eviction.evict(32)) == 32 and store.requests
    assert machine.space.pages.resident == 0
    assert machine.virtual.eviction.statistics() == EvictionStatistics(
        unmapped=0, dropped=0, evicted=64, kept=0, spared=0
    )
    machine.check()


def test_locked_pages_stay_and_shared_ones_leave_together() -> None:
    """A locked page is never evicted; one that a fork shares leaves all spaces for one slot; all
    keep their bytes.
    """
    machine, _ = make(120)
    base, _ = machine.space.allocate(0, 20 * PAGE_SIZE, COMMIT)
    for page in range(20):
        machine.write(base + page * PAGE_SIZE, b"mine")
    child = machine.virtual.fork(machine.space, "child")
    machine.run(child.lock(base, PAGE_SIZE))
    other, _ = machine.space.allocate(0, 400 * PAGE_SIZE, COMMIT)
    machine.write(other, b"lock")
    machine.run(machine.space.lock(other, 4))
    for page in range(1, 400):
        machine.write(other + page * PAGE_SIZE, b"more")
    tables = machine.space.tables
    assert tables.get(other) & 1 and tables.get(base) & 1
    paged = [p for p in range(20) if is_paged(tables.get(base + p * PAGE_SIZE))]
    assert len(paged) > 10 and all(
        tables.get(base + p * PAGE_SIZE) == child.tables.get(base + p * PAGE_SIZE) for p in paged
    )
    machine.check()
    machine.write(base + 5 * PAGE_SIZE, b"his!", child)
    assert (
        machine.read(base + 5 * PAGE_SIZE, 4) == b"mine"
        and machine.read(base + 5 * PAGE_SIZE, 4, child) == b"his!"
    )
    machine.virtual.destroy(child)
    for page in range(400):
        machine.write(other + page * PAGE_SIZE, b"x")
    assert machine.read(base + 6 * PAGE_SIZE, 4) == b"mine"
    machine.check()


def test_paged_pages_are_inherited() -> None:
    """A fork of pages that are in the page file: each side reads the same and then has its own."""
    machine, _ = make()
    base, _ = machine.space.allocate(0, 200 * PAGE_SIZE, COMMIT)
    for page in range(200):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    child = machine.virtual.fork(machine.space, "child")
    machine.check()
    machine.write(base, b"child", child)
    for page in range(1, 200):
        assert machine.read(base + page * PAGE_SIZE, 3, child) == machine.read(
            base + page * PAGE_SIZE, 3
        )
    assert machine.read(base, 5) == b"0" + bytes(4)
    machine.virtual.destroy(machine.space)
    assert machine.read(base + 150 * PAGE_SIZE, 3, child) == b"150"
    machine.check()


def test_several_files_fill_one_after_the_other_and_say_when_they_are_full() -> None:
    """The commit limit is memory and all files; within it everything that was committed can be
    had.
    """
    machine, _ = make(100, 40)
    machine.virtual.add_page_file(Store(machine.scheduler, 60, "second"))
    limit = machine.virtual.limit
    base, _ = machine.space.allocate(0, limit * PAGE_SIZE, COMMIT)
    fails(Status.COMMITMENT_LIMIT, machine.space.allocate, 0, PAGE_SIZE, COMMIT)
    for page in range(limit):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    for page in range(limit):
        assert machine.read(base + page * PAGE_SIZE, 4).rstrip(b"\0") == b"%d" % page
    assert machine.virtual.files.statistics().free < 60
    machine.check()


def test_a_page_file_that_cannot_write() -> None:
    """Memory runs out with a sentence; every page is still there; once it can write again, all goes
    on.
    """
    machine, store = make()
    base, _ = machine.space.allocate(0, 300 * PAGE_SIZE, COMMIT)
    store.fail_writes = True
    written = 0
    with pytest.raises(StatusError) as error:
        for page in range(300):
            machine.write(base + page * PAGE_SIZE, b"%d" % page)
            written += 1
    assert error.value.status == Status.NO_MEMORY and machine.virtual.files.errors
    machine.check()
    for page in range(written):
        assert machine.read(base + page * PAGE_SIZE, 3).rstrip(b"\0") == b"%d" % page
    store.fail_writes = False
    for page in range(300):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    assert machine.read(base + 7 * PAGE_SIZE, 1) == b"7"
    machine.check()


def test_many_threads_with_a_page_file_that_cannot_write() -> None:
    """None of them goes round for ever on the failing writes of the others: each ends, with the
    device's words.
    """
    machine, store = make(80, 600)
    spaces = [machine.virtual.create(f"space {i}") for i in range(4)]
    bases = [space.allocate(0, 60 * PAGE_SIZE, COMMIT)[0] for space in spaces]
    store.fail_writes = True
    told: list[str] = []

    async def fill(space: AddressSpace, base: int) -> None:
        try:
            for page in range(60):
                await space.write(base + page * PAGE_SIZE, b"x")
        except StatusError as error:
            assert error.status == Status.NO_MEMORY
            told.append(error.text)

    async def all_of_them() -> None:
        threads = [
            machine.scheduler.spawn(fill(space, base), space.name)
            for space, base in zip(spaces, bases, strict=True)
        ]
        for thread in threads:
            await thread.join()

    machine.run(all_of_them())
    assert len(told) == 4 and any("injected failure of write" in text for text in told)
    machine.check()


def test_a_page_file_that_cannot_read() -> None:
    """IN_PAGE_ERROR names file and page; the page stays where it is and can be read later."""
    machine, store = make()
    base, _ = machine.space.allocate(0, 300 * PAGE_SIZE, COMMIT)
    for page in range(300):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    store.fail_reads = True
    with pytest.raises(
        StatusError, match="page file pagefile, page [0-9]+: pagefile: injected failure of read"
    ) as error:
        machine.read(base)
    assert error.value.status == Status.IN_PAGE_ERROR
    machine.check()
    store.fail_reads = False
    assert machine.read(base, 1) == b"0"
    machine.check()


def test_only_the_page_that_was_touched_is_obligatory() -> None:
    """A store that cannot read clusters still gives single pages."""
    machine, store = make()
    base, _ = machine.space.allocate(0, 300 * PAGE_SIZE, COMMIT)
    for page in range(300):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    real = store.submit

    async def submit(requests: Sequence[Request]) -> None:
        if any(op == Op.READ and frames.length > PAGE_SIZE for op, _, frames in requests):
            raise StatusError(Status.IO_DEVICE_ERROR, "no clusters today")
        await real(requests)

    store.submit = submit  # type: ignore[method-assign]  # a device in a bad mood
    assert [machine.read(base + p * PAGE_SIZE, 2).rstrip(b"\0") for p in range(100)] == [
        b"%d" % p for p in range(100)
    ]
    assert machine.virtual.files.errors > 10
    machine.check()


def test_a_store_that_cannot_be_a_page_file() -> None:
    """Too small, or one too many."""
    files, scheduler = PageFiles(), Scheduler(VirtualClock(), 1)
    with pytest.raises(StatusError, match="has no room for a page"):
        files.add(Store(scheduler, 0))
    for _ in range(MOST_FILES):
        files.add(Store(scheduler, 1))
    with pytest.raises(StatusError, match="there are 16 page files already"):
        files.add(Store(scheduler, 1))


def test_a_real_file(tmp_path: Path) -> None:
    """The device of a disk image as page file, in virtual time."""
    path = tmp_path / "page.file"
    path.write_bytes(bytes(600 * PAGE_SIZE))
    machine = Machine("x86-64", 100)
    disk = ImageDisk(path, machine.scheduler)
    machine.virtual.add_page_file(disk)
    base, _ = machine.space.allocate(0, 500 * PAGE_SIZE, COMMIT)
    for page in range(500):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    assert all(machine.read(base + p * PAGE_SIZE, 3).rstrip(b"\0") == b"%d" % p for p in range(500))
    assert disk.counts.writes > 5 and disk.counts.reads > 5
    machine.check()
    machine.scheduler.close()
    disk.close()


@pytest.mark.parametrize("seed", range(8))
def test_threads_that_interleave(seed: int) -> None:
    """Four kernel threads in two spaces, on memory for a quarter of them: pages are evicted and
    come back under one another's feet.
    """
    machine = Machine("x86-64", 90, seed=seed)
    store = Store(machine.scheduler, 800)
    machine.virtual.add_page_file(store)
    spaces = [machine.space, machine.virtual.create("second")]
    bases = [space.allocate(0, 150 * PAGE_SIZE, COMMIT)[0] for space in spaces]
    done: list[int] = []

    async def work(number: int) -> None:
        choose = random.Random(seed * 10 + number)
        space, base = spaces[number % 2], bases[number % 2]
        model: dict[int, bytes] = {}
        for step in range(150):
            page = (
                choose.randrange(75) * 2 + number // 2
            )  # its own pages, between those of another thread
            address = base + page * PAGE_SIZE
            if choose.random() < 0.6:
                model[page] = b"%d.%d" % (number, step)
                await space.write(address, model[page])
            else:
                expected = model.get(page, b"")
                assert (
                    await space.read(address, 8) == expected.ljust(8, b"\0")
                    or (await space.read(address, len(expected))) == expected
                )
            if step % 40 == 39:
                await space.touch(address, WRITE)
        done.append(number)

    for number in range(4):
        machine.scheduler.spawn(work(number), f"worker {number}")

    async def wait() -> None:
        while len(done) < 4:
            await machine.scheduler.sleep(0.01)

    machine.scheduler.run(wait())
    machine.check()
    assert store.requests
    machine.scheduler.close()


@pytest.mark.parametrize("arch", ["i386", "pae", "x86-64", "la57"])
def test_a_large_fork_in_bulk(arch: str) -> None:
    """A thousand pages, some in frames, some paged, some NOACCESS, some never touched: the child
    has them all, and its own after a write.
    """
    machine, _ = make(700, 2000, arch)
    base, _ = machine.space.allocate(0, 1200 * PAGE_SIZE, COMMIT)
    for page in range(0, 1200, 3):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    for page in range(30, 300, 30):
        machine.space.protect(base + page * PAGE_SIZE, PAGE_SIZE, Protect.NOACCESS)
    machine.scheduler.run(machine.virtual.eviction.evict(100))
    child = machine.virtual.fork(machine.space, "child")
    machine.check()
    assert machine.virtual.bulk.shared > 150
    for page in range(30, 300, 30):
        fails(Status.ACCESS_VIOLATION, machine.read, base + page * PAGE_SIZE, 1, child)
        child.protect(base + page * PAGE_SIZE, PAGE_SIZE, Protect.READWRITE)
    for page in range(0, 1200, 3):
        machine.write(base + page * PAGE_SIZE + 8, b"child", child)
        assert machine.read(base + page * PAGE_SIZE, 4, child).rstrip(b"\0") == b"%d" % page
    assert machine.read(base + 600 * PAGE_SIZE, 13) == b"600" + bytes(10)
    machine.check()


@pytest.mark.parametrize("arch", ["i386", "x86-64"])
def test_frames_for_tables_come_from_the_standby_list_too(arch: str) -> None:
    """When all that is available stands by, a fault that needs a page table takes from there: it
    once went round for ever on i386.
    """
    machine = Machine(arch, frames=300)
    file = MemoryFile(machine, bytes(260 * PAGE_SIZE))
    machine.run(machine.cache.copy_read(file.section, 0, 260 * PAGE_SIZE))
    machine.memory.pageout.trim(300)
    physical = machine.memory.physical
    hold = physical.try_take(physical.buddy.free_frames + physical.zeroed.count, State.ACTIVE)
    assert hold is not None and physical.buddy.free_frames == 0 and physical.standby.count > 100
    bases = [
        machine.space.allocate(0x10000000 * i, PAGE_SIZE, COMMIT | Allocate.RESERVE)[0]
        for i in range(1, 6)
    ]  # each needs tables
    for base in bases:
        machine.write(base, b"x")
    machine.check()


def test_advice_for_private_memory() -> None:
    """What a page-in brings: neighbours behind, before, or none; DONTNEED sends pages out now and
    keeps their bytes, WILLNEED brings them back.
    """

    def page_ins(advice: Advice, pages: list[int]) -> list[tuple[int, int]]:
        machine, store = make(200)
        base, _ = machine.space.allocate(0, 64 * PAGE_SIZE, COMMIT)
        for page in range(64):
            machine.write(base + page * PAGE_SIZE, b"%d" % page)
        machine.run(machine.space.lock(base + 50 * PAGE_SIZE, PAGE_SIZE))
        machine.run(machine.space.advise(base, 64 * PAGE_SIZE, Advice.DONTNEED))
        assert machine.space.pages.paged == 63 and machine.space.pages.resident == 1
        machine.run(machine.space.advise(base, 1, advice))
        store.requests.clear()
        for page in pages:
            assert machine.read(base + page * PAGE_SIZE, 2).rstrip(b"\0") == b"%d" % page
        machine.check()
        return [(slot, count) for kind, slot, count in store.requests if kind == "read"]

    assert page_ins(Advice.NORMAL, [0, 15, 16]) == [(0, 16), (16, 16)]
    assert page_ins(Advice.RANDOM, [3, 4]) == [(3, 1), (4, 1)]
    assert page_ins(Advice.REVERSE, [40, 26, 24, 5]) == [(25, 16), (9, 16), (0, 6)]
    machine, store = make(200)
    base, _ = machine.space.allocate(0, 32 * PAGE_SIZE, COMMIT)
    machine.write(base, b"x" * 32 * PAGE_SIZE)
    machine.run(machine.space.advise(base, 32 * PAGE_SIZE, Advice.DONTNEED))
    machine.run(machine.space.advise(base, 32 * PAGE_SIZE, Advice.WILLNEED))
    assert machine.space.pages.resident == 32 and [
        n for kind, _, n in store.requests if kind == "read"
    ] == [16, 16]
    store.fail_reads = True
    machine.run(machine.space.advise(base, 32 * PAGE_SIZE, Advice.DONTNEED))
    machine.run(machine.space.advise(base, 32 * PAGE_SIZE, Advice.WILLNEED))
    assert machine.space.pages.resident == 0
    machine.check()


def test_page_files_grow() -> None:
    """From their first size to their maximum as commit asks for it, never beyond; sizes that cannot
    be are refused with NT's statuses.
    """
    machine = Machine(frames=100)
    limit = machine.virtual.limit
    machine.virtual.add_page_file(Store(machine.scheduler, 300), 20 * PAGE_SIZE, 200 * PAGE_SIZE)
    machine.virtual.add_page_file(Store(machine.scheduler, 50, "second"), 10 * PAGE_SIZE)
    assert machine.virtual.limit == limit + 30
    base, _ = machine.space.allocate(0, (limit + 120) * PAGE_SIZE, COMMIT)
    assert machine.virtual.files.grown >= 90 and machine.virtual.limit < limit + 250
    fails(Status.COMMITMENT_LIMIT, machine.space.allocate, 0, 200 * PAGE_SIZE, COMMIT)
    machine.space.allocate(0, 100 * PAGE_SIZE, COMMIT)
    for page in range(limit + 120):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    for page in range(limit + 120):
        assert machine.read(base + page * PAGE_SIZE, 3).rstrip(b"\0") == b"%d" % page
    machine.check()
    add, store = machine.virtual.add_page_file, Store(machine.scheduler, 30)
    fails(Status.INVALID_PARAMETER_2, add, store, 0, PAGE_SIZE)
    fails(Status.INVALID_PARAMETER_2, add, store, 2 * PAGE_SIZE, PAGE_SIZE)
    fails(Status.INVALID_PARAMETER_3, add, store, PAGE_SIZE, 31 * PAGE_SIZE)


def test_collided_page_ins_read_once() -> None:
    """Threads that want pages of one cluster from the page file wait for the one request."""
    machine, store = make(200)
    base, _ = machine.space.allocate(0, 40 * PAGE_SIZE, COMMIT)
    for page in range(40):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    while machine.run(machine.virtual.eviction.evict(40)):
        pass
    store.requests.clear()

    async def all_at_once() -> list[bytes]:
        threads = [
            machine.scheduler.spawn(machine.space.read(base + page * PAGE_SIZE, 2), "reader")
            for page in range(16)
            for _ in range(2)
        ]
        return [await thread.join() for thread in threads]

    assert [data.rstrip(b"\0") for data in machine.run(all_at_once())] == [
        b"%d" % (i // 2) for i in range(32)
    ]
    slots = [slot for _, first, count in store.requests for slot in range(first, first + count)]
    assert len(slots) == len(set(slots)) and len(store.requests) < 16
    machine.check()
