"""Changes are applied whole: in memory at any failing page-in, and on the medium in phases; with a
format that plans in forty lines.
"""

from __future__ import annotations

from typing import Any

import pytest

from octavo.cache.manager import CacheManager
from octavo.fs.vfs.edits import MOST_HELD, Change, Phase
from octavo.fs.vfs.order import Writer
from octavo.machine.abi import PAGE_SIZE
from octavo.memory.pagers.region import Mapping, RegionPager
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.crash import RecordingDevice
from octavo.testing.faulty import FaultyDevice, never
from tests.machines import Machine

PAGES = 32  # of each of the two sections


class Books(Change):
    """A change that says what became of it."""

    fate = ""

    def applied(self) -> None:
        self.fate += "applied"

    def dropped(self) -> None:
        self.fate += "dropped"


class Slate:
    """A volume of a flag, a table and a directory: two sections of pages. What waits for a phase is
    put by `wait`.
    """

    unclean = False

    def __init__(self, disk: FaultyDevice, cache: CacheManager) -> None:
        self.pager, self.cache = RegionPager(disk), cache
        self.table, self.names = (self._section(name, i) for i, name in enumerate(("t", "n")))
        self.sections = [self.table]
        self.wait: dict[Phase, list[int]] = {phase: [] for phase in Phase}

    def _section(self, name: str, number: int) -> Section:
        regions = RegionMap(PAGE_SIZE)
        regions.append(number * PAGES * PAGE_SIZE, PAGES)
        return Section(name, self.pager, Mapping(regions), PAGES * PAGE_SIZE)

    def change(self) -> Books:
        return Books()

    def waiting(self, phase: Phase | None = None) -> int:
        return sum(len(w) for p, w in self.wait.items() if phase in (None, p))

    async def due(self, phase: Phase) -> Change | None:
        if not self.wait[phase]:
            return None
        change = Books()
        change.edit(self.table, self.wait[phase].pop() * PAGE_SIZE + phase, bytes((phase,)))
        return change

    async def flag(self, change: Change, dirty: bool) -> None:
        change.edit(self.table, 0, bytes((dirty,)))

    async def summarize(self, change: Change) -> None:
        change.edit(self.table, 8, b"S")

    def settled(self) -> None:
        pass


class World:
    """A slate on a device that fails, and whose writes are recorded."""

    def __init__(self, frames: int = 200) -> None:
        self.machine = Machine(frames=frames)
        self.image = bytearray(2 * PAGES * PAGE_SIZE)
        self.record = RecordingDevice(BufferDisk("disk", self.image))
        self.disk = FaultyDevice(self.record)
        self.slate = Slate(self.disk, self.machine.cache)
        self.writer: Writer[Any] = Writer("slate", self.slate, self.machine.cache)  # type: ignore[arg-type]  # what nobody asks it is left out
        self.slate.names.leads = self.writer.lead
        self.run = self.machine.run

    def bytes(self) -> bytes:
        """Both sections, as memory has them."""
        read = self.machine.cache.copy_read
        return b"".join(self.run(read(s, 0, s.size)) for s in (self.slate.table, self.slate.names))

    def apply(self, change: Change) -> None:
        """Applies it."""

        async def main() -> None:
            with change:
                await self.writer.apply(change)

        self.run(main())


def planned(world: World, table: range, names: range) -> Books:
    """A change of a byte in each of some pages, and one that goes over two pages."""
    change = Books()
    for section, pages in ((world.slate.table, table), (world.slate.names, names)):
        for page in pages:
            change.edit(section, page * PAGE_SIZE + 100, b"!")
    change.edit(world.slate.names, 10 * PAGE_SIZE - 2, b"over")
    return change


@pytest.mark.parametrize("loaded", [0, 1, 3], ids=lambda n: f"{n} in memory")
def test_a_change_is_in_memory_whole_or_not_at_all(loaded: int) -> None:
    """Any page-in of a change may fail: memory is as it was, the books are told once, no view stays
    held, and the same change succeeds afterwards.
    """
    failures = 0
    for k in range(1, 12):
        world = World()
        for page in range(loaded):
            world.run(world.machine.cache.copy_read(world.slate.names, page * PAGE_SIZE, 1))
        if loaded:  # the page of the first edit: a change that began with it would be seen
            world.run(world.machine.cache.copy_read(world.slate.table, PAGE_SIZE, 1))
        at = world.disk.numbers["read"] + k
        world.disk.plan = lambda verb, n, at=at: (verb, n) == ("read", at)  # type: ignore[misc]
        change = planned(world, range(1, 3), range(3))
        before = len(change.edits)
        try:
            world.apply(change)
        except StatusError as error:
            assert error.status == Status.IO_DEVICE_ERROR
            failures += 1
            world.disk.plan = never
            assert change.fate == "dropped" and change.begun == 0
            assert not any(world.bytes())
            change = planned(world, range(1, 3), range(3))
            world.apply(change)
        world.disk.plan = never
        assert change.fate == "applied" and len(change.edits) == before == 7
        assert world.bytes().count(b"!") == 5 and b"over" in world.bytes()
        for section in (world.slate.table, world.slate.names):
            assert not any(segment.pins for segment in section.segments.values())
        world.machine.check()
    assert failures == 7 - loaded - bool(loaded)  # so many pages have to be read


def test_of_many_pages_what_nothing_points_to_goes_first() -> None:
    """A change of more pages than are held at once is put in pieces, the names last: a failure
    leaves names as they were, and says how much had begun.
    """
    failed = set()
    for k in range(1, PAGES + 6):
        world = World(frames=400)
        world.disk.plan = lambda verb, n, k=k: verb == "read" and n == k  # type: ignore[misc]
        change = planned(world, range(1, PAGES), range(2))
        try:
            world.apply(change)
        except StatusError:
            assert change.fate == "dropped"
            assert change.begun % MOST_HELD == 0 or change.begun == PAGES - 1
            failed.add(change.begun)
            world.disk.plan = never
            data = world.bytes()
            assert data.count(b"!") == change.begun
            assert not any(data[PAGES * PAGE_SIZE :])
        else:
            assert change.fate == "applied"
            world.disk.plan = never
            assert world.bytes().count(b"!") == PAGES + 1
    assert {0, PAGES - 1} <= failed


@pytest.mark.parametrize("keep", [True, False])
def test_a_last_edit_is_put_while_its_right_holds(keep: bool) -> None:
    """It is asked when nothing waits any more, also when pages had to be read."""
    world = World()

    class Linked(Books):
        def wants_last(self) -> bool:
            self.fate += "asked "
            return keep

    change = Linked()
    change.edit(world.slate.table, 5 * PAGE_SIZE, b"a")
    change.edit(world.slate.table, 6 * PAGE_SIZE, b"b")
    change.last = [change.edits.pop()]
    world.apply(change)
    assert change.fate.endswith("asked applied")
    assert (b"b" in world.bytes()) == keep and b"a" in world.bytes()


def test_phases_reach_the_medium_in_order() -> None:
    """Each phase that has work is on the medium, behind a barrier, before the next one is written;
    the flag is set before all of them, and cleared after.
    """
    world = World()
    run, slate = world.run, world.slate
    run(world.writer.begin())
    assert world.image[0] == 1
    change = Books()
    change.edit(slate.table, PAGE_SIZE + Phase.FRESH, bytes((Phase.FRESH,)))
    change.edit(slate.names, Phase.NAME, bytes((Phase.NAME,)))
    world.apply(change)
    for phase in (Phase.JOIN, Phase.CUT, Phase.FREE):
        slate.wait[phase].append(1)
    seen: list[bytes] = []
    flush = world.record.flush

    async def flushed() -> None:
        await flush()
        at = PAGE_SIZE, PAGES * PAGE_SIZE
        seen.append(
            bytes(world.image[:1]) + b"".join(world.image[a : a + 8].rstrip(b"\0") for a in at)
        )

    world.record.flush = flushed  # type: ignore[method-assign]
    run(world.writer.flush())
    order = [set(state[1:]) - {0} for state in seen]
    full = [int(p) for p in (Phase.FRESH, Phase.JOIN, Phase.NAME, Phase.CUT, Phase.FREE)]
    for earlier, later in zip(order, order[1:], strict=False):
        assert earlier <= later
    for state in order:
        assert sorted(state) == full[: len(state)]
    assert [len(s) for s in order][-1] == 5 and {1, 2, 3, 4} <= {len(s) for s in order}
    assert [state[0] for state in seen] == [1] * (len(seen) - 1) + [0]
    assert world.image[8:9] == b"S"
