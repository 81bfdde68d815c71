"""Frames for page tables: taken like all frames, held under a name in the PFN database, privileged,
since a fault that has a frame for its page must not fail for its table.
"""

from __future__ import annotations

from octavo.machine.abi import PAGE_SHIFT, State
from octavo.memory.frames.physical import PhysicalMemory

RECLAIM = 16  # frames at once
_LOW = 1 << (32 - PAGE_SHIFT)  # first frame above 4 GiB


class TableFrames:
    """Page tables' frames, held by "page tables of `name`"."""

    def __init__(self, physical: PhysicalMemory, name: str) -> None:
        self.physical = physical
        self.holder = physical.pfns.new_holder(f"page tables of {name}")

    def take(self, low: bool) -> int:
        """A frame, below 4 GiB with `low`; 0 when there is none."""
        if low:
            frame = self.physical.buddy.take_constrained(1, State.ACTIVE, _LOW, privileged=True)
            while not frame and self.physical.reclaim(
                RECLAIM
            ):  # zeroed and standby frames are available, too
                frame = self.physical.buddy.take_constrained(1, State.ACTIVE, _LOW, privileged=True)
        else:
            runs = self.physical.try_take(1, State.ACTIVE, True)
            frame = runs[0][0] if runs else 0
        if frame:
            self.hold(frame)
        return frame

    def hold(self, frame: int) -> None:
        """Says that an active frame is a page table now."""
        self.physical.pfns.hold(frame, 1, self.holder)

    def free(self, frame: int) -> None:
        """Gives a table's frame back."""
        self.physical.pfns.hold(frame, 1, 0)
        self.physical.free([frame], State.ACTIVE)
