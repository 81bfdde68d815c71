"""Low and high memory: two events that anybody may wait for, kept by whoever changes what is
available.

    available frames    0 ....... low ................ 3 x low ....... all
    low_memory          signalled    not                  not
    high_memory         not          not                  signalled

Source: NT's LowMemoryCondition and HighMemoryCondition with its thresholds. Departure: on machines
of less than 12 MiB low is an eighth of memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from octavo.threads.wait import Event

if TYPE_CHECKING:
    from octavo.statistics import ConditionsStatistics

PLENTY = 400  # pages
_SMALL, _LARGE, _MOST = 0x8000, 0x40000, 0x4000  # pages: 128 MiB, 1 GiB; 64 MiB


def low_threshold(pages: int) -> int:
    """Available pages below which memory is low, on a machine of so many."""
    low = PLENTY
    if pages > _LARGE:
        low = 0x2000 + (pages - _LARGE >> 7)
    elif pages > _SMALL:
        low += pages - _SMALL >> 5
    return min(low, _MOST, pages // 8)


class MemoryConditions:
    """The events of a machine that began with `pages` available."""

    def __init__(self, pages: int) -> None:
        self.low, self.high = low_threshold(pages), 3 * low_threshold(pages)
        self.low_memory, self.high_memory = Event(), Event()
        self.changes = 0
        self._state = -1
        self.look(pages)

    def look(self, available: int) -> None:
        """Says how many frames are available now."""
        state = 0 if available < self.low else 1 if available < self.high else 2
        if state == self._state:
            return
        self._state = state
        for event, holds in (
            (self.low_memory, available < self.low),
            (self.high_memory, available >= self.high),
        ):
            if holds != event.signalled:
                self.changes += 1
                if holds:
                    event.signal()
                else:
                    event.clear()

    def statistics(self) -> ConditionsStatistics:
        """Thresholds in pages, whether each condition holds, and how often one has changed."""
        from octavo.statistics import ConditionsStatistics

        return ConditionsStatistics(
            low=self.low,
            high=self.high,
            is_low=self.low_memory.signalled,
            is_high=self.high_memory.signalled,
            changes=self.changes,
        )
