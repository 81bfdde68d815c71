"""A FAT volume that is still to be made, as the target of a copy that is planned: what it must hold
is known before it has a size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from octavo.fs.base import split_path
from octavo.fs.fat.bpb import ENTRY_BYTES
from octavo.fs.fat.names import UNITS_IN_SLOT, exact_short
from octavo.transfer.tree import Item, Step
from octavo.transfer.volume import VolumeTree


class FreshVolume(VolumeTree):
    """Takes all names and sizes that FAT has; nothing is there yet, and nothing can be written."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    @property
    def store(self) -> object:
        """A store of its own."""
        return self

    def is_dir(self, path: str) -> bool:
        """True for the root."""
        return not split_path(path)

    def find(self, path: str) -> Item | None:
        """Nothing."""
        return None

    def names(self, path: str) -> dict[str, Item | str]:
        """None."""
        return {}

    def admit(self, steps: Sequence[Step]) -> None:
        """Takes all: it is made as large as they need."""


def slots_of(name: str) -> int:
    """Entries that a name takes in a directory of FAT."""
    if exact_short(name):
        return 1
    units = len(name.encode("utf-16-le", "surrogatepass")) // 2
    return 1 + -(-units // UNITS_IN_SLOT)


def room_for(steps: Sequence[Step], label: bool) -> tuple[Callable[[int], int], int]:
    """The clusters that steps into an empty volume take, by the bytes of a cluster, those of the
    root directory left out; and the entries in the root directory, with one for a label.
    """
    slots: Counter[Step] = Counter()
    for step in steps:
        if step.above is not None:
            slots[step.above] += slots_of(step.to.rpartition("/")[2])
    sizes = [step.item.size for step in steps if not step.item.directory]
    sizes += [(2 + slots[s]) * ENTRY_BYTES for s in steps if s.item.directory and s.above]
    top = sum(slots[step] for step in steps if step.above is None)
    return lambda unit: sum(-(-size // unit) for size in sizes), top + label
