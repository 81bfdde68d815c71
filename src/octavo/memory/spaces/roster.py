"""The roster of a machine: its address spaces, the families that forks have made of them, and its
section objects.

One list of each, which are changed by one owner and looked at by many: the commit limit, reclaim,
reports. Spaces are changed by `octavo.memory.spaces.lifetimes`, section objects by
`octavo.memory.spaces.sectionobjects`.
"""

from __future__ import annotations

from octavo.memory.spaces.addressspace import AddressSpace
from octavo.memory.spaces.view import SectionObject


class Roster:
    """Nothing is there at first."""

    def __init__(self) -> None:
        self.spaces: list[AddressSpace] = []
        self.families: dict[int, list[AddressSpace]] = {}  # by number: none is empty
        self.sections: dict[SectionObject, None] = {}

    def add(self, space: AddressSpace) -> None:
        """A space is there now, and one of its family."""
        assert space not in self.spaces
        self.spaces.append(space)
        self.families.setdefault(space.pages.family, []).append(space)

    def remove(self, space: AddressSpace) -> None:
        """A space has ended, which has no page any more."""
        self.spaces.remove(space)
        family = self.families[space.pages.family]
        family.remove(space)
        if not family:
            del self.families[space.pages.family]
