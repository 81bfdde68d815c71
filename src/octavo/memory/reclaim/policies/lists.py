"""What all replacement policies are made of: lists of frames and of ghosts in one array, as
kernels.

    s    0 SLOTS    frames have nodes 1 .. SLOTS, ghosts SLOTS + 1 .. SLOTS + GHOSTS
         1 GHOSTS
         2 COUNT    frames on lists
         3 CAPACITY pages, for what targets refer to
         4 HAND
         5 TARGET
         6 CLOCK    evictions and promotions so far
         7 FREE     ghosts given back, linked by NEXT
         8 TABLE    where it begins
         9 BITS     of it
        10 + 3 i    list i: head (next to go), tail, length;  LISTS of them
        28 MADE     ghosts that were ever used: those after them cost nothing yet
        BASE ...    nodes of six words: NEXT, PREV, LIST (its number and 1; 0: on none), REF, KEY,
                    FRESH
        TABLE ...   ghosts by key: open addressing, 0 is free

A key says which page of whom it is: the same page has the same key when it comes back. Its lowest
bit is 1 for external pages, those of files, which can be dropped or written to where they came
from.

A policy is a module with these kernels:

    miss(s, key)           a page is not in memory; before a victim is chosen for it
    insert(s, node, key)   its page has come into frame `node`
    touch(s, node)         it was referenced again
    victim(s)              the frame that shall leave; off all lists, remembered as a ghost if the
                           policy has any
    remove(s, node)        its page has gone for another reason
    tick(s)                time has passed

Kernels that work with any policy (replay, harvest) call them by these names, which stand at the end
of this file. FIFO and LRU lists go from head to tail: what has come or was moved last is at the
tail. None is called for a node in the wrong state: `Policy` sees to that.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints, kernel, supplied

SLOTS, GHOSTS, COUNT, CAPACITY, HAND, TARGET, CLOCK, FREE, TABLE, BITS = range(10)
FIRST_LIST = 10
LISTS = 6
BASE = 32
NODE = 6
NEXT, PREV, LIST, REF, KEY, FRESH = range(6)
MADE = 28


@kernel
def list_of(s: Ints, node: int) -> int:
    """The list that a node is on, -1 for none."""
    return s[BASE + node * NODE + LIST] - 1


@kernel
def list_head(s: Ints, which: int) -> int:
    """The first node of a list, 0 for none."""
    return s[FIRST_LIST + 3 * which]


@kernel
def list_count(s: Ints, which: int) -> int:
    """Its length."""
    return s[FIRST_LIST + 3 * which + 2]


@kernel
def push(s: Ints, which: int, node: int) -> None:
    """Appends a node, which is on no list, to a list's tail."""
    here, there = BASE + node * NODE, FIRST_LIST + 3 * which
    tail = s[there + 1]
    s[here + NEXT] = 0
    s[here + PREV] = tail
    s[here + LIST] = which + 1
    if tail:
        s[BASE + tail * NODE + NEXT] = node
    else:
        s[there] = node
    s[there + 1] = node
    s[there + 2] += 1


@kernel
def unlink(s: Ints, node: int) -> None:
    """Takes a node off its list."""
    here = BASE + node * NODE
    there = FIRST_LIST + 3 * (s[here + LIST] - 1)
    after, before = s[here + NEXT], s[here + PREV]
    if before:
        s[BASE + before * NODE + NEXT] = after
    else:
        s[there] = after
    if after:
        s[BASE + after * NODE + PREV] = before
    else:
        s[there + 1] = before
    s[there + 2] -= 1
    s[here + LIST] = 0


@kernel
def move(s: Ints, which: int, node: int) -> None:
    """To the tail of a list, from whichever it is on."""
    unlink(s, node)
    push(s, which, node)


@kernel
def enter(s: Ints, which: int, node: int, key: int) -> None:
    """A page has come into a frame: to the tail of a list."""
    s[BASE + node * NODE + KEY] = key
    s[BASE + node * NODE + REF] = 0
    s[BASE + node * NODE + FRESH] = 1
    push(s, which, node)
    s[COUNT] += 1


@kernel
def leave(s: Ints, node: int) -> None:
    """A frame's page has gone: off its list."""
    unlink(s, node)
    s[COUNT] -= 1


@kernel
def key_of(owner: int, page: int, external: int) -> int:
    """The name of a page: who has it and its number there, mixed into 60 bits; the lowest bit for
    external ones.
    """
    return ((owner << 40 ^ page) & 0xFFFFFFFFFFFFFFF) << 1 | external


@kernel
def home_of(key: int, bits: int) -> int:
    """Where in a table of 2^bits places the search for a key begins."""
    return ((key ^ key >> 31) & 0x7FFFFFFF) * 2654435761 % 4294967296 >> (32 - bits)


@kernel
def find_place(s: Ints, table: Ints, start: int, bits: int, key: int) -> int:
    """The place in a table of nodes, which begins at `start`, of the node with a key; or the free
    place (0) where it would go.
    """
    mask = (1 << bits) - 1
    at = home_of(key, bits)
    while table[start + at] != 0 and s[BASE + table[start + at] * NODE + KEY] != key:
        at = (at + 1) & mask
    return start + at


@kernel
def clear_place(s: Ints, table: Ints, start: int, bits: int, place: int) -> None:
    """Frees a place; what stands behind it moves up."""
    mask = (1 << bits) - 1
    hole = place - start
    at = (hole + 1) & mask
    while table[start + at] != 0:
        home = home_of(s[BASE + table[start + at] * NODE + KEY], bits)
        if (at - home) & mask >= (at - hole) & mask:
            table[start + hole] = table[start + at]
            hole = at
        at = (at + 1) & mask
    table[start + hole] = 0


@kernel
def ghost_of(s: Ints, key: int) -> int:
    """The ghost with a key, 0 for none."""
    return s[find_place(s, s, s[TABLE], s[BITS], key)]


@kernel
def forget(s: Ints, node: int) -> None:
    """Ends a ghost: off its list and out of the table."""
    clear_place(
        s, s, s[TABLE], s[BITS], find_place(s, s, s[TABLE], s[BITS], s[BASE + node * NODE + KEY])
    )
    unlink(s, node)
    s[BASE + node * NODE + NEXT] = s[FREE]
    s[FREE] = node


@kernel
def remember(s: Ints, which: int, key: int, value: int, most: int) -> None:
    """Makes a ghost at the tail of a list of at most `most`, and notes a value in its REF; the
    oldest ones make room.
    """
    if most <= 0:
        return
    old = ghost_of(s, key)
    if old:  # live, two frames can have one key: a page that a fork shares, and a copy of it
        forget(s, old)
    while list_count(s, which) >= most or (
        not s[FREE] and s[MADE] == s[GHOSTS] and list_head(s, which)
    ):
        forget(s, list_head(s, which))
    node = s[FREE]
    if node:
        s[FREE] = s[BASE + node * NODE + NEXT]
    elif s[MADE] < s[GHOSTS]:
        s[MADE] += 1
        node = s[SLOTS] + s[MADE]
    else:
        return
    s[BASE + node * NODE + KEY] = key
    s[BASE + node * NODE + REF] = value
    push(s, which, node)
    s[find_place(s, s, s[TABLE], s[BITS], key)] = node


# -- what a policy supplies -----------------------------------------------------------------------


@supplied
def insert(s: Ints, node: int, key: int) -> None:
    """See above; each policy has its own."""


@supplied
def touch(s: Ints, node: int) -> None:
    """See above; each policy has its own."""


@supplied
def victim(s: Ints) -> int:
    """See above; each policy has its own."""
    return 0


@supplied
def miss(s: Ints, key: int) -> None:
    """Most policies do nothing."""


@supplied
def tick(s: Ints) -> None:
    """Most policies do nothing."""


@supplied
def remove(s: Ints, node: int) -> None:
    """Most policies just forget the frame."""
    leave(s, node)
