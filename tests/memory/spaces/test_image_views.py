"""Program files mapped as their headers say."""

from __future__ import annotations

import struct

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.mmukernels import READ
from octavo.memory.spaces.addressspace import Allocate, Free
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.query import MemoryType
from octavo.memory.spaces.view import Attribute
from octavo.status import Status, StatusError
from tests.machines import Machine, MemoryFile, fails
from tests.places import PROGRAM

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
