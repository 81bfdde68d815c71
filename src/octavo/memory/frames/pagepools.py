"""Per-processor pools of single frames in front of a zone's buddy allocator, as kernels.

Each virtual CPU has a stack of free frames. Taking and freeing one frame touches only that stack;
when it is empty or full, half of it moves from or to the buddy allocator under the zone's lock.
`cpus` holds POOL_WORDS int32 for each CPU, so that no two share a cache line:

    0 COUNT  frames in the pool     1 SIZE  its capacity     2 TRANSFER  frames moved at once
    3 TAKEN  frames taken less frames freed on this CPU since `settle`
    4 REFILLS  times that the lock was taken
    16 ...   the frames, the last freed on top

A frame in a pool is in state POOLED: it is not free to the buddy allocator, and nobody has it.

Source: GNU Mach's vm_page CPU pools (size = pages / 1024 within 1 to 128, half of it transferred).
Departures: frames that move back go as they lie, without sorting; the watermark is checked when a
pool is refilled, not for each frame.
"""

from __future__ import annotations

from octavo.machine.abi import IS_ACTIVE, IS_FREE, IS_POOLED, STATE, WORDS
from octavo.machine.kernels import Ints, kernel, lock, unlock
from octavo.memory.frames.buddykernels import FREE, LOCK, MIN, release, take_block

COUNT, SIZE, TRANSFER, TAKEN, REFILLS = range(5)
SLOTS = 16
MOST_POOLED = 128
POOL_WORDS = SLOTS + MOST_POOLED


@kernel
def refill(words: Ints, zone: Ints, cpus: Ints, base: int, privileged: int) -> int:
    """Moves frames from the buddy allocator to an empty pool; returns how many."""
    lock(zone, LOCK)
    have = zone[FREE] if privileged else zone[FREE] - zone[MIN]
    count = 0
    while count < cpus[base + TRANSFER] and count < have:
        frame = take_block(words, zone, 0)
        words[frame * WORDS + STATE] = IS_POOLED
        cpus[base + SLOTS + count] = frame
        count += 1
    unlock(zone, LOCK)
    cpus[base + COUNT] = count
    cpus[base + REFILLS] += 1
    return count


@kernel
def drain(words: Ints, zone: Ints, cpus: Ints, base: int, count: int) -> None:
    """Moves the `count` frames that were freed first from a pool to the buddy allocator."""
    left = cpus[base + COUNT] - count
    lock(zone, LOCK)
    for i in range(count):
        frame = cpus[base + SLOTS + i]
        words[frame * WORDS + STATE] = IS_FREE
        release(words, zone, frame, 1)
    unlock(zone, LOCK)
    for i in range(left):
        cpus[base + SLOTS + i] = cpus[base + SLOTS + count + i]
    cpus[base + COUNT] = left
    cpus[base + REFILLS] += 1


@kernel
def take_page(words: Ints, zone: Ints, cpus: Ints, cpu: int, privileged: int) -> int:
    """One frame for a CPU, active; 0 when there is none above the watermark."""
    base = cpu * POOL_WORDS
    count = cpus[base + COUNT]
    if count == 0:
        count = refill(words, zone, cpus, base, privileged)
        if count == 0:
            return 0
    count -= 1
    frame = cpus[base + SLOTS + count]
    cpus[base + COUNT] = count
    cpus[base + TAKEN] += 1
    words[frame * WORDS + STATE] = IS_ACTIVE
    return frame


@kernel
def free_page(words: Ints, zone: Ints, cpus: Ints, cpu: int, frame: int) -> None:
    """Gives one active frame back, on any CPU."""
    base = cpu * POOL_WORDS
    if cpus[base + COUNT] == cpus[base + SIZE]:
        drain(words, zone, cpus, base, cpus[base + TRANSFER])
    count = cpus[base + COUNT]
    cpus[base + SLOTS + count] = frame
    cpus[base + COUNT] = count + 1
    cpus[base + TAKEN] -= 1
    words[frame * WORDS + STATE] = IS_POOLED
