"""Region maps, with holes, against a list of units; and what their pager reads and writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.machine.abi import PAGE_SIZE
from octavo.memory.pagers.region import Mapping, RegionPager
from octavo.memory.pagers.regionmap import HOLE, RegionMap
from octavo.memory.pages.section import Section
from octavo.testing.bufferdisk import BufferDisk
from tests.machines import Machine

UNIT = 512


def place_at(unit: int, byte: int) -> int:
    """Where byte `byte` of a unit is, if the unit begins there; HOLE for a hole."""
    return HOLE if unit == HOLE else unit + byte


@given(
    st.lists(
        st.tuples(st.just(HOLE) | st.integers(0, 40).map(lambda n: n * UNIT), st.integers(1, 5)),
        min_size=1,
        max_size=30,
    ),
    st.integers(0, 60_000),
    st.integers(1, 60_000),
    st.integers(0, 80),
)
def test_region_map(runs: list[tuple[int, int]], offset: int, length: int, keep: int) -> None:
    """Against a list of units."""
    regions, model = RegionMap(UNIT), list[int]()
    for place, count in runs:
        regions.append(place, count)
        model += [place_at(place, i * UNIT) for i in range(count)]
    assert regions.holes == (HOLE in model)
    changes = [i for i in range(1, len(model)) if model[i] != place_at(model[i - 1], UNIT)]
    assert len(regions) <= 1 + len(changes)  # neighbours are one run, holes too
    regions.truncate(keep)
    model = model[:keep]
    assert regions.total == len(model) * UNIT
    pieces = regions.locate(offset, length)
    found = [place_at(place, i) for place, size in pieces for i in range(size)]
    asked = range(offset, min(offset + length, len(model) * UNIT))
    assert found == [place_at(model[b // UNIT], b % UNIT) for b in asked]
    assert [place_at(p, i * UNIT) for p, n in regions.units() for i in range(n)] == model
    if model and model[-1] != HOLE:
        assert regions.last_place() == model[-1]


@pytest.mark.parametrize("unit", [UNIT, 1024, PAGE_SIZE])
def test_holes_are_zeros_that_nobody_reads(unit: int) -> None:
    """A file with holes, in parts of a page and over whole pages, in frames that held other bytes:
    the device is asked for what it has, and for nothing where it has nothing.
    """
    data = bytes(1 + i % 251 for i in range(16 * PAGE_SIZE))
    disk = BufferDisk("disk", bytearray(data))
    machine, pager = Machine(frames=64), RegionPager(disk)
    regions, wanted = RegionMap(unit), b""
    for place, count in [(3, 2), (HOLE, 3), (7, 1), (HOLE, 9 * PAGE_SIZE // unit), (1, 5)]:
        at = place if place == HOLE else place * unit
        regions.append(at, count)
        wanted += bytes(count * unit) if place == HOLE else data[at : at + count * unit]
    run = machine.scheduler.run
    other = Section("other", pager, Mapping(RegionMap(unit)), 0)
    for _ in range(2):  # into frames that are zero, and into those of the other section
        section = Section("sparse", pager, Mapping(regions), len(wanted))
        before = disk.counts.read_bytes
        assert run(machine.cache.copy_read(section, 0, len(wanted))) == wanted
        assert disk.counts.read_bytes - before == 8 * unit
        run(machine.cache.drop(section))
        run(machine.cache.copy_write(other, 0, b"\xff" * 40 * PAGE_SIZE))
        run(machine.cache.drop(other))
        other = Section("other", pager, Mapping(RegionMap(unit)), 0)


def test_a_section_that_is_one_hole_asks_for_nothing() -> None:
    """A file of nothing but a hole."""
    disk = BufferDisk("disk", bytearray(b"\xff" * PAGE_SIZE))
    machine, regions = Machine(frames=64), RegionMap(PAGE_SIZE)
    regions.append(HOLE, 5)
    section = Section("hole", RegionPager(disk), Mapping(regions), 5 * PAGE_SIZE)
    assert machine.scheduler.run(machine.cache.copy_read(section, 100, 9000)) == bytes(9000)
    assert disk.counts.reads == 0


def test_nothing_is_written_into_a_hole() -> None:
    """What has no place cannot be written: that is the file system's fault, and is told as one."""
    regions = RegionMap(PAGE_SIZE)
    regions.append(HOLE, 1)
    machine = Machine(frames=64)
    pager = RegionPager(BufferDisk("disk", bytearray(PAGE_SIZE)))
    section = Section("hole", pager, Mapping(regions), PAGE_SIZE)
    machine.scheduler.run(machine.cache.copy_write(section, 0, b"x"))
    with pytest.raises(AssertionError):
        machine.scheduler.run(machine.cache.flush(section))
