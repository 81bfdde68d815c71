"""The region map: where on the device the bytes of a section are.

    section   0        a            b          total
              |--------|------------|----------|
    device    d0       d1           d2

One entry a run, 12 bytes each, in arrays: a file of 65,536 scattered clusters costs 768 KiB, and a
contiguous one 12 bytes.

A run may be a hole: bytes that are nowhere on the device, and zero. Its place is HOLE.

Source: Neptune OS's file-region to disk-region map in its cache (there an AVL tree).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right

HOLE = (1 << 64) - 1  # the place of what is nowhere: no device ends there


class RegionMap:
    """Runs of units of `unit` bytes; `total` is the number of bytes mapped, with `holes` some of
    them nowhere.
    """

    __slots__ = ("unit", "total", "holes", "_starts", "_places")

    def __init__(self, unit: int) -> None:
        self.unit = unit
        self.total = 0
        self.holes = False
        self._starts = array("I")  # in units
        self._places = array("Q")  # in bytes

    def append(self, place: int, units: int, merge: bool = True) -> None:
        """Maps the next `units` units to the device's bytes from `place` on, or to HOLE."""
        start = self.total // self.unit
        if place == HOLE:
            self.holes = True
            follows = bool(self._starts) and self._places[-1] == HOLE
        else:
            follows = bool(self._starts) and (
                self._places[-1] + (start - self._starts[-1]) * self.unit == place
            )
        if not (merge and follows):
            self._starts.append(start)
            self._places.append(place)
        self.total += units * self.unit

    def truncate(self, units: int) -> None:
        """Forgets all units from number `units` on."""
        while self._starts and self._starts[-1] >= units:
            self._starts.pop()
            self._places.pop()
        self.total = min(self.total, units * self.unit)

    def locate(self, offset: int, length: int) -> list[tuple[int, int]]:
        """The device's (place, length) pieces for bytes [offset, offset + length), cut at `total`;
        the place of a hole is HOLE.
        """
        end = min(offset + length, self.total)
        starts = self._starts
        if len(starts) == 1 and not self.holes:
            return [(self._places[0] + offset, end - offset)] if end > offset else []
        out = []
        i = bisect_right(starts, offset // self.unit) - 1
        while offset < end:
            begin = starts[i] * self.unit
            stop = min(end, starts[i + 1] * self.unit if i + 1 < len(starts) else self.total)
            place = self._places[i]
            out.append((place if place == HOLE else place + offset - begin, stop - offset))
            offset = stop
            i += 1
        return out

    def units(self) -> list[tuple[int, int]]:
        """All runs as (place, number of units)."""
        if not self._starts:
            return []
        ends = [*self._starts[1:], self.total // self.unit]
        return [(p, e - s) for p, s, e in zip(self._places, self._starts, ends, strict=True)]

    def last_place(self) -> int:
        """The device's byte offset of the last unit, which is there and no hole."""
        assert self._places[-1] != HOLE, "a hole is nowhere"
        return self._places[-1] + (self.total // self.unit - 1 - self._starts[-1]) * self.unit

    def __len__(self) -> int:
        return len(self._starts)
