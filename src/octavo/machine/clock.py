"""Two times, one code (rule 6): the only place that asks the host what time it is.

`RealClock` reads the host's clocks. `VirtualClock` stands still until the scheduler advances it, so
that a run from one seed meets the same times on every host.
"""

from __future__ import annotations

import time
from typing import Protocol

LAST_WALL = 253_402_300_799  # the last second of the year 9999
VIRTUAL_EPOCH = 946_684_800.0  # 2000-01-01 00:00 UTC, the wall time at which virtual time starts


class Clock(Protocol):
    """Seconds since boot, and wall time."""

    virtual: bool
    utc: bool  # whether calendar fields are in UTC, wherever the host is

    def now(self) -> float:
        """Seconds since an arbitrary start, monotone."""

    def wall(self) -> float:
        """Seconds since 1970 UTC."""

    def local(self, wall: float) -> time.struct_time:
        """Wall time as calendar fields in the clock's time zone."""


class RealClock:
    """The host's monotone and wall clocks, in the host's time zone."""

    virtual = False
    utc = False

    def now(self) -> float:
        """Seconds, monotone."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970 UTC."""
        return time.time()

    def local(self, wall: float) -> time.struct_time:
        """Calendar fields in the host's time zone."""
        return time.localtime(wall)


class SetClock(RealClock):
    """The host's monotone clock, and a wall clock that stands at `wall`, in UTC: what is made is
    the same whenever and wherever.
    """

    utc = True

    def __init__(self, wall: float) -> None:
        self._wall = wall

    def wall(self) -> float:
        """What it was set to."""
        return self._wall

    def local(self, wall: float) -> time.struct_time:
        """Calendar fields, UTC."""
        return time.gmtime(wall)


class VirtualClock:
    """A clock that only `advance` moves; UTC."""

    virtual = True
    utc = True

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        """Seconds since boot."""
        return self._now

    def wall(self) -> float:
        """Seconds since 1970 UTC, from VIRTUAL_EPOCH on."""
        return VIRTUAL_EPOCH + self._now

    def local(self, wall: float) -> time.struct_time:
        """Calendar fields, UTC."""
        return time.gmtime(wall)

    def advance(self, to: float) -> None:
        """Moves the clock forward to `to`; never back."""
        assert to >= self._now
        self._now = to
