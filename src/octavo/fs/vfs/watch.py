"""Free space as two events that anybody may wait for, kept by whoever changes what is free.

    free bytes    0 ....... below ............ above ....... all
    low           signalled    not                not
    high          not          not                signalled

As with low and high memory (`octavo.memory.reclaim.conditions`) the thresholds stand apart, so that
a volume at one of them does not wake its waiters with every file.
"""

from __future__ import annotations

from octavo.threads.wait import Event


class SpaceWatch:
    """`low` is signalled while fewer than `below` bytes are free, `high` while `above` or more
    are.
    """

    def __init__(self, below: int, above: int) -> None:
        assert 0 <= below <= above
        self.below, self.above = below, above
        self.low, self.high = Event(), Event()

    def look(self, free: int) -> None:
        """Says how many bytes are free now."""
        for event, holds in ((self.low, free < self.below), (self.high, free >= self.above)):
            if holds and not event.signalled:
                event.signal()
            elif not holds and event.signalled:
                event.clear()
