"""Kernels that only the stress tests and the benchmark of SMP use: one virtual CPU's work, to be
run on a host thread of its own.
"""

from __future__ import annotations

from octavo.heap.slabkernels import free_object, take_object
from octavo.machine.kernels import Ints, kernel
from octavo.memory.frames.pagepools import free_page, take_page


@kernel
def page_worker(
    words: Ints, zone: Ints, cpus: Ints, cpu: int, mine: Ints, owner: Ints, steps: int, seed: int
) -> int:
    """Takes and frees frames at random, `mine` holds what it has (0: empty slot); `owner[frame]`
    catches a frame that two have.

    Returns the number of frames that it holds at the end; -1 - frame when one was given twice.
    """
    held = 0
    state = seed
    for _ in range(steps):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        slot = (state >> 8) % len(mine)
        if mine[slot]:
            frame = mine[slot]
            if owner[frame] != cpu + 1:
                return -1 - frame
            owner[frame] = 0
            free_page(words, zone, cpus, cpu, frame)
            mine[slot] = 0
            held -= 1
        else:
            frame = take_page(words, zone, cpus, cpu, 1)
            if frame:
                if owner[frame] != 0:
                    return -1 - frame
                owner[frame] = cpu + 1
                mine[slot] = frame
                held += 1
    return held


@kernel
def object_worker(
    words: Ints,
    zone: Ints,
    link: Ints,
    cache: Ints,
    cpu: int,
    mine: Ints,
    owner: Ints,
    steps: int,
    seed: int,
) -> int:
    """As `page_worker`, with objects of a slab cache, by their granules."""
    held = 0
    state = seed
    for _ in range(steps):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        slot = (state >> 8) % len(mine)
        if mine[slot]:
            granule = mine[slot]
            if owner[granule] != cpu + 1:
                return -1 - granule
            owner[granule] = 0
            free_object(words, link, cache, cpu, granule)
            mine[slot] = 0
            held -= 1
        else:
            granule = take_object(words, zone, link, cache, cpu)
            if granule:
                if owner[granule] != 0:
                    return -1 - granule
                owner[granule] = cpu + 1
                mine[slot] = granule
                held += 1
    return held
