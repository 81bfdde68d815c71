"""What compiled kernels and the executive must agree on, once: sizes, entries of the PFN database
and of page tables.

Kernels and executive code import the same names from here. `octavo.machine.kernels` hashes the
value of every constant that a kernel uses, from here or from elsewhere, so that no compiled kernel
is stale.

One entry of the PFN database, WORDS int32 (`octavo.memory.frames.pfn` says what they mean):

    word  0      1      2     3      4      5      6      7
        +------+------+-----+------+------+------+------+------+
        | next | prev | pte | state| flags| order| use  |holder|
        +------+------+-----+------+------+------+------+------+

One entry of a page table, 8 bytes (4 on i386: without NX, and with frames below 4 GiB):

    63  62 .. 52  51 ........ 12  11 .. 10    9       8  7   6  5  4    3    2   1   0
    NX  soft      frame           soft      COPIED    G  PS  D  A  PCD  PWT  US  RW  P

    COPIED  the executive's own: a page that is copied before it is written
"""

from __future__ import annotations

import enum

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
SEGMENT_SHIFT = 7  # 128 pages of a section have their prototype PTEs together
SEGMENT_PAGES = 1 << SEGMENT_SHIFT

# -- the PFN database -----------------------------------------------------------------------------

WORDS = 8
NEXT, PREV, PTE, STATE, FLAGS, ORDER, USE, HOLDER = range(8)

MODIFIED = 1  # differs from what the pager has
READING = 2  # the pager is filling it
WRITING = 4  # the pager is reading it

PRIORITY = 5  # of a standby page, unless something else is said
PRIORITY_SHIFT = (
    8  # in FLAGS, while a frame is on a standby list: its priority, as the difference to PRIORITY
)


class State(enum.IntEnum):
    """Where a frame is; the numbers up to TRANSITION are NT's page locations."""

    ZEROED = 0
    FREE = 1
    STANDBY = 2
    MODIFIED = 3
    BAD = 5
    ACTIVE = 6
    TRANSITION = 7
    ABSENT = 8
    POOLED = 9  # free, in the pool of one processor


# As plain numbers, which is what kernels can be compiled with.
IS_FREE, IS_STANDBY, IS_ACTIVE, IS_POOLED = (
    int(s) for s in (State.FREE, State.STANDBY, State.ACTIVE, State.POOLED)
)

# -- page tables ----------------------------------------------------------------------------------

PRESENT, WRITABLE, USER, WRITE_THROUGH, NO_CACHE, ACCESSED, DIRTY, LARGE, GLOBAL = (
    1 << i for i in range(9)
)
COPIED = 1 << 9
NO_EXECUTE = 1 << 63
FRAME_MASK = (1 << 52) - PAGE_SIZE
NARROW_BITS = 10  # an index of so many bits means entries of 4 bytes: i386
NARROW_FRAMES = (1 << 32 - PAGE_SHIFT) - 1  # frame numbers that those can hold
TABLE = PRESENT | WRITABLE | USER  # bits of an entry that leads to another table
