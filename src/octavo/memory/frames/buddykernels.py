"""The buddy allocator's algorithm, as kernels over the PFN database and one zone's state.

`words` is the PFN database (int32, WORDS an entry). `zone` is one zone's state, int32:

    0 FREE     free frames              1 ORDER  largest order
    2 FIRST, 3 END              the zone's frames
    4 LOCK     taken by other processors in SMP
    5 MIN, 6 LOW, 7 HIGH        watermarks
    8 + k      HEADS: the first free block of order k, 0 for none
    40 + k     BLOCKS: how many free blocks of order k there are

A free block's first entry holds its order in word ORDER and its neighbours on the list in NEXT and
PREV; every other entry has -1 there. Lists are last in, first out: the frame that was just freed is
in the processor's cache.

These functions run in the interpreter on memoryviews, one call at a time, and compiled by Numba on
arrays, in batches (`octavo.machine.kernels`). Frames are returned as 0 for "none": frame 0 is never
in a zone.

Source: Knowlton 1965; GNU Mach's vm_page (buddies by XOR, orders 0 to 10).
"""

from __future__ import annotations

from octavo.machine.abi import NEXT, PREV, WORDS
from octavo.machine.abi import ORDER as BLOCK_ORDER
from octavo.machine.kernels import Ints, kernel

FREE, ORDER, FIRST, END, LOCK, MIN, LOW, HIGH = range(8)
HEADS = 8
BLOCKS = 40
ZONE_WORDS = 72
MOST_ORDER = 30


@kernel
def insert(words: Ints, zone: Ints, first: int, order: int) -> None:
    """Puts a block at the head of its order's list."""
    at = first * WORDS
    head = zone[HEADS + order]
    words[at + BLOCK_ORDER] = order
    words[at + NEXT] = head
    words[at + PREV] = 0
    if head:
        words[head * WORDS + PREV] = first
    zone[HEADS + order] = first
    zone[BLOCKS + order] += 1


@kernel
def unlink(words: Ints, zone: Ints, first: int, order: int) -> None:
    """Takes a block off its order's list."""
    at = first * WORDS
    after, before = words[at + NEXT], words[at + PREV]
    if before:
        words[before * WORDS + NEXT] = after
    else:
        zone[HEADS + order] = after
    if after:
        words[after * WORDS + PREV] = before
    words[at + BLOCK_ORDER] = -1
    zone[BLOCKS + order] -= 1


@kernel
def merge(words: Ints, zone: Ints, first: int, order: int) -> None:
    """Frees one aligned block: joins it with its buddy as long as that one is free and whole."""
    most, start, end = zone[ORDER], zone[FIRST], zone[END]
    while order < most:
        buddy = first ^ (1 << order)
        if buddy < start or buddy >= end or words[buddy * WORDS + BLOCK_ORDER] != order:
            break
        unlink(words, zone, buddy, order)
        if buddy < first:
            first = buddy
        order += 1
    insert(words, zone, first, order)


@kernel
def release(words: Ints, zone: Ints, first: int, count: int) -> None:
    """Frees any run: cuts it into aligned blocks and merges each."""
    zone[FREE] += count
    most = zone[ORDER]
    while count:
        order = 0
        while order < most and not first >> order & 1 and 2 << order <= count:
            order += 1
        merge(words, zone, first, order)
        first += 1 << order
        count -= 1 << order


@kernel
def take_block(words: Ints, zone: Ints, order: int) -> int:
    """An aligned block of 2^order frames; 0 when there is none. Larger blocks are halved, the upper
    halves stay free.
    """
    have = order
    most = zone[ORDER]
    while have <= most and not zone[HEADS + have]:
        have += 1
    if have > most:
        return 0
    first = zone[HEADS + have]
    unlink(words, zone, first, have)
    while have > order:
        have -= 1
        insert(words, zone, first + (1 << have), have)
    zone[FREE] -= 1 << order
    return first


@kernel
def cut(words: Ints, zone: Ints, count: int) -> tuple[int, int]:
    """(first, size) of the beginning of the smallest block that holds `count` frames, else of the
    largest block there is.

    Some frame must be free. What is left of the block goes back as whole blocks: their buddies are
    in use, nothing merges.
    """
    most = zone[ORDER]
    wanted = 0
    while wanted < most and 1 << wanted < count:
        wanted += 1
    order = wanted
    while order <= most and not zone[HEADS + order]:
        order += 1
    if order > most:
        order = wanted - 1
        while not zone[HEADS + order]:
            order -= 1
    first = zone[HEADS + order]
    unlink(words, zone, first, order)
    if count >= 1 << order:
        zone[FREE] -= 1 << order
        return first, 1 << order
    zone[FREE] -= count
    start, left = first, count
    while left:
        order -= 1
        if left <= 1 << order:
            insert(words, zone, start + (1 << order), order)
        else:
            left -= 1 << order
            start += 1 << order
        if left == 1 << order:
            break
    return first, count


@kernel
def find_block(words: Ints, zone: Ints, frame: int) -> tuple[int, int]:
    """(first, order) of the free block that a frame is in; order -1 when it is not free."""
    for order in range(zone[ORDER] + 1):
        first = frame >> order << order
        if first < zone[FIRST]:
            break
        if words[first * WORDS + BLOCK_ORDER] == order:
            return first, order
    return 0, -1


@kernel
def carve(words: Ints, zone: Ints, first: int, count: int) -> None:
    """Takes exactly the frames [first, first + count), all of which are free; what else their
    blocks had stays free.
    """
    end = first + count
    at = first
    while at < end:
        start, order = find_block(words, zone, at)
        unlink(words, zone, start, order)
        zone[FREE] -= 1 << order
        stop = start + (1 << order)
        if start < first:
            release(words, zone, start, first - start)
        if stop > end:
            release(words, zone, end, stop - end)
        at = stop


@kernel
def search(words: Ints, zone: Ints, count: int, below: int, align: int, boundary: int) -> int:
    """The highest run of `count` free frames that ends at or below frame `below`; 0 for none.

    It begins at a multiple of `align` frames and crosses no multiple of `boundary` frames (0: any);
    both powers of two.
    """
    start, top = zone[FIRST], zone[END]
    if below < top:
        top = below
    first = (top - count) // align * align
    while first >= start and first > 0:
        if boundary and first // boundary != (first + count - 1) // boundary:
            first = ((first + count - 1) // boundary * boundary - count) // align * align
            continue
        at = first + count - 1
        while at >= first:
            block, order = find_block(words, zone, at)
            if order < 0:
                break
            at = block - 1
        if at < first:
            return first
        first = (at - count) // align * align
    return 0
