"""Pools: a model of contents, ExectOS's cases, corruption by name, tags, quotas, special pool, expansion, memory that runs out."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from octavo.machine.paging import FORMATS
from octavo.machine.ram import PAGE_SIZE
from octavo.memory.kernelspace import KernelSpace
from octavo.memory.physical import PhysicalMemory
from octavo.memory.pool import LOOKASIDE_UNITS, MOST_TAGS, Pool, PoolError, Quota
from octavo.memory.poolpages import RegionPages
from octavo.memory.specialpool import SpecialPool
from octavo.memory.systemptes import SystemPtes
from octavo.status import Status, StatusError
from tests.test_slab import make_memory

START, PTES = 0xFFFFFA8000200000, 0xFFFFF88000000000


def make_pool(unit: int = 16, frames: int = 200, initial: int = 16, most: int = 64) -> tuple[PhysicalMemory, Pool]:
    """A nonpaged pool with a special pool beside it."""
    physical = make_memory(frames)
    space = KernelSpace(physical, FORMATS["x86-64"])
    pages = RegionPages(space, START, initial, most)
    return physical, Pool("nonpaged pool", pages, unit, 2, SpecialPool(space, SystemPtes(200), PTES))


class PoolMachine(RuleBasedStateMachine):
    """The model is address -> bytes; neighbours must not be touched by anything."""

    @initialize(unit=st.sampled_from([8, 16]))
    def begin(self, unit: int) -> None:
        """32- and 64-bit headers."""
        self.physical, self.pool = make_pool(unit)
        self.unit = unit
        self.model: dict[int, tuple[bytes, str]] = {}
        self.next = 0
        self.quota = Quota("shell", 20_000)

    @rule(
        size=st.one_of(st.integers(0, 700), st.integers(3900, 4200), st.integers(1, 30_000)),
        tag=st.sampled_from(["File", "Irp", "Thre", "Spec"]),
        cpu=st.integers(0, 1),
        charged=st.booleans(),
        times=st.integers(1, 6),
    )
    def allocate(self, size: int, tag: str, cpu: int, charged: bool, times: int) -> None:
        """Aligned, apart from everything else, charged."""
        for _ in range(times):
            try:
                address = self.pool.allocate(size, tag, self.quota if charged else None, cpu)
            except StatusError as error:
                assert error.status in (Status.NO_MEMORY, Status.QUOTA_EXCEEDED)
                assert error.status == Status.NO_MEMORY or self.quota.used + max(size, 1) > self.quota.limit
                return
            assert address % self.unit == 0 and (size <= self.pool.largest) == (address % PAGE_SIZE != 0)
            self.next += 1
            data = (self.next.to_bytes(2, "little") * size)[: max(size, 1)]
            self.pool.space.write(address, data)
            self.model[address] = (data, tag)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), cpu=st.integers(0, 1), times=st.integers(1, 6))
    def free(self, data: st.DataObject, cpu: int, times: int) -> None:
        """Its bytes are what was written; the wrong tag is refused."""
        for _ in range(min(times, len(self.model))):
            address = data.draw(st.sampled_from(sorted(self.model)))
            contents, tag = self.model.pop(address)
            assert self.pool.space.read(address, len(contents)) == contents
            with pytest.raises(PoolError, match="is freed as Nope and was allocated as"):
                self.pool.free(address, "Nope")
            self.pool.free(address, tag, cpu)

    @rule()
    def trim(self) -> None:
        """Lookaside lists are emptied, kept expansion runs given back."""
        self.pool.trim()
        assert isinstance(self.pool.pages, RegionPages)
        self.pool.pages.reap()

    @invariant()
    def agrees(self) -> None:
        """Chains, lists, tags, quota and frames."""
        self.pool.check()
        self.physical.check()
        assert self.pool.statistics()["allocations"] == len(self.model)
        assert {row[0]: row[1] for row in self.pool.leaks()} == {t: sum(1 for _, tag in self.model.values() if tag == t) for t in {tag for _, tag in self.model.values()}}

    def teardown(self) -> None:
        """All freed: one run of initial pages, no expansion, nothing charged."""
        if not hasattr(self, "pool"):
            return
        for address, (contents, _) in self.model.items():
            assert self.pool.space.read(address, len(contents)) == contents
            self.pool.free(address)
        self.trim()
        statistics = self.pool.statistics()
        assert (statistics["free"], statistics["expanded"], statistics["bytes"]) == (16, 0, 0) and not self.quota.used


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=25, stateful_step_count=25)


@pytest.mark.parametrize(("unit", "largest"), [(16, 4064), (8, 4080)])
def test_the_largest_block(unit: int, largest: int) -> None:
    """38: one byte more takes pages of its own."""
    _, pool = make_pool(unit)
    assert pool.largest == largest
    assert pool.allocate(largest) % PAGE_SIZE == unit
    assert pool.allocate(largest + 1) % PAGE_SIZE == 0


@pytest.mark.parametrize("size", [40, 1000])
def test_an_exact_hole_is_used_again(size: int) -> None:
    """39: A, B, C equal; free B; the next is at B: through the lookaside list, and for sizes without one."""
    _, pool = make_pool()
    assert (size + 16) // 16 <= LOOKASIDE_UNITS or size == 1000
    _, middle, _ = (pool.allocate(size) for _ in range(3))
    pool.free(middle)
    assert pool.allocate(size) == middle


def test_expansion_runs_of_3_and_4_pages() -> None:
    """40: three pages are kept, four are returned with their frames."""
    physical, pool = make_pool(initial=2)
    pages = pool.pages
    assert isinstance(pages, RegionPages)
    three, four = pages.allocate(3), pages.allocate(4)
    before = physical.available
    pages.free(three, 3)
    assert physical.available == before and pages.statistics()["expanded"] == 7
    pages.free(four, 4)
    assert physical.available == before + 4 and pages.statistics()["expanded"] == 3
    assert pages.allocate(3) == three
    with pytest.raises(StatusError, match="were not allocated so"):
        pages.free(three, 2)
    pages.free(three, 3)
    assert pages.reap() == 3
    pages.check()


def test_freed_twice_or_never_allocated() -> None:
    """Both are told by the address."""
    _, pool = make_pool()
    address = pool.allocate(100, "File")
    pool.free(address, "File")
    for wrong in (address, 12345):
        with pytest.raises(PoolError, match=f"nonpaged pool: {wrong:#x} is freed and is not allocated"):
            pool.free(wrong)


@pytest.mark.parametrize("unit", [8, 16])
def test_an_overrun_names_who_lies_before(unit: int) -> None:
    """Writing past the end hits the next header: seen when either of the two is freed, and the writer's tag is named."""
    for which in (0, 1):
        _, pool = make_pool(unit)
        pair = sorted(pool.allocate(624, tag) for tag in ("Frst", "Scnd"))
        names = [pool.live[a].tag for a in pair]
        pool.space.write(pair[0] + 624, b"\xff" * 8)
        with pytest.raises(PoolError, match=f"was overwritten; before it lies the allocation {names[0]} of 624 bytes at {pair[0]:#x}"):
            pool.free(pair[which])


def test_a_free_block_that_was_written_is_found_on_allocation() -> None:
    """The header of a free block is checked before it is given out."""
    _, pool = make_pool()
    first = pool.allocate(624, "Frst")
    pool.space.write(first + 624, b"\0" * 16)
    with pytest.raises(PoolError, match="was overwritten"):
        pool.allocate(800)


def test_special_pool_faults_at_the_guard_page() -> None:
    """Past the end and before the beginning fault at once; a write within the page is found on free."""
    physical, pool = make_pool()
    pool.special = {"Over": "over", "Undr": "under"}
    over, under = pool.allocate(100, "Over"), pool.allocate(100, "Undr")
    pool.space.write(over, b"x" * 100)
    with pytest.raises(StatusError, match="nothing is mapped") as error:
        pool.space.write(over + 100, b"12345")
    assert error.value.status == Status.ACCESS_VIOLATION
    with pytest.raises(StatusError, match="nothing is mapped"):
        pool.space.read(under - 1, 1)
    pool.free(under)
    with pytest.raises(PoolError, match="allocation Over of 100 bytes at 0x[0-9a-f]* was written past its end"):
        pool.free(over)
    clean = pool.allocate(8, "Over")
    pool.space.write(clean - 1, b"!")
    with pytest.raises(PoolError, match="was written before its beginning"):
        pool.free(clean)
    physical.check()


def test_quota() -> None:
    """Charged, refused beyond the limit with the figures, returned."""
    _, pool = make_pool()
    quota = Quota("user 7", 1000)
    address = pool.allocate(600, "File", quota)
    with pytest.raises(StatusError, match=r"user 7 has 600 of 1000 bytes and asks for 401 more \(Irp\)") as error:
        pool.allocate(401, "Irp", quota)
    assert error.value.status == Status.QUOTA_EXCEEDED
    pool.free(address)
    assert quota.used == 0
    with pytest.raises(StatusError, match="is no pool tag"):
        pool.allocate(1, "Toolong")


def test_leaks_since_a_snapshot() -> None:
    """Only the tag that grew, with its count and bytes."""
    _, pool = make_pool()
    pool.allocate(10, "Old")
    before = pool.snapshot()
    pool.free(pool.allocate(50, "Tidy"))
    pool.allocate(300, "Leak")
    pool.allocate(5, "Leak")
    assert pool.leaks(before) == [("Leak", 2, 305)]
    assert pool.leaks() == [("Leak", 2, 305), ("Old", 1, 10)]


def test_more_tags_than_are_counted() -> None:
    """The 1025th goes to Ovfl, and is freed all the same."""
    _, pool = make_pool()
    for i in range(MOST_TAGS):
        pool.free(pool.allocate(1, f"{i:x}"))
    address = pool.allocate(9, "More")
    assert pool.leaks() == [("Ovfl", 1, 9)]
    pool.free(address, "More")
    pool.check()


def test_the_kth_frame_fails() -> None:
    """On ever less memory the pool says so, nothing is lost, and everything can be freed."""
    for frames in range(30, 60, 3):
        physical = make_memory(frames)
        space = KernelSpace(physical, FORMATS["x86-64"])
        pool = Pool("nonpaged pool", RegionPages(space, START, 4, 64), 16, 1, SpecialPool(space, SystemPtes(200), PTES), {"Spec": "over"})
        got: list[int] = []
        with pytest.raises(StatusError, match="nonpaged pool: out of memory"):
            while True:
                got.append(pool.allocate(3000 + len(got) % 3 * 3000, "Spec" if len(got) % 5 == 0 else "Data"))
        pool.check()
        physical.check()
        for address in got:
            pool.free(address)
        pool.trim()
        assert isinstance(pool.pages, RegionPages)
        pool.pages.reap()
        assert pool.statistics()["free"] == 4 and physical.available == frames - 4 - len(space.tables.tables)
