"""Slab caches: objects of one size, packed into blocks of frames straight from the buddy allocator.

    caches = SlabCaches(physical)
    inodes = caches.create("inode", 152, constructor=clear)
    address = inodes.allocate()                             a physical address; its bytes are inodes.object(address)
    inodes.free(address)

Objects that are freed stay in the CPU's magazine and go back to their slab in batches; slabs without objects are kept until
`reap`. A constructor sets an object up once, when its slab is made; the owner frees it in that state again. Caches with a
constructor or `verify` have no magazines: their slabs are made here, not in a kernel.

A cache with `verify` is for finding mistakes. Each buffer carries guards, and every allocation and free looks at them:

    | object, 0xdeadbeef while free, 0xbaddcafe when given | pad 0xbb | 0xfeedface | tag: given or free | link |

What is wrong is said by the name of the cache, what happened, and who allocated or freed the object last.

The algorithm is in `octavo.memory.slabkernels`. Source: GNU Mach's kern/slab.c (patterns, tags, slabinfo's columns). Departure:
errors are exceptions, not a panic.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable

import numpy as np

from octavo.machine.ram import PAGE_SHIFT, PAGE_SIZE
from octavo.memory import slabkernels as k
from octavo.memory.buddykernels import NEXT, PTE, WORDS
from octavo.memory.pfn import HOLDER, USE, State
from octavo.memory.physical import PhysicalMemory
from octavo.status import Status, StatusError

LARGEST = 128 << 10
MOST_ORDER = 5
MOST_PER_SLAB = 0xFFFE
_FREED, _UNSET, _REDZONE = (struct.pack("<I", word) for word in (0xDEADBEEF, 0xBADDCAFE, 0xFEEDFACE))
_GIVEN_TAG, _FREE_TAG = b"\xed\x0c\x11\xa1", b"\x0f\xee\x11\xa1"
_GUARDS = 12  # red zone, tag, link

Constructor = Callable[[memoryview], None]


class SlabError(AssertionError):
    """A caller's mistake with an object: freed twice, written past its end or after it was freed, or never allocated."""


class SlabCache:
    """One kind of object. Made by `SlabCaches.create`."""

    def __init__(self, physical: PhysicalMemory, name: str, size: int, align: int, constructor: Constructor | None, verify: bool, cpus: int) -> None:
        if not 0 < size <= LARGEST or align < 8 or align & (align - 1) or align > PAGE_SIZE:
            text = f"cache {name}: objects of {size} bytes aligned to {align} are not possible: at most {LARGEST} bytes, and a power of two from 8 to {PAGE_SIZE}"
            raise StatusError(Status.INVALID_PARAMETER, text)
        self.physical, self.pfns, self.ram = physical, physical.pfns, physical.ram
        self.name, self.size, self.verify, self.constructor = name, size, verify, constructor
        room = -(-size // 4) * 4 + (_GUARDS if verify else 4 if constructor else 0)
        self.direct = verify or constructor is not None  # no magazines
        self.buffer = -(-max(room, 8) // align) * align
        self.holder = self.pfns.new_holder(f"slab {name}")
        self.array = np.zeros(k.MAGAZINES + cpus * k.MAGAZINE_WORDS, np.int32)
        self.state = memoryview(self.array.data)
        self.cpus = cpus
        self._shape(align)
        self.segments = physical.buddy.reaching("DIRECTMAP") or physical.buddy.segments[::-1]
        self.callers: dict[int, str] = {}  # verify: who last allocated or freed an object

    def _shape(self, align: int) -> None:
        """Chooses the smallest slab that wastes at most an eighth."""
        order = 0
        while self.buffer > PAGE_SIZE << order or ((PAGE_SIZE << order) % self.buffer > PAGE_SIZE << order >> 3 and order < 3):
            order += 1
        per = min((PAGE_SIZE << order) // self.buffer, MOST_PER_SLAB)
        slack = (PAGE_SIZE << order) - per * self.buffer
        capacity = 1 if self.buffer > 32768 else 8 if self.buffer > 4096 else 64 if self.buffer > 256 else 128
        s = self.state
        s[k.SIZE], s[k.ORDER], s[k.PER], s[k.HOLDER] = self.buffer, order, per, self.holder
        s[k.COLOURS], s[k.STEP] = slack // align + 1, align
        s[k.LINK_AT] = self.buffer - 4
        for base in range(k.MAGAZINES, len(s), k.MAGAZINE_WORDS):
            s[base + k.CAPACITY], s[base + k.TRANSFER] = capacity, (capacity + 1) // 2

    # -- objects --------------------------------------------------------------------------------------------------

    def object(self, address: int) -> memoryview:
        """An object's bytes."""
        return self.ram.bytes[address : address + self.size]

    def allocate(self, cpu: int = 0) -> int:
        """The address of an object. StatusError NO_MEMORY when there is no memory for another slab, after standby frames were given up for it."""
        if self.verify:
            return self._allocate_verified(sys._getframe(1).f_code.co_qualname)
        granule = self._take(cpu)
        return granule << 3

    def _take(self, cpu: int) -> int:
        words, link, state = self.pfns.words, self.ram.link, self.state
        for last in (False, True):
            for segment in self.segments:
                before = state[k.SLABS]
                if not self.direct:
                    granule = k.take_object(words, segment.zone, link, state, cpu)
                else:
                    if not (state[k.PARTIAL] or state[k.EMPTY]):
                        self._set_up(k.grow(words, segment.zone, link, state))
                    granule = k.pop_object(words, segment.zone, link, state) if state[k.PARTIAL] or state[k.EMPTY] else 0
                count = (state[k.SLABS] - before) << state[k.ORDER]
                self.pfns.counts[State.FREE] -= count
                self.pfns.counts[State.ACTIVE] += count
                if granule:
                    return granule
            if last or not self.physical.reclaim(64 << state[k.ORDER]):
                break
        raise StatusError(Status.NO_MEMORY, f"cache {self.name}: out of memory: no block of {1 << state[k.ORDER]} frames for another slab")

    def _set_up(self, slab: int) -> None:
        """Constructs and guards the objects of a new slab (0: there is none)."""
        for address in self._addresses(slab) if slab else ():
            if self.constructor:
                self.constructor(self.object(address))
            if self.verify:
                self._guard(address, _FREE_TAG, _FREED)

    def _addresses(self, slab: int) -> range:
        start = (slab << PAGE_SHIFT) + self.pfns.words[slab * WORDS + PTE]
        return range(start, start + self.state[k.PER] * self.buffer, self.buffer)

    def free(self, address: int, cpu: int = 0) -> None:
        """Gives an object back. SlabError when it is not one of this cache's, or, with `verify`, for what its guards show."""
        self._refuse_stranger(address)
        if self.verify:
            self._inspect(address, _GIVEN_TAG, "freed")
            self._guard(address, _FREE_TAG, _FREED)
            self.callers[address] = f"last freed by {sys._getframe(1).f_code.co_qualname}"
        if self.direct:
            k.push_object(self.pfns.words, self.ram.link, self.state, address >> 3)
        else:
            k.free_object(self.pfns.words, self.ram.link, self.state, cpu, address >> 3)

    def _refuse_stranger(self, address: int) -> None:
        frame = address >> PAGE_SHIFT
        if not 0 < frame < self.pfns.frames or self.pfns.words[frame * WORDS + HOLDER] != self.holder:
            raise SlabError(f"cache {self.name}: {address:#x} is freed and lies in none of its slabs")
        if address not in self._addresses(k.slab_of(self.pfns.words, address >> 3)):
            raise SlabError(f"cache {self.name}: {address:#x} is freed and is not the beginning of an object")

    # -- verify mode ----------------------------------------------------------------------------------------------

    def _guard(self, address: int, tag: bytes, pattern: bytes) -> None:
        """Writes guards around an object and, where no constructor owns them, a pattern into its bytes."""
        end = address + self.buffer
        if not self.constructor:
            self.object(address)[:] = (pattern * (self.size // 4 + 1))[: self.size]
        pad = end - _GUARDS - address - self.size
        self.ram.bytes[address + self.size : end - _GUARDS] = b"\xbb" * pad
        self.ram.bytes[end - _GUARDS : end - 4] = _REDZONE + tag

    def _inspect(self, address: int, tag: bytes, doing: str) -> None:
        """SlabError when the guards of an object are not as they must be before it is allocated or freed."""
        end, data = address + self.buffer, self.ram.bytes
        found = bytes(data[end - 8 : end - 4])
        what = f"cache {self.name}: the object at {address:#x}"
        if found != tag:
            other = {_GIVEN_TAG: "given", _FREE_TAG: "free"}.get(found)
            wrong = "is freed twice" if doing == "freed" and other == "free" else f"has a damaged tag {found.hex()}"
            raise SlabError(f"{what} {wrong}; {self._last(address)}")
        guards = bytes(data[address + self.size : end - 8])
        expected = b"\xbb" * (len(guards) - 4) + _REDZONE
        if guards != expected:
            at = next(i for i, (a, b) in enumerate(zip(guards, expected, strict=True)) if a != b)
            raise SlabError(f"{what} was written past its end, {at} bytes behind it; {self._last(address)}")
        if tag == _FREE_TAG and not self.constructor:
            expected = (_FREED * (self.size // 4 + 1))[: self.size]
            bytes_found = bytes(self.object(address))
            if bytes_found != expected:
                at = next(i for i, (a, b) in enumerate(zip(bytes_found, expected, strict=True)) if a != b)
                raise SlabError(f"{what} was written at byte {at} after it was freed; {self._last(address)}")

    def _last(self, address: int) -> str:
        return self.callers.get(address, "it was never allocated")

    def _allocate_verified(self, caller: str) -> int:
        address = self._take(0) << 3
        self._inspect(address, _FREE_TAG, "allocated")
        self._guard(address, _GIVEN_TAG, _UNSET)
        self.callers[address] = f"last allocated by {caller}"
        return address

    # -- upkeep ---------------------------------------------------------------------------------------------------

    def reap(self, frames: int = 1 << 30) -> int:
        """Empties the magazines and gives slabs without objects back, until `frames` frames are free; returns how many are."""
        words, s = self.pfns.words, self.state
        for base in range(k.MAGAZINES, len(s), k.MAGAZINE_WORDS):
            k.spill(words, self.ram.link, s, base, s[base + k.COUNT])
        done = 0
        while done < frames and s[k.EMPTY]:
            slab = s[k.EMPTY]
            k.reap(words, self.physical.buddy.segment_of(slab).zone, s, 1)
            done += 1 << s[k.ORDER]
        self.pfns.counts[State.FREE] += done
        self.pfns.counts[State.ACTIVE] -= done
        return done

    @property
    def objects(self) -> int:
        """Objects that callers have."""
        s = self.state
        return s[k.OUT] - sum(s[base + k.COUNT] for base in range(k.MAGAZINES, len(s), k.MAGAZINE_WORDS))

    def statistics(self) -> dict[str, int]:
        """Sizes in bytes, counts of slabs and objects, memory in bytes."""
        s = self.state
        slab = PAGE_SIZE << s[k.ORDER]
        return {
            "object_size": self.size,
            "buffer_size": self.buffer,
            "slab_size": slab,
            "objects_per_slab": s[k.PER],
            "colours": s[k.COLOURS],
            "slabs": s[k.SLABS],
            "empty_slabs": s[k.EMPTIES],
            "objects": self.objects,
            "capacity": s[k.SLABS] * s[k.PER],
            "memory": s[k.SLABS] * slab,
            "reclaimable": s[k.EMPTIES] * slab,
        }

    def check(self) -> None:
        """Every slab is on the list where it belongs, its free list has as many objects as it says, and the counts add up."""
        words, link, s, table = self.pfns.words, self.ram.link, self.state, self.pfns.table
        heads = np.flatnonzero((table[:, HOLDER] == self.holder) & (table[:, USE] >= 0)).tolist()
        listed: dict[int, int] = {}
        for which in (k.PARTIAL, k.EMPTY):
            slab = s[which]
            while slab:
                assert slab not in listed, f"cache {self.name}: a list of slabs loops"
                listed[slab] = which
                slab = words[slab * WORDS + NEXT]
        out = 0
        for slab in heads:
            use = words[slab * WORDS + USE]
            expected = {0: k.EMPTY, s[k.PER]: 0}.get(use >> 16, k.PARTIAL)
            assert listed.pop(slab, 0) == expected, f"cache {self.name}: slab {slab:#x} is on the wrong list"
            seen, index = set(), use & 0xFFFF
            while index:
                assert index not in seen and index <= s[k.PER], f"cache {self.name}: the free list of slab {slab:#x} is damaged"
                seen.add(index)
                index = link[self._addresses(slab)[index - 1] + s[k.LINK_AT] >> 2]
            assert len(seen) + (use >> 16) == s[k.PER]
            out += use >> 16
        assert not listed and out == s[k.OUT] and len(heads) == s[k.SLABS], f"cache {self.name}: slabs and counts disagree"
        assert int((table[:, HOLDER] == self.holder).sum()) == len(heads) << s[k.ORDER]


class SlabCaches:
    """All caches of a machine."""

    def __init__(self, physical: PhysicalMemory, cpus: int = 1) -> None:
        self.physical = physical
        self.cpus = cpus
        self.caches: dict[str, SlabCache] = {}

    def create(self, name: str, size: int, align: int = 8, constructor: Constructor | None = None, verify: bool = False) -> SlabCache:
        """A new cache. StatusError OBJECT_NAME_COLLISION for a name that is taken, INVALID_PARAMETER for a size that cannot be."""
        if name in self.caches:
            raise StatusError(Status.OBJECT_NAME_COLLISION, f"a slab cache called {name} is there already")
        cache = self.caches[name] = SlabCache(self.physical, name, size, align, constructor, verify, self.cpus)
        return cache

    def destroy(self, name: str) -> None:
        """Ends a cache. StatusError DEVICE_BUSY, with the count, while objects are allocated."""
        cache = self.caches[name]
        if cache.objects:
            raise StatusError(Status.DEVICE_BUSY, f"cache {name}: {cache.objects} objects are still allocated")
        cache.reap()
        del self.caches[name]

    def reap(self, frames: int) -> int:
        """Gives back about `frames` frames of empty slabs; returns how many. Pageout calls it when memory is short."""
        done = 0
        for cache in self.caches.values():
            if done < frames:
                done += cache.reap(frames - done)
        return done

    def slabinfo(self) -> list[str]:
        """The table of GNU Mach's slabinfo."""
        lines = [f"{'cache':<20}{'flags':>6}{'obj':>7}{'slab':>7}{'bufs':>6}{'objs':>9}{'bufs':>9}{'memory':>10}{'reclaim':>10}"]
        lines.append(f"{'name':<20}{'':>6}{'size':>7}{'size':>7}{'/slab':>6}{'used':>9}{'count':>9}{'total':>10}{'able':>10}")
        total = reclaimable = 0
        for cache in self.caches.values():
            s = cache.statistics()
            flags = ("V" if cache.verify else "") + ("C" if cache.constructor else "") or "-"
            sizes = f"{s['object_size']:>7}{s['slab_size'] >> 10:>6}k{s['objects_per_slab']:>6}{s['objects']:>9}{s['capacity']:>9}"
            lines.append(f"{cache.name:<20}{flags:>6}{sizes}{s['memory'] >> 10:>9}k{s['reclaimable'] >> 10:>9}k")
            total += s["memory"] >> 10
            reclaimable += s["reclaimable"] >> 10
        lines.append(f"total: {total}k, reclaimable: {reclaimable}k")
        return lines

    def check(self) -> None:
        """Every cache is right."""
        for cache in self.caches.values():
            cache.check()
