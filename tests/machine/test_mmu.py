"""The soft MMU against a plain walk, interpreted and compiled; accessed and dirty bits; what is
stale until it is flushed.
"""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.machine import mmukernels as k
from octavo.machine.abi import (
    ACCESSED,
    DIRTY,
    GLOBAL,
    NO_EXECUTE,
    PAGE_SIZE,
    PRESENT,
    USER,
    WRITABLE,
)
from octavo.machine.mmu import PageFault, References, SoftMmu, reference
from octavo.machine.pagetables import PageTables, Translation
from octavo.machine.paging import FORMATS
from octavo.machine.ram import Ram
from octavo.statistics import MmuStatistics

ARCHES = list(FORMATS)
HIGH = {
    "i386": 0x80000000,
    "pae": 0x80000000,
    "x86-64": 0xFFFF800000000000,
    "la57": 0xFF00000000000000,
}


def make(arch: str, cpus: int = 1, slots: int = 16) -> tuple[PageTables, SoftMmu]:
    """Empty tables on 400 frames, and CPUs that use them."""
    ram = Ram(400)
    stock = iter(range(1, 400))
    tables = PageTables(ram, FORMATS[arch], lambda low: next(stock))
    mmu = SoftMmu(ram, FORMATS[arch], cpus, slots)
    for cpu in range(cpus):
        mmu.load(cpu, tables.root)
    return tables, mmu


def expected(arch: str, tables: PageTables, rights: dict[int, int], address: int, kind: int) -> int:
    """The physical address that a user's reference has by a plain walk, or -1 - error code."""
    error = 4 | (2 if kind == k.WRITE else 0) | (16 if kind == k.EXECUTE else 0)
    found: Translation | None = tables.translate(address)
    if found is None:
        return -1 - error
    flags = rights[address // PAGE_SIZE]
    denied = (
        not flags & USER
        or (kind == k.WRITE and not flags & WRITABLE)
        or (kind == k.EXECUTE and flags & NO_EXECUTE and arch != "i386")
    )
    return -1 - (error | 1) if denied else found.physical


@given(
    arch=st.sampled_from(ARCHES),
    maps=st.lists(
        st.tuples(
            st.booleans(),
            st.integers(0, 4000),
            st.integers(0, 4000),
            st.integers(1, 1500),
            st.sampled_from([0, WRITABLE, USER, USER | WRITABLE, USER | NO_EXECUTE]),
        ),
        max_size=6,
    ),
    seed=st.integers(0, 1 << 30),
)
def test_agrees_with_a_plain_walk(
    arch: str, maps: list[tuple[bool, int, int, int, int]], seed: int
) -> None:
    """Small and large pages, both halves, all rights; reads, writes and fetches, one by one and
    through the compiled kernel.
    """
    tables, mmu = make(arch)
    rights: dict[int, int] = {}
    for high, page, frame, count, flags in maps:
        start = (HIGH[arch] if high else 0) // PAGE_SIZE + page
        if not any(start + i in rights for i in range(count)):
            tables.map_pages(start * PAGE_SIZE, frame, count, flags)
            rights.update({start + i: flags for i in range(count)})
    open_tables(tables)
    choose = random.Random(seed)
    pages = [*rights, *(choose.randrange(6000) for _ in range(5))]
    for _ in range(60):
        address = choose.choice(pages) * PAGE_SIZE + choose.randrange(PAGE_SIZE)
        kind = choose.randrange(3)
        wanted = expected(arch, tables, rights, address, kind)
        found = mmu.translate(0, address, kind)
        assert (-1 - found.error if isinstance(found, PageFault) else found) == wanted
        if wanted >= 0:
            entry = tables.translate(address)
            assert (
                entry is not None
                and entry.entry & ACCESSED
                and (kind != k.WRITE or entry.entry & DIRTY)
            )
        stop = mmu.run(0, np.array([reference(address, kind)], np.int64))
        assert (stop is None) == (wanted >= 0) and (stop is None or -1 - stop.error == wanted)


def open_tables(tables: PageTables) -> None:
    """Gives every entry of an upper table the user's right, as an executive does: the page's own
    entry decides.
    """
    words = tables.words
    per = 1 << (12 - tables._shift)

    def visit(frame: int, depth: int) -> None:
        for at in range(frame * per, frame * per + (1 << tables.format.index_bits[depth])):
            entry = words[at]
            if (
                depth + 1 < len(tables.format.index_bits)
                and entry & PRESENT
                and not (entry & 128 and not (depth == 0 and tables.format.name == "pae"))
            ):
                if not (depth == 0 and tables.format.name == "pae"):
                    words[at] = entry | USER
                visit((entry & ((1 << 52) - PAGE_SIZE)) // PAGE_SIZE, depth + 1)

    visit(tables.root, 0)


@pytest.mark.parametrize("arch", ARCHES)
def test_interpreted_and_compiled_leave_the_same_memory(arch: str) -> None:
    """One random history in both lives: the same stops, the same TLB, the same accessed and dirty
    bits.
    """
    sides = [make(arch, slots=64), make(arch, slots=64)]
    for tables, _ in sides:
        tables.map_pages(0x10000, 0x40, 64, USER | WRITABLE)
        tables.map_pages(0x80000, 0x100, 64, USER)
        open_tables(tables)
    choose = random.Random(3)
    refs = [
        reference(
            choose.randrange(0x10, 0xD0) * PAGE_SIZE + choose.randrange(1024) * 4,
            choose.randrange(3),
        )
        for _ in range(5000)
    ]
    (_, one), (_, two) = sides
    stops = stops_of(one, refs)
    assert stops == stops_of(two, np.array(refs, np.int64)) and len(stops) > 100
    assert np.array_equal(one.states[0], two.states[0]) and np.array_equal(one.tables, two.tables)


def stops_of(mmu: SoftMmu, refs: list[int] | References) -> list[PageFault]:
    """Every fault of a trace, each passed over."""
    out, at = list[PageFault](), 0
    while (stop := mmu.run(0, refs, at)) is not None:
        out.append(stop)
        at = stop.index + 1
    return out


def test_what_is_stale_until_it_is_flushed() -> None:
    """A present entry that changes is seen as before on every CPU until the shoot-down; an absent
    one that appears is seen at once.
    """
    tables, mmu = make("x86-64", cpus=2)
    tables.map_pages(0x5000, 0x70, 1, USER | WRITABLE)
    open_tables(tables)
    for cpu in range(2):
        assert mmu.translate(cpu, 0x5123) == 0x70123
        assert isinstance(mmu.translate(cpu, 0x6000), PageFault)
    tables.unmap_pages(0x5000, 1)
    tables.map_pages(0x5000, 0x71, 1, USER)
    tables.map_pages(0x6000, 0x72, 1, USER)
    assert [mmu.translate(cpu, 0x5123) for cpu in range(2)] == [0x70123, 0x70123]
    assert [mmu.translate(cpu, 0x6001) for cpu in range(2)] == [0x72001, 0x72001]
    mmu.invalidate(0x5000)
    assert [mmu.translate(cpu, 0x5123) for cpu in range(2)] == [0x71123, 0x71123]
    assert mmu.translate(0, 0x5000, k.WRITE) == PageFault(0, 0x5000, 7)


def test_the_dirty_bit_needs_a_walk_of_its_own() -> None:
    """A page that was read first gets its dirty bit when it is written, though the TLB knows it;
    cleared bits come back after a flush.
    """
    tables, mmu = make("pae")
    tables.map_pages(0x5000, 0x70, 1, USER | WRITABLE)
    open_tables(tables)
    mmu.translate(0, 0x5000)
    entry = tables.translate(0x5000)
    assert entry is not None and entry.entry & (ACCESSED | DIRTY) == ACCESSED
    mmu.translate(0, 0x5000, k.WRITE)
    entry = tables.translate(0x5000)
    assert entry is not None and entry.entry & DIRTY
    assert mmu.statistics() == MmuStatistics(hits=[0], walks=[2], shootdowns=0)
    mmu.translate(0, 0x5004, k.WRITE)
    assert mmu.statistics().hits == [1]


def test_loading_another_root_keeps_global_pages() -> None:
    """CR3: ordinary pages go, global ones stay."""
    tables, mmu = make("x86-64")
    tables.map_pages(0x5000, 0x70, 1, USER)
    tables.map_pages(0x6000, 0x71, 1, USER | GLOBAL)
    open_tables(tables)
    mmu.translate(0, 0x5000), mmu.translate(0, 0x6000)
    empty = PageTables(Ram(8), FORMATS["x86-64"], lambda low: 1)
    mmu.load(0, 300)  # a frame of zeros
    assert isinstance(mmu.translate(0, 0x5000), PageFault) and mmu.translate(0, 0x6000) == 0x71000
    assert empty.root == 1


def test_supervisor_and_user() -> None:
    """Supervisor pages fault for users; read-only pages fault for both."""
    tables, mmu = make("i386")
    tables.map_pages(0x5000, 0x70, 1, WRITABLE)
    tables.map_pages(0x6000, 0x71, 1, USER)
    open_tables(tables)
    assert mmu.translate(0, 0x5000) == PageFault(0, 0x5000, 5)
    assert mmu.translate(0, 0x6000, k.WRITE) == PageFault(0, 0x6000, 7)
    mmu.load(0, tables.root, user=False)
    assert mmu.translate(0, 0x5000, k.WRITE) == 0x70000
    assert mmu.translate(0, 0x6000, k.WRITE) == PageFault(0, 0x6000, 3)


def test_a_shoot_down_waits_for_running_cpus() -> None:
    """A frame is given to somebody else only after no CPU can reach it: host threads run references
    all the while.
    """
    tables, mmu = make("x86-64", cpus=3, slots=64)
    tables.map_pages(0x100000, 0x80, 64, USER | WRITABLE)
    open_tables(tables)
    refs = np.array(
        [reference(0x100000 + i % 64 * PAGE_SIZE, i % 2) for i in range(100_000)], np.int64
    )
    mmu.run(0, refs)
    wrong: list[object] = []
    ending = threading.Event()

    def spin(cpu: int) -> None:
        while not ending.is_set():
            stop = mmu.run(cpu, refs)
            if stop is not None and stop.address != 0x100000:
                wrong.append(stop)

    spinners = [threading.Thread(target=spin, args=(cpu,)) for cpu in (1, 2)]
    for thread in spinners:
        thread.start()
    for _ in range(30):
        tables.unmap_pages(0x100000, 1)
        mmu.invalidate(0x100000)
        for cpu in range(3):
            if not isinstance(mmu.translate(cpu, 0x100000), PageFault):
                wrong.append(cpu)
        tables.map_pages(0x100000, 0x80, 1, USER | WRITABLE)
    ending.set()
    for thread in spinners:
        thread.join()
    assert wrong == []
