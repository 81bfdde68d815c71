"""What a slab cache has: where its objects lie, which of them are free, and whether all that is
right.

Nothing here allocates or frees; `octavo.heap.slab` does. The state that is read is that of
`octavo.heap.slabkernels`.

An object that is free has a mark in its first word, or, where there are no magazines, one that is
given has a mark in its link. So an object that is freed twice is told at once. The mark of a free
one is no proof, since its owner may have written it: it only says that it is worth while to look
through magazines and slabs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from octavo.arguments import hexed, invalid, named, shown, whole
from octavo.heap import slabkernels as k
from octavo.heap.slabguards import FREE_TAG, GIVEN_TAG, Guards, SlabError
from octavo.machine.abi import HOLDER, PAGE_SHIFT, PAGE_SIZE, USE
from octavo.memory.frames.physical import PhysicalMemory

if TYPE_CHECKING:
    from octavo.statistics import SlabStatistics

LARGEST = 128 << 10
MOST_PER_SLAB = 0xFFFE
FREED, GIVEN = (
    0xDEADBEEF,
    -1,
)  # marks: in the first word of what is free, in the link of what is given

Constructor = Callable[[memoryview], None]


class SlabContents:
    """The slabs and magazines of one cache."""

    def __init__(
        self,
        physical: PhysicalMemory,
        name: str,
        size: int,
        align: int,
        constructor: Constructor | None,
        verify: bool,
        cpus: int,
    ) -> None:
        named(name, "the name of a slab cache")
        fits = 0 < whole(size, f"cache {name}: the size of an object") <= LARGEST
        if (
            not fits
            or whole(align, f"cache {name}: an alignment") < 8
            or align & (align - 1)
            or align > PAGE_SIZE
        ):
            what = f"objects of {shown(size)} bytes aligned to {shown(align)}"
            text = (
                f"cache {name}: {what} are not possible: at most {LARGEST} bytes, and a power "
                f"of two from 8 to {PAGE_SIZE}"
            )
            raise invalid(text)
        if constructor is not None and not callable(constructor):
            raise invalid(f"cache {name}: {shown(constructor)} is no constructor")
        self.physical, self.pfns, self.ram = physical, physical.pfns, physical.ram
        self.bytes, self.last = physical.ram.bytes, len(physical.ram.bytes) - size
        self.name, self.size, self.constructor = name, size, constructor
        self.guards = (
            Guards(physical.ram, name, size, align, constructor is not None) if verify else None
        )
        self.direct = verify or constructor is not None  # no magazines
        room = -(-size // 4) * 4 + (4 if constructor else 0)
        self.buffer = self.guards.buffer if self.guards else -(-max(room, 8) // align) * align
        self.offset = self.guards.before if self.guards else 0  # of an object in its buffer
        self.holder = self.pfns.new_holder(f"slab {name}")
        self.array = np.zeros(k.MAGAZINES + cpus * k.MAGAZINE_WORDS, np.int32)
        self.state = memoryview(self.array.data)
        self.cpus = cpus
        self._shape(align)
        self.zones = physical.buddy.reaching("DIRECTMAP") or physical.buddy.zones[::-1]

    def _shape(self, align: int) -> None:
        """Chooses the smallest slab that wastes at most an eighth."""
        order = 0
        while self.buffer > PAGE_SIZE << order or (
            (PAGE_SIZE << order) % self.buffer > PAGE_SIZE << order >> 3 and order < 3
        ):
            order += 1
        per = min((PAGE_SIZE << order) // self.buffer, MOST_PER_SLAB)
        slack = (PAGE_SIZE << order) - per * self.buffer
        capacity = (
            1
            if self.buffer > 32768
            else 8
            if self.buffer > 4096
            else 64
            if self.buffer > 256
            else 128
        )
        s = self.state
        s[k.SIZE], s[k.ORDER], s[k.PER], s[k.HOLDER] = self.buffer, order, per, self.holder
        s[k.COLOURS], s[k.STEP] = slack // align + 1, align
        s[k.LINK_AT] = self.buffer - 4
        for base in range(k.MAGAZINES, len(s), k.MAGAZINE_WORDS):
            s[base + k.CAPACITY], s[base + k.TRANSFER] = capacity, (capacity + 1) // 2

    @property
    def verify(self) -> bool:
        """True for a cache that looks for mistakes."""
        return self.guards is not None

    def addresses(self, slab: int) -> range:
        """Of the objects of a slab."""
        start = (slab << PAGE_SHIFT) + self.pfns.pte[slab] + self.offset
        return range(start, start + self.state[k.PER] * self.buffer, self.buffer)

    def refuse_stranger(self, address: int) -> None:
        """SlabError for an address at which no object of the cache begins."""
        pfns, frame = self.pfns, address >> PAGE_SHIFT if type(address) is int else 0
        if not 0 < frame < self.pfns.frames or pfns.holder[frame] != self.holder:
            whole(address, f"cache {self.name}: the address of an object")
            holder = self.pfns.holders[pfns.holder[frame]] if 0 < frame < self.pfns.frames else ""
            whose = f": its frame is held by {holder}" if holder else ""
            raise SlabError(
                f"cache {self.name}: {hexed(address)} is freed and lies in none of its slabs{whose}"
            )
        use = pfns.use[frame]
        slab = frame + use if use < 0 else frame
        at = address - (slab << PAGE_SHIFT) - pfns.pte[slab] - self.offset
        if at % self.buffer or not 0 <= at < self.state[k.PER] * self.buffer:
            raise SlabError(
                f"cache {self.name}: {address:#x} is freed and is not the beginning of an object"
            )

    def refuse_unmarked(self, address: int) -> None:
        """SlabError for an object of a cache without magazines whose link has no mark, as that of
        one that is given has.
        """
        if self.ram.link[address - self.offset + self.state[k.LINK_AT] >> 2] != GIVEN:
            wrong = "is freed twice" if self.is_free(address) else "was written past its end"
            raise SlabError(f"cache {self.name}: the object at {address:#x} {wrong}")

    def inspect_next(self, slab: int) -> None:
        """SlabError when the guards of the object that a slab gives next are damaged, or its link
        to the one after it.
        """
        address = self.addresses(slab)[(self.pfns.use[slab] & 0xFFFF) - 1]
        if self.guards:
            self.guards.inspect(address, FREE_TAG)
        if (
            not 0
            <= self.ram.link[address - self.offset + self.state[k.LINK_AT] >> 2]
            <= self.state[k.PER]
        ):
            raise self._damaged(slab)

    def _damaged(self, slab: int) -> SlabError:
        what = "something was written beside an object, or after it was freed"
        return SlabError(f"cache {self.name}: the free list of slab {slab:#x} is damaged: {what}")

    def is_free(self, address: int) -> bool:
        """True for an object that is in a magazine or on its slab's free list."""
        slab = k.slab_of(self.pfns.words, address >> 3)
        return address in self._in_magazines() or address in self._free_in(slab)

    def _in_magazines(self) -> list[int]:
        """Addresses of the objects in all magazines."""
        s = self.state
        bases = range(k.MAGAZINES, len(s), k.MAGAZINE_WORDS)
        parts = [s[base + k.ROUNDS : base + k.ROUNDS + s[base + k.COUNT]] for base in bases]
        return [granule << 3 for part in parts for granule in part.tolist()]

    def _free_in(self, slab: int) -> set[int]:
        """Addresses of the objects on a slab's free list. SlabError when it is damaged."""
        link, addresses, link_at = (
            self.ram.link,
            self.addresses(slab),
            self.state[k.LINK_AT] - self.offset,
        )
        use = self.pfns.use[slab]
        found: set[int] = set()
        index = use & 0xFFFF
        while index:
            if not 0 < index <= len(addresses) or addresses[index - 1] in found:
                raise self._damaged(slab)
            found.add(addresses[index - 1])
            index = link[addresses[index - 1] + link_at >> 2]
        if len(found) != len(addresses) - (use >> 16):
            counts = (
                f"{len(found)} objects are on its free list and {use >> 16} of "
                f"{len(addresses)} were given"
            )
            why = "one was freed twice, or written after it was freed"
            raise SlabError(f"cache {self.name}: slab {slab:#x} is damaged: {counts}: {why}")
        return found

    @property
    def objects(self) -> int:
        """Objects that callers have."""
        s = self.state
        return s[k.OUT] - sum(
            s[base + k.COUNT] for base in range(k.MAGAZINES, len(s), k.MAGAZINE_WORDS)
        )

    def statistics(self) -> SlabStatistics:
        """Sizes in bytes, counts of slabs and objects, memory in bytes."""
        from octavo.statistics import SlabStatistics

        s = self.state
        slab = PAGE_SIZE << s[k.ORDER]
        return SlabStatistics(
            object_size=self.size,
            buffer_size=self.buffer,
            slab_size=slab,
            objects_per_slab=s[k.PER],
            colours=s[k.COLOURS],
            slabs=s[k.SLABS],
            empty_slabs=s[k.EMPTIES],
            objects=self.objects,
            capacity=s[k.SLABS] * s[k.PER],
            memory=s[k.SLABS] * slab,
            reclaimable=s[k.EMPTIES] * slab,
        )

    def check(self) -> None:
        """Every slab is on the list where it belongs, and its free list has as many objects as it
        says.

        No object is free twice, and the guards of all are right (SlabError, by name).
        """
        pfns, s, table = self.pfns, self.state, self.pfns.table
        heads = np.flatnonzero((table[:, HOLDER] == self.holder) & (table[:, USE] >= 0)).tolist()
        listed = self._listed()
        free, out = self._in_magazines(), 0
        for slab in heads:
            use = pfns.use[slab]
            expected = {0: k.EMPTY, s[k.PER]: 0}.get(use >> 16, k.PARTIAL)
            assert listed.pop(slab, 0) == expected, (
                f"cache {self.name}: slab {slab:#x} is on the wrong list"
            )
            here = self._free_in(slab)
            for address in self.addresses(slab) if self.direct else ():
                self._check_object(address, address in here)
            free += here
            out += use >> 16
        twice = next((a for a, count in Counter(free).items() if count > 1), 0)
        assert not twice, f"cache {self.name}: the object at {twice:#x} is freed twice"
        counted = (
            f"{len(heads)} slabs have given {out} objects, and {s[k.SLABS]} and {s[k.OUT]} "
            "are counted"
        )
        assert not listed and out == s[k.OUT] and len(heads) == s[k.SLABS], (
            f"cache {self.name}: {counted}: an object was freed twice"
        )
        held = int(np.count_nonzero(table[:, HOLDER] == self.holder))
        assert held == len(heads) << s[k.ORDER], (
            f"cache {self.name}: {held} frames are held for {len(heads)} slabs"
        )

    def _listed(self) -> dict[int, int]:
        """Slab -> which list it is on."""
        listed: dict[int, int] = {}
        for which in (k.PARTIAL, k.EMPTY):
            slab = self.state[which]
            while slab:
                assert slab not in listed, f"cache {self.name}: a list of slabs loops"
                listed[slab] = which
                slab = self.pfns.next[slab]
        return listed

    def _check_object(self, address: int, free: bool) -> None:
        if self.guards:
            self.guards.inspect(address, FREE_TAG if free else GIVEN_TAG)
        if not free:
            self.refuse_unmarked(address)
