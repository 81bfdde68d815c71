"""Pools: a model of contents, ExectOS's cases, corruption by name, tags, quotas, special pool,
expansion, memory that runs out.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from octavo.heap.kernelspace import KernelSpace
from octavo.heap.pool import LOOKASIDE_UNITS, MOST_TAGS, Pool, PoolError, Quota
from octavo.heap.poolpages import RegionPages
from octavo.heap.specialpool import SpecialPool
from octavo.heap.systemptes import SystemPtes
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.paging import FORMATS
from octavo.memory.frames.physical import PhysicalMemory
from octavo.status import Status, StatusError
from tests.memory.memories import make_memory

START, PTES = 0xFFFFFA8000200000, 0xFFFFF88000000000


def make_pool(
    unit: int = 16, frames: int = 200, initial: int = 16, most: int = 64
) -> tuple[PhysicalMemory, Pool]:
    """A nonpaged pool with a special pool beside it."""
    physical = make_memory(frames)
    space = KernelSpace(physical, FORMATS["x86-64"])
    pages = RegionPages(space, START, initial, most)
    return physical, Pool(
        "nonpaged pool", pages, unit, 2, SpecialPool(space, SystemPtes(200), PTES)
    )


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
                assert (
                    error.status == Status.NO_MEMORY
                    or self.quota.used + max(size, 1) > self.quota.limit
                )
                return
            assert address % self.unit == 0 and (size <= self.pool.largest) == (
                address % PAGE_SIZE != 0
            )
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
        assert self.pool.statistics().allocations == len(self.model)
        assert {row[0]: row[1] for row in self.pool.leaks()} == {
            t: sum(1 for _, tag in self.model.values() if tag == t)
            for t in {tag for _, tag in self.model.values()}
        }

    def teardown(self) -> None:
        """All freed: one run of initial pages, no expansion, nothing charged."""
        if not hasattr(self, "pool"):
            return
        for address, (contents, _) in self.model.items():
            assert self.pool.space.read(address, len(contents)) == contents
            self.pool.free(address)
        self.trim()
        statistics = self.pool.statistics()
        assert (statistics.free, statistics.expanded, statistics.bytes) == (
            16,
            0,
            0,
        ) and not self.quota.used


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
    """39: A, B, C equal; free B; the next is at B: through the lookaside list, and for sizes
    without one.
    """
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
    assert physical.available == before and pages.statistics().expanded == 7
    pages.free(four, 4)
    assert physical.available == before + 4 and pages.statistics().expanded == 3
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
        with pytest.raises(
            PoolError, match=f"nonpaged pool: {wrong:#x} is freed and is not allocated"
        ):
            pool.free(wrong)


@pytest.mark.parametrize("unit", [8, 16])
def test_an_overrun_names_who_lies_before(unit: int) -> None:
    """Writing past the end hits the next header: seen when either of the two is freed, and the
    writer's tag is named.
    """
    for which in (0, 1):
        _, pool = make_pool(unit)
        pair = sorted(pool.allocate(624, tag) for tag in ("Frst", "Scnd"))
        names = [pool.live[a].tag for a in pair]
        pool.space.write(pair[0] + 624, b"\xff" * 8)
        with pytest.raises(
            PoolError,
            match=f"was overwritten; before it lies the allocation {names[0]} of 624 bytes at "
            f"{pair[0]:#x}",
        ):
            pool.free(pair[which])


def test_a_free_block_that_was_written_is_found_on_allocation() -> None:
    """The header of a free block is checked before it is given out."""
    _, pool = make_pool()
    first = pool.allocate(624, "Frst")
    pool.space.write(first + 624, b"\0" * 16)
    with pytest.raises(PoolError, match="was overwritten"):
        pool.allocate(800)


def test_special_pool_faults_at_the_guard_page() -> None:
    """Past the end and before the beginning fault at once; a write within the page is found on
    free.
    """
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
    with pytest.raises(
        PoolError, match="allocation Over of 100 bytes at 0x[0-9a-f]* was written past its end"
    ):
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
    with pytest.raises(
        StatusError, match=r"user 7 has 600 of 1000 bytes and asks for 401 more \(Irp\)"
    ) as error:
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
        pool = Pool(
            "nonpaged pool",
            RegionPages(space, START, 4, 64),
            16,
            1,
            SpecialPool(space, SystemPtes(200), PTES),
            {"Spec": "over"},
        )
        got: list[int] = []
        with pytest.raises(StatusError, match="nonpaged pool: out of memory"):
            while True:
                got.append(
                    pool.allocate(
                        3000 + len(got) % 3 * 3000, "Spec" if len(got) % 5 == 0 else "Data"
                    )
                )
        pool.check()
        physical.check()
        for address in got:
            pool.free(address)
        pool.trim()
        assert isinstance(pool.pages, RegionPages)
        pool.pages.reap()
        assert pool.statistics().free == 4 and physical.available == frames - 4 - len(
            space.tables.tables
        )


# -- mistakes of callers: found by name, at the latest by the next check() -------------------------


def spoil(pool: Pool, address: int, count: int) -> bool:
    """Writes `count` bytes that differ from what is there; True if they could be written."""
    try:
        pool.space.write(address, bytes(b ^ 0xA7 for b in pool.space.read(address, count)))
    except StatusError as error:
        assert error.status == Status.ACCESS_VIOLATION
        return False
    return True


@pytest.mark.parametrize("unit", [8, 16])
@pytest.mark.parametrize("size", [1, 8, 24, 100, 496, 497, 1000, 2032, 4064])
def test_runs_of_1_to_16_bytes_too_far_are_found(unit: int, size: int) -> None:
    """Behind an allocation and before it, whoever lies there: check and the free of the writer say
    its tag.
    """
    for count in range(1, 17):
        for before in (False, True):
            _, pool = make_pool(unit)
            victim = sorted(pool.allocate(size, f"A{i:02}") for i in range(7))[3]
            if not spoil(pool, victim - count if before else victim + size, count):
                continue
            for look in (pool.check, lambda: pool.free(victim)):
                with pytest.raises(
                    PoolError, match=f"{pool.live[victim].tag} of {size} bytes at {victim:#x}"
                ):
                    look()


@pytest.mark.parametrize("size", [5000, 8180])
def test_runs_past_whole_pages_are_found(size: int) -> None:
    """As far as their last page goes."""
    for count in range(1, 13):
        _, pool = make_pool()
        address = pool.allocate(size, "Big")
        spoil(pool, address + size, count)
        for look in (pool.check, lambda: pool.free(address)):
            with pytest.raises(
                PoolError,
                match=f"the allocation Big of {size} bytes at {address:#x} was written past its "
                "end",
            ):
                look()


@pytest.mark.parametrize("place", ["over", "under"])
@pytest.mark.parametrize("size", [1, 8, 100, 4089, 4096, 4097, 9000])
def test_special_pool_is_not_left_unseen(place: str, size: int) -> None:
    """1 to 16 bytes before or behind fault at once or are found by check and free; what lies beside
    is never reached.
    """
    _, pool = make_pool()
    pool.special = {"Spec": place}
    made = [pool.allocate(size, "Spec") for _ in range(3)]
    for i, address in enumerate(made):
        pool.space.write(address, bytes([i + 1]) * size)
    for count in range(1, 17):
        for before in (False, True):
            address = made[1]
            at = address - count if before else address + size
            pages = [a // PAGE_SIZE for a in (at, at + count - 1)]
            kept = [
                pool.space.read(p * PAGE_SIZE, PAGE_SIZE)
                if pool.space.tables.translate(p * PAGE_SIZE)
                else None
                for p in pages
            ]
            faulted = not spoil(pool, at, count)
            if not faulted:
                for look in (pool.check, lambda: pool.free(address)):
                    where = "before its beginning" if before else "past its end"
                    with pytest.raises(
                        PoolError, match=f"Spec of {size} bytes at {address:#x} was written {where}"
                    ):
                        look()
            for page, data in zip(pages, kept, strict=True):
                if data is not None:
                    pool.space.write(page * PAGE_SIZE, data)
            pool.check()
    for i, address in enumerate(made):
        assert pool.space.read(address, size) == bytes([i + 1]) * size
        pool.free(address)
        with pytest.raises(StatusError, match="nothing is mapped"):
            pool.space.write(address, b"x")  # after it was freed
    assert pool.specials is not None and pool.specials.ptes.statistics().clusters == 1
    pool.check()


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "\0",
        "ab\0",
        "a\0b",
        "\0ab",
        "Toolong",
        "é",
        "a\n",
        "\x7f",
        None,
        5,
        b"Irp",
        ["Irp"],
        True,
    ],
)
def test_what_is_no_tag_is_refused(tag: object) -> None:
    """By every way in, before anything is taken; a tag of blanks is one."""
    _, pool = make_pool()
    pool.special = {"ab\0": "over", "\0": "under"}
    free = pool.statistics()
    for size in (8, 5000):
        with pytest.raises(StatusError, match="is no pool tag") as error:
            pool.allocate(size, tag)  # type: ignore[arg-type]
        assert error.value.status == Status.INVALID_PARAMETER and "\0" not in error.value.text
    assert pool.statistics() == free and not pool.live
    address = pool.allocate(8, " ")
    if tag:
        with pytest.raises(PoolError, match="and was allocated as  "):
            pool.free(address, tag)  # type: ignore[arg-type]
    pool.free(address, " ")
    pool.check()


def test_wrong_frees_are_told_and_change_nothing() -> None:
    """Freed twice, in the middle, another pool's, a page's, the wrong tag, beyond the tags that are
    counted.
    """
    _, pool = make_pool()
    other = Pool("paged pool", RegionPages(pool.space, START + (1 << 30), 0, 20, "paged pool"))
    for i in range(MOST_TAGS - 3):
        pool.free(pool.allocate(1, f"{i:x}"))
    pool.special = {"Spec": "over"}
    theirs = other.allocate(100, "Irp")
    mine = {
        pool.allocate(size, tag): size
        for size, tag in (
            (100, "File"),
            (40, "Irp"),
            (9000, "Big"),
            (50, "Spec"),
            (60, "Ovr1"),
            (70, "Ovr2"),
        )
    }
    gone = pool.allocate(300, "Gone")
    pool.free(gone)
    for address, size in mine.items():
        pool.space.write(address, address.to_bytes(8, "little") * (size // 8))
    before = pool.statistics()
    wrong = [
        (gone, "freed twice, or never this pool's"),
        (theirs, "its page is held by paged pool"),
        (0, "never this pool's"),
        (-8, "never"),
    ]
    wrong += [
        (a + d, f"it lies inside the allocation {pool.live[a].tag} of {mine[a]} bytes at {a:#x}")
        for a in mine
        for d in (1, 8, 16, mine[a] - 1)
    ]
    for address, says in wrong:
        with pytest.raises(PoolError, match=f"is freed and is not allocated: .*{says}"):
            pool.free(address)
    for address in mine:
        for tag in ("Nope", "File" if pool.live[address].tag != "File" else "Irp", "Ovfl"):
            with pytest.raises(
                PoolError, match=f"is freed as {tag} and was allocated as {pool.live[address].tag}"
            ):
                pool.free(address, tag)
    assert pool.statistics() == before
    pool.check()
    for address, size in mine.items():
        assert pool.space.read(address, size // 8 * 8) == address.to_bytes(8, "little") * (
            size // 8
        )
        pool.free(address, pool.live[address].tag)
    other.free(theirs, "Irp")
    pool.check()
    other.check()


def damaged_pool(unit: int, which: int) -> tuple[Pool, int, int]:
    """A page of blocks, some free, some on the lookaside list, of which one header is overwritten;
    that one, and how many there are.
    """
    _, pool = make_pool(unit, initial=1, most=1)
    live = [
        pool.allocate(size, f"L{i}")
        for i, size in enumerate((520, 520, 100, 520, 520, 520, 100, 520))
    ]
    for i in (1, 2, 3, 5):
        pool.free(live[i])
    kept = {block for lists in pool.blocks.lookaside for stack in lists for block in stack}
    headers = sorted(
        {a - unit for a in pool.live}
        | kept
        | {b for blocks in pool.blocks.free_lists for b in blocks}
    )
    pool.check()
    pool.space.write(headers[which], bytes(b ^ 0xFF for b in pool.space.read(headers[which], unit)))
    return pool, headers[which], len(headers)


def state_of(pool: Pool) -> object:
    """All that a failed call must leave as it was, and the bytes of its pages."""
    pages = {page: pool.space.read(page, PAGE_SIZE) for page in pool.blocks.block_pages}
    kept = [[list(stack) for stack in lists] for lists in pool.blocks.lookaside]
    return (
        [dict(x) for x in pool.blocks.free_lists],
        kept,
        pages,
        sorted(pool.live),
        pool.snapshot(),
    )


@pytest.mark.parametrize("unit", [8, 16])
def test_a_call_that_meets_a_damaged_header_changes_nothing(unit: int) -> None:
    """Each header of a page in turn, each call in turn: it works, or leaves lists, blocks and
    ledger as they were.
    """
    failed = 0
    count = damaged_pool(unit, 0)[2]
    for which in range(count):
        for call in range(12):
            pool, header, _ = damaged_pool(unit, which)
            with pytest.raises(
                PoolError, match=f"the pool header at {header:#x} was overwritten; .*allocation L"
            ):
                pool.check()
            before = state_of(pool)
            try:
                if call < len(pool.live):
                    pool.free(sorted(pool.live)[call])
                elif call == 11:
                    pool.trim()
                else:
                    pool.allocate((100, 500, 600, 1000)[call % 4], "New")
            except (PoolError, StatusError) as error:
                failed += isinstance(error, PoolError)
                assert state_of(pool) == before
    assert count >= 7 and failed >= 2 * count


# -- to the last page and one beyond ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("initial", "most", "expansion"),
    [(12, 12, 0), (5, 30, 0), (0, 25, 0), (4, 30, START + (1 << 30))],
)
@pytest.mark.parametrize("seed", range(3))
def test_pages_to_the_last(initial: int, most: int, expansion: int, seed: int) -> None:
    """Random runs, full again and again: what is in them stays, one more is refused, and what was
    given back is had again.
    """
    rng = Random(seed)
    physical = make_memory(200)
    pages = RegionPages(
        KernelSpace(physical, FORMATS["x86-64"]), START, initial, most, "nonpaged pool", expansion
    )
    limit = most - (0 if initial else 1)  # without an initial part page 0 is never given
    model: dict[int, tuple[int, bytes]] = {}
    full = 0
    for step in range(400):
        if model and (rng.random() < 0.35 or (full and rng.random() < 0.3)):
            address = rng.choice(sorted(model))
            count, data = model.pop(address)
            assert pages.space.read(address, count * PAGE_SIZE) == data
            pages.free(address, count)
            for wrong in ((address, count), (address + PAGE_SIZE, count), (address, count + 1)):
                if wrong[0] not in model:
                    with pytest.raises(StatusError, match="were not allocated so"):
                        pages.free(*wrong)
        else:
            count = rng.choice((1, 1, 1, 2, 3, 4, 5))
            address = pages.allocate(count)
            full += not address
            if address:
                assert not {address + i * PAGE_SIZE for i in range(count)} & {
                    a + i * PAGE_SIZE for a, (n, _) in model.items() for i in range(n)
                }
                data = bytes([step % 251 + 1]) * count * PAGE_SIZE
                pages.space.write(address, data)
                model[address] = (count, data)
        pages.check()
    while address := pages.allocate(1):
        model[address] = (1, pages.space.read(address, PAGE_SIZE))
    assert full and pages.allocate(1) == 0
    assert sum(n for n, _ in model.values()) + pages.statistics().free <= limit
    for address, (count, data) in model.items():
        assert pages.space.read(address, count * PAGE_SIZE) == data
        pages.free(address, count)
    pages.reap()
    pages.check()
    assert (pages.statistics().free, pages.statistics().expanded) == (initial, 0)
    if initial:
        assert pages.allocate(initial)


def test_special_pool_to_the_last_system_pte() -> None:
    """Three for each; one more is NO_MEMORY, keeps nothing, and is had once one is freed."""
    physical, pool = make_pool()
    pool.special = {"Spec": "over"}
    assert pool.specials is not None
    got: list[int] = []
    with pytest.raises(StatusError, match="out of memory: 20 bytes for Spec"):
        while True:
            got.append(pool.allocate(20, "Spec"))
            pool.space.write(got[-1], got[-1].to_bytes(8, "little") * 2)
    assert len(got) == (200 - 33) // 3 and pool.statistics().allocations == len(got)
    pool.check()
    physical.check()
    pool.free(got.pop(7))
    got.append(pool.allocate(20, "Spec"))
    pool.space.write(got[-1], got[-1].to_bytes(8, "little") * 2)
    for address in got:
        assert pool.space.read(address, 16) == address.to_bytes(8, "little") * 2
        pool.free(address)
    assert pool.specials.ptes.statistics().largest == 200 - 33
    pool.check()
