"""What is checked before a wait is looked at again behind it: another thread changes things
meanwhile, and nothing is lost or told wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

import octavo
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.mmukernels import WRITE
from octavo.memory.pagers.external.messages import Access, Return
from octavo.memory.pagers.medium import Op, Request
from octavo.memory.pagers.pagefile import is_paged
from octavo.memory.spaces.addressspace import Allocate, Free
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.view import Attribute
from octavo.status import Status, StatusError
from tests.conftest import fsck, make_image
from tests.machines import Machine, MemoryFile, fails
from tests.memory.pagers.worlds import World
from tests.places import PROGRAM
from tests.stores import make

COMMIT = Allocate.COMMIT
MIB = 1 << 20


def beside(
    machine: Machine,
    first: Coroutine[Any, Any, object],
    *others: tuple[float, Coroutine[Any, Any, object] | Callable[[], object]],
) -> object:
    """Runs a coroutine, and others that begin so many seconds later; returns what the first returns
    or raises.
    """

    async def later(
        seconds: float, what: Coroutine[Any, Any, object] | Callable[[], object]
    ) -> None:
        await machine.scheduler.sleep(seconds)
        if callable(what):
            what()
        else:
            await what

    async def all_of_them() -> object:
        threads = [
            machine.scheduler.spawn(later(*other), f"other {i}") for i, other in enumerate(others)
        ]
        try:
            return await first
        finally:
            for thread in threads:
                await thread.join()

    return machine.run(all_of_them())


# -- sections and files ----------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0, 0.00002, 0.00005, 0.0002, 0.001])
@pytest.mark.parametrize("extend", [False, True])
def test_a_file_that_grows_meanwhile_is_not_cut(tmp_path: Path, extend: bool, delay: float) -> None:
    """A section is made, or extended, to 300,000 bytes while others append 600,000, in one piece or
    two: nothing of them is lost.
    """
    for seed in range(3):
        image = make_image(tmp_path / f"{seed}.img", 16 * MIB, 16)
        with octavo.open_image(image) as volume:
            volume.write_bytes("a", b"x" * 1000)
        with octavo.boot(memory="8M", disks=[image], seed=seed) as system:
            scheduler, sections = system.scheduler, system.virtual.sections
            opened = system.volumes["C:"].open("a", "r+b")
            file = opened.core
            section = scheduler.run(sections.create(0, file=file)) if extend else None

            async def append(at: int, size: int) -> None:
                await file.write(at, b"D" * size)

            async def grow() -> None:
                if section is not None:
                    await sections.extend(section, 300_000)
                else:
                    sections.close(await sections.create(300_000, file=file))

            async def all_of_them() -> None:
                threads = [scheduler.spawn(append(1000, 600_000 if extend else 50_000), "first")]
                await scheduler.sleep(delay)
                threads.append(scheduler.spawn(grow(), "grow"))
                await scheduler.sleep(delay)
                if not extend:
                    threads.append(scheduler.spawn(append(51_000, 550_000), "second"))
                for thread in threads:
                    await thread.join()

            scheduler.run(all_of_them())
            assert file.size == 601_000
            if section is not None:
                assert section.size == 300_000
                sections.close(section)
            scheduler.run(scheduler.sleep(1))
            opened.close()
        with octavo.open_image(image, read_only=True) as volume:
            assert volume.read_bytes("a") == b"x" * 1000 + b"D" * 600_000
        fsck(image)


def test_an_extension_does_not_undo_a_larger_one() -> None:
    """Two threads extend a section, the one that asks for less is ready last."""
    machine = Machine()
    file = MemoryFile(machine, bytes(4 * PAGE_SIZE))
    section = machine.run(machine.virtual.sections.create(0, file=file))
    extend, write = machine.virtual.sections.extend, machine.cache.copy_write

    async def slowly(*arguments: Any) -> None:
        await write(*arguments)
        await machine.scheduler.sleep(0.1 if len(arguments[2]) < 5 * PAGE_SIZE else 0)

    machine.cache.copy_write = slowly  # type: ignore[method-assign,assignment]
    beside(machine, extend(section, 8 * PAGE_SIZE), (0.01, extend(section, 20 * PAGE_SIZE)))
    assert (
        section.size == section.section.size == 20 * PAGE_SIZE
        and machine.space.map(section)[1] == 20 * PAGE_SIZE
    )
    machine.check()


def test_a_name_is_given_once_and_a_section_that_ends_is_not_extended() -> None:
    """Two sections are made under one name at the same time; one is closed while it is extended."""
    machine = Machine()
    file = MemoryFile(machine, bytes(4 * PAGE_SIZE))
    sections = machine.virtual.sections

    async def wait(*size: int) -> None:
        await machine.scheduler.sleep(0.01)

    file.prepare_mapping = wait  # type: ignore[method-assign]
    file.grow = wait  # type: ignore[method-assign,assignment]
    made = []

    async def create() -> None:
        made.append(await sections.create(0, file=file, name="one"))

    with pytest.raises(StatusError) as error:
        beside(machine, create(), (0.005, create()))
    assert error.value.status == Status.OBJECT_NAME_COLLISION and len(made) == 1 and file.opens == 2
    assert sections.open("one") is made[0]
    with pytest.raises(StatusError) as error:
        beside(
            machine,
            sections.extend(made[0], 9 * PAGE_SIZE),
            (0.005, lambda: sections.close(made[0])),
        )
    assert error.value.status == Status.FILE_CLOSED and file.opens == 1
    machine.check()


@pytest.mark.parametrize("backed", ["page file", "file", "image"])
def test_an_ended_section_is_not_used(backed: str) -> None:
    """It cannot be mapped, loaded or extended, whether a view is left or not; its file stays
    closed; other machines' sections neither.
    """
    machine = Machine()
    file = MemoryFile(machine, PROGRAM.read_bytes()) if backed != "page file" else None
    how = Attribute.IMAGE if backed == "image" else Attribute.COMMIT
    sections = machine.virtual.sections
    section = machine.run(
        sections.create(0 if file else 9 * PAGE_SIZE, Protect.READWRITE, how, file)
    )

    def use(of: Machine) -> None:
        fails(
            Status.FILE_CLOSED,
            lambda: (
                of.run(of.space.map_image(section)) if backed == "image" else of.space.map(section)
            ),
        )
        fails(Status.FILE_CLOSED, lambda: of.run(of.virtual.sections.extend(section, MIB)))
        of.check()

    use(Machine())
    base = (
        machine.run(machine.space.map_image(section))[0]
        if backed == "image"
        else machine.space.map(section)[0]
    )
    sections.close(section)
    use(machine)
    assert machine.read(base, 4) == (b"\x7fELF" if file else bytes(4))
    machine.space.unmap(base)
    machine.run(machine.scheduler.sleep(1))
    assert not sections.all and (file is None or file.opens == 1)
    use(machine)
    sections.close(section)
    machine.check()


# -- images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0.0005, 0.0015, 0.0025, 0.0035])
@pytest.mark.parametrize("what", ["allocate", "unmap", "close", "destroy"])
def test_an_image_is_loaded_whole_while_others_are_at_work(what: str, after: float) -> None:
    """Another thread allocates wherever there is room, unmaps all it finds, closes the section or
    ends the space: all of the image, or nothing.
    """
    machine, _ = make(200, 200)
    file, space, sections = (
        MemoryFile(machine, PROGRAM.read_bytes()),
        machine.space,
        machine.virtual.sections,
    )
    section = machine.run(sections.create(0, Protect.READONLY, Attribute.IMAGE, file))
    before = file.pager.data[:]

    others: list[int] = []

    async def disturb() -> None:
        if what == "close":
            sections.close(section)
            return
        if what == "destroy":
            machine.virtual.destroy(space)
            return
        for vad in space.vads.all if what == "unmap" else []:
            if space.vads.find(vad.start) is vad:
                space.unmap(vad.start * PAGE_SIZE)
        for _ in range(3):
            base, _ = space.allocate(0, 16 * PAGE_SIZE, COMMIT)
            others.extend(base + page * PAGE_SIZE for page in range(16))
        for address in others:
            await space.write(address, b"other" * 800)

    loaded = 0

    async def load() -> None:
        nonlocal loaded
        loaded, _, _ = await space.map_image(section)

    try:
        beside(machine, load(), (after, disturb()))
    except StatusError as error:
        assert error.status in (
            Status.FILE_CLOSED,
            Status.NOT_MAPPED_VIEW,
            Status.PROCESS_IS_TERMINATING,
            Status.ACCESS_VIOLATION,
        ), error.text
    machine.run(machine.scheduler.sleep(1))
    machine.check()
    assert all(machine.read(address, 4000) == b"other" * 800 for address in others)
    if loaded and what == "allocate":
        assert machine.read(loaded, 4) == b"\x7fELF"
    if not loaded:
        assert not any(vad.view or vad.image for vad in space.vads.all)
    sections.close(section)
    for vad in space.vads.all:
        if vad.view is not None and space.vads.find(vad.start) is vad:
            space.unmap(vad.start * PAGE_SIZE)
    machine.run(machine.scheduler.sleep(1))
    assert file.opens == 1 and file.pager.data == before and not sections.all
    machine.check()


# -- page files ------------------------------------------------------------------------------------


def paged(pages: int) -> tuple[Machine, int]:
    """A machine with so many pages "0", "1", ... in its page file, from an address on."""
    machine, _ = make(100, 200)
    base, _ = machine.space.allocate(0, pages * PAGE_SIZE, COMMIT)
    for page in range(pages):
        machine.write(base + page * PAGE_SIZE, b"%d" % page * 100)
    machine.run(machine.virtual.eviction.evict(200))
    assert all(is_paged(machine.space.tables.get(base + page * PAGE_SIZE)) for page in range(pages))
    return machine, base


@pytest.mark.parametrize("how", ["reset", "decommit", "release"])
def test_a_page_given_up_while_it_is_read_is_zeros(how: str) -> None:
    """What came from the page file for the page that was there before is not shown, and the frame
    it came into is no frame of zeros.
    """
    machine, base = paged(1)
    space = machine.space

    def give_up() -> None:
        if how == "reset":
            space.allocate(base, PAGE_SIZE, Allocate.RESET)
            return
        space.free(
            base,
            PAGE_SIZE if how == "decommit" else 0,
            Free.DECOMMIT if how == "decommit" else Free.RELEASE,
        )
        assert (
            space.allocate(
                base, PAGE_SIZE, COMMIT if how == "decommit" else COMMIT | Allocate.RESERVE
            )[0]
            == base
        )

    assert beside(machine, space.read(base, PAGE_SIZE), (0.0005, give_up)) == bytes(PAGE_SIZE)
    machine.run(machine.virtual.eviction.evict(200))
    assert machine.read(base, PAGE_SIZE) == bytes(PAGE_SIZE)
    machine.check()


def test_a_slot_that_is_read_from_is_nobody_elses() -> None:
    """While a page is read it is given up, made anew and written out: its slot is not the one that
    is read, whose bytes are of the old page.
    """
    machine, _ = make(100, 1)
    store, space = machine.virtual.files.stores[0], machine.space
    base, _ = space.allocate(0, 2 * PAGE_SIZE, COMMIT)
    machine.write(base, b"old")
    machine.run(machine.virtual.eviction.evict(200))
    entry, submit = space.tables.get(base), store.submit

    async def slowly(requests: Sequence[Request]) -> None:
        await submit(requests)
        if requests[0].op == Op.READ:
            await machine.scheduler.sleep(1)

    store.submit = slowly  # type: ignore[method-assign]

    async def anew() -> None:
        space.allocate(base, PAGE_SIZE, Allocate.RESET)
        space.pages.supply(base, space.pages.try_frame(), Protect.READWRITE)
        await space.write(base, b"new")
        await machine.virtual.eviction.evict(200)
        assert space.tables.get(base) != entry

    assert beside(machine, space.read(base, 3), (0.1, anew())) == b"new"
    machine.check()


def test_a_lock_that_fails_leaves_the_locks_of_others() -> None:
    """Another thread locks a page in the middle while one waits for those before it, and then
    cannot have the last.
    """
    machine, base = paged(6)
    space = machine.space
    machine.run(space.advise(base, PAGE_SIZE, Advice.RANDOM))  # each page comes alone
    space.protect(base + 5 * PAGE_SIZE, PAGE_SIZE, Protect.NOACCESS)
    with pytest.raises(StatusError) as error:
        beside(
            machine,
            space.lock(base, 6 * PAGE_SIZE),
            (0.0005, space.lock(base + 3 * PAGE_SIZE, PAGE_SIZE)),
        )
    assert error.value.status == Status.ACCESS_VIOLATION and set(space.locked) == {
        base // PAGE_SIZE + 3
    }
    machine.run(machine.virtual.eviction.evict(200))
    assert not is_paged(space.tables.get(base + 3 * PAGE_SIZE))
    space.unlock(base + 3 * PAGE_SIZE, PAGE_SIZE)
    fails(Status.NOT_LOCKED, space.unlock, base, PAGE_SIZE)
    machine.check()


def test_advice_leaves_guards_alone_and_stops_with_the_view() -> None:
    """WILLNEED does not use a guard page up; of two views the second goes while the first is
    attended to, and its file is left alone.
    """
    machine, base = paged(4)
    space = machine.space
    space.protect(base + PAGE_SIZE, PAGE_SIZE, Protect.READWRITE | Protect.GUARD)
    machine.run(space.advise(base, 4 * PAGE_SIZE, Advice.WILLNEED))
    fails(Status.GUARD_PAGE_VIOLATION, machine.read, base + PAGE_SIZE, 1)
    assert machine.read(base + PAGE_SIZE, 1) == b"1"
    files = [MemoryFile(machine, b"x" * 16 * PAGE_SIZE) for _ in range(2)]
    views = [
        space.map(
            machine.run(machine.virtual.sections.create(0, file=file)), 0x100000 + i * 0x10000
        )[0]
        for i, file in enumerate(files)
    ]
    beside(
        machine,
        space.advise(views[0], 32 * PAGE_SIZE, Advice.WILLNEED),
        (0.0005, lambda: space.unmap(views[1])),
    )
    assert files[0].pager.requests and not files[1].pager.requests
    machine.check()


# -- external pagers -------------------------------------------------------------------------------


def test_what_is_written_while_pages_go_back_is_not_dropped() -> None:
    """A pager wants its pages back and dropped; that waits for another page to come, and what
    somebody writes meanwhile stays.
    """
    world = World()
    machine, space = world.machine, world.machine.space
    for page in range(8):
        world.write(page, b"first")
    back = world.control.lock_request(0, 8 * PAGE_SIZE, Return.DIRTY, flush=True)
    beside(
        machine,
        back,
        (0.0005, space.touch(world.base + 40 * PAGE_SIZE)),
        (0.0012, space.write(world.base + 2 * PAGE_SIZE, b"later")),
    )
    assert world.read(2)[:5] == b"later" and world.read(3)[:5] == b"first"
    machine.check()
    machine.run(space.flush(world.base))
    assert world.book.data[2 * PAGE_SIZE :][:5] == b"later"
    machine.run(
        world.control.lock_request(0, 8 * PAGE_SIZE, flush=True)
    )  # asked for nothing, it drops all
    segment = world.kept.section.segments[0]  # page 40 is there
    assert not machine.memory.physical.links[segment.base : segment.base + 8].any()


def test_a_view_mapped_while_the_last_one_is_put_away() -> None:
    """The pager does not want its pages kept: they go back when no view is left, and a view that
    comes meanwhile keeps what it writes.
    """
    world = World()
    machine, space = world.machine, world.machine.space
    world.control.change_attributes(may_cache=False)
    world.write(1, b"first")
    space.unmap(world.base)
    base, _ = space.map(world.section)
    beside(
        machine,
        machine.scheduler.sleep(1),
        (0.0005, space.touch(base + 40 * PAGE_SIZE)),
        (0.0012, space.write(base + PAGE_SIZE, b"later")),
    )
    assert machine.read(base + PAGE_SIZE, 5) == b"later"
    machine.check()


def test_a_lock_that_comes_with_the_page_holds() -> None:
    """It is supplied with writing prohibited, to somebody who waits for it in order to write; or
    locked while it is dirty and not in the tables.
    """
    world = World("locked")
    world.write(3, b"mine")  # unlocked when asked
    assert ("unlock", 3, int(Access.WRITE)) in world.book.log and world.read(3)[:4] == b"mine"
    world.machine.run(world.control.lock_request(3 * PAGE_SIZE, PAGE_SIZE, lock=Access.WRITE))
    assert world.read(3)[:4] == b"mine"
    world.book.manner, world.kept.timeout = "never unlocks", 0.1
    fails(Status.IO_TIMEOUT, world.write, 3, b"no")
    assert (
        world.read(3)[:4] == b"mine"
        and world.machine.space.tables.get(world.base + 3 * PAGE_SIZE) & 2 == 0
    )
    world.machine.check()


def test_a_view_that_goes_while_the_pager_thinks() -> None:
    """Nothing is asked for a view that has gone while its access was waited for."""
    world = World()
    world.read(0)
    world.machine.run(world.control.lock_request(0, 32 * PAGE_SIZE, lock=Access.ALL))
    asked = len(world.book.requests())
    world.book.manner = "never unlocks"

    async def go() -> None:
        world.machine.space.unmap(world.base)
        await world.control.lock_request(0, 32 * PAGE_SIZE, lock=Access.NONE)
        world.machine.virtual.sections.close(world.section)

    with pytest.raises(StatusError) as error:
        beside(
            world.machine,
            world.machine.space.touch(world.base + 20 * PAGE_SIZE, WRITE),
            (0.01, go()),
        )
    assert error.value.status == Status.ACCESS_VIOLATION
    world.machine.run(world.machine.scheduler.sleep(1))
    assert len(world.book.requests()) == asked and not world.kept.section.segments
    world.machine.check()
