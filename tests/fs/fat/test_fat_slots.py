"""Free slots of a directory against a set of numbers, to the last slot and one beyond."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.fs.fat.slots import FreeSlots


def check(slots: FreeSlots, free: set[int], room: int) -> None:
    """What it says is what the model has: runs do not touch each other or the end."""
    runs = slots.runs()
    assert sorted(n for first, count in runs for n in range(first, first + count)) == sorted(
        n for n in free if n < slots.end
    )
    assert all(
        one + count < two
        for (one, count), two in zip(runs, [*(f for f, _ in runs[1:]), slots.end], strict=False)
    )
    assert set(range(slots.end, room)) <= free


@settings(max_examples=200, deadline=None)
@given(
    room=st.integers(0, 64),
    used=st.sets(st.integers(0, 63)),
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 21), st.integers(0, 99)), max_size=60),
)
def test_slots_against_a_set(room: int, used: set[int], steps: list[tuple[bool, int, int]]) -> None:
    """What is taken is free, in a row and inside; it is refused only when nothing as long is there;
    released slots join.
    """
    used = {n for n in used if n < room}
    end = max(used, default=-1) + 1
    free = set(range(room)) - used
    slots = FreeSlots([(n, 1) for n in range(end) if n in free], end)
    taken: list[tuple[int, int]] = [(n, 1) for n in sorted(used)]
    for take, count, which in steps:
        if take:
            first = slots.take(count, room)
            mine = set(range(first, first + count))
            if first < 0:
                assert not any(set(range(n, n + count)) <= free for n in range(room))
            else:
                assert mine <= free
                free -= mine
                taken.append((first, count))
        elif taken:
            first, count = taken.pop(which % len(taken))
            slots.release(first, count)
            free |= set(range(first, first + count))
        check(slots, free, room)


def test_slots_that_are_free_are_not_released_again() -> None:
    """It is told when they are next taken, and they are not given to two."""
    for first, count in ((3, 2), (10, 1)):
        slots = FreeSlots([(3, 2)], 10)
        slots.release(first, count)
        with pytest.raises(AssertionError, match="free already"):
            slots.take(1, 16)
        assert slots.runs() == [(3, 2)] and slots.end == 10


def test_a_directory_full_of_holes_costs_no_more() -> None:
    """A step in FAT's largest directory with a hole at every second slot: it was 18 ms."""
    slots = FreeSlots([(n, 1) for n in range(0, 65000, 2)], 65001)
    slots.release(65000, 1)
    began = time.perf_counter()
    for n in range(1, 4001, 4):
        slots.release(n, 1)
        assert slots.take(3, 65536) >= 0
    assert time.perf_counter() - began < 1  # 5 ms here
