"""Sections, faults, write-back, pageout and the cache against a model of bytes, under pressure and
with a pager that fails.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from octavo.cache.readahead import ReadAhead
from octavo.machine.abi import PAGE_SIZE, State
from octavo.machine.frames import Frames
from octavo.memory.pages.section import VIEW_SIZE, DirtyRun, NoRoomError, PagerTraits, Section
from octavo.memory.reclaim.pageout import MOST_QUIET_SECONDS
from octavo.statistics import of
from octavo.status import Status, StatusError
from octavo.testing.bytespager import BytesPager
from tests.machines import within_seconds
from tests.memory.memories import make_machine


class CacheMachine(RuleBasedStateMachine):
    """Three sections of up to 2 MiB in 1.25 MiB of memory; the model is a bytearray for each."""

    @initialize(seed=st.integers(0, 1000))
    def boot(self, seed: int) -> None:
        """A machine and three sections."""
        self.scheduler, self.memory, self.cache = make_machine(seed=seed)
        self.model = [bytearray(b"%d" % i * (700_000 * i)) for i in range(3)]
        self.pagers = [BytesPager(self.scheduler, bytearray(m)) for m in self.model]
        self.sections = [
            Section(f"s{i}", self.pagers[i], None, len(self.model[i])) for i in range(3)
        ]

    @rule(i=st.integers(0, 2), at=st.integers(0, 2_000_000), length=st.integers(0, 400_000))
    def read(self, i: int, at: int, length: int) -> None:
        """Reads anything, also behind the end."""
        data = self.scheduler.run(self.cache.copy_read(self.sections[i], at, length))
        assert data == self.model[i][at : at + length]

    @rule(
        i=st.integers(0, 2),
        at=st.integers(0, 1_900_000),
        length=st.integers(1, 300_000),
        fill=st.integers(0, 255),
    )
    def write(self, i: int, at: int, length: int, fill: int) -> None:
        """Writes up to or over the end."""
        at = min(at, len(self.model[i]))
        data = bytes([fill]) * length
        self.scheduler.run(self.cache.copy_write(self.sections[i], at, data))
        self.model[i][at : at + length] = data

    @rule(i=st.integers(0, 2))
    def flush(self, i: int) -> None:
        """After a flush the pager has everything."""
        self.scheduler.run(self.cache.flush(self.sections[i]))
        assert self.pagers[i].data[: len(self.model[i])] == self.model[i]
        assert not self.sections[i].dirty

    @rule(i=st.integers(0, 2), size=st.integers(0, 2_000_000))
    def cut(self, i: int, size: int) -> None:
        """Shortens a section; what comes back later is zeros or new data, never the old."""
        if size < len(self.model[i]):
            self.scheduler.run(self.cache.purge(self.sections[i], size))
            del self.model[i][size:]
            del self.pagers[i].data[-(-size // PAGE_SIZE) * PAGE_SIZE :]

    @rule(i=st.integers(0, 2), at=st.integers(0, 1_000_000))
    def failed_flush(self, i: int, at: int) -> None:
        """A flush that fails says so, and loses nothing."""
        self.write(i, at, 5000, 7)
        self.pagers[i].broken = {"write"}
        with pytest.raises(StatusError):
            self.scheduler.run(self.cache.flush(self.sections[i]))
        assert self.sections[i].dirty
        self.pagers[i].broken = set()

    @rule(pages=st.integers(1, 400))
    def trim(self, pages: int) -> None:
        """Pressure: views are let go."""
        self.memory.pageout.trim(pages)

    @rule(a=st.integers(0, 2), b=st.integers(0, 2), at=st.integers(0, 1_500_000))
    def two_at_once(self, a: int, b: int, at: int) -> None:
        """Two threads read overlapping stretches: one request serves both."""

        async def both() -> tuple[bytes, bytes]:
            first = self.scheduler.spawn(
                self.cache.copy_read(self.sections[a], at, 100_000), "first"
            )
            second = self.scheduler.spawn(
                self.cache.copy_read(self.sections[b], at + 50_000, 100_000), "second"
            )
            return await first.join(), await second.join()

        one, two = self.scheduler.run(both())
        assert one == self.model[a][at : at + 100_000]
        assert two == self.model[b][at + 50_000 : at + 150_000]

    @invariant()
    def balances(self) -> None:
        """The ledger."""
        if hasattr(self, "memory"):
            self.memory.check()
            self.cache.check()

    def teardown(self) -> None:
        """Everything can be dropped, and every frame comes back."""
        if not hasattr(self, "memory"):
            return
        for i, section in enumerate(self.sections):
            self.flush(i)
            self.scheduler.run(self.cache.drop(section))
        counts = self.memory.pfns.counts
        assert counts[State.STANDBY] == counts[State.MODIFIED] == counts[State.TRANSITION] == 0
        assert counts[State.ACTIVE] == -(-self.memory.pfns.frames * 32 // PAGE_SIZE)
        self.memory.check()


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(max_examples=25, stateful_step_count=30)


@pytest.mark.parametrize(
    ("frames", "free", "views"),
    [
        (160, 165, 1),
        (2008, 1999, 1),
        (2009, 2000, 2),
        (4024, 3999, 3),
        (4025, 4000, 4),
        (9000, 8936, 4),
    ],
)
def test_a_copy_pins_a_view_for_each_thousand_frames(frames: int, free: int, views: int) -> None:
    """At least one, at most four."""
    _, memory, cache = make_machine(frames)
    assert memory.physical.available == free and cache.most_gathered == views * VIEW_SIZE


@pytest.mark.parametrize("more", [0, 30, 500])
def test_a_stock_of_zeroed_frames_is_kept(more: int) -> None:
    """A thread fills it up again when less than half is left; when as many, or more, have come back
    before it runs, it does nothing.
    """
    scheduler, memory, cache = make_machine(2000)
    physical, target = memory.physical, memory.pageout.zeroed_target
    section = Section("s", BytesPager(scheduler, bytearray()), None, 0)
    assert physical.zeroed.count == target == 64
    scheduler.run(
        cache.copy_write(section, 0, b"x")
    )  # a zeroed frame for its prototype PTEs and those of the next views
    assert physical.zero_some(1) == 1 and physical.zeroed.count == target

    async def map_another_view() -> None:
        await cache.copy_write(section, (len(section.segments) + 1) * VIEW_SIZE, b"x")
        assert physical.zero_some(more) == more

    for left, least in ((target // 2, 0), (target // 2 - 1, target)):
        count = physical.zeroed.count - left
        taken = [
            frame
            for first, size in physical.try_take_zeroed(count, State.ACTIVE) or []
            for frame in range(first, first + size)
        ]
        assert physical.zeroed.count == left and len(taken) == count
        scheduler.run(map_another_view())
        scheduler.run(scheduler.sleep(0.1))
        assert physical.zeroed.count == max(least, left + more)
        physical.free(taken, State.ACTIVE)
    memory.check()


def test_pages_are_brought_in_by_clusters() -> None:
    """A sequential read of 128 pages is one request, a random one reads what was asked for."""
    scheduler, _, cache = make_machine()
    pager = BytesPager(scheduler, bytearray(1 << 20))
    section = Section("s", pager, None, 1 << 20)
    scheduler.run(cache.copy_read(section, 0, 4096, ReadAhead()))
    assert pager.requests == [(0, 128)]
    scheduler.run(cache.copy_read(section, 600_000, 10_000))
    assert pager.requests[-1] == (146, 3)
    assert not any(of(cache.memory.writeback.statistics()).values()), "nothing was written"


@pytest.mark.parametrize("into", [False, True])
def test_a_reader_that_jumps_is_given_what_it_asks_for(into: bool) -> None:
    """One that begins elsewhere than at 0, or goes on elsewhere; when it goes on where it was, the
    rest of the view comes with it.
    """
    scheduler, _, cache = make_machine()
    data = random.Random(1).randbytes(VIEW_SIZE)
    pager = BytesPager(scheduler, bytearray(data))
    section, history = Section("s", pager, None, VIEW_SIZE), ReadAhead()
    for at, asked in (
        (400_000, (97, 4)),
        (100_000, (24, 3)),
        (200_000, (48, 4)),
        (210_000, (52, 45)),
    ):
        if into:
            buffer = memoryview(bytearray(10_000))
            assert scheduler.run(cache.copy_read_into(section, at, buffer, history)) == 10_000
            assert buffer == data[at : at + 10_000]
        else:
            assert (
                scheduler.run(cache.copy_read(section, at, 10_000, history))
                == data[at : at + 10_000]
            )
        assert pager.requests[-1] == asked
    assert len(pager.requests) == 4


def test_only_the_pages_asked_for_are_obligatory() -> None:
    """When a cluster cannot be read, the pages asked for are tried alone; when these fail, the
    caller is told once.
    """
    scheduler, memory, cache = make_machine()
    pager = BytesPager(scheduler, bytearray(b"x" * (1 << 18)))
    section = Section("s", pager, None, 1 << 18)
    original = pager.data_request

    async def only_small(section: Section, page: int, frames: Frames, need: range) -> None:
        if frames.length > PAGE_SIZE:
            pager.requests.append((page, -1))
            raise StatusError(Status.IO_DEVICE_ERROR, "too large")
        await original(section, page, frames, need)

    pager.data_request = only_small  # type: ignore[method-assign]  # a pager in a bad mood
    assert scheduler.run(cache.copy_read(section, 0, 100, ReadAhead())) == b"x" * 100
    assert pager.requests == [(0, -1), (0, 1)]
    pager.broken = {"read"}
    with pytest.raises(StatusError, match="injected failure of read"):
        scheduler.run(cache.copy_read(section, 200_000, 10))
    memory.check()


def test_memory_full_of_what_cannot_be_written_is_an_error_not_a_hang() -> None:
    """Rule 7: pageout never waits for what cannot come."""
    scheduler, memory, cache = make_machine(160)
    pager = BytesPager(scheduler, bytearray())
    pager.broken = {"write"}
    section = Section("s", pager, None, 0)
    with pytest.raises(StatusError) as caught:
        for i in range(40):
            scheduler.run(cache.copy_write(section, i * 65536, bytes(65536)))
    assert caught.value.status == Status.NO_MEMORY
    assert "cannot be written" in caught.value.text
    memory.check()
    pager.broken = set()
    size = section.size
    try:
        scheduler.run(cache.flush(section))
    except StatusError as error:  # the writers' failure is told once ...
        assert "injected failure of write" in error.text
    scheduler.run(cache.flush(section))  # ... and only once
    assert len(pager.data) >= size
    assert not section.dirty


@pytest.mark.parametrize("kept", [0, 1])
def test_transfers_that_never_end_are_not_waited_for_without_an_end(kept: int) -> None:
    """A pager without room answers at once, and a transfer of others stays under way: who needs
    frames gives up, in bounded time.
    """
    scheduler, memory, cache = make_machine(160)

    class Full(BytesPager):
        async def data_return(self, runs: Sequence[DirtyRun]) -> list[StatusError | None]:
            return [
                NoRoomError(Status.DISK_FULL, "there is no room", kept if run.page == 0 else 0)
                for run in runs
            ]

    pager = Full(scheduler, bytearray())
    pager.traits = PagerTraits(lazy=False)  # and no lazy writer tries, either
    section = Section("s", pager, None, 0)
    memory.pageout.modified_limit = (
        memory.limit
    )  # the page writer, who tries again and again, is not at work
    began = scheduler.clock.now()
    transfer = memory.transfers.under_way()
    with transfer, within_seconds(20), pytest.raises(StatusError, match="no room") as caught:
        for i in range(40):
            scheduler.run(cache.copy_write(section, i * 65536, bytes(65536)))
    assert caught.value.status == Status.NO_MEMORY
    assert MOST_QUIET_SECONDS <= scheduler.clock.now() - began < 2 * MOST_QUIET_SECONDS + 5
    memory.check()


def test_transfers_that_end_late_are_waited_for() -> None:
    """What ends just before patience does gives frames to who waits."""
    scheduler, memory, cache = make_machine(160)
    pager = BytesPager(scheduler, bytearray())
    section = Section("s", pager, None, 0)
    original = pager.data_return

    async def slow(runs: Sequence[DirtyRun]) -> list[StatusError | None]:
        await scheduler.sleep(MOST_QUIET_SECONDS - 1)
        return await original(runs)

    pager.data_return = slow  # type: ignore[method-assign]  # a device that has to be woken
    data = bytes(range(256)) * 256
    for i in range(16):
        scheduler.run(cache.copy_write(section, i * 65536, data))
    assert scheduler.clock.now() >= MOST_QUIET_SECONDS - 1
    pager.data_return = original  # type: ignore[method-assign]
    scheduler.run(cache.flush(section))
    assert pager.data == data * 16
    memory.check()


def test_views_are_pinned_by_threads_under_way_only() -> None:
    """While read-ahead, a copy over several views or a thread that holds bytes is under way, check
    holds; a pin that nobody will end is found.
    """
    scheduler, _, cache = make_machine(2000)
    pager = BytesPager(scheduler, bytearray(b"v" * (4 << 20)))
    section, history = Section("s", pager, None, 4 << 20), ReadAhead()
    pinned = 0
    for i in range(32):
        scheduler.run(cache.copy_read(section, i << 16, 1 << 16, history))
        pinned += any(segment.pins for segment in section.segments.values())
        cache.check()
    assert pinned and pager.requests, "no read-ahead was under way"
    scheduler.run(scheduler.sleep(1))
    assert not any(segment.pins for segment in section.segments.values())

    async def holds() -> None:
        async with cache.hold(section, VIEW_SIZE - 8, 16):
            await scheduler.sleep(1)

    scheduler.spawn(holds(), "holder")
    scheduler.spawn(cache.copy_read(section, 6 * VIEW_SIZE - 100, 200), "over two views")
    scheduler.run(scheduler.sleep(0.0005))
    assert sum(segment.pins for segment in section.segments.values()) >= 3
    cache.check()
    scheduler.run(scheduler.sleep(2))
    assert not any(segment.pins for segment in section.segments.values())
    for segment in section.segments.values():
        with segment.pinned(), pytest.raises(AssertionError, match="a view stayed pinned"):
            cache.check()
    cache.check()


def test_a_purge_waits_for_pinned_views() -> None:
    """What a thread is about to copy is not given to others: pages go when their view is free
    again.
    """
    scheduler, memory, cache = make_machine()
    pager = BytesPager(scheduler, bytearray(b"a" * (1 << 20)))
    section = Section("pinned", pager, None, 1 << 20)
    scheduler.run(cache.copy_read(section, 0, 600_000))
    segment = section.segments[1]

    async def hold() -> None:
        with segment.pinned():
            thread = scheduler.spawn(cache.purge(section, 5000), "purge")
            await scheduler.sleep(0.5)
            assert segment.used and not thread.finished.signalled
        await thread.join()

    scheduler.run(hold())
    assert section.resident() == 2
    memory.check()


def test_pageout_turned_off_memory_fills_up() -> None:
    """No path passes around the memory manager: without pageout, more than memory cannot be
    read.
    """
    scheduler, memory, cache = make_machine(160, pageout=False)
    pager = BytesPager(scheduler, bytearray(1 << 20))
    section = Section("s", pager, None, 1 << 20)
    with pytest.raises(StatusError) as caught:
        for i in range(256):
            scheduler.run(cache.copy_read(section, i * 4096, 4096))
    assert caught.value.status == Status.NO_MEMORY
    memory.check()


@pytest.mark.parametrize("pages", [1, 5, 63, 64, 65, 200])
def test_every_allocation_may_fail(pages: int) -> None:
    """The k-th taking of frames fails, for all k: an error or success, and the ledger balances to
    the frame.
    """
    for k in range(1, 40):
        scheduler, memory, cache = make_machine()
        pager = BytesPager(scheduler, bytearray(b"q" * (pages * PAGE_SIZE)))
        section = Section("s", pager, None, pages * PAGE_SIZE)
        calls = 0
        physical = memory.physical
        for name in ("try_take", "try_take_zeroed"):
            original = getattr(physical, name)

            def failing(*args: object, original: object = original, **kwargs: object) -> object:
                nonlocal calls
                calls += 1
                return None if calls == k else original(*args, **kwargs)  # type: ignore[operator]  # the method that it stands for

            setattr(physical, name, failing)
        data = scheduler.run(cache.copy_read(section, 0, pages * PAGE_SIZE))
        assert data == b"q" * (pages * PAGE_SIZE)
        scheduler.run(cache.copy_write(section, 10, b"w" * (pages * PAGE_SIZE)))
        memory.check()
        scheduler.run(cache.flush(section))
        scheduler.run(cache.drop(section))
        memory.check()
        assert memory.pfns.counts[State.ACTIVE] == 3
        if calls < k:
            break
