"""Runs: one value for each of many consecutive numbers, kept as a list of (first, end, value),
ascending, without holes.

A gigabyte that is all alike is one run; no operation costs more than there are runs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def run_at(runs: Sequence[tuple[int, int, T]], number: int) -> tuple[int, int, T]:
    """The run that a number is in."""
    return runs[bisect_right(runs, number, key=lambda r: r[0]) - 1]


def parts_of(runs: Sequence[tuple[int, int, T]], first: int, end: int) -> list[tuple[int, int, T]]:
    """The runs of [first, end), cut to it."""
    return [(max(a, first), min(b, end), value) for a, b, value in runs if a < end and b > first]


def with_run(
    runs: Sequence[tuple[int, int, T]], first: int, end: int, value: T
) -> list[tuple[int, int, T]]:
    """The runs with one value for all of [first, end); those that adjoin and agree are one."""
    rest = [
        part
        for a, b, v in runs
        for part in ((a, min(b, first), v), (max(a, end), b, v))
        if part[0] < part[1]
    ]
    merged: list[tuple[int, int, T]] = []
    for a, b, v in sorted([*rest, (first, end, value)], key=lambda r: r[0]):
        if merged and merged[-1][1] == a and merged[-1][2] == v:
            merged[-1] = (merged[-1][0], b, v)
        else:
            merged.append((a, b, v))
    return merged
