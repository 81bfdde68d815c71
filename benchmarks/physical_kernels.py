"""The workloads of `benchmarks/physical.py`, as kernels: each is one call for many operations, and
returns a checksum.

`physical.c` has the same in C, over the same arrays.
"""

from __future__ import annotations

from octavo.heap.slabkernels import free_object, take_object
from octavo.machine.abi import WORDS
from octavo.machine.kernels import Ints, kernel
from octavo.memory.frames.buddykernels import FREE, ORDER, release, take_block
from octavo.memory.frames.pagepools import free_page, take_page


@kernel
def page_pairs(words: Ints, zone: Ints, cpus: Ints, count: int) -> int:
    """One frame taken and freed, through a CPU's pool."""
    total = 0
    for _ in range(count):
        frame = take_page(words, zone, cpus, 0, 1)
        total += frame
        free_page(words, zone, cpus, 0, frame)
    return total


@kernel
def page_batches(words: Ints, zone: Ints, cpus: Ints, held: Ints, rounds: int) -> int:
    """All of `held` taken, then all freed: pools are filled and emptied all the time."""
    total = 0
    for _ in range(rounds):
        for i in range(len(held)):
            held[i] = take_page(words, zone, cpus, 0, 1)
            total += held[i]
        for i in range(len(held)):
            free_page(words, zone, cpus, 0, held[i])
    return total


@kernel
def mixed(words: Ints, zone: Ints, first: Ints, orders: Ints, count: int, seed: int) -> int:
    """Blocks of orders 0 to 6, small ones more often, taken and freed at random places of a
    table.
    """
    total = 0
    state = seed
    slots = len(first)
    for _ in range(count):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        slot = (state >> 12) % slots
        if first[slot]:
            release(words, zone, first[slot], 1 << orders[slot])
            first[slot] = 0
        else:
            order = 0
            while order < 6 and (state >> order) & 1:
                order += 1
            frame = take_block(words, zone, order)
            first[slot] = frame
            orders[slot] = order
            total += frame
    return total


@kernel
def object_pairs(words: Ints, zone: Ints, link: Ints, cache: Ints, count: int) -> int:
    """One object taken and freed, through a magazine."""
    total = 0
    for _ in range(count):
        granule = take_object(words, zone, link, cache, 0)
        total += granule
        free_object(words, link, cache, 0, granule)
    return total


@kernel
def object_batches(
    words: Ints, zone: Ints, link: Ints, cache: Ints, held: Ints, rounds: int
) -> int:
    """All of `held` taken, then all freed."""
    total = 0
    for _ in range(rounds):
        for i in range(len(held)):
            held[i] = take_object(words, zone, link, cache, 0)
            total += held[i]
        for i in range(len(held)):
            free_object(words, link, cache, 0, held[i])
    return total


@kernel
def take_objects(words: Ints, zone: Ints, link: Ints, cache: Ints, held: Ints) -> int:
    """An object into every element of `held`; returns how many there were."""
    count = 0
    for i in range(len(held)):
        held[i] = take_object(words, zone, link, cache, 0)
        count += held[i] != 0
    return count


@kernel
def churn(
    words: Ints, zone: Ints, first: Ints, orders: Ints, count: int, least: int, seed: int
) -> int:
    """A day: memory kept nearly full, one in 64 of the allocations long-lived, the others replaced
    at random. Returns failures above order 0.
    """
    failures = 0
    state = seed
    slots = len(first)
    for step in range(count):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        slot = (state >> 8) % slots
        if slot % 64 == 0 and first[slot] and step % 16:
            continue
        if first[slot]:
            release(words, zone, first[slot], 1 << orders[slot])
            first[slot] = 0
        order = 0
        while order < 4 and (state >> (2 * order)) & 3 == 3:
            order += 1
        if zone[FREE] < least:
            continue
        frame = take_block(words, zone, order)
        if frame == 0 and order:
            failures += 1
        first[slot] = frame
        orders[slot] = order
    return failures + 0 * (zone[ORDER] + words[WORDS])
