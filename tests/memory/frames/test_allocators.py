"""Zones, constraints, colours, watermarks and per-CPU pools; the kernels interpreted and
compiled; many host threads at once.
"""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octavo.heap import slabkernels
from octavo.machine.abi import State
from octavo.machine.kernels import compile_kernels, lock, unlock
from octavo.machine.ram import Ram
from octavo.memory.frames import buddykernels, pagepools
from octavo.memory.frames.buddy import COLOURS, Buddy, watermarks
from octavo.memory.frames.cpupages import CpuPages
from octavo.memory.frames.freeframes import FreeFrames
from octavo.memory.frames.pfn import PfnDatabase, runs_of
from octavo.status import StatusError
from tests import smp_kernels

FRAMES = 700
BOUNDS = [("DMA", 0, 128), ("DIRECTMAP", 128, 384), ("HIGHMEM", 384, 700)]


class ZonesMachine(RuleBasedStateMachine):
    """Three zones and pools of two CPUs on the highest; the model is sets of frames."""

    def __init__(self) -> None:
        super().__init__()
        self.pfns = PfnDatabase(Ram(FRAMES, paper=True), FRAMES, 0)
        self.memory = FreeFrames(self.pfns, BOUNDS, 6)
        self.memory.add(1, 300)
        self.memory.add(320, 380)
        self.free = {*range(1, 301), *range(320, 700)}
        self.taken: set[int] = set()
        self.pools = CpuPages(self.memory.zones[2], 2)
        for cpu in range(2):  # larger than such a small zone would have, so that transfers happen
            self.pools.state[cpu * pagepools.POOL_WORDS + pagepools.SIZE] = 8
            self.pools.state[cpu * pagepools.POOL_WORDS + pagepools.TRANSFER] = 4

    def got(self, frames: set[int]) -> None:
        """Moves frames from free to taken."""
        assert frames <= self.free
        self.free -= frames
        self.taken |= frames

    @rule(count=st.integers(1, 200))
    def take(self, count: int) -> None:
        """Runs, from the highest zone down."""
        if count > self.memory.free_frames:
            return
        have = {s.name: s.free_frames for s in self.memory.zones}
        frames = {
            f
            for first, size in self.memory.take(count, State.ACTIVE)
            for f in range(first, first + size)
        }
        assert len(frames) == count
        if count <= have["HIGHMEM"]:
            assert min(frames) >= 384
        elif count <= have["HIGHMEM"] + have["DIRECTMAP"]:
            assert min(frames) >= 128
        self.got(frames)

    @rule(
        order=st.integers(0, 7),
        reaching=st.sampled_from(["DMA", "DIRECTMAP", "HIGHMEM", ""]),
        privileged=st.booleans(),
    )
    def take_block(self, order: int, reaching: str, privileged: bool) -> None:
        """An aligned block no higher than the caller reaches; an ordinary caller leaves the
        reserve.
        """
        first = self.memory.take_block(order, State.ACTIVE, reaching, privileged)
        if first:
            assert first % (1 << order) == 0 and order <= 6
            zone = self.memory.zone_of(first)
            assert not reaching or zone in self.memory.reaching(reaching)
            assert privileged or zone.free_frames >= zone.state[buddykernels.MIN]
            self.got(set(range(first, first + (1 << order))))

    @rule(
        count=st.integers(1, 70),
        below=st.integers(0, 800),
        align=st.sampled_from([1, 2, 8, 16]),
        boundary=st.sampled_from([0, 16, 64, 128]),
    )
    def take_constrained(self, count: int, below: int, align: int, boundary: int) -> None:
        """What the model finds by looking at every place, with the same reserve, is found, and the
        highest of them in the highest zone.
        """
        if boundary and count > boundary:
            with pytest.raises(StatusError):
                self.memory.take_constrained(count, State.ACTIVE, below, align, boundary)
            return
        expected = 0
        for name, start, end in reversed(BOUNDS):
            zone = next(s for s in self.memory.zones if s.name == name)
            if zone.free_frames - count < zone.state[buddykernels.MIN]:
                continue
            top = min(below or end, end)
            fits = [
                f
                for f in range(start // align * align, top - count + 1, align)
                if f >= max(start, 1)
                and not (boundary and f // boundary != (f + count - 1) // boundary)
                and all(
                    p in self.free and self.pfns.state_of(p) == State.FREE
                    for p in range(f, f + count)
                )
            ]
            if fits:
                expected = fits[-1]
                break
        first = self.memory.take_constrained(count, State.ACTIVE, below, align, boundary)
        assert first == expected
        if first:
            self.got(set(range(first, first + count)))

    @rule(colour=st.integers(0, COLOURS - 1))
    def take_coloured(self, colour: int) -> None:
        """The colour that was asked for, whenever some whole block of all colours is free."""
        zone = self.memory.zones[2]
        whole = bool(zone.blocks[6])
        frame = zone.take_coloured(colour, State.ACTIVE)
        if frame:
            assert frame % COLOURS == colour or not whole
            self.got({frame})

    @rule(cpu=st.integers(0, 1), privileged=st.booleans())
    def take_page(self, cpu: int, privileged: bool) -> None:
        """Through a CPU's pool."""
        frame = self.pools.take(cpu, privileged)
        if frame:
            self.got({frame})

    @precondition(lambda self: any(f >= 384 for f in self.taken))
    @rule(data=st.data(), cpu=st.integers(0, 1))
    def free_page(self, data: st.DataObject, cpu: int) -> None:
        """Into a CPU's pool, whoever took it and how."""
        frame = data.draw(st.sampled_from(sorted(f for f in self.taken if f >= 384)))
        self.pools.free(cpu, frame)
        self.taken.remove(frame)
        self.free.add(frame)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """Any frames, in runs that may lie in two zones."""
        frames = data.draw(st.sets(st.sampled_from(sorted(self.taken)), min_size=1))
        for first, count in runs_of(sorted(frames)):
            self.memory.free(first, count, State.ACTIVE)
        self.taken -= frames
        self.free |= frames

    @rule()
    def empty_pools(self) -> None:
        """After that, no frame is pooled."""
        self.pools.empty()
        assert not self.pfns.counts[State.POOLED]

    @invariant()
    def agrees(self) -> None:
        """Structure, counts, and which frames are free."""
        self.pools.check()
        self.memory.check()
        self.pfns.check()
        states = self.pfns.table[:, 3].tolist()
        assert {f for f, s in enumerate(states) if s in (State.FREE, State.POOLED)} == self.free
        assert {f for f, s in enumerate(states) if s == State.ACTIVE} == self.taken


TestZones = ZonesMachine.TestCase
TestZones.settings = settings(max_examples=40, stateful_step_count=40)


def test_watermarks_of_known_zones() -> None:
    """GNU Mach's i386 DIRECTMAP; a small zone has the same shares."""
    assert watermarks(219136) == (10956, 13148, 21913)
    assert watermarks(4080) == (204, 244, 408) and watermarks(10_000) == (500, 600, 1000)


def test_pool_sizes() -> None:
    """pages / 1024 within 1 to 128, half of it transferred."""
    for frames, size, transfer in ((4080, 3, 2), (219136, 128, 64), (500, 1, 1)):
        pfns = PfnDatabase(Ram(frames + 1, paper=True), frames + 1, 0)
        zone = Buddy(pfns)
        zone.add(1, frames)
        found = CpuPages(zone, 1).statistics()
        assert (found.size, found.transfer) == (size, transfer)


def test_an_order_by_setting() -> None:
    """Blocks of up to 2^14 frames, and orders that cannot be are refused."""
    pfns = PfnDatabase(Ram(1 << 15, paper=True), 1 << 15, 0)
    buddy = Buddy(pfns, 14)
    buddy.add(1, (1 << 15) - 1)
    assert buddy.take_block(14, State.ACTIVE) == 1 << 14
    buddy.check()
    with pytest.raises(StatusError, match="largest order of 31"):
        Buddy(pfns, 31)


def test_fragmentation_index() -> None:
    """Every second frame free: order 1 fails for fragmentation alone; nothing free: for lack of
    memory.
    """
    pfns = PfnDatabase(Ram(2049, paper=True), 2049, 0)
    buddy = Buddy(pfns)
    buddy.add(1, 2048)
    assert buddy.fragmentation(3) == -1
    for first, size in buddy.take(2048, State.ACTIVE):
        for frame in range(first, first + size):
            if frame % 2:
                buddy.free(frame, 1, State.ACTIVE)
    assert 0.49 < buddy.fragmentation(1) < 0.51 and buddy.fragmentation(10) > 0.99
    assert Buddy(pfns, 10, 0, 1).fragmentation(0) == 0


def test_one_tib_of_frames() -> None:
    """2^24 entries here (2^28 in the benchmark): written whole, free lists ready, without a loop
    over frames.
    """
    frames = 1 << 24
    pfns = PfnDatabase(Ram(frames, paper=True), frames, 0)
    memory = FreeFrames(pfns, [("DMA", 0, 4096), ("HIGHMEM", 4096, frames)])
    memory.add(1, frames - 1)
    assert memory.free_frames == frames - 1 and memory.blocks[10] == (frames >> 10) - 1
    first = memory.take_block(10, State.ACTIVE)
    assert first >= 4096
    memory.free(first, 1024, State.ACTIVE)


@pytest.fixture(scope="module")
def compiled() -> Any:
    """The kernels, compiled."""
    return compile_kernels(buddykernels, pagepools, slabkernels, smp_kernels)


def make_zone(frames: int, cpus: int) -> tuple[Buddy, CpuPages]:
    """A zone of so many frames, all free, and its pools."""
    pfns = PfnDatabase(Ram(frames, paper=True), frames, 0)
    zone = Buddy(pfns)
    zone.add(1, frames - 1)
    return zone, CpuPages(zone, cpus)


def test_compiled_kernels_decide_as_interpreted_ones(compiled: Any) -> None:
    """One random history in both lives: the same frames at every step, the same arrays at the
    end.
    """

    (one, pools_one), (two, pools_two) = make_zone(20_000, 2), make_zone(20_000, 2)
    fast = (two.pfns.flat, two.array, pools_two.array)
    slow = (one.pfns.words, one.state, pools_one.state)
    choose = random.Random(5)
    held: list[tuple[str, int, int]] = []
    for _ in range(4000):
        if held and choose.random() < 0.48:
            kind, first, count = held.pop(choose.randrange(len(held)))
            if kind == "page":
                pagepools.free_page(*slow, count, first)
                compiled.free_page(*fast, count, first)
            else:
                buddykernels.release(*slow[:2], first, count)
                compiled.release(*fast[:2], first, count)
            continue
        kind = choose.choice(["page", "block", "cut", "search"])
        if kind == "page":
            cpu = choose.randrange(2)
            found = pagepools.take_page(*slow, cpu, 0), compiled.take_page(*fast, cpu, 0)
            item = (found[0], cpu)
        elif kind == "block":
            order = choose.randrange(8)
            found = buddykernels.take_block(*slow[:2], order), compiled.take_block(*fast[:2], order)
            item = (found[0], 1 << order)
        elif kind == "cut" and one.free_frames > 100:
            count = choose.randrange(1, 100)
            pairs = buddykernels.cut(*slow[:2], count), compiled.cut(*fast[:2], count)
            assert pairs[0] == pairs[1]
            found, item = (pairs[0][0], pairs[1][0]), pairs[0]
        else:
            count = choose.randrange(1, 30)
            found = (
                buddykernels.search(*slow[:2], count, 20_000, 4, 64),
                compiled.search(*fast[:2], count, 20_000, 4, 64),
            )
            if found[0]:
                buddykernels.carve(*slow[:2], found[0], count)
                compiled.carve(*fast[:2], found[1], count)
            item = (found[0], count)
        assert found[0] == found[1]
        if found[0]:
            held.append((kind, *item))
    assert (
        np.array_equal(one.pfns.flat, two.pfns.flat)
        and np.array_equal(one.array, two.array)
        and np.array_equal(pools_one.array, pools_two.array)
    )


@pytest.mark.parametrize("threads", [1, 2, 4, 8])
def test_no_frame_is_lost_or_given_twice(compiled: Any, threads: int) -> None:
    """Host threads without the GIL, one virtual CPU each, on so little memory that pools are filled
    and emptied all the time.
    """
    zone, pools = make_zone(3000, threads)
    owner = np.zeros(3000, np.int32)
    mine = [np.zeros(900, np.int32) for _ in range(threads)]
    results = [0] * threads

    def work(cpu: int) -> None:
        results[cpu] = compiled.page_worker(
            zone.pfns.flat, zone.array, pools.array, cpu, mine[cpu], owner, 400_000, cpu + 1
        )

    workers = [threading.Thread(target=work, args=(cpu,)) for cpu in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(r >= 0 for r in results), results
    pools.settle()
    held = [int(f) for m in mine for f in m if f]
    assert len(held) == len(set(held)) == sum(results) == zone.pfns.counts[State.ACTIVE]
    pools.check()
    zone.check()
    zone.pfns.check()
    assert (
        sum(pools.state[cpu * pagepools.POOL_WORDS + pagepools.REFILLS] for cpu in range(threads))
        > 100 * threads
    )
    for frame in held:
        pools.free(0, frame)
    pools.empty()
    assert zone.free_frames == 2999 and zone.blocks == make_zone(3000, 1)[0].blocks


def test_interpreted_locks_notice_misuse() -> None:
    """Taking a lock that is taken, or releasing one that is not, is a defect of the caller."""
    words = memoryview(bytearray(8)).cast("i")
    lock(words, 0)
    with pytest.raises(AssertionError):
        lock(words, 0)
    unlock(words, 0)
    with pytest.raises(AssertionError):
        unlock(words, 0)
