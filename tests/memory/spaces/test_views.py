"""Views: one copy of each page for views, cache and device; clusters by advice and by what is
learnt; collisions, errors, images."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import octavo
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.mmukernels import WRITE
from octavo.memory.spaces.addressspace import AddressSpace
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.view import SectionObject
from octavo.status import Status, StatusError
from octavo.system import System
from tests.conftest import fsck, make_image, run
from tests.machines import Machine, MemoryFile, fails
from tests.memory.spaces.views import show
from tests.stores import make


def map_file(
    system: System, path: str, space: AddressSpace, protect: int = Protect.READWRITE
) -> tuple[int, SectionObject]:
    """A view of a file on C:, which its opener closes at once."""
    with system.volumes["C:"].open(path, "r+b") as file:
        section = system.scheduler.run(system.virtual.sections.create(0, file=file.core))
    return space.map(section, protect=protect)[0], section


@pytest.mark.dosfstools
@pytest.mark.mtools
def test_view_cache_and_device_agree(tmp_path: Path) -> None:
    """What a program writes through a view is read through the file at once, and from the image by
    mtools after a flush; and the reverse.
    """
    image = make_image(tmp_path / "a.img", 16 << 20, 16)
    with octavo.boot(memory="4M", disks=[image]) as system:
        volume, run_ = system.volumes["C:"], system.scheduler.run
        volume.write_bytes("a.bin", bytes(300_000))
        volume.flush()
        space = system.virtual.create("program")
        base, section = map_file(system, "a.bin", space)
        frame = run_(space.touch(base + 70_000, WRITE)) >> 12
        assert "page 17 of" in system.explain(frame)
        run_(space.write(base + 70_000, b"by the view"))
        assert volume.open("a.bin").read(300_000)[70_000:70_011] == b"by the view"
        with volume.open("a.bin", "r+b") as file:
            file.seek(70_003)
            file.write(b"the file")
        assert run_(space.read(base + 70_000, 11)) == b"by the file"
        with pytest.raises(StatusError, match=r"a\.bin"):
            volume.rename("a.bin", "b.bin")  # it is in use, though nobody has it open
        assert run_(space.flush(base)) == (base, 303_104)
        fails(Status.INVALID_PARAMETER_3, lambda: run_(space.flush(base + 300_000, 8192)))
        assert (
            run("mtype", "-i", image, "::a.bin").encode("latin-1")[70_000:70_011] == b"by the file"
        )
        run_(space.write(base + 200_000, b"later"))
        space.unmap(base)
        system.virtual.sections.close(section)
        volume.rename("a.bin", "b.bin")
        assert volume.stat("b.bin").size == 300_000
        system.check()
    fsck(image)
    assert run("mtype", "-i", image, "::b.bin").encode("latin-1")[200_000:200_005] == b"later"


@pytest.mark.dosfstools
def test_a_file_larger_than_memory_through_a_view(tmp_path: Path) -> None:
    """Written and read at random through a view on a machine with half of its size; the image has
    all of it afterwards.
    """
    image = make_image(tmp_path / "a.img", 32 << 20, 16)
    size, choose = 8 << 20, random.Random(1)
    places = {choose.randrange(size // 64) * 64: b"%d" % i for i in range(600)}
    with octavo.boot(memory="4M", disks=[image]) as system:
        volume, run_ = system.volumes["C:"], system.scheduler.run
        with volume.open("big.bin", "wb") as file:
            file.truncate(size)
        space = system.virtual.create("program")
        base, section = map_file(system, "big.bin", space)
        for at, value in places.items():
            run_(space.write(base + at, value))
        system.check()
        for at, value in places.items():
            assert run_(space.read(base + at, len(value))) == value
        system.virtual.destroy(space)
        system.virtual.sections.close(section)
    fsck(image)
    with octavo.open_image(image) as volume:
        data = volume.read_bytes("big.bin")
    assert all(data[at : at + len(value)] == value for at, value in places.items())
    assert len(data) - data.count(0) == sum(map(len, places.values()))


def test_copy_on_write_views_leave_the_file_alone() -> None:
    """A copy is made by the first write; what was not copied follows the file."""
    machine = Machine()
    file = MemoryFile(machine, b"x" * 3 * PAGE_SIZE)
    section = machine.run(machine.virtual.sections.create(0, Protect.READONLY, file=file))
    base, _ = machine.space.map(section, protect=Protect.WRITECOPY)
    machine.write(base, b"mine")
    machine.run(machine.cache.copy_write(file.section, 0, b"ours" * 2048))
    assert machine.read(base, 4) == b"mine" and machine.read(base + PAGE_SIZE, 4) == b"ours"
    machine.run(machine.cache.flush(file.section))
    assert (
        file.pager.data[:4] == b"ours"
        and machine.space.pages.copied == 1
        and machine.virtual.charged == 3
    )
    machine.check()


def test_a_page_that_is_written_out_is_noticed_again() -> None:
    """A flush makes it read-only in every space, so that the next write marks it again; one during
    the flush does, too.
    """
    machine = Machine()
    file = MemoryFile(machine, bytes(2 * PAGE_SIZE))
    base, other = show(machine, file), machine.virtual.create("other")
    second, _ = other.map(next(iter(machine.virtual.sections.all)))
    machine.write(base, b"one")
    machine.write(second + 4, b"two", other)
    machine.run(machine.cache.flush(file.section))
    assert file.pager.data[:7] == b"one\0two" and not file.section.dirty
    machine.write(second, b"1", other)
    assert machine.memory.writeback.dirty == 1

    async def race() -> None:
        flush = machine.scheduler.spawn(machine.cache.flush(file.section), "flush")
        await machine.scheduler.sleep(0.0005)
        await machine.space.write(base, b"2")
        await flush.join()

    machine.run(race())
    machine.run(machine.cache.flush(file.section))
    assert file.pager.data[:1] == b"2"
    machine.check()


def test_a_flush_of_a_part() -> None:
    """Only the pages that were named are written."""
    machine = Machine()
    file = MemoryFile(machine, bytes(300 * PAGE_SIZE))
    base = show(machine, file)
    for page in (0, 5, 127, 128, 200):
        machine.write(base + page * PAGE_SIZE, b"new")
    assert machine.run(machine.space.flush(base + 5 * PAGE_SIZE + 7, 123 * PAGE_SIZE)) == (
        base + 5 * PAGE_SIZE,
        124 * PAGE_SIZE,
    )
    assert [
        page
        for page in range(300)
        if file.pager.data[page * PAGE_SIZE : page * PAGE_SIZE + 3] == b"new"
    ] == [5, 127, 128]
    assert file.section.dirty == 2
    machine.check()


def test_truncated_while_mapped() -> None:
    """Pages behind the new end are gone from all views, with a sentence; when the file grows again
    they are zeros.
    """
    machine = Machine()
    file = MemoryFile(machine, b"x" * 4 * PAGE_SIZE)
    base = show(machine, file)
    machine.write(base + 3 * PAGE_SIZE, b"lost")
    machine.run(file.truncate(PAGE_SIZE + 10))
    with pytest.raises(
        StatusError, match="lies behind the end of file, which has 4106 bytes now"
    ) as error:
        machine.read(base + 2 * PAGE_SIZE)
    assert error.value.status == Status.IN_PAGE_ERROR
    assert machine.read(base + PAGE_SIZE + 8, 4) == b"xx\0\0"
    machine.run(file.truncate(4 * PAGE_SIZE))
    assert machine.read(base + 3 * PAGE_SIZE, 4) == bytes(4)
    machine.check()


def test_an_in_page_error_is_told_and_mended() -> None:
    """It names the space, the address and the cause; nothing is lost; once the device works the
    page comes.
    """
    machine = Machine()
    file = MemoryFile(machine, b"y" * PAGE_SIZE)
    base = show(machine, file)
    file.pager.broken = {"read"}
    free = machine.memory.physical.available
    with pytest.raises(
        StatusError,
        match=f"init: {base:#x} cannot be had from file: the pager: injected failure of read",
    ) as error:
        machine.read(base)
    assert error.value.status == Status.IN_PAGE_ERROR and machine.memory.physical.available == free
    file.pager.broken = set()
    assert machine.read(base, 2) == b"yy"
    machine.check()


def test_page_file_backed_pages_come_and_go() -> None:
    """A section larger than memory, written through one space and read through another, by
    clusters; the slots go with it.
    """
    machine, store = make(100, 500)
    section = machine.run(machine.virtual.sections.create(300 * PAGE_SIZE))
    base, _ = machine.space.map(section)
    for page in range(300):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    machine.check()
    other = machine.virtual.create("other")
    second, _ = other.map(section)
    for page in range(300):
        assert machine.read(second + page * PAGE_SIZE, 3, other).rstrip(b"\0") == b"%d" % page
    reads = [n for kind, _, n in store.requests if kind == "read"]
    assert (
        0 < len(reads) < 80
        and sum(n for kind, _, n in store.requests if kind == "write") / len(store.requests) > 4
    )
    machine.virtual.destroy(other)
    machine.virtual.destroy(machine.space)
    machine.virtual.sections.close(section)
    machine.run(machine.scheduler.sleep(1))
    machine.check()
    assert (
        machine.virtual.files.free == 500
        and machine.memory.physical.available == 100
        and machine.virtual.charged == 0
    )
