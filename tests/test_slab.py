"""Slab caches: a model, mistakes that verify mode names, reaping, the k-th allocation that fails, and many threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from octavo.machine.kernels import compile_kernels
from octavo.machine.ram import PAGE_SIZE, Ram
from octavo.memory import buddykernels, pagepools, slabkernels
from octavo.memory.buddykernels import MIN
from octavo.memory.pfn import PfnDatabase, State
from octavo.memory.physical import PhysicalMemory
from octavo.memory.slab import SlabCache, SlabCaches, SlabError
from octavo.status import Status, StatusError
from tests import smp_kernels


def make_memory(frames: int = 64) -> PhysicalMemory:
    """Physical memory of so many free frames behind a PFN database of its own."""
    database = -(-(frames + 8) * 32 // PAGE_SIZE)
    ram = Ram(frames + database + 1)
    pfns = PfnDatabase(ram, ram.frames, frames + 1)
    pfns.claim(frames + 1, database, State.ACTIVE)
    physical = PhysicalMemory(ram, pfns)
    physical.buddy.add(1, frames)
    return physical


class SlabMachine(RuleBasedStateMachine):
    """The model is address -> contents; every object keeps its bytes until it is freed."""

    @initialize(
        size=st.sampled_from([1, 8, 24, 52, 100, 256, 700, 2048, 4096, 9000]),
        align=st.sampled_from([8, 64]),
        kind=st.sampled_from(["plain", "constructed", "verified", "both"]),
    )
    def begin(self, size: int, align: int, kind: str) -> None:
        """One cache on 64 frames with two CPUs."""
        self.physical = make_memory()
        self.caches = SlabCaches(self.physical, 2)
        constructor = fill_with_c if kind in ("constructed", "both") else None
        self.cache = self.caches.create("thing", size, align, constructor, kind in ("verified", "both"))
        self.align = align
        self.model: dict[int, bytes] = {}
        self.next = 0

    @rule(cpu=st.integers(0, 1), count=st.integers(1, 40))
    def allocate(self, cpu: int, count: int) -> None:
        """New objects are apart from all others, aligned, and as the constructor left them."""
        for _ in range(count):
            try:
                address = self.cache.allocate(cpu)
            except StatusError as error:
                assert error.status == Status.NO_MEMORY
                return
            assert address not in self.model and address % self.align == 0
            data = self.cache.object(address)
            if self.cache.constructor:
                assert bytes(data) == b"C" * len(data)
            self.next += 1
            self.model[address] = self.next.to_bytes(4, "little") * (len(data) // 4) if len(data) >= 4 else bytes([self.next % 251]) * len(data)
            data[: len(self.model[address])] = self.model[address]

    @precondition(lambda self: self.model)
    @rule(data=st.data(), cpu=st.integers(0, 1), count=st.integers(1, 30))
    def free(self, data: st.DataObject, cpu: int, count: int) -> None:
        """Any of them, on any CPU."""
        for _ in range(min(count, len(self.model))):
            address = data.draw(st.sampled_from(sorted(self.model)))
            del self.model[address]
            if self.cache.constructor:
                fill_with_c(self.cache.object(address))
            self.cache.free(address, cpu)

    @rule()
    def reap(self) -> None:
        """Empty slabs go; afterwards there is no more memory in the cache than its objects need slabs."""
        before = self.physical.buddy.free_frames
        freed = self.cache.reap()
        assert self.physical.buddy.free_frames == before + freed
        assert self.cache.statistics()["empty_slabs"] == 0

    @invariant()
    def agrees(self) -> None:
        """Contents, counts, structure."""
        self.caches.check()
        self.physical.buddy.check()
        self.physical.pfns.check()
        assert self.cache.objects == len(self.model)
        for address, data in self.model.items():
            assert bytes(self.cache.object(address)[: len(data)]) == data

    def teardown(self) -> None:
        """Everything freed: every frame is back."""
        if hasattr(self, "cache"):
            for address in self.model:
                self.cache.free(address)
            self.caches.destroy("thing")
            assert self.physical.buddy.free_frames == 64


def fill_with_c(data: memoryview) -> None:
    """A constructor."""
    data[:] = b"C" * len(data)


TestSlab = SlabMachine.TestCase
TestSlab.settings = settings(max_examples=60, stateful_step_count=30)


def verified(size: int = 24) -> SlabCache:
    """A verified cache."""
    return SlabCaches(make_memory()).create("inode", size, verify=True)


def test_double_free_is_named() -> None:
    """By the cache, the address and the caller."""
    cache = verified()
    address = cache.allocate()
    cache.free(address)
    with pytest.raises(SlabError, match=f"cache inode: the object at {address:#x} is freed twice; last freed by test_double_free_is_named"):
        cache.free(address)


def test_writing_past_the_end_is_named() -> None:
    """At the pad, and at the red zone behind it."""
    for size, distance in ((24, 4), (24, 0), (25, 0), (25, 2)):
        cache = verified(size)
        address = cache.allocate()
        cache.ram.bytes[address + size + distance] ^= 0xFF
        with pytest.raises(SlabError, match="was written past its end, . bytes behind it; last allocated by test_writing_past"):
            cache.free(address)


def test_writing_after_free_is_named() -> None:
    """Found when the object is allocated again, with the byte."""
    cache = verified()
    address = cache.allocate()
    cache.free(address)
    cache.ram.bytes[address + 7] = 1
    with pytest.raises(SlabError, match="was written at byte 7 after it was freed; last freed by test_writing_after_free"):
        cache.allocate()


def test_strangers_are_refused() -> None:
    """An address in no slab, in another cache's slab, and in the middle of an object; without verify too."""
    caches = SlabCaches(make_memory())
    one, two = caches.create("one", 64), caches.create("two", 64)
    address = one.allocate()
    for cache, wrong, says in ((one, 1 << 40, "none of its slabs"), (two, address, "none of its slabs"), (one, address + 8, "not the beginning")):
        with pytest.raises(SlabError, match=says):
            cache.free(wrong)
    with pytest.raises(StatusError, match="1 objects are still allocated"):
        caches.destroy("one")
    with pytest.raises(StatusError, match="called one is there already"):
        caches.create("one", 8)
    for size, align in ((0, 8), (200_000, 8), (8, 3)):
        with pytest.raises(StatusError, match="are not possible"):
            caches.create("x", size, align)


def test_patterns_are_the_documented_ones() -> None:
    """0xbaddcafe when given, 0xdeadbeef when free."""
    cache = verified()
    address = cache.allocate()
    assert cache.ram.word[address >> 2] == 0xBADDCAFE
    cache.free(address)
    assert cache.ram.word[address >> 2] == 0xDEADBEEF


def test_colours_move_slabs_apart() -> None:
    """Objects of successive slabs begin at different offsets, as far as the slack allows."""
    cache = SlabCaches(make_memory()).create("big", 1352, 8)
    starts = {cache.allocate() % PAGE_SIZE for _ in range(24)}
    assert cache.statistics()["colours"] > 1 and len(starts) > cache.statistics()["objects_per_slab"]


@pytest.mark.parametrize("verify", [False, True])
def test_the_kth_slab_fails(verify: bool) -> None:
    """For every number of frames: the error is NO_MEMORY, nothing is lost, everything allocated is still right."""
    for frames in range(1, 12):
        physical = make_memory(frames)
        cache = SlabCaches(physical).create("thing", 500, verify=verify)
        cache.state[slabkernels.PRIVILEGED] = 1
        got = []
        with pytest.raises(StatusError, match="cache thing: out of memory"):
            while True:
                got.append(cache.allocate())
        cache.check()
        assert len(got) == len(set(got)) == (frames >> cache.state[slabkernels.ORDER]) * cache.state[slabkernels.PER]
        for address in got:
            cache.free(address)
        cache.reap()
        assert physical.buddy.free_frames == frames
        physical.check()


def test_standby_frames_are_given_up_for_slabs() -> None:
    """Zeroed frames here: they go back to the free lists when a slab needs them; the segment's reserve stays."""
    physical = make_memory(64)
    physical.zero_some(60)
    cache = SlabCaches(physical).create("thing", 4096)
    addresses = [cache.allocate() for _ in range(50)]
    assert len(set(addresses)) == 50
    with pytest.raises(StatusError):
        while True:
            cache.allocate()
    assert physical.buddy.free_frames == physical.buddy.segments[0].zone[MIN]


def test_slabinfo() -> None:
    """GNU Mach's columns and footer."""
    caches = SlabCaches(make_memory())
    caches.create("inode", 152).allocate()
    lines = caches.slabinfo()
    assert lines[2].split() == ["inode", "-", "152", "4k", "26", "1", "78", "12k", "0k"]
    assert lines[-1] == "total: 12k, reclaimable: 0k"
    caches.reap(100)
    caches.check()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_no_object_is_lost_or_given_twice(threads: int) -> None:
    """Host threads without the GIL on one cache, and its slabs come and go."""
    kernels = compile_kernels(buddykernels, pagepools, slabkernels, smp_kernels)
    physical = make_memory(2000)
    cache = SlabCaches(physical, threads).create("thing", 64)
    segment = physical.buddy.segments[0]
    owner = np.zeros(physical.ram.frames << 9, np.int32)
    mine = [np.zeros(3000, np.int32) for _ in range(threads)]
    results = [0] * threads

    def work(cpu: int) -> None:
        results[cpu] = kernels.object_worker(physical.pfns.flat, segment.array, physical.links, cache.array, cpu, mine[cpu], owner, 400_000, cpu + 1)

    workers = [threading.Thread(target=work, args=(cpu,)) for cpu in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(r >= 0 for r in results), results
    held = [int(g) for m in mine for g in m if g]
    assert len(held) == len(set(held)) == sum(results) == cache.objects
    frames = cache.statistics()["slabs"] << cache.state[slabkernels.ORDER]
    physical.pfns.counts[State.FREE] -= frames
    physical.pfns.counts[State.ACTIVE] += frames
    cache.check()
    physical.check()
    for granule in held:
        cache.free(granule << 3)
    cache.reap()
    assert physical.buddy.free_frames == 2000
