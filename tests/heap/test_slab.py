"""Slab caches: a model, mistakes that verify mode names, reaping, the k-th allocation that fails,
and many threads.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from octavo.heap import slabkernels
from octavo.heap.slab import SlabCache, SlabCaches, SlabError
from octavo.machine.abi import PAGE_SIZE, State
from octavo.machine.kernels import compile_kernels
from octavo.memory.frames import buddykernels, pagepools
from octavo.memory.frames.buddykernels import MIN
from octavo.status import Status, StatusError
from tests import smp_kernels
from tests.memory.memories import make_memory


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
        self.cache = self.caches.create(
            "thing", size, align, constructor, kind in ("verified", "both")
        )
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
            self.model[address] = (
                self.next.to_bytes(4, "little") * (len(data) // 4)
                if len(data) >= 4
                else bytes([self.next % 251]) * len(data)
            )
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
        """Empty slabs go; afterwards there is no more memory in the cache than its objects need
        slabs.
        """
        before = self.physical.buddy.free_frames
        freed = self.cache.reap()
        assert self.physical.buddy.free_frames == before + freed
        assert self.cache.statistics().empty_slabs == 0

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
    with pytest.raises(
        SlabError,
        match=f"cache inode: the object at {address:#x} is freed twice; last freed by "
        "test_double_free_is_named",
    ):
        cache.free(address)


def test_writing_past_the_end_is_named() -> None:
    """At the pad, and at the red zone behind it."""
    for size, distance in ((24, 4), (24, 0), (25, 0), (25, 2)):
        cache = verified(size)
        address = cache.allocate()
        cache.ram.bytes[address + size + distance] ^= 0xFF
        with pytest.raises(
            SlabError,
            match="was written past its end, . bytes behind it; last allocated by "
            "test_writing_past",
        ):
            cache.free(address)


def test_writing_after_free_is_named() -> None:
    """Found when the object is allocated again, with the byte."""
    cache = verified()
    address = cache.allocate()
    cache.free(address)
    cache.ram.bytes[address + 7] = 1
    with pytest.raises(
        SlabError,
        match="was written at byte 7 after it was freed; last freed by test_writing_after_free",
    ):
        cache.allocate()


def test_strangers_are_refused() -> None:
    """An address in no slab, in another cache's slab, and in the middle of an object; without
    verify too.
    """
    caches = SlabCaches(make_memory())
    one, two = caches.create("one", 64), caches.create("two", 64)
    address = one.allocate()
    for cache, wrong, says in (
        (one, 1 << 40, "none of its slabs"),
        (two, address, "none of its slabs"),
        (one, address + 8, "not the beginning"),
    ):
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
    assert cache.statistics().colours > 1 and len(starts) > cache.statistics().objects_per_slab


@pytest.mark.parametrize("verify", [False, True])
def test_the_kth_slab_fails(verify: bool) -> None:
    """For every number of frames: the error is NO_MEMORY, nothing is lost, everything allocated is
    still right.
    """
    for frames in range(1, 12):
        physical = make_memory(frames)
        cache = SlabCaches(physical).create("thing", 500, verify=verify)
        cache.state[slabkernels.PRIVILEGED] = 1
        got = []
        with pytest.raises(StatusError, match="cache thing: out of memory"):
            while True:
                got.append(cache.allocate())
        cache.check()
        assert (
            len(got)
            == len(set(got))
            == (frames >> cache.state[slabkernels.ORDER]) * cache.state[slabkernels.PER]
        )
        for address in got:
            cache.free(address)
        cache.reap()
        assert physical.buddy.free_frames == frames
        physical.check()


def test_standby_frames_are_given_up_for_slabs() -> None:
    """Zeroed frames here: they go back to the free lists when a slab needs them; the zone's
    reserve stays.
    """
    physical = make_memory(64)
    physical.zero_some(60)
    cache = SlabCaches(physical).create("thing", 4096)
    addresses = [cache.allocate() for _ in range(50)]
    assert len(set(addresses)) == 50
    with pytest.raises(StatusError):
        while True:
            cache.allocate()
    assert physical.buddy.free_frames == physical.buddy.zones[0].state[MIN]


KINDS = {
    "plain": (None, False),
    "constructed": (fill_with_c, False),
    "verified": (None, True),
    "both": (fill_with_c, True),
}


@pytest.mark.parametrize("kind", ["verified", "both"])
@pytest.mark.parametrize(
    ("size", "align"), [(1, 8), (24, 8), (25, 8), (100, 64), (500, 8), (4096, 8)]
)
def test_runs_of_1_to_16_bytes_too_far_are_named(kind: str, size: int, align: int) -> None:
    """Before an object and behind it, given or free, the first of its slab or the last: check says
    which, and so does its free.
    """
    constructor, verify = KINDS[kind]
    for count in range(1, 17):
        for before in (False, True):
            for free in (False, True):
                for place in (0, 1, -1):
                    cache = SlabCaches(make_memory()).create(
                        "inode", size, align, constructor, verify
                    )
                    made = sorted(cache.allocate() for _ in range(cache.state[slabkernels.PER]))
                    victim = made[place if len(made) > 1 else 0]
                    if free:
                        cache.free(victim)
                    at = victim - count if before else victim + size
                    cache.ram.array[at : at + count] ^= 0xA7
                    where = (
                        f"before its beginning, {1} bytes before it"
                        if before
                        else "past its end, 0 bytes behind it"
                    )
                    says = (
                        f"cache inode: the object at {victim:#x} was written {where}; last "
                        f"{'freed' if free else 'allocated'} by test_runs"
                    )
                    for look in (
                        cache.check,
                        cache.allocate if free else lambda: cache.free(victim),
                    ):
                        with pytest.raises(SlabError, match=says):
                            look()
                    cache.ram.array[at : at + count] ^= 0xA7
                    cache.check()  # nothing has changed, and nobody else's object was reached
                    if not free:
                        cache.free(victim)
                    assert cache.allocate() == victim


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reap", [False, True])
def test_freed_twice_is_told_at_once(kind: str, reap: bool) -> None:
    """From a magazine of its own CPU and of another, from a slab's free list, after a reap, and
    whatever its owner wrote: the object is kept once.
    """
    constructor, verify = KINDS[kind]
    cache = SlabCaches(make_memory(), 2).create("thing", 64, 8, constructor, verify)
    kept = [cache.allocate() for _ in range(200)]
    for address in kept[:150]:
        if not constructor:
            cache.object(address)[:4] = (0xDEADBEEF).to_bytes(4, "little")  # as if it were free
        cache.free(address, address >> 3 & 1)
    if reap:
        cache.reap()
    for address in kept[:150]:
        for cpu in (0, 1):
            with pytest.raises(SlabError, match="is freed twice|lies in none of its slabs"):
                cache.free(address, cpu)
    cache.check()
    assert cache.objects == 50
    again = {cache.allocate(cpu) for cpu in (0, 1) for _ in range(75)}
    assert len(again) == 150 and not again & set(kept[150:])
    cache.check()


def test_an_object_freed_twice_in_a_kernel_is_found_by_check() -> None:
    """Kernels look at nothing: the next check does."""
    cache = SlabCaches(make_memory(), 2).create("thing", 64)
    address = cache.allocate()
    for cpu in (0, 1):
        slabkernels.free_object(cache.pfns.words, cache.ram.link, cache.state, cpu, address >> 3)
    with pytest.raises(
        AssertionError, match=f"cache thing: the object at {address:#x} is freed twice"
    ):
        cache.check()
    for size in (64, 4096):  # and one that has its slab alone
        cache = SlabCaches(make_memory(), 2).create("thing", size)
        address, _ = cache.allocate(), cache.allocate()
        cache.reap()
        cache.check()
        for _ in range(2):
            slabkernels.push_object(cache.pfns.words, cache.ram.link, cache.state, address >> 3)
        with pytest.raises(AssertionError, match=r"cache thing: .*(is damaged|freed twice)"):
            cache.check()


@pytest.mark.parametrize("kind", ["verified", "both"])
def test_writing_after_free_is_found_by_check(kind: str) -> None:
    """At each byte, and in the link of the free list; the object is not given out."""
    constructor, verify = KINDS[kind]
    cache = SlabCaches(make_memory()).create("inode", 24, 8, constructor, verify)
    first, second = cache.allocate(), cache.allocate()
    cache.free(first)
    for byte in range(24):
        cache.ram.bytes[first + byte] ^= 0x5A
        for look in (cache.check, cache.allocate):
            with pytest.raises(
                SlabError,
                match=f"cache inode: the object at {first:#x} was written .*after it was freed; "
                "last freed by test_writing_after",
            ):
                look()
        cache.ram.bytes[first + byte] ^= 0x5A
    link = first - cache.offset + cache.state[slabkernels.LINK_AT] >> 2
    for wrong in (-1, -5, 0x7FFF, 1 << 30):
        good, cache.ram.link[link] = cache.ram.link[link], wrong
        for look in (cache.check, cache.allocate):
            with pytest.raises(
                SlabError, match="cache inode: the free list of slab 0x[0-9a-f]* is damaged"
            ):
                look()
        cache.ram.link[link] = good
    cache.check()
    assert cache.allocate() == first and second


def test_the_link_of_a_constructed_object_is_guarded() -> None:
    """It lies behind the object: who writes over its end is told by its free."""
    cache = SlabCaches(make_memory()).create("inode", 28, 8, fill_with_c)
    address = cache.allocate()
    cache.ram.bytes[address + 28] ^= 1
    for look in (cache.check, lambda: cache.free(address)):
        with pytest.raises(
            SlabError, match=f"cache inode: the object at {address:#x} was written past its end"
        ):
            look()
    cache.ram.bytes[address + 28] ^= 1
    cache.free(address)
    cache.check()


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_frees_change_nothing(kind: str) -> None:
    """In the middle of an object, in no slab, another cache's, a frame that somebody else holds:
    said by name.
    """
    constructor, verify = KINDS[kind]
    physical = make_memory()
    caches = SlabCaches(physical)
    cache, other = caches.create("one", 40, 8, constructor, verify), caches.create("two", 40)
    mine, theirs = [cache.allocate() for _ in range(3)], other.allocate()
    for i, address in enumerate(mine):
        cache.object(address)[:] = bytes([i + 1]) * 40
    wrong = [(a + d, "is not the beginning of an object") for a in mine for d in (1, 4, 8, 39)]
    wrong += [
        (theirs, "lies in none of its slabs: its frame is held by slab two"),
        (0, "lies in none"),
        (-8, "lies in none"),
        (10**400, "a number of 1329 bits"),
    ]
    for address, says in wrong:
        with pytest.raises(SlabError, match=f"cache one: .*{says}"):
            cache.free(address)
    caches.check()
    assert [bytes(cache.object(a)) for a in mine] == [
        bytes([i + 1]) * 40 for i in range(3)
    ] and cache.objects == 3


@pytest.mark.parametrize("verify", [False, True])
def test_a_constructor_that_fails_keeps_nothing(verify: bool) -> None:
    """At each object of a slab in turn; afterwards the cache works."""
    physical = make_memory()
    left = -1

    def construct(data: memoryview) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise StatusError(Status.INSUFFICIENT_RESOURCES, "the constructor has no more")
        fill_with_c(data)

    cache = SlabCaches(physical).create("thing", 500, 8, construct, verify)
    for k in range(1, cache.state[slabkernels.PER] + 1):
        left = k
        with pytest.raises(StatusError, match="the constructor has no more"):
            cache.allocate()
        cache.check()
        physical.check()
        assert physical.buddy.free_frames == 64 and cache.objects == 0
    assert bytes(cache.object(cache.allocate())) == b"C" * 500
    cache.check()
    physical.check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [8, 100, 2000, 9000])
def test_objects_to_the_last_frame(kind: str, size: int) -> None:
    """Full three times: what is in them stays, one more is NO_MEMORY and takes nothing, one that is
    freed is had again.
    """
    constructor, verify = KINDS[kind]
    physical = make_memory(40)
    cache = SlabCaches(physical).create("thing", size, 8, constructor, verify)
    model: dict[int, bytes] = {}
    for turn in range(3):
        with pytest.raises(StatusError, match="cache thing: out of memory") as error:
            while True:
                address = cache.allocate()
                assert address not in model
                model[address] = (len(model) + turn).to_bytes(4, "little") * (size // 4)
                cache.object(address)[:] = model[address]
        assert error.value.status == Status.NO_MEMORY
        cache.check()
        physical.check()
        last = max(model)
        cache.free(last)
        assert cache.allocate() == last
        cache.object(last)[:] = model[last]
        assert all(bytes(cache.object(a)) == data for a, data in model.items())
        for address in sorted(model)[turn :: turn + 1]:
            cache.free(address)
            del model[address]
        cache.check()
    for address, data in model.items():
        assert bytes(cache.object(address)) == data
        cache.free(address)
    cache.reap()
    assert physical.buddy.free_frames == 40
    physical.check()


@pytest.mark.parametrize("verify", [False, True])
def test_the_number_of_a_cache_that_is_destroyed_goes_to_the_next(verify: bool) -> None:
    """Nothing grows with the caches that have been; what still holds one that is gone can neither
    give nor free with it.
    """
    physical = make_memory()
    caches = SlabCaches(physical)
    stays = caches.create("stays", 64).allocate()
    before = len(physical.pfns.holders)
    for i in range(50):
        gone = caches.create(f"short {i}", 64, verify=verify)
        gone.free(gone.allocate())
        caches.destroy(gone.name)
    after = caches.create("after", 64, verify=verify)
    address = after.allocate()
    assert (
        len(physical.pfns.holders) == before + 1
        and physical.pfns.holders[after.holder] == "slab after"
    )
    with pytest.raises(SlabError, match="its frame is held by slab after"):
        gone.free(address)
    with pytest.raises(StatusError, match="short 49: was destroyed"):
        gone.allocate()
    after.free(address)
    caches.caches["stays"].free(stays)
    caches.destroy("after")
    physical.check()
    caches.check()


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
    zone = physical.buddy.zones[0]
    owner = np.zeros(physical.ram.frames << 9, np.int32)
    mine = [np.zeros(3000, np.int32) for _ in range(threads)]
    results = [0] * threads

    def work(cpu: int) -> None:
        results[cpu] = kernels.object_worker(
            physical.pfns.flat,
            zone.array,
            physical.links,
            cache.array,
            cpu,
            mine[cpu],
            owner,
            400_000,
            cpu + 1,
        )

    workers = [threading.Thread(target=work, args=(cpu,)) for cpu in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(r >= 0 for r in results), results
    held = [int(g) for m in mine for g in m if g]
    assert len(held) == len(set(held)) == sum(results) == cache.objects
    frames = cache.statistics().slabs << cache.state[slabkernels.ORDER]
    physical.pfns.counts[State.FREE] -= frames
    physical.pfns.counts[State.ACTIVE] += frames
    physical.pfns.wired += frames
    cache.check()
    physical.check()
    for granule in held:
        cache.free(granule << 3)
    cache.reap()
    assert physical.buddy.free_frames == 2000
