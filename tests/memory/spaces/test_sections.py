"""Section objects and views: NT's cases by their numbers in docs/statuses.md."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from octavo.machine.abi import NO_CACHE, PAGE_SIZE
from octavo.machine.mmu import reference
from octavo.machine.mmukernels import WRITE
from octavo.machine.paging import FORMATS
from octavo.memory.spaces.addressspace import Allocate, Free
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.query import MemoryType, PageState
from octavo.memory.spaces.view import Attribute, Inherit, SectionObject
from octavo.status import Status, StatusError
from tests.books import Book
from tests.machines import Machine, MemoryFile, emptied, fails

COMMIT, RESERVE, IMAGE, NOCACHE, BASED = (
    Attribute.COMMIT,
    Attribute.RESERVE,
    Attribute.IMAGE,
    Attribute.NOCACHE,
    Attribute.BASED,
)
RO, RW, WC, NOACCESS, GUARD = (
    Protect.READONLY,
    Protect.READWRITE,
    Protect.WRITECOPY,
    Protect.NOACCESS,
    Protect.GUARD,
)


@pytest.fixture(params=list(FORMATS))
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """One of each format; its ledger balances at the end, and everything can be given back."""
    yield from emptied(Machine(request.param))


def create(
    machine: Machine,
    size: int = 0,
    protect: int = RW,
    attributes: int = COMMIT,
    file: MemoryFile | None = None,
    name: str = "",
) -> SectionObject:
    """A section."""
    return machine.run(machine.virtual.sections.create(size, protect, attributes, file, name))


def test_creation_arguments(machine: Machine) -> None:
    """46, 49 to 53, 55: sizes, attributes, protections, images and files that cannot be."""
    file = MemoryFile(machine, b"x" * 5000)
    fails(Status.INVALID_PARAMETER_4, create, machine, 0)
    for size in (-1, -(1 << 63), (1 << 64) - 1):
        fails(Status.SECTION_TOO_BIG, create, machine, size)
        fails(Status.SECTION_TOO_BIG, create, machine, size, RW, COMMIT, file)
    large_pages = 0x80000000
    for attributes in (
        0,
        COMMIT | RESERVE,
        IMAGE | COMMIT,
        NOCACHE,
        large_pages,
        COMMIT | large_pages,
        COMMIT | 1,
        COMMIT | 1 << 29,
        COMMIT | 1 << 40,
        -1,
    ):
        fails(Status.INVALID_PARAMETER_6, create, machine, 4096, RW, attributes)
    base, _ = machine.space.map(create(machine, 4096, RW, NOCACHE | COMMIT))
    machine.touch(base)
    assert (
        machine.space.tables.get(base) & NO_CACHE
        and machine.space.query(base).protect == RW | Protect.NOCACHE
    )
    for protect in (
        0,
        NOACCESS,
        GUARD,
        RW | GUARD,
        RO | RW,
        RW | Protect.NOCACHE,
        RO | Protect.WRITECOMBINE,
        -1,
    ):
        fails(Status.INVALID_PAGE_PROTECTION, create, machine, 4096, protect)
        fails(Status.INVALID_PAGE_PROTECTION, create, machine, 0, protect, COMMIT, file)
    fails(Status.INVALID_FILE_FOR_SECTION, create, machine, 4096, RO, IMAGE)
    fails(Status.INVALID_FILE_FOR_SECTION, create, machine, 0, RO, IMAGE, MemoryFile(machine, b""))
    fails(Status.MAPPED_FILE_SIZE_ZERO, create, machine, 0, RO, COMMIT, MemoryFile(machine, b""))
    fails(
        Status.SECTION_PROTECTION,
        create,
        machine,
        0,
        RW,
        COMMIT,
        MemoryFile(machine, b"x", writable=False),
    )
    fails(Status.SECTION_TOO_BIG, create, machine, 6000, RO, COMMIT, file)
    assert file.opens == 1 and not file.prepared


def test_limits(machine: Machine) -> None:
    """56: more than the commit limit; more than user space. A large RESERVE costs nothing."""
    limit = machine.virtual.limit * PAGE_SIZE
    fails(Status.COMMITMENT_LIMIT, create, machine, limit + 1)
    fails(Status.SECTION_TOO_BIG, create, machine, 1 << 62, RW, RESERVE)
    section = create(machine, limit * 4, RW, RESERVE)
    assert machine.virtual.charged == 0
    fails(
        Status.COMMITMENT_LIMIT,
        machine.space.map,
        section,
        0,
        0,
        0,
        RW,
        Inherit.SHARE,
        limit + PAGE_SIZE,
    )
    assert not machine.space.vads.all
    machine.virtual.sections.close(section)
    whole = create(machine, limit)
    assert machine.virtual.charged == machine.virtual.limit
    machine.virtual.sections.close(whole)


def test_query(machine: Machine) -> None:
    """47, 58, 59: whole pages without a file; a file's own size to the byte; RESERVE is dropped for
    a file.
    """
    query = machine.virtual.sections.query
    assert query(create(machine, PAGE_SIZE + 1, RW, RESERVE)).size == 2 * PAGE_SIZE
    found = query(create(machine, 0, RW, RESERVE, MemoryFile(machine, b"x" * 5001)))
    assert (found.size, found.attributes) == (5001, Attribute.FILE | COMMIT)


def test_names_and_bases(machine: Machine) -> None:
    """A named section is found until it ends; a based one is at one place in all spaces."""
    section = create(machine, 0x20000, RW, COMMIT | BASED, None, "shared")
    fails(Status.OBJECT_NAME_COLLISION, create, machine, 4096, RW, COMMIT, None, "shared")
    assert machine.virtual.sections.open("shared") is section
    other = machine.virtual.create("other")
    machine.space.allocate(0x10000, 0x10000, Allocate.RESERVE)
    base, _ = machine.space.map(section)
    assert other.map(section)[0] == base and machine.virtual.sections.query(section).base == base
    fails(Status.CONFLICTING_ADDRESSES, other.map, section)
    machine.virtual.sections.close(section)
    fails(Status.OBJECT_NAME_NOT_FOUND, machine.virtual.sections.open, "shared")
    machine.write(base, b"still there")
    assert machine.read(base, 11, other) == b"still there"


def test_mapping_arguments(machine: Machine) -> None:
    """64 to 71: bases, sizes, zero bits, commit sizes, types; nothing is mapped."""
    section, file = (
        create(machine, 0x30000),
        create(machine, 0, RW, COMMIT, MemoryFile(machine, bytes(0x30000))),
    )
    show = machine.space.map
    fails(Status.INVALID_PARAMETER_3, show, section, machine.kernel)
    fails(Status.INVALID_PARAMETER_3, show, section, 0, -1)
    machine.space.allocate(0x40000, 0x10000, Allocate.RESERVE)
    fails(Status.CONFLICTING_ADDRESSES, show, section, 0x40000)
    fails(Status.CONFLICTING_ADDRESSES, show, section, 0x20000)
    fails(Status.INVALID_PARAMETER_4, show, section, 0x30000000, 0, 0, RW, 1, 0, 3)
    assert show(section, 0x30000000, 0, 0, RW, 1, 0, 2) == (0x30000000, 0x30000)
    machine.space.unmap(0x30000000)
    assert show(section, 0, 0, 0, RW, 1, 0, 11)[0] + 0x30000 <= 1 << 21
    for commit in (-1, 0x30001):
        fails(Status.INVALID_PARAMETER_5, show, section, 0, 0, 0, RW, 1, commit)
    fails(Status.INVALID_PARAMETER_5, show, file, 0, 0, 0, RW, 1, 1)
    fails(Status.INVALID_VIEW_SIZE, show, section, 0, 0x30001)
    fails(Status.INVALID_VIEW_SIZE, show, section, 0, 0x20001, 0x10000)
    for offset in (-0x10000, 0x30000, 0x1000000):
        with pytest.raises(
            StatusError, match=f"offset {offset} is not inside .*, which has 196608 bytes"
        ) as error:
            show(section, 0, 0, offset)
        assert error.value.status == Status.INVALID_VIEW_SIZE
    fails(Status.MAPPED_ALIGNMENT, show, section, 0, 0, 0x1000)
    fails(Status.MAPPED_ALIGNMENT, show, section, 0x60001000)
    for inherit in (0, 3):
        fails(Status.INVALID_PARAMETER_8, show, section, 0, 0, 0, RW, inherit)
    for how in (Allocate.COMMIT, Allocate.RESERVE):
        fails(Status.INVALID_PARAMETER_9, show, section, 0, 0, 0, RW, 1, 0, 0, how)
    show(file, 0, 0, 0, RW, 1, 0, 0, Allocate.RESERVE)
    high, _ = show(section, 0, 0, 0, RW, 1, 0, 0, Allocate.TOP_DOWN)
    assert high > 0x70000000
    assert len(section.views) == 2


def test_protections(machine: Machine) -> None:
    """73, 74: what a section was made with bounds its views; copy-on-write and no access are always
    possible.
    """
    section = create(machine, 0x10000, RO)
    for protect in (WC, NOACCESS, RO):
        machine.space.map(section, protect=protect)
    fails(Status.SECTION_PROTECTION, machine.space.map, section, 0, 0, 0, RW)
    fails(Status.INVALID_PAGE_PROTECTION, machine.space.map, section, 0, 0, 0, RW | RO)
    base, _ = machine.space.map(section, protect=RO)
    fails(Status.SECTION_PROTECTION, machine.space.protect, base, 4096, RW)
    fails(Status.ACCESS_VIOLATION, machine.write, base, b"x")
    charged = machine.virtual.charged
    assert (
        machine.space.protect(base, 4096, WC)[2] == RO and machine.virtual.charged == charged + 16
    )
    machine.write(base, b"mine")
    assert machine.read(base, 4) == b"mine"
    copy, _ = machine.space.map(create(machine, 0x10000, RW), protect=WC)
    machine.space.protect(copy, 4096, RW)
    assert machine.space.query(copy).protect == WC  # what was mapped copy-on-write stays it


# what a section may be seen as, by what it was made with: NT's table; NOACCESS is always possible
WITHIN = {
    RO: "RO WC",
    RW: "RO RW WC",
    WC: "RO WC",
    Protect.EXECUTE: "X",
    Protect.EXECUTE_READ: "RO WC X XR XWC",
    Protect.EXECUTE_READWRITE: "RO RW WC X XR XRW XWC",
    Protect.EXECUTE_WRITECOPY: "RO WC X XR XWC",
}
NAMES = {
    "RO": RO,
    "RW": RW,
    "WC": WC,
    "X": Protect.EXECUTE,
    "XR": Protect.EXECUTE_READ,
    "XRW": Protect.EXECUTE_READWRITE,
    "XWC": Protect.EXECUTE_WRITECOPY,
}


@pytest.mark.parametrize("made", list(WITHIN), ids=lambda p: p.name)
def test_what_a_section_was_made_with_bounds_its_views(machine: Machine, made: Protect) -> None:
    """Every protection, when it is mapped, when a page of a view is given it, and when a reserved
    page is committed with it.
    """
    section, reserved = create(machine, 0x10000, made), create(machine, 0x10000, made, RESERVE)
    view, _ = machine.space.map(section, protect=NOACCESS)
    hole, _ = machine.space.map(reserved, protect=NOACCESS)
    before = machine.space.query(view)
    for name, protect in NAMES.items():
        if name in WITHIN[made].split():
            base, _ = machine.space.map(section, protect=protect)
            assert machine.space.query(base).protect == protect
            machine.space.unmap(base)
            machine.space.protect(view, 1, protect)
            assert machine.space.query(view).protect == protect
            machine.space.protect(view, 1, NOACCESS)
        else:
            fails(Status.SECTION_PROTECTION, machine.space.map, section, 0, 0, 0, protect)
            fails(Status.SECTION_PROTECTION, machine.space.protect, view, 1, protect)
            copying = name in ("WC", "XWC")  # which is no way to commit
            fails(
                Status.INVALID_PAGE_PROTECTION if copying else Status.SECTION_PROTECTION,
                machine.space.allocate,
                hole,
                1,
                Allocate.COMMIT,
                protect,
            )
            assert (
                machine.space.query(view) == before
                and machine.space.query(hole).state == PageState.RESERVE
            )
    for more in (Protect.GUARD, Protect.NOCACHE, Protect.WRITECOMBINE):
        if made & RO:
            assert machine.space.map(section, protect=RO | more)
    machine.check()


def test_what_is_mapped_copy_on_write_stays_it(machine: Machine) -> None:
    """With execution or without, as it is asked for; the section's own page is never written."""
    section = create(machine, 0x10000, Protect.EXECUTE_READWRITE)
    shared, _ = machine.space.map(section)
    machine.write(shared, b"ours")
    for protect in (WC, Protect.EXECUTE_WRITECOPY):
        base, _ = machine.space.map(section, protect=protect)
        for asked, is_now in ((RW, WC), (Protect.EXECUTE_READWRITE, Protect.EXECUTE_WRITECOPY)):
            machine.space.protect(base, 1, asked)
            assert machine.space.query(base).protect == is_now
        machine.write(base, b"mine")
        assert machine.read(base, 4) == b"mine" and machine.read(shared, 4) == b"ours"


def test_a_view_to_grow_in_is_of_a_file_that_can_be_written(machine: Machine) -> None:
    """RESERVE: INVALID_PARAMETER_9 without a file, SECTION_PROTECTION where the section was made
    for reading or copying only.
    """
    for made in (RO, WC, Protect.EXECUTE_READ):
        section = create(machine, 0, made, COMMIT, MemoryFile(machine, bytes(5000)))
        fails(
            Status.SECTION_PROTECTION,
            machine.space.map,
            section,
            0,
            0,
            0,
            RO,
            1,
            0,
            0,
            Allocate.RESERVE,
        )
    fails(
        Status.INVALID_PARAMETER_9,
        machine.space.map,
        create(machine, 4096),
        0,
        0,
        0,
        RO,
        1,
        0,
        0,
        Allocate.RESERVE,
    )
    assert not machine.space.vads.all
    assert (
        machine.space.map(
            create(machine, 0, RW, COMMIT, MemoryFile(machine, bytes(5000))),
            0,
            0,
            0,
            RO,
            1,
            0,
            0,
            Allocate.RESERVE,
        )[1]
        == 0x2000
    )


def test_a_mapped_file_is_cut_and_purged(machine: Machine) -> None:
    """A departure: NT refuses both. Views see what the file has then, to the byte; a page behind
    the end faults, and none is lost.
    """
    model = bytearray(i // 256 % 251 for i in range(9 * PAGE_SIZE))
    file = MemoryFile(machine, bytes(model))
    section = create(machine, 0, RW, COMMIT, file)
    base, _ = machine.space.map(section)
    copy, _ = machine.space.map(section, protect=WC)
    machine.write(copy + PAGE_SIZE, b"copied")
    for page in range(9):
        machine.write(base + page * PAGE_SIZE + 7, b"new")
        model[page * PAGE_SIZE + 7 : page * PAGE_SIZE + 10] = b"new"
    machine.run(machine.space.flush(base))
    machine.run(machine.cache.memory.writeback.purge(file.section, 0))
    assert (
        not file.section.resident() and machine.read(base, len(model)) == model == file.pager.data
    )
    for size in (7 * PAGE_SIZE + 1, 3 * PAGE_SIZE, 5, 0):
        machine.run(file.truncate(size))
        end = -(-size // PAGE_SIZE) * PAGE_SIZE
        assert machine.read(base, end) == bytes(model[:size]).ljust(end, b"\0")
        fails(Status.IN_PAGE_ERROR, machine.touch, base + end)
        fails(Status.IN_PAGE_ERROR, machine.touch, base + 9 * PAGE_SIZE - 1)
        machine.check()
    assert machine.read(copy + PAGE_SIZE, 6) == b"copied", "what was copied is the space's own"
    machine.run(file.truncate(2 * PAGE_SIZE))
    assert machine.read(base, 2 * PAGE_SIZE) == bytes(2 * PAGE_SIZE)
    machine.write(base, b"again")
    machine.run(machine.space.flush(base))
    assert file.pager.data[:5] == b"again" and len(file.pager.data) == 2 * PAGE_SIZE


def test_a_name_is_free_when_its_section_is_closed(machine: Machine) -> None:
    """Mapped or not, it is made again and opened again; the old one lives as long as its view, and
    takes no name along.
    """
    sections = machine.virtual.sections
    old = create(machine, 0x10000, name="n")
    base, _ = machine.space.map(old)
    machine.write(base, b"old")
    fails(Status.OBJECT_NAME_COLLISION, create, machine, 4096, RW, COMMIT, None, "n")
    sections.close(old)
    fails(Status.OBJECT_NAME_NOT_FOUND, sections.open, "n")
    new = create(machine, 0x10000, name="n")
    assert sections.open("n") is new and old in sections.all
    sections.close(old)
    machine.space.unmap(base)
    assert sections.open("n") is new and old not in sections.all
    fails(
        Status.OBJECT_NAME_COLLISION,
        sections.create_device,
        machine.memory.pfns.frames - 4,
        1,
        RW,
        "n",
    )
    fails(Status.OBJECT_NAME_COLLISION, sections.create_external, Book(machine), 4096, "n")
    assert len(sections.all) == 1 and not machine.space.vads.all


def test_what_was_given_no_name_has_none(machine: Machine) -> None:
    """Neither a file's path nor a number stands in the way of a name, and none is found by them;
    two sections of a file are two.
    """
    sections, file = machine.virtual.sections, MemoryFile(machine, bytes(5000), path="a.txt")
    first, second, numbered = (
        create(machine, file=file),
        create(machine, file=file),
        create(machine, 4096),
    )
    device = sections.create_device(machine.memory.pfns.frames - 4, 1)
    for made in (first, second, numbered, device):
        fails(Status.OBJECT_NAME_NOT_FOUND, sections.open, made.name)
        named = create(machine, 4096, name=made.name)
        assert sections.open(made.name) is named
        sections.close(made)
        assert sections.open(made.name) is named
        sections.close(named)
    for name in ("\0", "a\nb", "x" * 256):
        fails(Status.OBJECT_NAME_INVALID, create, machine, 4096, RW, COMMIT, None, name)
        fails(Status.OBJECT_NAME_INVALID, sections.open, name)


def test_commit_through_a_view(machine: Machine) -> None:
    """76, 77: a page that is not committed faults; committing it in one view does so in all, with
    their own protections.
    """
    section = create(machine, 0x20000, RW, RESERVE)
    first, _ = machine.space.map(section, commit=1)
    other = machine.virtual.create("other")
    second, _ = other.map(section, protect=RO)
    machine.write(first, b"0")
    fails(Status.ACCESS_VIOLATION, machine.touch, first + PAGE_SIZE)
    assert machine.space.query(first + PAGE_SIZE).state == PageState.RESERVE
    machine.space.allocate(first + PAGE_SIZE, PAGE_SIZE, Allocate.COMMIT, RW)
    machine.write(first + PAGE_SIZE, b"both")
    assert machine.read(second + PAGE_SIZE, 4, other) == b"both"
    assert other.query(second + PAGE_SIZE).protect == RO and other.query(second).protect == RO
    assert machine.virtual.charged == 2 and other.query(second).type == MemoryType.MAPPED


def test_unmapping(machine: Machine) -> None:
    """44, 79: by any address in the view; flushing what is no view; a view is not freed or
    reset.
    """
    section = create(machine, 0x20000)
    base, _ = machine.space.map(section)
    machine.write(base, b"x")
    fails(Status.UNABLE_TO_DELETE_SECTION, machine.space.free, base, 0, Free.RELEASE)
    fails(Status.CONFLICTING_ADDRESSES, machine.space.allocate, base, 4096, Allocate.RESET)
    machine.space.unmap(base + 0x12345)
    fails(Status.NOT_MAPPED_VIEW, machine.space.unmap, base)
    fails(Status.NOT_MAPPED_VIEW, lambda: machine.run(machine.space.flush(base)))
    assert machine.space.query(base).state == PageState.FREE
    again, _ = machine.space.map(section)
    assert machine.read(again, 1) == b"x"


def test_device_sections(machine: Machine) -> None:
    """82: frames that are no memory; beyond the highest, or memory that is managed, they are
    refused. What is written stays there.
    """
    frames = machine.memory.pfns.frames
    create_device = machine.virtual.sections.create_device
    fails(Status.INVALID_PARAMETER_6, create_device, frames - 1, 2)
    fails(Status.INVALID_PARAMETER_6, create_device, 1, 1)
    section = create_device(frames - 4, 2)
    base, _ = machine.space.map(section)
    machine.write(base + PAGE_SIZE - 2, b"wide")
    assert bytes(machine.memory.ram.frame(frames - 3)[:2]) == b"de"
    child = machine.virtual.fork(machine.space, "child")
    assert (
        machine.read(base + PAGE_SIZE, 2, child) == b"de" and machine.space.pages.of_sections == 2
    )
    machine.check()
    machine.space.unmap(base)
    assert bytes(machine.memory.ram.frame(frames - 3)[:2]) == b"de"


def test_extending(machine: Machine) -> None:
    """A section grows, with its file; pages behind the old end can be mapped then. It never
    shrinks: one of a file stays as it is then.
    """
    extend = machine.virtual.sections.extend
    section = create(machine, 0x10000)
    fails(Status.SECTION_NOT_EXTENDED, lambda: machine.run(extend(section, 0x10000)))
    assert machine.run(extend(section, 0x18001)) == 0x19000
    base, size = machine.space.map(section)
    machine.write(base + 0x18000, b"end")
    assert size == 0x19000 and machine.virtual.charged == 0x19
    file = MemoryFile(machine, b"x" * 5000)
    mapped = create(machine, 0, RW, COMMIT, file)
    machine.run(extend(mapped, 0x12000))
    for smaller in (0x12000, 1, 0):
        assert machine.run(extend(mapped, smaller)) == 0x12000
    fails(Status.SECTION_NOT_EXTENDED, lambda: machine.run(extend(mapped, -1)))
    base, size = machine.space.map(mapped)
    assert (size, file.section.size) == (0x12000, 0x12000) and machine.read(
        base + 4999, 2
    ) == b"x\0"
    read_only = create(machine, 0, RO, COMMIT, file)
    fails(Status.SECTION_NOT_EXTENDED, lambda: machine.run(extend(read_only, 0x20000)))


def test_inheritance(machine: Machine) -> None:
    """A fork shares a view, or has nothing there; private memory is copied, or is not there."""
    section = create(machine, 0x10000)
    shared, _ = machine.space.map(section)
    hidden, _ = machine.space.map(section, inherit=Inherit.NONE)
    private, _ = machine.space.allocate(0, 0x10000, Allocate.COMMIT)
    secret, _ = machine.space.allocate(0, 0x10000, Allocate.COMMIT)
    machine.space.set_inheritance(secret, Inherit.NONE)
    fails(Status.INVALID_PARAMETER, machine.space.set_inheritance, private, Inherit.SHARE)
    fails(
        Status.MEMORY_NOT_ALLOCATED,
        machine.space.set_inheritance,
        0x7FFF0000 - 0x10000,
        Inherit.NONE,
    )
    for address in (shared, private):
        machine.write(address, b"before")
    child = machine.virtual.fork(machine.space, "child")
    for address in (shared, private):
        machine.write(address, b"after!", child)
    assert machine.read(shared, 6) == b"after!" and machine.read(private, 6) == b"before"
    for address in (hidden, secret):
        assert child.query(address).state == PageState.FREE
    assert len(section.views) == 3


def test_locked_pages_of_views(machine: Machine) -> None:
    """Locking brings a view's pages in."""
    section = create(machine, 0x10000)
    base, _ = machine.space.map(section)
    assert machine.run(machine.space.lock(base, 0x3000)) == Status.SUCCESS
    assert machine.space.pages.of_sections == 3
    machine.touch(base, WRITE)
    machine.touch(base + 0x5000)
    machine.run(machine.space.advise(base, 0x10000, Advice.DONTNEED))
    assert machine.space.pages.of_sections == 3, "locked pages stay, whatever is advised"
    machine.space.unlock(base, 0x3000)
    machine.run(machine.space.advise(base, 0x10000, Advice.DONTNEED))
    assert machine.space.pages.of_sections == 0


def test_a_space_that_has_ended(machine: Machine) -> None:
    """Nothing can be done in it any more, and its tables, which are somebody else's frames by then,
    are left alone.
    """
    section, dead = create(machine, 0x10000), machine.virtual.create("dead")
    base, _ = dead.map(section)
    machine.write(base, b"x", dead)
    machine.virtual.destroy(dead)
    machine.virtual.destroy(dead)
    for call in (
        lambda: dead.allocate(0, 4096, Allocate.COMMIT),
        lambda: dead.map(section),
        lambda: machine.virtual.fork(dead, "child"),
        lambda: machine.touch(base, WRITE, dead),
        lambda: machine.run(dead.lock(base, 4096)),
        lambda: machine.run(machine.virtual.run(dead, np.array([reference(base)], np.int64))),
    ):
        fails(Status.PROCESS_IS_TERMINATING, call)
    fails(Status.MEMORY_NOT_ALLOCATED, dead.free, base, 0, Free.RELEASE)
    fails(Status.NOT_MAPPED_VIEW, dead.unmap, base)
    machine.check()
