"""Slab caches: objects of one size, packed into blocks of frames straight from the buddy allocator.

    caches = SlabCaches(physical)
    inodes = caches.create("inode", 152, constructor=clear)
    address = inodes.allocate()     a physical address; its bytes are inodes.object(address)
    inodes.free(address)

Objects that are freed stay in the CPU's magazine and go back to their slab in batches; slabs
without objects are kept until `reap`. A constructor sets an object up once, when its slab is made;
the owner frees it in that state again. Caches with a constructor or `verify` have no magazines:
their slabs are made here, not in a kernel.

A cache with `verify` is for finding mistakes: `octavo.heap.slabguards` says what lies around its
objects; every allocation and free looks at it, and `check` at all of it. A cache without it tells
what costs nothing to know: addresses that are no objects of its own, and objects that are freed
twice (`octavo.heap.slabcontents`).

The algorithm is in `octavo.heap.slabkernels`. Source: GNU Mach's kern/slab.c (slabinfo's
columns). Departure: errors are exceptions, not a panic.
"""

from __future__ import annotations

import sys

from octavo.arguments import MOST_CPUS, invalid, named, shown, whole
from octavo.heap import slabkernels as k
from octavo.heap.slabcontents import FREED, GIVEN, Constructor, SlabContents
from octavo.heap.slabguards import FREE_TAG, GIVEN_TAG, SlabError
from octavo.machine.abi import State
from octavo.machine.kernels import Ints
from octavo.memory.frames.physical import PhysicalMemory
from octavo.status import Status, StatusError

__all__ = ["Constructor", "SlabCache", "SlabCaches", "SlabError"]


class SlabCache(SlabContents):
    """One kind of object. Made by `SlabCaches.create`."""

    # -- objects ----------------------------------------------------------------------------------

    def object(self, address: int) -> memoryview:
        """The bytes of an object that was allocated; StatusError INVALID_PARAMETER for what is no
        address in RAM.
        """
        if type(address) is not int or not 0 < address <= self.last:
            whole(address, f"cache {self.name}: the address of an object", 1, self.last)
        return self.bytes[address : address + self.size]

    def allocate(self, cpu: int = 0) -> int:
        """The address of an object.

        StatusError NO_MEMORY when there is no memory for another slab, after standby frames were
        given up for it; INVALID_PARAMETER for a CPU that is not there.
        """
        if type(cpu) is not int or not 0 <= cpu < self.cpus:
            whole(cpu, f"cache {self.name}: a CPU", 0, self.cpus - 1)
        address = (self._take(cpu) << 3) + self.offset
        if not self.direct:
            self.ram.link[address >> 2] = 0
            return address
        self.ram.link[address - self.offset + self.state[k.LINK_AT] >> 2] = GIVEN
        if self.guards:
            self.guards.lay(address, GIVEN_TAG)
            self.guards.callers[address] = (
                f"last allocated by {sys._getframe(1).f_code.co_qualname}"
            )
        return address

    def _take(self, cpu: int) -> int:
        words, link, state = self.pfns.words, self.ram.link, self.state
        for last in (False, True):
            for zone in self.zones:
                before = state[k.SLABS]
                granule = (
                    self._pop(zone.state)
                    if self.direct
                    else k.take_object(words, zone.state, link, state, cpu)
                )
                count = (state[k.SLABS] - before) << state[k.ORDER]
                if count:
                    self._count(count)
                    if granule and not self.physical.promise(
                        0
                    ):  # the new slab has frames that were promised as pages
                        k.push_object(words, link, state, granule)
                        self.reap()
                        granule = 0
                if granule:
                    return granule
            if last or not self.physical.reclaim(64 << state[k.ORDER]):
                break
        if not self.zones:
            raise invalid(f"cache {self.name}: was destroyed: it gives no objects")
        raise StatusError(
            Status.NO_MEMORY,
            f"cache {self.name}: out of memory: no block of {1 << state[k.ORDER]} frames "
            "for another slab",
        )

    def _count(self, frames: int) -> None:
        """Free frames have become this cache's, or are free again."""
        self.pfns.counts[State.FREE] -= frames
        self.pfns.counts[State.ACTIVE] += frames
        self.pfns.wired += frames

    def _pop(self, zone: Ints) -> int:
        """An object of a cache without magazines; 0 when there is no memory for another slab.

        SlabError when it was damaged: it stays where it is.
        """
        words, link, state = self.pfns.words, self.ram.link, self.state
        if not (state[k.PARTIAL] or state[k.EMPTY]):
            self._set_up(k.grow(words, zone, link, state), zone)
        slab = state[k.PARTIAL] or state[k.EMPTY]
        if slab and self.guards:
            self.inspect_next(slab)
        return k.pop_object(words, zone, link, state) if slab else 0

    def _set_up(self, slab: int, zone: Ints) -> None:
        """Constructs and guards the objects of a new slab (0: there is none), which goes back if
        that fails.
        """
        try:
            for address in self.addresses(slab) if slab else ():
                if self.constructor:
                    self.constructor(self.object(address))
                if self.guards:
                    self.guards.lay(address, FREE_TAG)
        except BaseException:
            k.reap(self.pfns.words, zone, self.state, 1)
            raise

    def free(self, address: int, cpu: int = 0) -> None:
        """Gives an object back.

        SlabError when it is not one of this cache's or is free already, and, with `verify`, for
        what its guards show; it is kept then. StatusError INVALID_PARAMETER for what is no number,
        and for a CPU that is not there.
        """
        if type(cpu) is not int or not 0 <= cpu < self.cpus:
            whole(cpu, f"cache {self.name}: a CPU", 0, self.cpus - 1)
        self.refuse_stranger(address)
        if not self.direct:
            word = self.ram.word
            if word[address >> 2] == FREED and self.is_free(address):
                raise SlabError(f"cache {self.name}: the object at {address:#x} is freed twice")
            word[address >> 2] = FREED
            k.free_object(self.pfns.words, self.ram.link, self.state, cpu, address >> 3)
            return
        if self.guards:
            self.guards.inspect(address, GIVEN_TAG, freeing=True)
        self.refuse_unmarked(address)
        if self.guards:
            self.guards.lay(address, FREE_TAG)
            self.guards.callers[address] = f"last freed by {sys._getframe(1).f_code.co_qualname}"
        k.push_object(self.pfns.words, self.ram.link, self.state, address - self.offset >> 3)

    # -- upkeep -----------------------------------------------------------------------------------

    def reap(self, frames: int = 1 << 30) -> int:
        """Empties the magazines and gives slabs without objects back, until `frames` frames are
        free; returns how many are.
        """
        whole(frames, "the number of frames", 0)
        words, s = self.pfns.words, self.state
        for base in range(k.MAGAZINES, len(s), k.MAGAZINE_WORDS):
            k.spill(words, self.ram.link, s, base, s[base + k.COUNT])
        done = 0
        while done < frames and s[k.EMPTY]:
            slab = s[k.EMPTY]
            k.reap(words, self.physical.buddy.zone_of(slab).state, s, 1)
            done += 1 << s[k.ORDER]
        self._count(-done)
        return done

    def end(self) -> None:
        """Gives up everything, for good: no object is out."""
        self.reap()
        self.pfns.end_holder(self.holder)
        self.holder, self.zones = -1, []  # nobody's number, and no memory for slabs


class SlabCaches:
    """All caches of a machine of so many CPUs. StatusError INVALID_PARAMETER unless they are 1 to
    MOST_CPUS.
    """

    def __init__(self, physical: PhysicalMemory, cpus: int = 1) -> None:
        self.physical = physical
        self.cpus = whole(cpus, "the number of CPUs", 1, MOST_CPUS)
        self.caches: dict[str, SlabCache] = {}

    def create(
        self,
        name: str,
        size: int,
        align: int = 8,
        constructor: Constructor | None = None,
        verify: bool = False,
    ) -> SlabCache:
        """A new cache. StatusError OBJECT_NAME_COLLISION for a name that is taken,
        INVALID_PARAMETER for a size that cannot be.
        """
        if named(name, "the name of a slab cache") in self.caches:
            raise StatusError(
                Status.OBJECT_NAME_COLLISION, f"a slab cache called {name} is there already"
            )
        cache = self.caches[name] = SlabCache(
            self.physical, name, size, align, constructor, verify, self.cpus
        )
        return cache

    def destroy(self, name: str) -> None:
        """Ends a cache. StatusError DEVICE_BUSY, with the count, while objects are allocated,
        OBJECT_NAME_NOT_FOUND.
        """
        cache = self.caches.get(named(name, "the name of a slab cache"))
        if cache is None:
            raise StatusError(
                Status.OBJECT_NAME_NOT_FOUND, f"there is no slab cache called {shown(name)}"
            )
        if cache.objects:
            raise StatusError(
                Status.DEVICE_BUSY, f"cache {name}: {cache.objects} objects are still allocated"
            )
        cache.end()
        del self.caches[name]

    def reap(self, frames: int) -> int:
        """Gives back about `frames` frames of empty slabs; returns how many. Pageout calls it when
        memory is short.
        """
        whole(frames, "the number of frames", 0)
        done = 0
        for cache in self.caches.values():
            if done < frames:
                done += cache.reap(frames - done)
        return done

    def slabinfo(self) -> list[str]:
        """The table of GNU Mach's slabinfo."""
        lines = [
            f"{'cache':<20}{'flags':>6}{'obj':>7}{'slab':>7}{'bufs':>6}"
            f"{'objs':>9}{'bufs':>9}{'memory':>10}{'reclaim':>10}"
        ]
        lines.append(
            f"{'name':<20}{'':>6}{'size':>7}{'size':>7}{'/slab':>6}"
            f"{'used':>9}{'count':>9}{'total':>10}{'able':>10}"
        )
        total = reclaimable = 0
        for cache in self.caches.values():
            s = cache.statistics()
            flags = ("V" if cache.verify else "") + ("C" if cache.constructor else "") or "-"
            lines.append(
                f"{cache.name:<20}{flags:>6}{s.object_size:>7}{s.slab_size >> 10:>6}k"
                f"{s.objects_per_slab:>6}{s.objects:>9}{s.capacity:>9}"
                f"{s.memory >> 10:>9}k{s.reclaimable >> 10:>9}k"
            )
            total += s.memory >> 10
            reclaimable += s.reclaimable >> 10
        lines.append(f"total: {total}k, reclaimable: {reclaimable}k")
        return lines

    def check(self) -> None:
        """Every cache is right."""
        for cache in self.caches.values():
            cache.check()
