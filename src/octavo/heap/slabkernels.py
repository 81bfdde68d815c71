"""The slab allocator's algorithm, as kernels: objects of one size in blocks of frames, with a
magazine for each CPU.

`words` is the PFN database, `zone` the state of the zone that slabs come from, `link` RAM as int32,
`cache` one cache's state. An object is named by its granule: its physical address / 8.

    cache   0 LOCK       1 SIZE of a buffer, bytes    2 ORDER of a slab     3 PER slab, objects
            4 COLOURS    5 STEP, bytes                6 COLOUR  next slab's
            7 PARTIAL,   8 EMPTY  lists of slabs: some objects out, none out
            9 SLABS     10 EMPTIES                   11 OUT, objects that slabs have given
           12 HOLDER    13 LINK_AT                   14 PRIVILEGED  may use the zone's reserve
           16 ...  magazines, MAGAZINE_WORDS each:
                     0 COUNT   1 CAPACITY   2 TRANSFER   3 FILLS   16 ... granules

A slab's descriptor is the PFN entry of its first frame, so that it costs no memory and is found
from any address at once:

    NEXT, PREV   neighbours on PARTIAL or EMPTY (a slab with every object out is on neither)
    PTE          colour, bytes
    USE          objects out << 16 | first free object + 1
    HOLDER       the cache's number

The other frames of a slab have USE = -(frames to the first one). The free objects of a slab form a
list through one int32 in each, at byte LINK_AT of its buffer: in its last bytes, or behind it where
a constructor has set up all of it.

Source: Bonwick 1994; Bonwick and Adams 2001 (magazines); GNU Mach's kern/slab.c (capacities by
size, half transferred). Departures: descriptors are PFN entries, neither on nor off the slab, where
GNU Mach embeds them below 512 bytes and keeps a red-black tree for large ones.
"""

from __future__ import annotations

from octavo.machine.abi import HOLDER as HOLDER_WORD
from octavo.machine.abi import IS_ACTIVE, IS_FREE, NEXT, PAGE_SHIFT, PREV, PTE, STATE, USE, WORDS
from octavo.machine.kernels import Ints, kernel, lock, unlock
from octavo.memory.frames.buddykernels import FREE, MIN, release, take_block
from octavo.memory.frames.buddykernels import LOCK as ZONE_LOCK

(
    LOCK,
    SIZE,
    ORDER,
    PER,
    COLOURS,
    STEP,
    COLOUR,
    PARTIAL,
    EMPTY,
    SLABS,
    EMPTIES,
    OUT,
    HOLDER,
    LINK_AT,
    PRIVILEGED,
) = range(15)
MAGAZINES = 16
COUNT, CAPACITY, TRANSFER, FILLS = range(4)
ROUNDS = 16
MOST_ROUNDS = 128
MAGAZINE_WORDS = ROUNDS + MOST_ROUNDS


@kernel
def link_slab(words: Ints, cache: Ints, which: int, slab: int) -> None:
    """Puts a slab at the head of a list."""
    head = cache[which]
    words[slab * WORDS + NEXT] = head
    words[slab * WORDS + PREV] = 0
    if head:
        words[head * WORDS + PREV] = slab
    cache[which] = slab


@kernel
def unlink_slab(words: Ints, cache: Ints, which: int, slab: int) -> None:
    """Takes a slab off a list."""
    after, before = words[slab * WORDS + NEXT], words[slab * WORDS + PREV]
    if before:
        words[before * WORDS + NEXT] = after
    else:
        cache[which] = after
    if after:
        words[after * WORDS + PREV] = before
    words[slab * WORDS + NEXT] = 0
    words[slab * WORDS + PREV] = 0


@kernel
def grow(words: Ints, zone: Ints, link: Ints, cache: Ints) -> int:
    """Makes an empty slab; returns its first frame, 0 when the zone has none above its
    watermark.
    """
    order = cache[ORDER]
    lock(zone, ZONE_LOCK)
    slab = 0
    if cache[PRIVILEGED] or zone[FREE] - (1 << order) >= zone[MIN]:
        slab = take_block(words, zone, order)
    unlock(zone, ZONE_LOCK)
    if slab == 0:
        return 0
    colour = cache[COLOUR] * cache[STEP]
    cache[COLOUR] = (cache[COLOUR] + 1) % cache[COLOURS]
    for i in range(1 << order):
        at = (slab + i) * WORDS
        words[at + STATE] = IS_ACTIVE
        words[at + USE] = -i
        words[at + HOLDER_WORD] = cache[HOLDER]
    words[slab * WORDS + PTE] = colour
    words[slab * WORDS + USE] = 1
    size, per = cache[SIZE], cache[PER]
    place = (slab << PAGE_SHIFT) + colour + cache[LINK_AT] >> 2
    for i in range(per):
        link[place] = i + 2 if i + 1 < per else 0
        place += size >> 2
    link_slab(words, cache, EMPTY, slab)
    cache[SLABS] += 1
    cache[EMPTIES] += 1
    return slab


@kernel
def slab_of(words: Ints, granule: int) -> int:
    """The first frame of the slab that an object is in."""
    frame = granule >> 9
    use = words[frame * WORDS + USE]
    return frame + use if use < 0 else frame


@kernel
def pop_object(words: Ints, zone: Ints, link: Ints, cache: Ints) -> int:
    """One object out of a slab, the cache being locked; 0 without memory for another slab."""
    slab = cache[PARTIAL]
    if slab == 0:
        slab = cache[EMPTY]
        if slab == 0:
            slab = grow(words, zone, link, cache)
            if slab == 0:
                return 0
        unlink_slab(words, cache, EMPTY, slab)
        cache[EMPTIES] -= 1
        link_slab(words, cache, PARTIAL, slab)
    at = slab * WORDS
    use = words[at + USE]
    index = (use & 0xFFFF) - 1
    start = (slab << PAGE_SHIFT) + words[at + PTE] + index * cache[SIZE]
    after = link[start + cache[LINK_AT] >> 2]
    out = (use >> 16) + 1
    words[at + USE] = out << 16 | after
    if out == cache[PER]:
        unlink_slab(words, cache, PARTIAL, slab)
    cache[OUT] += 1
    return start >> 3


@kernel
def push_object(words: Ints, link: Ints, cache: Ints, granule: int) -> None:
    """Puts an object back into its slab, the cache being locked."""
    slab = slab_of(words, granule)
    at = slab * WORDS
    start = granule << 3
    use = words[at + USE]
    out = use >> 16
    link[start + cache[LINK_AT] >> 2] = use & 0xFFFF
    words[at + USE] = (
        out - 1 << 16 | (start - (slab << PAGE_SHIFT) - words[at + PTE]) // cache[SIZE] + 1
    )
    if out == cache[PER]:
        link_slab(words, cache, PARTIAL, slab)
    if out == 1:
        unlink_slab(words, cache, PARTIAL, slab)
        link_slab(words, cache, EMPTY, slab)
        cache[EMPTIES] += 1
    cache[OUT] -= 1


@kernel
def fill(words: Ints, zone: Ints, link: Ints, cache: Ints, base: int) -> int:
    """Fills an empty magazine; returns the number of objects in it."""
    lock(cache, LOCK)
    count = 0
    while count < cache[base + TRANSFER]:
        granule = pop_object(words, zone, link, cache)
        if granule == 0:
            break
        cache[base + ROUNDS + count] = granule
        count += 1
    unlock(cache, LOCK)
    cache[base + COUNT] = count
    cache[base + FILLS] += 1
    return count


@kernel
def spill(words: Ints, link: Ints, cache: Ints, base: int, count: int) -> None:
    """Puts the `count` objects that came first into a magazine back into their slabs."""
    lock(cache, LOCK)
    for i in range(count):
        push_object(words, link, cache, cache[base + ROUNDS + i])
    unlock(cache, LOCK)
    left = cache[base + COUNT] - count
    for i in range(left):
        cache[base + ROUNDS + i] = cache[base + ROUNDS + count + i]
    cache[base + COUNT] = left


@kernel
def take_object(words: Ints, zone: Ints, link: Ints, cache: Ints, cpu: int) -> int:
    """One object for a CPU; 0 when there is no memory."""
    base = MAGAZINES + cpu * MAGAZINE_WORDS
    count = cache[base + COUNT]
    if count == 0:
        count = fill(words, zone, link, cache, base)
        if count == 0:
            return 0
    count -= 1
    cache[base + COUNT] = count
    return cache[base + ROUNDS + count]


@kernel
def free_object(words: Ints, link: Ints, cache: Ints, cpu: int, granule: int) -> None:
    """Gives an object back, on any CPU."""
    base = MAGAZINES + cpu * MAGAZINE_WORDS
    count = cache[base + COUNT]
    if count == cache[base + CAPACITY]:
        spill(words, link, cache, base, cache[base + TRANSFER])
        count = cache[base + COUNT]
    cache[base + ROUNDS + count] = granule
    cache[base + COUNT] = count + 1


@kernel
def reap(words: Ints, zone: Ints, cache: Ints, most: int) -> int:
    """Gives up to `most` empty slabs back to the zone; returns how many."""
    lock(cache, LOCK)
    done = 0
    while done < most and cache[EMPTY]:
        slab = cache[EMPTY]
        unlink_slab(words, cache, EMPTY, slab)
        count = 1 << cache[ORDER]
        for frame in range(slab, slab + count):
            at = frame * WORDS
            words[at + STATE] = IS_FREE
            words[at + PTE] = 0
            words[at + USE] = 0
            words[at + HOLDER_WORD] = 0
        lock(zone, ZONE_LOCK)
        release(words, zone, slab, count)
        unlock(zone, ZONE_LOCK)
        cache[SLABS] -= 1
        cache[EMPTIES] -= 1
        done += 1
    unlock(cache, LOCK)
    return done
