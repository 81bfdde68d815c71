"""A fault is a value: a reference to a page, and what has been learnt about it so far.

    vad, protect, version   the allocation, the page's protection in it, and when that was looked up
    entry                   what the page tables hold; STALE: it must be looked at again
    copies                  of a view: the reference makes a private copy of the section's page
    spare                   a frame of zeros that was taken for it, 0 for none: whoever puts it into
                            the page tables takes it from here

Each step of the way finds here what those before it found. What was learnt holds until the thread
has waited: then `is_current` says whether the allocation is as it was, and the entry is STALE.
"""

from __future__ import annotations

from octavo.machine.abi import PAGE_SHIFT
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.space import Space
from octavo.memory.spaces.vad import Vad

STALE = -1


class Fault:
    """A reference of a `kind` of `octavo.machine.mmukernels` to an address of a space."""

    __slots__ = (
        "space", "address", "page", "start", "kind", "vad", "protect", "version", "entry", "copies",
        "spare",
    )  # fmt: skip

    vad: Vad
    protect: Protect
    version: int

    def __init__(self, space: Space, address: int, kind: int) -> None:
        self.space, self.address, self.kind = space, address, kind
        self.page = address >> PAGE_SHIFT
        self.start = self.page << PAGE_SHIFT
        self.entry = STALE
        self.copies = False
        self.spare = 0

    def is_current(self) -> bool:
        """True while the allocation is there, with the protections that it had."""
        return self.vad.version == self.version

    def take_spare(self) -> int:
        """The spare frame, which is the caller's now."""
        frame, self.spare = self.spare, 0
        assert frame, "no frame was taken for this fault"
        return frame
