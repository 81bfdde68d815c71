"""Views: one copy of each page for views, cache and device; clusters by advice and by what is
learnt; collisions, errors, images.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import octavo
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.frames import Frames
from octavo.machine.mmu import reference
from octavo.machine.mmukernels import READ, WRITE
from octavo.memory.spaces.addressspace import AddressSpace, Allocate, Free
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.query import MemoryType
from octavo.memory.spaces.view import Attribute, SectionObject
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.storage.rawfile import RawFile
from octavo.system import System
from octavo.testing.modelled import FLASH, HARD_DISK, DiskModel, ModelledDisk
from tests.conftest import fsck, make_image, run
from tests.machines import Machine, MemoryFile, fails
from tests.places import PROGRAM
from tests.stores import make


def show(machine: Machine, file: MemoryFile, advice: Advice = Advice.NORMAL) -> int:
    """Where a view of the whole file begins."""
    base, _ = machine.space.map(machine.run(machine.virtual.sections.create(0, file=file)))
    machine.run(machine.space.advise(base, 1, advice))
    return base


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
            volume.remove("a.bin")  # it is in use, though nobody has it open
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


def test_clusters_by_advice() -> None:
    """How many pages a fault asks for, and where: learnt windows grow in both directions and give
    up after jumps; advice is taken.
    """

    def requests(advice: Advice, pages: list[int]) -> list[tuple[int, int]]:
        machine = Machine(frames=900)
        file = MemoryFile(machine, bytes(400 * PAGE_SIZE))
        base = show(machine, file, advice)
        for page in pages:
            machine.touch(base + page * PAGE_SIZE)
        machine.check()
        return file.pager.requests

    assert requests(Advice.NORMAL, list(range(60))) == [
        (0, 4),
        (4, 8),
        (12, 16),
        (28, 16),
        (44, 16),
    ]
    assert requests(Advice.NORMAL, list(range(120, 90, -1))) == [
        (120, 4),
        (112, 8),
        (96, 16),
        (80, 16),
    ]
    assert requests(Advice.RANDOM, [5, 6, 90]) == [(5, 1), (6, 1), (90, 1)]
    assert requests(Advice.SEQUENTIAL, [0, 16, 120]) == [
        (0, 16),
        (16, 16),
        (120, 8),
    ]  # the segment ends at 128
    assert requests(Advice.REVERSE, [100, 84, 83]) == [(85, 16), (69, 16)]
    jumps = requests(Advice.NORMAL, [300, 20, 200, 120, 380, 60, 61, 62, 320, 40, 220, 140])
    first, again = (
        [(300, 4), (20, 4), (200, 4), (120, 1), (380, 1)],
        [(320, 4), (40, 4), (220, 4), (140, 1)],
    )
    assert jumps == [
        *first,
        (60, 1),
        (61, 8),
        *again,
    ]  # one fault that goes on, and jumps are counted anew


def test_clusters_are_clipped() -> None:
    """To the view, to the end of the file, and to what is resident; a cluster that cannot be read
    is asked for by the page.
    """
    machine = Machine()
    file = MemoryFile(machine, bytes(20 * PAGE_SIZE))
    section = machine.run(machine.virtual.sections.create(0, file=file))
    base, _ = machine.space.map(section, size=18 * PAGE_SIZE)
    machine.run(machine.space.advise(base, 1, Advice.SEQUENTIAL))
    machine.touch(base + 10 * PAGE_SIZE)
    machine.touch(base)
    assert file.pager.requests == [(10, 8), (0, 10)]
    original = file.pager.data_request

    async def small_only(section: object, page: int, frames: Frames, need: range) -> None:
        if frames.length > PAGE_SIZE:
            raise StatusError(Status.IO_DEVICE_ERROR, "a bad sector among them")
        await original(file.section, page, frames, need)

    machine.run(file.truncate(PAGE_SIZE))
    machine.run(file.truncate(20 * PAGE_SIZE))
    machine.run(machine.cache.flush(file.section))
    machine.run(machine.cache.purge(file.section, PAGE_SIZE))
    file.section.size = 20 * PAGE_SIZE
    file.pager.data_request = small_only  # type: ignore[method-assign]  # a pager that looks at what is asked
    assert machine.read(base + 5 * PAGE_SIZE, 3) == bytes(3)
    assert file.pager.requests[-1] == (5, 1)
    machine.check()


def test_collided_faults_wait_for_one_request() -> None:
    """Several threads of two spaces on the pages of one cluster: one request, and all get their
    page.
    """
    machine = Machine()
    file = MemoryFile(machine, b"".join(b"%4d" % i * (PAGE_SIZE // 4) for i in range(16)))
    base = show(machine, file, Advice.SEQUENTIAL)
    other = machine.virtual.create("other")
    second, _ = other.map(next(iter(machine.virtual.sections.all)))

    async def all_at_once() -> list[bytes]:
        reads = [
            space.read(at + page * PAGE_SIZE, 4)
            for page in range(8)
            for space, at in ((machine.space, base), (other, second))
        ]
        threads = [machine.scheduler.spawn(read, "reader") for read in reads]
        return [await thread.join() for thread in threads]

    assert machine.run(all_at_once()) == [b"%4d" % (i // 2) for i in range(16)]
    asked = [page for first, count in file.pager.requests for page in range(first, first + count)]
    assert (
        len(asked) == len(set(asked)) >= 8 and len(file.pager.requests) < 8
    )  # who comes first asks, for others too
    assert machine.memory.faults.collided > 0
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


def test_advice_now() -> None:
    """WILLNEED brings pages to the standby list in few requests; DONTNEED takes them out of the
    tables, and they come back without a request.
    """
    machine = Machine()
    file = MemoryFile(machine, bytes(40 * PAGE_SIZE))
    base = show(machine, file)
    machine.run(machine.space.advise(base, 40 * PAGE_SIZE, Advice.WILLNEED))
    assert file.pager.requests == [(0, 40)] and machine.memory.physical.standby.count == 40
    machine.touch(base)
    machine.run(machine.space.advise(base, 40 * PAGE_SIZE, Advice.DONTNEED))
    assert machine.space.pages.resident == 0 and machine.memory.physical.standby.count == 40
    machine.touch(base)
    assert len(file.pager.requests) == 1
    fails(Status.INVALID_PARAMETER, lambda: machine.run(machine.space.advise(base, 1, 9)))
    fails(
        Status.MEMORY_NOT_ALLOCATED,
        lambda: machine.run(machine.space.advise(0x70000000, 1, Advice.RANDOM)),
    )


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


def test_soft_faults_in_bulk() -> None:
    """Pages that are in memory are mapped by a kernel, from the standby lists and from the cache's
    views, without the executive.
    """
    machine = Machine(frames=700)
    file = MemoryFile(machine, b"z" * 400 * PAGE_SIZE)
    base = show(machine, file)
    machine.run(machine.space.advise(base, 300 * PAGE_SIZE, Advice.WILLNEED))
    machine.run(machine.cache.copy_read(file.section, 300 * PAGE_SIZE, 100 * PAGE_SIZE))
    requests, standby = len(file.pager.requests), machine.memory.physical.standby.count
    refs = np.array(
        [reference(base + page * PAGE_SIZE + 8) for page in range(400) for _ in range(2)], np.int64
    )
    assert machine.run(machine.virtual.run(machine.space, refs)) == 400
    assert (
        machine.virtual.bulk.soft == 400
        and machine.space.faults == 0
        and len(file.pager.requests) == requests
    )
    assert (
        standby == 300
        and machine.memory.physical.standby.count == 0
        and machine.space.pages.of_sections == 400
    )
    machine.check()
    writes = np.array([reference(base + page * PAGE_SIZE, WRITE) for page in range(10)], np.int64)
    machine.run(machine.virtual.run(machine.space, writes))
    assert machine.memory.writeback.dirty == 10
    machine.check()
    machine.space.unmap(base)
    machine.check()


def test_soft_faults_in_bulk_over_a_wide_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel is told of a window around the reference only; what lies outside is found by the
    executive, and the window moves there.
    """
    import octavo.memory.spaces.bulk as bulk

    monkeypatch.setattr(bulk, "WINDOW", 256)
    machine = Machine(frames=1500)
    file = MemoryFile(machine, b"z" * 1000 * PAGE_SIZE)
    base = show(machine, file)
    for half in (0, 500):
        machine.run(machine.space.advise(base + half * PAGE_SIZE, 500 * PAGE_SIZE, Advice.WILLNEED))
    assert machine.memory.physical.standby.count == 1000
    refs = np.array(
        [reference(base + page * PAGE_SIZE) for page in (*range(1000), 0, 999, 500)], np.int64
    )
    assert machine.run(machine.virtual.run(machine.space, refs)) == 1000
    assert machine.space.faults < 12 and machine.virtual.bulk.soft == 1000 - machine.space.faults
    machine.check()


def test_parts_of_a_view_that_are_not_in_memory_are_nobody_elses() -> None:
    """Of three segments the last is in memory: pages of the others come from the pager, each with
    its own bytes, the last of all, too.
    """
    machine = Machine(frames=700)
    file = MemoryFile(machine, b"".join((b"%d" % page).ljust(PAGE_SIZE) for page in range(384)))
    base = show(machine, file, Advice.RANDOM)
    machine.run(machine.space.advise(base + 256 * PAGE_SIZE, 128 * PAGE_SIZE, Advice.WILLNEED))
    for page in (0, 127, 128, 255, 256, 383):
        at = base + page * PAGE_SIZE
        assert (
            machine.run(machine.virtual.run(machine.space, np.array([reference(at)], np.int64)))
            == 1
        )
        assert machine.read(at, 3).rstrip() == b"%d" % page
    assert machine.virtual.bulk.soft == 2 and machine.space.faults == 4
    machine.check()


class SlowDisk(NamedTuple):
    """What a scan of a file has cost: requests, seconds of the disk's time, and seconds of pure
    transfer.
    """

    requests: int
    seconds: float
    transfer: float


def scan(path: Path, cluster: int, advice: Advice, model: DiskModel | None = None) -> SlowDisk:
    """Reads each page of a mapped device in sequence, on a machine with a sixteenth of its size."""
    size = path.stat().st_size
    with octavo.boot(
        memory=size // 16 + (PAGE_SIZE << 4), seed=1 if model else None, cluster=cluster
    ) as system:
        image = ImageDisk(path, system.scheduler, read_only=True, direct=model is None)
        device = ModelledDisk(image, system.scheduler, model) if model else image
        run_ = system.scheduler.run
        space = system.virtual.create("scan")
        base, _ = space.map(
            run_(system.virtual.sections.create(0, Protect.READONLY, file=RawFile(device))),
            protect=Protect.READONLY,
        )
        run_(space.advise(base, 1, advice))
        for page in range(size // PAGE_SIZE):
            assert run_(space.read(base + page * PAGE_SIZE, 8)) == b"%8d" % page
        system.check()
        assert space.pages.resident < size // PAGE_SIZE // 16
        busy = device.busy if isinstance(device, ModelledDisk) else 0.0
        return SlowDisk(device.counts.reads, busy, size / model.rate if model else 0.0)


def test_clusters_save_requests_in_a_scan_of_16_times_memory(tmp_path: Path) -> None:
    """Clusters of 16 against clusters of 1, on the disk model and on a file opened with O_DIRECT:
    at least ten times fewer requests.
    """
    path = tmp_path / "scan.img"
    path.write_bytes(b"".join((b"%8d" % page).ljust(PAGE_SIZE) for page in range(4096)))
    for model in (HARD_DISK, FLASH, None):
        one, many = (scan(path, cluster, Advice.SEQUENTIAL, model) for cluster in (1, 16))
        assert one.requests == 4096 and many.requests * 10 <= one.requests
        learnt = scan(path, 16, Advice.NORMAL, model)
        assert learnt.requests * 10 <= one.requests
        if model:
            assert many.seconds < one.seconds / 2 and many.transfer < many.seconds


# -- images ----------------------------------------------------------------------------------------


def loads(data: bytes) -> list[tuple[int, int, int, int, int]]:
    """(flags, offset, address, bytes in the file, bytes in memory) of each PT_LOAD of a 64-bit ELF
    file.
    """
    (table,) = struct.unpack_from("<Q", data, 32)
    width, count = struct.unpack_from("<HH", data, 54)
    rows = [struct.unpack_from("<IIQQQQQQ", data, table + i * width) for i in range(count)]
    return [
        (flags, offset, address, filesz, memsz)
        for kind, flags, offset, address, _, filesz, memsz, _ in rows
        if kind == 1
    ]


def with_zeros(data: bytes) -> bytes:
    """The same program with three more pages of zeros behind its last part."""
    (table,) = struct.unpack_from("<Q", data, 32)
    last = max(
        i
        for i in range(struct.unpack_from("<H", data, 56)[0])
        if struct.unpack_from("<I", data, table + i * 56) == (1,)
    )
    at = table + last * 56 + 40
    (memsz,) = struct.unpack_from("<Q", data, at)
    return data[:at] + struct.pack("<Q", memsz + 3 * PAGE_SIZE) + data[at + 8 :]


def test_a_program_of_debian_as_an_image() -> None:
    """Every loaded byte is where the program headers say, zeros behind; text cannot be written;
    data is copied; two processes share text.
    """
    data = with_zeros(PROGRAM.read_bytes())
    machine = Machine(frames=1000)
    file = MemoryFile(machine, data, path="true")
    section = machine.run(
        machine.virtual.sections.create(0, Protect.EXECUTE_READ, Attribute.IMAGE, file)
    )
    base, entry, status = machine.run(machine.space.map_image(section))
    assert status == Status.IMAGE_NOT_AT_BASE
    (header_entry,) = struct.unpack_from("<Q", data, 24)
    assert entry == base + header_entry
    for flags, offset, address, filesz, memsz in loads(data):
        assert machine.read(base + address, memsz) == data[offset : offset + filesz] + bytes(
            memsz - filesz
        )
        assert machine.space.query(base + address).type == MemoryType.IMAGE
        if flags & 2:
            machine.write(base + address, b"own")
        else:
            fails(Status.ACCESS_VIOLATION, machine.write, base + address, b"own")
    assert file.pager.data == data
    other = machine.virtual.create("other")
    second, _, _ = machine.run(other.map_image(section))
    text = next(address for flags, _, address, _, _ in loads(data) if flags & 1)
    assert machine.touch(second + text, READ, other) == machine.touch(base + text, READ)
    machine.check()
    child = machine.virtual.fork(machine.space, "child")
    zeros = next(vad for vad in child.vads.all if vad.view is None)
    fails(Status.UNABLE_TO_DELETE_SECTION, child.free, zeros.start << 12, 0, Free.RELEASE)
    for space, address in ((machine.space, entry), (child, zeros.start << 12)):
        space.unmap(address)
        assert not space.vads.all and not space.charge
    machine.check()


def based(data: bytes, base: int) -> bytes:
    """The same position-independent program, with headers that say that it is at `base`."""
    out = bytearray(data)
    table, (width, count) = (
        struct.unpack_from("<Q", data, 32)[0],
        struct.unpack_from("<HH", data, 54),
    )
    for at in (24, *(table + i * width + 16 for i in range(count))):
        struct.pack_into("<Q", out, at, struct.unpack_from("<Q", data, at)[0] + base)
    return bytes(out)


def test_an_image_that_is_not_at_its_base_says_so() -> None:
    """One that can be anywhere is where its headers say if that is free to its last page, else
    elsewhere; one that cannot is refused there.
    """
    data, base = PROGRAM.read_bytes(), 0x40000000
    machine = Machine(frames=1000)
    file = MemoryFile(machine, based(data, base))
    section = machine.run(
        machine.virtual.sections.create(0, Protect.EXECUTE_READ, Attribute.IMAGE, file)
    )
    (header_entry,) = struct.unpack_from("<Q", data, 24)
    assert machine.run(machine.space.map_image(section)) == (
        base,
        base + header_entry,
        Status.SUCCESS,
    )
    elsewhere, entry, status = machine.run(machine.space.map_image(section))
    assert (
        elsewhere != base
        and entry == elsewhere + header_entry
        and status == Status.IMAGE_NOT_AT_BASE
    )
    pages = max(address + memsz for _, _, address, _, memsz in loads(data)) + PAGE_SIZE - 1 >> 12
    for page in (
        0,
        pages - 1 & -16,
        pages + 15 & -16,
    ):  # the first, and what begins in the last 64 KiB of it, and behind
        other = machine.virtual.create("other")
        other.allocate(base + (page << 12), 1, Allocate.RESERVE)
        assert machine.run(other.map_image(section))[2] == (
            Status.IMAGE_NOT_AT_BASE if page < pages else Status.SUCCESS
        )
    assert machine.read(elsewhere, 64) == file.pager.data[:64]
    machine.check()


def test_pages_of_an_image_are_copied_whatever_protection_they_are_given() -> None:
    """Made for reading, or for writing: text that is made writable is the space's own copy from
    then on, and the file stays as it is.
    """
    data = PROGRAM.read_bytes()
    text = next(address for flags, _, address, _, _ in loads(data) if flags & 1)
    for made in (Protect.READONLY, Protect.READWRITE, Protect.EXECUTE_READ):
        machine = Machine(frames=1000)
        file = MemoryFile(machine, data)
        section = machine.run(machine.virtual.sections.create(0, made, Attribute.IMAGE, file))
        base, _, _ = machine.run(machine.space.map_image(section))
        for asked, is_now in (
            (Protect.READWRITE, Protect.WRITECOPY),
            (Protect.EXECUTE_READWRITE, Protect.EXECUTE_WRITECOPY),
        ):
            machine.space.protect(base + text, 1, asked)
            assert machine.space.query(base + text).protect == is_now
            machine.write(base + text, b"patched")
        machine.run(machine.cache.flush(file.section))
        assert file.pager.data == data and machine.read(base + text, 7) == b"patched"
        machine.check()


def test_what_is_no_program() -> None:
    """Cut, foreign, overlapping or lying headers: one sentence, and nothing is mapped."""
    data = PROGRAM.read_bytes()
    (table,) = struct.unpack_from("<Q", data, 32)
    changes: list[tuple[int, bytes]] = [
        (0, b"MZ"),
        (4, b"\1"),
        (5, b"\2"),
        (16, b"\1\0"),
        (54, b"\1\0"),
        (56, b"\xff\xff"),
        (32, b"\xff" * 8),
    ]
    first = next(i for i in range(20) if struct.unpack_from("<I", data, table + i * 56) == (1,))
    for field, value in ((8, 1), (16, 1 << 60), (32, 1 << 40), (40, 0)):
        changes.append((table + (first + 1) * 56 + field, struct.pack("<Q", value)))
    for at, change in changes:
        machine = Machine()
        broken = data[:at] + change + data[at + len(change) :]
        section = machine.run(
            machine.virtual.sections.create(
                0, Protect.READONLY, Attribute.IMAGE, MemoryFile(machine, broken)
            )
        )
        try:
            machine.run(machine.space.map_image(section))
            assert (at, change) == (table + (first + 1) * 56 + 40, bytes(8)), (
                "it was loaded"
            )  # a part of no bytes is none
        except StatusError as error:
            assert error.status == Status.INVALID_IMAGE_FORMAT and "\n" not in error.text
            assert not machine.space.vads.all and not machine.virtual.charged
        machine.check()


def test_an_image_fails_whole() -> None:
    """With ever fewer pages to commit, and a device that fails at its n-th request: it is loaded,
    or nothing of it is there.
    """
    data, outcomes = PROGRAM.read_bytes(), set[bool]()
    for limit, broken in [(k, 0) for k in range(12)] + [(100, n) for n in range(1, 5)]:
        machine = Machine(frames=80)
        machine.virtual.commitment.frames, machine.virtual.commitment.slots = 0, limit
        file = MemoryFile(machine, data)
        file.pager.fail_at = broken
        section = machine.run(
            machine.virtual.sections.create(0, Protect.READONLY, Attribute.IMAGE, file)
        )
        try:
            machine.run(machine.space.map_image(section))
            outcomes.add(True)
        except StatusError as error:
            assert error.status in (Status.COMMITMENT_LIMIT, Status.IN_PAGE_ERROR), error.text
            assert not machine.space.vads.all and not machine.virtual.charged
            outcomes.add(False)
        machine.check()
    assert outcomes == {True, False}
