"""External pagers: every message of the protocol, and pagers that are slow, silent, wrong, greedy
or dying, which harm nobody else.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.mmukernels import WRITE
from octavo.memory.pagers.external.memoryobject import MOST_TIMEOUTS
from octavo.memory.pagers.external.messages import Access, CopyStrategy, Return
from octavo.memory.spaces.addressspace import AddressSpace, Allocate
from octavo.memory.spaces.protect import Protect
from octavo.status import Status, StatusError
from tests.books import PAGES, Book
from tests.machines import Machine, MemoryFile, fails, within_seconds
from tests.memory.pagers.worlds import World
from tests.stores import make


@pytest.fixture
def no_warnings() -> Iterator[None]:
    """No deprecation is warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_whole_clusters(no_warnings: None) -> None:
    """One request a cluster, of the size that the pager has set; what is modified is returned in
    runs at a flush, and once more at the end.
    """
    world = World(cluster=8)
    assert [world.read(page) for page in range(PAGES)] == [b"%8d" % page for page in range(PAGES)]
    assert world.book.requests() == [(page, 8) for page in range(0, PAGES, 8)]
    for page in range(10, 14):
        world.write(page, b"new")
    world.machine.run(world.machine.space.flush(world.base))
    assert ("return", 10, 4) in world.book.log and world.book.data[11 * PAGE_SIZE :][:3] == b"new"
    world.write(3, b"end")
    world.machine.virtual.destroy(world.machine.space)
    world.machine.virtual.sections.close(world.section)
    world.machine.run(world.machine.scheduler.sleep(1))
    assert (
        world.book.log[-2:] == [("return", 3, 1), ("terminate", 0, 0)]
        and world.book.data[3 * PAGE_SIZE :][:3] == b"end"
    )
    world.machine.check()


def test_a_pager_of_single_pages_is_served_by_splitting() -> None:
    """The page that somebody waits for first; one warning a pager, not a request."""
    with pytest.warns(DeprecationWarning, match="single pages only") as caught:
        world = World(cluster=0)
        assert [world.read(page) for page in range(32)] == [b"%8d" % page for page in range(32)]
        world.machine.run(world.machine.scheduler.sleep(1))
    asked = world.book.requests()
    assert (
        len(caught) == 1
        and asked[:2] == [(0, 1), (1, 1)]
        and set(asked) == {(page, 1) for page in range(len(asked))}
    )
    assert (
        len(asked) < 50 and world.kept.counts.unasked > 10
    )  # what comes late is not asked for again
    world.machine.check()


@pytest.mark.parametrize("manner", ["pieces", "partial", "twice", "late"])
def test_answers_of_all_kinds(manner: str) -> None:
    """In pieces and backwards, the obligatory page only, twice, after the timeout: each page is
    read right in the end, and nothing is lost.
    """
    world = World(manner)
    for page in range(40):
        for _ in range(3):
            try:
                assert world.read(page) == b"%8d" % page
                break
            except StatusError as error:
                assert (
                    manner == "late"
                    and error.status == Status.IN_PAGE_ERROR
                    and "within 5 s" in error.text
                )
                world.machine.run(world.machine.scheduler.sleep(10))
        else:
            raise AssertionError(f"page {page} never came")
        world.machine.check()
    if manner == "partial":
        assert len(world.book.requests()) == 40
    if manner == "late":
        assert world.kept.counts.unasked > 0


def test_unavailable_pages_are_zeros() -> None:
    """And are the space's to write."""
    world = World("unavailable")
    assert world.read(7) == bytes(8)
    world.write(7, b"mine")
    world.machine.run(world.machine.space.flush(world.base))
    assert world.book.data[7 * PAGE_SIZE :][:4] == b"mine"


def test_errors_reach_who_waits_for_the_page_and_nobody_else() -> None:
    """With the pager's own words; a page beside a bad one is read."""
    world = World("error")
    with pytest.raises(
        StatusError, match="its pager cannot give page 2: the tape is torn"
    ) as error:
        world.read(2)
    assert error.value.status == Status.IN_PAGE_ERROR
    world = World("error beyond")
    assert world.read(3) == b"%8d" % 3 and world.kept.section.resident() == 1
    world.machine.check()


@pytest.mark.parametrize("manner", ["silent", "wrong", "hanging", "failing", "never ready"])
def test_who_never_answers_is_given_up(manner: str) -> None:
    """Each reference ends after a timeout; after some in a row at once; others' pages come all the
    time; frames are not lost.
    """
    world = World(manner)
    file = MemoryFile(world.machine, b"y" * 30 * PAGE_SIZE)
    other, _ = world.machine.space.map(
        world.machine.run(world.machine.virtual.sections.create(0, file=file))
    )
    clock = world.machine.scheduler.clock
    free = world.machine.memory.physical.available

    async def both() -> tuple[float, bytes]:
        async def victim() -> None:
            with pytest.raises(StatusError):
                await world.machine.space.read(world.base, 1)

        thread = world.machine.scheduler.spawn(victim(), "victim")
        start = clock.now()
        data = await world.machine.space.read(other, 30 * PAGE_SIZE)
        took = clock.now() - start
        await thread.join()
        return took, data

    took, data = world.machine.run(both())
    assert took < 0.1 and data == b"y" * 30 * PAGE_SIZE
    for _ in range(MOST_TIMEOUTS * 2):
        with pytest.raises(StatusError):
            world.read(1)
    if manner != "wrong":  # which shows that it lives
        assert world.kept.counts.timeouts == MOST_TIMEOUTS
        start = clock.now()
        with pytest.raises(StatusError, match="is not asked any more"):
            world.read(5)
        assert clock.now() - start < 0.1
    assert (
        world.machine.memory.physical.available >= free - 36
    )  # the file's pages, tables; what "wrong" has supplied stands by
    world.control.data_supply(
        5 * PAGE_SIZE, world.book.data[5 * PAGE_SIZE : 6 * PAGE_SIZE]
    )  # it shows life
    assert world.read(5) == b"%8d" % 5
    world.machine.check()


def test_unasked_data() -> None:
    """Is taken to the standby list while frames are plentiful; a page that is there ends the
    supply, and is told by its offset.
    """
    world = World("silent", frames=120)
    supply = world.control.data_supply
    assert (
        supply(10 * PAGE_SIZE, world.book.data[10 * PAGE_SIZE : 20 * PAGE_SIZE]) == 10 * PAGE_SIZE
    )
    assert [world.read(page) for page in range(10, 20)] == [b"%8d" % page for page in range(10, 20)]
    assert supply(5 * PAGE_SIZE, bytes(10 * PAGE_SIZE)) == 5 * PAGE_SIZE
    assert world.read(10) == b"%8d" % 10 and world.book.requests() == []
    hog, _ = world.machine.space.allocate(0, 60 * PAGE_SIZE, Allocate.COMMIT)
    for page in range(60):
        world.machine.write(hog + page * PAGE_SIZE, b"x")
    free = world.machine.memory.physical.buddy.free_frames
    assert (
        supply(30 * PAGE_SIZE, bytes(30 * PAGE_SIZE))
        == (free - world.machine.memory.pageout.low + 1) * PAGE_SIZE
    )
    world.machine.check()


def test_unasked_precious_data_comes_back() -> None:
    """A precious page that nobody asked for is not dropped like a clean one; one that was there
    before does not become precious.
    """
    world = World("silent", frames=120)
    supply = world.control.data_supply
    assert supply(0, world.book.data[: 4 * PAGE_SIZE]) == 4 * PAGE_SIZE
    assert (
        supply(0, bytes(4 * PAGE_SIZE), precious=True)
        == 0
        == supply(0, bytes(PAGE_SIZE), lock=Access.ALL)
    )
    assert (
        supply(8 * PAGE_SIZE, world.book.data[8 * PAGE_SIZE : 10 * PAGE_SIZE], precious=True)
        == 2 * PAGE_SIZE
    )
    assert world.machine.memory.physical.modified.count == 2 and not world.kept.prohibits(
        0, write=True
    )
    world.machine.check()
    world.machine.run(world.machine.space.flush(world.base))
    assert world.book.returns == [(8, 2, False, False)]
    world.machine.check()


def test_locks() -> None:
    """A locked page asks to be unlocked before it is written, and waits; one whose pager will not
    fails that reference only.
    """
    world = World("silent")
    world.control.data_supply(0, world.book.data[: 4 * PAGE_SIZE], lock=Access.WRITE)
    assert world.read(1) == b"%8d" % 1 and world.book.log == []
    world.write(1, b"mine")
    assert ("unlock", 1, int(Access.WRITE)) in world.book.log and world.read(1)[:4] == b"mine"
    world.machine.run(world.control.lock_request(0, 4 * PAGE_SIZE, lock=Access.ALL))
    assert world.read(2) == b"%8d" % 2 and ("unlock", 2, int(Access.READ)) in world.book.log
    world.book.manner = "never unlocks"
    with pytest.raises(StatusError, match="has not unlocked page 3"):
        world.read(3)
    world.machine.check()


@pytest.mark.parametrize("early", [False, True])
def test_a_pager_that_gives_up_is_not_asked_to_unlock(early: bool) -> None:
    """Who waits for an unlocking hears of it at once, and so does who comes later."""
    world = World("never unlocks")
    world.control.data_supply(0, world.book.data[: 4 * PAGE_SIZE], lock=Access.ALL)
    machine, told = world.machine, list[StatusError]()

    async def reader() -> None:
        try:
            await machine.space.read(world.base, 8)
        except StatusError as error:
            told.append(error)

    async def go() -> None:
        if early:
            world.control.destroy("burnt down")
        machine.scheduler.spawn(reader(), "reader")
        await machine.scheduler.sleep(0.1)
        if not early:
            assert not told and len(world.book.log) == 1
            world.control.destroy("burnt down")
            await machine.scheduler.sleep(0.1)

    with within_seconds(5):
        machine.run(go())
    assert len(told) == 1 and "its pager has given it up: burnt down" in told[0].text
    assert [what for what, _, _ in world.book.log] == ([] if early else ["unlock"])
    machine.check()


def test_lock_request_returns_and_flushes() -> None:
    """DIRTY gives back what is modified, ALL what is resident; a flush drops the pages, and they
    are asked for again; each is acknowledged.
    """
    world = World()
    for page in range(16):
        world.read(page)
    world.write(2, b"two")
    run = world.machine.run
    run(world.control.lock_request(0, 16 * PAGE_SIZE, Return.DIRTY))
    assert ("return", 2, 1) in world.book.log and world.kept.section.resident() == 16
    run(world.control.lock_request(4 * PAGE_SIZE, 4 * PAGE_SIZE, Return.ALL, flush=True))
    assert ("return", 4, 4) in world.book.log and world.kept.section.resident() == 12
    run(world.machine.scheduler.sleep(0.1))
    assert world.book.log[-1] == ("completed", 4, 4)
    assert world.read(5) == b"%8d" % 5 and world.book.requests()[-1] == (5, 3)
    world.machine.space.unmap(
        world.base
    )  # what is resident stands by, and is returned all the same, as it is: clean
    world.book.returns.clear()
    run(world.control.lock_request(8 * PAGE_SIZE, 4 * PAGE_SIZE, Return.ALL, flush=True))
    assert world.book.returns == [(8, 4, False, False)]
    fails(Status.INVALID_PARAMETER, lambda: run(world.control.lock_request(0, 5)))
    world.machine.check()


def test_a_lock_request_that_fails() -> None:
    """Who made it gets the pager's error; nothing is dropped, and it is not called completed."""
    world = World()
    world.write(2, b"two")
    world.book.manner = "keeps nothing"
    with pytest.raises(StatusError, match="the shelf is full"):
        world.machine.run(world.control.lock_request(0, PAGE_SIZE * 8, Return.DIRTY, flush=True))
    world.machine.run(world.machine.scheduler.sleep(0.1))
    assert ("completed", 0, 8) not in world.book.log and world.kept.section.resident() == 16
    world.book.manner = "good"
    world.machine.run(world.control.lock_request(0, PAGE_SIZE * 8, Return.DIRTY, flush=True))
    world.machine.run(world.machine.scheduler.sleep(0.1))
    assert ("completed", 0, 8) in world.book.log and world.kept.section.resident() == 10
    assert world.kept.counts.refused == 0
    world.book.manner, asked = "failing", len(world.book.requests())
    with pytest.raises(StatusError):
        world.read(2)
    assert world.kept.counts.refused == len(world.book.requests()) - asked > 0
    world.machine.check()


def test_attributes() -> None:
    """Cluster sizes that cannot be; pages that do not stay without a view; copies at the first
    reference.
    """
    world = World()
    for size in (PAGE_SIZE + 1, 3 * PAGE_SIZE, -PAGE_SIZE, 256 * PAGE_SIZE):
        fails(Status.INVALID_PARAMETER, world.control.change_attributes, size)
    world.control.change_attributes(
        cluster_size=0, may_cache=False, copy_strategy=CopyStrategy.NONE
    )
    world.write(9, b"dirty")
    assert world.book.requests() == [(9, 1)]
    copy, _ = world.machine.space.map(world.section, protect=Protect.WRITECOPY)
    assert world.machine.read(copy + 9 * PAGE_SIZE, 5) == b"dirty"
    world.write(9, b"later")
    assert (
        world.machine.read(copy + 9 * PAGE_SIZE, 5) == b"dirty"
    )  # a snapshot of what it saw first
    world.machine.space.unmap(copy)
    world.machine.space.unmap(world.base)
    world.machine.run(world.machine.scheduler.sleep(1))
    assert world.book.data[9 * PAGE_SIZE :][:5] == b"later" and world.kept.section.resident() == 0
    world.machine.check()


@pytest.mark.parametrize("way", ["evict", "pressure", "fork", "protect", "fork in bulk"])
def test_a_snapshot_is_kept(way: str) -> None:
    """A copy that was made by reading is data, though nobody has written it: whatever makes it
    leave, it comes back as it was.
    """
    world = World(frames=120, slots=600)
    machine, space = world.machine, world.machine.space
    world.control.change_attributes(copy_strategy=CopyStrategy.NONE)
    world.write(9, b"first")
    copy, _ = space.map(world.section, protect=Protect.WRITECOPY)
    assert machine.read(copy + 9 * PAGE_SIZE, 5) == b"first"
    world.write(9, b"later")
    if way == "fork in bulk":
        machine.virtual.lifetimes.bulk_pages = 1
    spaces = [space, machine.virtual.fork(space, "child")] if "fork" in way else [space]
    if way == "protect":
        space.protect(copy, PAGES * PAGE_SIZE, Protect.NOACCESS)
        space.protect(copy, PAGES * PAGE_SIZE, Protect.READONLY)
    if way == "pressure":
        other = machine.virtual.create("other")
        base, _ = other.allocate(0, 300 * PAGE_SIZE, Allocate.COMMIT)
        for page in range(300):
            machine.write(base + page * PAGE_SIZE, b"x", other)
    for _ in range(2):  # it comes back and leaves once more
        machine.run(machine.virtual.eviction.evict(500))
        assert [machine.read(copy + 9 * PAGE_SIZE, 5, each) for each in spaces] == [b"first"] * len(
            spaces
        )
        machine.check()
    assert not machine.virtual.eviction.dropped and world.read(9)[:5] == b"later"


def test_messages_about_a_huge_object_cost_what_is_there() -> None:
    """2^46 bytes are locked, asked back, unlocked and said to be empty at once; what is resident is
    returned, what is prohibited is.
    """
    machine = Machine()
    book = Book(machine)
    section, control = machine.virtual.sections.create_external(book, 1 << 46, "huge")
    base, size = machine.space.map(section)
    kept = section.memory_object
    machine.write(base + 5 * PAGE_SIZE, b"there")
    assert kept is not None
    with within_seconds(5):
        control.data_unavailable(0, size)
        machine.run(control.lock_request(0, size, Return.ALL, lock=Access.WRITE))
        control.data_error(0, size, "not now")
        assert kept.prohibits(5, write=True) and not kept.prohibits((size >> 12) - 1, write=False)
        machine.run(control.lock_request(0, size, lock=Access.NONE))
    assert book.data[5 * PAGE_SIZE :][:5] == b"there" and not kept.prohibits(5, write=True)
    machine.check()


def test_precious_pages_come_back() -> None:
    """A page that the pager has not kept is returned when it leaves, though nobody has modified
    it.
    """
    world = World("precious", frames=70)
    for page in range(PAGES):
        assert world.read(page) == b"%8d" % page
    returned = [
        page
        for what, first, pages in world.book.log
        if what == "return"
        for page in range(first, first + pages)
    ]
    assert len(returned) > 10 and len(set(returned)) == len(returned)
    assert not any(dirty for _, _, dirty, _ in world.book.returns) and not all(
        kept for _, _, _, kept in world.book.returns
    )
    world.machine.check()


def test_what_is_said_of_returned_pages() -> None:
    """Precious pages that nobody has written are not dirty; pages that are in use are kept; each
    stretch of pages that are alike is one message.
    """
    world = World("precious")
    for page in range(8):
        world.read(page)
    for page in (3, 4):
        world.write(page, b"new")
    world.machine.run(
        world.machine.cache.copy_write(world.kept.section, 6 * PAGE_SIZE, b"by the cache")
    )
    world.machine.run(world.machine.space.flush(world.base))
    assert world.book.returns[:5] == [
        (0, 3, False, True),
        (3, 2, True, True),
        (5, 1, False, True),
        (6, 1, True, True),
        (7, 1, False, True),
    ]
    rest = world.book.returns[5:]
    assert (
        all(not dirty and not kept for _, _, dirty, kept in rest)
        and sum(pages for _, pages, _, _ in rest) == 8
    )  # came with the cluster
    world.machine.run(world.machine.space.flush(world.base))
    assert len(world.book.returns) == 5 + len(rest), "they are precious no more: the pager has them"
    world.write(3, b"again")
    world.machine.run(world.control.lock_request(0, 8 * PAGE_SIZE, Return.DIRTY))
    assert world.book.returns[-1] == (3, 1, True, True)
    world.machine.check()


def test_an_object_that_is_given_up() -> None:
    """Who waits and who comes gets the pager's words; what is there stays; the object can be
    closed.
    """
    world = World("silent")
    world.control.data_supply(0, world.book.data[:PAGE_SIZE])

    async def wait_and_die() -> None:
        async def victim() -> None:
            with pytest.raises(StatusError, match="given it up: burnt down"):
                await world.machine.space.read(world.base + PAGE_SIZE, 1)

        thread = world.machine.scheduler.spawn(victim(), "victim")
        await world.machine.scheduler.sleep(0.5)
        world.control.destroy("burnt down")
        await thread.join()

    world.machine.run(wait_and_die())
    assert world.read(0) == b"%8d" % 0
    with pytest.raises(StatusError, match="burnt down"):
        world.read(30)
    world.write(0, b"lost")
    world.machine.virtual.destroy(world.machine.space)
    world.machine.virtual.sections.close(world.section)
    world.machine.run(world.machine.scheduler.sleep(1))
    assert not world.kept.section.resident()
    world.machine.check()


@pytest.mark.parametrize("manner", ["hanging return", "keeps nothing"])
def test_a_pager_that_does_not_take_pages_back(manner: str) -> None:
    """Its own users may modify its quota and no more; another program works on more than memory all
    the time; nothing is lost.
    """
    world = World("good", frames=200, slots=600)
    world.book.manner = manner
    other = world.machine.virtual.create("other")
    base, _ = other.allocate(0, 400 * PAGE_SIZE, Allocate.COMMIT)
    modified = 0
    with pytest.raises(
        StatusError, match="cannot be written: book has [0-9]+ modified pages already"
    ) as error:
        for page in range(PAGES):
            world.write(page, b"kept %3d" % page)
            modified += 1
    assert error.value.status == Status.IN_PAGE_ERROR and modified == world.kept.traits.quota
    start = world.machine.scheduler.clock.now()
    for page in range(400):
        world.machine.write(base + page * PAGE_SIZE, b"%d" % page, other)
    assert world.machine.scheduler.clock.now() - start < 2  # it has not waited for timeouts
    for page in range(400):
        assert world.machine.read(base + page * PAGE_SIZE, 3, other).rstrip(b"\0") == b"%d" % page
    for page in range(modified):
        assert world.read(page) == b"kept %3d" % page
    world.machine.check()


@pytest.mark.parametrize("privileged", [True, False])
def test_a_pager_that_needs_memory_itself(privileged: bool) -> None:
    """To take pages back it touches pages of its own, when no other frame can be had: with the
    reserve it does, without it cannot.
    """
    world = World("good", frames=130)
    machine = world.machine
    machine.virtual.commitment.slots = 1000  # as if there were a page file
    own = machine.virtual.create("pager")
    own.privileged = privileged
    own.allocate(0x10000, 40 * PAGE_SIZE, Allocate.RESERVE | Allocate.COMMIT)
    machine.touch(0x10000, WRITE, own)
    world.book.space = own
    for page in range(8):
        world.write(page, b"kept")
    hog, _ = machine.space.allocate(0, 200 * PAGE_SIZE, Allocate.COMMIT)
    with pytest.raises(StatusError) as error:
        for page in range(200):
            machine.write(hog + page * PAGE_SIZE, b"x")
    assert error.value.status == Status.NO_MEMORY
    assert (world.book.data[:4] == b"kept") == privileged
    assert not (privileged and world.kept.counts.timeouts)
    machine.check()


def test_in_virtual_time_with_threads_interleaved() -> None:
    """Several threads of two spaces over two pagers and a page file, for a number of seeds: bytes
    are right, the ledger balances.
    """
    for seed in range(12):
        machine, _ = make(110, 400)
        machine.scheduler.random.seed(seed)  # type: ignore[union-attr]  # virtual time has one
        books = [Book(machine, manner) for manner in ("pieces", "twice")]
        spaces = [machine.space, machine.virtual.create("other")]
        objects = [
            machine.virtual.sections.create_external(book, PAGES * PAGE_SIZE, f"book {i}")[0]
            for i, book in enumerate(books)
        ]
        bases = {(s, i): s.map(objects[i])[0] for s in spaces for i in range(2)}

        async def work(
            number: int,
            bases: dict[tuple[AddressSpace, int], int] = bases,
            spaces: list[AddressSpace] = spaces,
        ) -> None:
            space = spaces[number % 2]
            for step in range(40):
                i, page = (number + step) % 2, (number * 17 + step * 5) % PAGES
                address = bases[space, i] + page * PAGE_SIZE
                assert await space.read(address, 8) == b"%8d" % page
                await space.write(address + 8 + number, b"%d" % number)
                if step % 13 == number % 13:
                    await space.flush(address)

        async def all_of_them(machine: Machine = machine) -> None:
            threads = [
                machine.scheduler.spawn(work(number), f"worker {number}") for number in range(4)
            ]
            for thread in threads:
                await thread.join()

        machine.run(all_of_them())
        machine.check()
        for i in range(2):
            machine.run(machine.cache.flush(objects[i].section))
        for number in range(4):
            for step in range(40):
                i, page = (number + step) % 2, (number * 17 + step * 5) % PAGES
                assert (
                    books[i].data[page * PAGE_SIZE + 8 + number : page * PAGE_SIZE + 9 + number]
                    == b"%d" % number
                )
        assert machine.touch(bases[spaces[0], 0], WRITE) == machine.touch(
            bases[spaces[1], 0], WRITE, spaces[1]
        )
        machine.check()
