"""Address spaces: NT's cases by their numbers in docs/statuses.md, stacks, the commit limit, fork,
references on a virtual CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.mmu import reference
from octavo.machine.mmukernels import EXECUTE, READ, WRITE
from octavo.machine.paging import FORMATS
from octavo.memory.spaces.addressspace import Allocate, Free
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.locks import Lock
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.query import MemoryInformation, MemoryType, PageState
from octavo.memory.spaces.view import Attribute
from octavo.status import Status, StatusError
from tests.machines import Machine, MemoryFile, emptied, fails, within_seconds

COMMIT, RESERVE, RESET, TOP_DOWN = (
    Allocate.COMMIT,
    Allocate.RESERVE,
    Allocate.RESET,
    Allocate.TOP_DOWN,
)
RO, RW, NOACCESS, GUARD = Protect.READONLY, Protect.READWRITE, Protect.NOACCESS, Protect.GUARD


@pytest.fixture(params=list(FORMATS))
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """One of each format; its ledger balances at the end, and everything can be given back."""
    yield from emptied(Machine(request.param))


def test_allocation_arguments(machine: Machine) -> None:
    """2 to 10: bases, sizes, types and protections that cannot be."""
    allocate = machine.space.allocate
    for base in (machine.kernel, 0xF000):
        fails(Status.INVALID_PARAMETER_2, allocate, base, 4096, COMMIT | RESERVE)
    for size in (0, -1, (1 << 64) - 1):
        fails(Status.INVALID_PARAMETER_4, allocate, 0, size, COMMIT)
    for how in (0, TOP_DOWN, 0x400000, RESET | COMMIT, 1):
        fails(Status.INVALID_PARAMETER_5, allocate, 0, 4096, how)
    allocate(0, 4096, TOP_DOWN | COMMIT)
    for protect in (
        0,
        -1,
        Protect.WRITECOPY,
        Protect.EXECUTE_WRITECOPY,
        RO | RW,
        NOACCESS | GUARD,
        GUARD,
        RW | 0x600,
        0x1000,
    ):
        fails(Status.INVALID_PAGE_PROTECTION, allocate, 0, 4096, COMMIT, protect)
    allocate(0, 4096, COMMIT, RO | Protect.WRITECOMBINE)


def test_rounding(machine: Machine) -> None:
    """11 to 17: a commit without a base reserves, 64 KiB aligned and zeroed; bases go down to 64
    KiB, ends up to a page.
    """
    base, size = machine.space.allocate(0, 200, COMMIT)
    assert base % 0x10000 == 0 and size == 4096 and machine.read(base, 4096) == bytes(4096)
    reserve = machine.space.allocate
    assert reserve(0x60025000, 200, RESERVE) == (0x60020000, 0x6000)
    assert reserve(0x50000000, 1, RESERVE) == (0x50000000, 0x1000)
    machine.space.free(0x50000000, 0, Free.RELEASE)
    assert reserve(0x50000010, 0x1000, RESERVE) == (0x50000000, 0x2000)
    machine.space.free(0x50000000, 0, Free.RELEASE)
    assert reserve(0x5000FFFF, 0x3000, RESERVE) == (0x50000000, 0x13000)


def test_conflicts(machine: Machine) -> None:
    """19 and 20: a second reserve in the same 64 KiB; commits past the end or over two
    allocations.
    """
    space = machine.space
    space.allocate(0x60000000, 0x1000, RESERVE)
    fails(Status.CONFLICTING_ADDRESSES, space.allocate, 0x60008000, 0x1000, RESERVE)
    fails(Status.CONFLICTING_ADDRESSES, space.allocate, 0x60000000, 0x2000, COMMIT)
    space.allocate(0x60010000, 0x10000, RESERVE)
    space.allocate(0x60020000, 0x10000, RESERVE)
    fails(Status.CONFLICTING_ADDRESSES, space.allocate, 0x6001F000, 0x2000, COMMIT)


def test_a_guard_page_works_once(machine: Machine) -> None:
    """22: the first touch raises, then it is an ordinary page; data under a guard set later is
    kept.
    """
    space = machine.space
    base, _ = space.allocate(0, 0x2000, COMMIT, RW | GUARD)
    fails(Status.GUARD_PAGE_VIOLATION, machine.touch, base + 5)
    machine.write(base, b"plain")
    assert space.query(base).protect == RW and space.query(base + 0x1000).protect == RW | GUARD
    assert space.protect(base, 0x1000, RW | GUARD)[2] == RW
    fails(Status.GUARD_PAGE_VIOLATION, machine.touch, base, WRITE)
    assert machine.read(base, 5) == b"plain"


def test_reset(machine: Machine) -> None:
    """23: protections stay, reserved stays reserved; whole pages lose their contents and frames."""
    space = machine.space
    base, _ = space.allocate(0, 0x4000, RESERVE)
    space.allocate(base, 0x2000, COMMIT, RO)
    machine.touch(base)
    assert space.allocate(base, 0x2000, RESET, RW) == (base, 0x2000)
    assert space.query(base).protect == RO and space.pages.resident == 0
    space.allocate(base + 0x2000, 0x1000, RESET)
    assert space.query(base + 0x2000).state == PageState.RESERVE


def test_release(machine: Machine) -> None:
    """25 to 28."""
    space = machine.space
    base, _ = space.allocate(0, 0x3000, COMMIT)
    fails(Status.FREE_VM_NOT_AT_BASE, space.free, base + 0x1000, 0, Free.RELEASE)
    fails(Status.UNABLE_TO_FREE_VM, space.free, base, 0x4000, Free.RELEASE)
    space.allocate(base + 0x10000, 0x10000, RESERVE)
    fails(Status.UNABLE_TO_FREE_VM, space.free, base, 0x18000, Free.RELEASE)
    fails(Status.INVALID_PARAMETER_4, space.free, base, 0, 0xC000)
    assert space.free(base, 0, Free.RELEASE) == (base, 0x3000)
    fails(Status.MEMORY_NOT_ALLOCATED, space.free, base, 0, Free.RELEASE)
    fails(Status.MEMORY_NOT_ALLOCATED, space.free, base, 0x1000, Free.DECOMMIT)
    fails(Status.MEMORY_NOT_ALLOCATED, space.free, 0, 0, Free.RELEASE)


@pytest.mark.parametrize("reserved", [False, True])
def test_what_is_not_in_user_space(machine: Machine, reserved: bool) -> None:
    """A base is INVALID_PARAMETER_2, a size _3 (_4 for an allocation), whatever is allocated
    there.
    """
    space = machine.space
    base = (
        space.allocate(0, 0x3000, RESERVE | COMMIT | Allocate.WRITE_WATCH)[0]
        if reserved
        else 0x10000
    )
    end = space.vads.high * PAGE_SIZE
    calls: list[Callable[[int, int], object]] = [
        lambda at, size: space.free(at, size, Free.RELEASE),
        lambda at, size: space.free(at, size, Free.DECOMMIT),
        lambda at, size: space.protect(at, size, RO),
        space.write_watch,
    ]
    for call in calls:
        for outside in (-1, end, machine.kernel, 1 << 63, (1 << 64) - 1):
            fails(Status.INVALID_PARAMETER_2, call, outside, 0x1000)
        for size in (-0x1000, end - base + 1, 1 << 62, (1 << 64) - 1):
            fails(Status.INVALID_PARAMETER_3, call, base, size)
            fails(Status.INVALID_PARAMETER_4, space.allocate, base, size, COMMIT)
    for call in calls[2:]:
        fails(Status.INVALID_PARAMETER_3, call, base, 0)
    fails(Status.CONFLICTING_ADDRESSES, space.protect, 0, 0x1000, RO)
    assert len(space.vads.all) == reserved


def test_decommit(machine: Machine) -> None:
    """29 to 32: rounded out to pages; what is not committed is no error; contents are gone."""
    space = machine.space
    base, _ = space.allocate(0, 0x5000, COMMIT)
    machine.write(base, b"gone")
    assert space.free(base + 1, PAGE_SIZE - 1, Free.DECOMMIT) == (base, 0x1000)
    assert space.free(base + 0x1FFF, 2, Free.DECOMMIT) == (base + 0x1000, 0x2000)
    assert space.free(base, 0x3000, Free.DECOMMIT) == (base, 0x3000)
    fails(Status.ACCESS_VIOLATION, machine.touch, base)
    space.allocate(base, 0x1000, COMMIT)
    assert machine.read(base, 4) == bytes(4)


def test_protect(machine: Machine) -> None:
    """34 and 35: the old value comes back, data is kept; what is not committed is refused whole."""
    space = machine.space
    base, _ = space.allocate(0, 0x4000, RESERVE)
    space.allocate(base, 0x2000, COMMIT)
    machine.write(base, b"data")
    assert space.protect(base + 5, 10, RO) == (base, 0x1000, RW)
    fails(Status.ACCESS_VIOLATION, machine.write, base, b"x")
    assert space.protect(base, 1, NOACCESS) == (base, 0x1000, RO)
    fails(Status.ACCESS_VIOLATION, machine.read, base)
    assert space.protect(base, 1, RW)[2] == NOACCESS and machine.read(base, 4) == b"data"
    fails(Status.NOT_COMMITTED, space.protect, base, 0x3000, RO)
    assert space.query(base).protect == RW
    fails(Status.CONFLICTING_ADDRESSES, space.protect, base, 0x20000, RO)
    fails(Status.ACCESS_VIOLATION, machine.touch, base, EXECUTE)


def test_query(machine: Machine) -> None:
    """38 and 40: above user space; a page committed inside a reserve."""
    space = machine.space
    fails(Status.INVALID_PARAMETER, space.query, machine.kernel)
    base, _ = space.allocate(0x60000000, 0x10000, RESERVE, NOACCESS)
    space.allocate(base + 0x3000, 0x2000, COMMIT, RW)
    assert space.query(base + 0x4ABC) == MemoryInformation(
        base + 0x4000, 0x1000, PageState.COMMIT, base, NOACCESS, RW, MemoryType.PRIVATE
    )
    assert space.query(base) == MemoryInformation(
        base, 0x3000, PageState.RESERVE, base, NOACCESS, None, MemoryType.PRIVATE
    )
    free = space.query(base + 0x10000)
    assert (free.state, free.protect, free.allocation_protect, free.allocation_base) == (
        PageState.FREE,
        NOACCESS,
        None,
        0,
    )
    space.free(base, 0, Free.RELEASE)
    assert space.query(base).protect == NOACCESS and space.query(0).protect == NOACCESS


def test_zero_bits_of_an_allocation(machine: Machine) -> None:
    """So many high bits of 32 are zero, to the last page that fits; from either end; with a base
    they are not heeded.
    """
    space = machine.space
    for bits in (-1, 22, 32, 33, 0x7FFFFFFF, -(10**10), -(1 << 63)):
        with within_seconds(5):
            fails(Status.INVALID_PARAMETER_3, space.allocate, 0, PAGE_SIZE, COMMIT, RW, bits)
    assert not space.vads.all and not machine.virtual.charged
    for bits in range(22):
        for how in (RESERVE, RESERVE | TOP_DOWN):
            if bits < 16:
                base, size = space.allocate(0, PAGE_SIZE, how, RW, bits)
                assert (not bits or base + size <= 1 << 32 - bits) and base % 0x10000 == 0
                space.free(base, 0, Free.RELEASE)
            else:  # the first 64 KiB are nobody's
                with pytest.raises(
                    StatusError, match="no addresses with so many zero bits: the lowest is 0x10000"
                ) as error:
                    space.allocate(0, PAGE_SIZE, how, RW, bits)
                assert error.value.status == Status.NO_MEMORY
    base, size = space.allocate(0, (1 << 20) - 0x10000, RESERVE, RW, 12)
    assert (base, size) == (0x10000, 0xF0000)
    fails(Status.NO_MEMORY, space.allocate, 0, 1, RESERVE, RW, 12)
    assert space.allocate(0, 1, RESERVE, RW, 11)[0] == 1 << 20
    assert space.allocate(0x60000000, 1, RESERVE, RW, 21)[0] == 0x60000000
    fails(Status.CONFLICTING_ADDRESSES, space.allocate, 0x60000000, 1, RESERVE, RW, 21)


def test_ways_to_lock(machine: Machine) -> None:
    """41 and 43: in the working set, in memory, or both; each is ended by itself, and the page
    stays until both are.
    """
    space, run = machine.space, machine.run
    base, _ = space.allocate(0, 0x4000, COMMIT)
    for how in (0, 4, 5, -1, 1 << 40):
        fails(Status.INVALID_PARAMETER, lambda how=how: run(space.lock(base, 1, how)))
        fails(Status.INVALID_PARAMETER, space.unlock, base, 1, how)
    process, memory, both = Lock.PROCESS, Lock.SYSTEM, Lock.PROCESS | Lock.SYSTEM
    assert run(space.lock(base, 0x2000, process)) == Status.SUCCESS
    assert run(space.lock(base, 0x2000, memory)) == Status.SUCCESS
    assert run(space.lock(base, 0x3000, both)) == Status.WAS_LOCKED
    assert machine.virtual.commitment.keeps(0) and len(space.locked) == 3
    space.unlock(base, 0x3000, memory)
    for how in (memory, both):
        fails(Status.NOT_LOCKED, space.unlock, base, 0x1000, how)
    run(space.advise(base, 0x4000, Advice.DONTNEED))
    assert space.pages.resident == 3, "the working set keeps them"
    fails(Status.NOT_LOCKED, space.unlock, base, 0x4000, process)
    space.unlock(base, 0x1000, process)
    run(space.lock(base + 0x2000, 0x1000, memory))
    space.free(base + 0x1000, 0x1000, Free.DECOMMIT)
    assert space.locked == {base // PAGE_SIZE + 2: both}
    space.free(base, 0, Free.RELEASE)
    assert not space.locked


def test_lock(machine: Machine) -> None:
    """41 and 43: no bytes; a second lock says so; unlocking what is not locked; what cannot be
    touched locks nothing.
    """
    space, run = machine.space, machine.scheduler.run
    base, _ = space.allocate(0, 0x4000, RESERVE)
    space.allocate(base, 0x3000, COMMIT)
    fails(Status.INVALID_PARAMETER, lambda: run(space.lock(base, 0)))
    assert run(space.lock(base + 5, 0x1000)) == Status.SUCCESS and space.pages.resident == 2
    assert run(space.lock(base, 0x3000)) == Status.WAS_LOCKED
    fails(Status.NOT_LOCKED, space.unlock, base, 0x4000)
    space.unlock(base, 0x3000)
    fails(Status.NOT_LOCKED, space.unlock, base, 1)
    fails(Status.ACCESS_VIOLATION, lambda: run(space.lock(base + 0x2000, 0x2000)))
    assert not space.locked


@pytest.mark.parametrize("where", ["nothing", "reserved", "private", "file", "reserved section"])
def test_a_huge_range_costs_what_is_there(where: str) -> None:
    """Every call that takes a range, with 2^30 to 2^46 bytes: refused or done at once, whatever
    pages there could be.
    """
    machine = Machine()
    space, run = machine.space, machine.run
    size = 1 << 46
    if where == "nothing":
        base = 0x10000
    elif where in ("reserved", "private"):
        base, _ = space.allocate(0, size, RESERVE)
        space.allocate(base, 0x3000 if where == "private" else 0x1000, COMMIT)
    else:
        sections, file = machine.virtual.sections, MemoryFile(machine, b"x" * 9000)
        file.section.size = size  # of a large file
        how = Attribute.COMMIT if where == "file" else Attribute.RESERVE
        base, _ = space.map(
            run(
                sections.create(
                    0 if where == "file" else size,
                    Protect.READWRITE,
                    how,
                    file if where == "file" else None,
                )
            )
        )
    calls: list[Callable[[int], object]] = [
        lambda n: run(space.lock(base, n)),
        lambda n: space.unlock(base, n),
        lambda n: space.query(base + n - 1),
        lambda n: space.protect(base, n, Protect.READONLY),
        lambda n: run(space.advise(base, n, Advice.SEQUENTIAL)),
        lambda n: run(space.advise(base, n, Advice.WILLNEED)),
        lambda n: run(space.advise(base, n, Advice.DONTNEED)),
        lambda n: space.write_watch(base, n, True),
        lambda n: run(space.flush(base, n)),
        lambda n: space.allocate(base, n, COMMIT),
        lambda n: space.allocate(base, n, Allocate.RESET),
        lambda n: machine.virtual.destroy(machine.virtual.fork(space, "child")),
        lambda n: space.set_inheritance(base + n - 1, 2),
        lambda n: space.free(base, n, Free.DECOMMIT),
        lambda n: space.free(base, n, Free.RELEASE),
        lambda n: space.unmap(base),
    ]
    for call in calls:
        for shift in (30, 38, 46):
            with within_seconds(5), suppress(StatusError):
                call(1 << shift)
    assert not space.locked
    machine.check()


def test_kinds_and_cpus_and_references_that_are_none(machine: Machine) -> None:
    """A status where a number is none of those that there are, and where it is no array of
    numbers.
    """
    base, _ = machine.space.allocate(0, PAGE_SIZE, COMMIT)
    for kind in (-1, 3, 1 << 64):
        fails(Status.INVALID_PARAMETER, machine.touch, base, kind)
    refs = np.array([reference(base)], np.int64)
    for cpu in (-1, 9):
        fails(
            Status.INVALID_PARAMETER,
            lambda cpu=cpu: machine.run(machine.virtual.run(machine.space, refs, cpu)),
        )
    for wrong in ([reference(base)], refs.astype(float), refs.reshape(1, 1)):
        fails(
            Status.INVALID_PARAMETER,
            lambda wrong=wrong: machine.run(machine.virtual.run(machine.space, wrong)),
        )
    fails(Status.INVALID_PARAMETER, machine.virtual.explain, -1)
    for frame in (0, 1 << 31, 1 << 70):
        assert machine.virtual.explain(frame) == ""
    fails(Status.INVALID_PARAMETER, Machine().virtual.fork, machine.space, "child")
    section = machine.run(machine.virtual.sections.create(PAGE_SIZE))
    for bits in (-1, 22, -(10**10)):
        with within_seconds(5):
            fails(Status.INVALID_PARAMETER_4, machine.space.map, section, 0, 0, 0, 4, 1, 0, bits)
    for attribute in (1, 1 << 22, 1 << 29, 1 << 30, 1 << 40):
        fails(
            Status.INVALID_PARAMETER_6,
            lambda a=attribute: machine.run(
                machine.virtual.sections.create(PAGE_SIZE, 4, Attribute.COMMIT | a)
            ),
        )


def test_a_stack_grows_by_its_guard_page(machine: Machine) -> None:
    """Touching the guard moves it down without an error, down to the second page; touching it there
    overflows.
    """
    low, top = machine.space.allocate_stack(0x6000, 0x1000)
    machine.write(top - 8, b"frame")
    for depth in range(2, 5):
        machine.write(top - depth * PAGE_SIZE, bytes([depth]))
    fails(Status.STACK_OVERFLOW, machine.touch, low + 0x1800)
    fails(Status.ACCESS_VIOLATION, machine.touch, low + 0x800)
    fails(Status.ACCESS_VIOLATION, machine.touch, low - 1)
    assert machine.read(top - 3 * PAGE_SIZE, 1) == b"\x03"
    _, top = machine.space.allocate_stack(0x6000, 0x1000)
    fails(
        Status.ACCESS_VIOLATION, machine.touch, top - 4 * PAGE_SIZE
    )  # skipping the guard is no growth


def test_write_watch(machine: Machine) -> None:
    """Pages written since the reset, each once, by the executive and by virtual CPUs; through
    protections, decommit and a fork.
    """
    space, watch = machine.space, Allocate.WRITE_WATCH
    fails(Status.INVALID_PARAMETER_5, space.allocate, 0, PAGE_SIZE, COMMIT | watch)
    base, _ = space.allocate(0, 8 * PAGE_SIZE, RESERVE | COMMIT | watch)

    def written(reset: bool = False) -> list[int]:
        return [
            (address - base) // PAGE_SIZE
            for address in space.write_watch(base, 8 * PAGE_SIZE, reset)
        ]

    machine.read(base, 3 * PAGE_SIZE)
    assert written() == []
    machine.write(base + 2 * PAGE_SIZE, b"x")
    machine.write(base + 2 * PAGE_SIZE, b"y")
    machine.scheduler.run(
        machine.virtual.run(space, np.array([reference(base + 5 * PAGE_SIZE, WRITE)] * 3, np.int64))
    )
    assert written() == [2, 5] == written(True) and written() == []
    assert machine.read(base + 2 * PAGE_SIZE, 1) == b"y"
    machine.scheduler.run(
        machine.virtual.run(space, np.array([reference(base + 5 * PAGE_SIZE, WRITE)], np.int64))
    )
    space.protect(base, 8 * PAGE_SIZE, RO)
    space.protect(base, 8 * PAGE_SIZE, RW)
    machine.virtual.fork(space, "child")
    machine.write(base + PAGE_SIZE, b"z")
    assert written() == [1, 5] and space.write_watch(base + 2 * PAGE_SIZE, 8) == []
    space.free(base + 5 * PAGE_SIZE, PAGE_SIZE, Free.DECOMMIT)
    assert written() == [1]
    fails(Status.INVALID_PARAMETER_2, space.write_watch, base, 9 * PAGE_SIZE)
    for size in (0, -1, -(1 << 63)):
        fails(Status.INVALID_PARAMETER_3, space.write_watch, base, size, True)
    assert written() == [1]
    other, _ = space.allocate(0, PAGE_SIZE, COMMIT)
    fails(Status.INVALID_PARAMETER_2, space.write_watch, other, 1)


def test_top_down(machine: Machine) -> None:
    """From the highest user address down, and without it from the lowest up."""
    high, _ = machine.space.allocate(0, 0x10000, RESERVE | TOP_DOWN)
    low, _ = machine.space.allocate(0, 0x10000, RESERVE)
    assert (
        low == 0x10000
        and high + 0x10000 == machine.space.vads.high * PAGE_SIZE // 0x10000 * 0x10000
    )


def test_commit_limit(machine: Machine) -> None:
    """Refused with the figures, nothing committed; reserving costs nothing; giving back makes
    room.
    """
    space, limit = machine.space, machine.virtual.limit
    base, _ = space.allocate(0, (limit + 100) * PAGE_SIZE, RESERVE)
    with pytest.raises(
        StatusError,
        match=f"init asks for {limit + 1} pages, and 0 of the limit of {limit} are committed",
    ) as error:
        space.allocate(base, (limit + 1) * PAGE_SIZE, COMMIT)
    assert (
        error.value.status == Status.COMMITMENT_LIMIT
        and space.query(base).state == PageState.RESERVE
    )
    space.allocate(base, limit * PAGE_SIZE, COMMIT)
    for page in range(limit):  # what was promised can be had
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    assert machine.read(base + (limit - 1) * PAGE_SIZE, 3) == b"%d" % (limit - 1)
    space.free(base, PAGE_SIZE, Free.DECOMMIT)
    space.allocate(base, PAGE_SIZE, COMMIT)


def test_fork_shares_until_somebody_writes(machine: Machine) -> None:
    """One frame for both until a write; each keeps its bytes; the last one writes in place."""
    base, _ = machine.space.allocate(0, 4 * PAGE_SIZE, COMMIT)
    for page in range(3):
        machine.write(base + page * PAGE_SIZE, b"parent")
    before = machine.memory.physical.available
    child = machine.virtual.fork(machine.space, "child")
    tables = len(child.tables.tables)
    assert before - machine.memory.physical.available == tables
    assert machine.touch(base) == machine.touch(base, space=child)
    machine.write(base, b"child!", child)
    assert machine.read(base, 6) == b"parent" and machine.read(base, 6, child) == b"child!"
    assert before - machine.memory.physical.available == tables + 1 and child.pages.copied == 1
    machine.write(base, b"PARENT")
    assert machine.space.pages.copied == 0  # nobody else has the frame any more
    machine.virtual.destroy(child)
    assert machine.read(base + PAGE_SIZE, 6) == b"parent"
    machine.check()


def test_references_through_the_soft_mmu(machine: Machine) -> None:
    """A trace on a virtual CPU: one fault a page, dirty bits on what was written, a fault that
    cannot be resolved is told.
    """
    base, _ = machine.space.allocate(0, 64 * PAGE_SIZE, COMMIT)
    refs = np.array(
        [
            reference(base + i * 64 % (64 * PAGE_SIZE), WRITE if i // 64 % 2 else READ)
            for i in range(40_000)
        ],
        np.int64,
    )
    run = machine.virtual.run
    assert machine.scheduler.run(run(machine.space, refs)) == 64
    assert machine.scheduler.run(run(machine.space, refs)) == 0
    machine.space.protect(base, 64 * PAGE_SIZE, RO)
    fails(Status.ACCESS_VIOLATION, lambda: machine.scheduler.run(run(machine.space, refs)))
    for address in (4, base - 4, machine.kernel, machine.kernel + 0x1234):
        with pytest.raises(StatusError, match=f" {address:#x}") as error:
            machine.run(run(machine.space, np.array([reference(address)], np.int64)))
        assert error.value.status == Status.ACCESS_VIOLATION


def test_a_kernel_finds_each_run_among_those_that_are_not_for_it(machine: Machine) -> None:
    """Every other allocation may not be touched, and every third is watched: the rest is filled
    without the executive.
    """
    refs = []
    for i in range(24):
        base, _ = machine.space.allocate(
            0,
            4 * PAGE_SIZE,
            COMMIT | RESERVE | (Allocate.WRITE_WATCH if i % 3 == 0 else 0),
            NOACCESS if i % 2 else RW,
        )
        refs += [
            reference(base + page * PAGE_SIZE, WRITE) for page in range(4) if i % 2 == 0 and i % 3
        ]
    assert (
        machine.run(machine.virtual.run(machine.space, np.array(refs[::-1] + refs, np.int64)))
        == len(refs)
        == 32
    )
    assert machine.virtual.bulk.filled == 32 and machine.space.faults == 0


def test_every_failing_frame() -> None:
    """On ever fewer frames: fork and faults fail with a status, nothing is lost, and what was
    written is still there.
    """
    failed: list[str] = []
    for frames in range(24, 80):
        machine = Machine("x86-64", frames)
        machine.virtual.commitment.slots = 1000  # as if there were a page file
        base, _ = machine.space.allocate(0, 30 * PAGE_SIZE, COMMIT)
        written = 0
        child = None
        try:
            for page in range(12):
                machine.write(base + page * PAGE_SIZE, b"%d" % page)
                written += 1
            child = machine.virtual.fork(machine.space, "child")
            for page in range(30):
                machine.write(base + page * PAGE_SIZE, b"c%d" % page, child)
        except StatusError as error:
            assert error.status in (Status.NO_MEMORY, Status.INSUFFICIENT_RESOURCES)
            failed.append(
                "fork"
                if written == 12 and child is None
                else "child"
                if child is not None
                else "parent"
            )
        machine.check()
        if child is not None:
            machine.virtual.destroy(child)
        machine.check()
        for page in range(written):
            assert machine.read(base + page * PAGE_SIZE, 2).startswith(b"%d" % page)
        machine.virtual.destroy(machine.space)
        assert machine.memory.physical.available == frames
        machine.scheduler.close()
    assert {"parent", "child"} <= set(failed) and len(failed) < 56


def test_a_large_reservation_costs_nothing(machine: Machine) -> None:
    """Nearly all of user space is reserved, a page at each end used, and released: no work for what
    is not there.
    """
    space = machine.space
    size = (space.vads.high - 2 * space.vads.low) * PAGE_SIZE
    base, _ = space.allocate(0, size, RESERVE)
    for address in (base, base + size - PAGE_SIZE):
        space.allocate(address, PAGE_SIZE, COMMIT)
        machine.write(address, b"end")
    machine.check()
    assert machine.virtual.fork(space, "child").charge == 2
    space.free(base, 0, Free.RELEASE)
    assert space.pages.resident == 0 and len(space.tables.tables) == 1
