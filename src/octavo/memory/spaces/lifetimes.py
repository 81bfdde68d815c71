"""How spaces begin, as forks of others, and end.

A fork has what its parent has at the same addresses: private pages are shared until one side writes
them, views are views of the same sections. Write watch is not inherited: it is of the region that
asked for it.
"""

from __future__ import annotations

from octavo.machine.abi import PAGE_SHIFT
from octavo.memory.spaces.addressspace import AddressSpace
from octavo.memory.spaces.allocations import Allocations
from octavo.memory.spaces.bulk import Bulk
from octavo.memory.spaces.commit import Commitment
from octavo.memory.spaces.roster import Roster
from octavo.memory.spaces.sectionobjects import SectionObjects
from octavo.memory.spaces.vad import Vad
from octavo.memory.spaces.view import Inherit, View

BULK_PAGES = 256  # from here on a kernel shares pages in a fork


class Lifetimes:
    """The one who puts spaces on `roster` and takes them off."""

    def __init__(
        self,
        roster: Roster,
        commitment: Commitment,
        sections: SectionObjects,
        allocations: Allocations,
        bulk: Bulk,
    ) -> None:
        self.roster, self.commitment, self.sections = roster, commitment, sections
        self.allocations, self.bulk = allocations, bulk
        self.bulk_pages = BULK_PAGES

    def begin(self, space: AddressSpace) -> None:
        """A space that has nothing yet is there from now on."""
        assert not space.charge and not space.vads.all
        self.roster.add(space)

    def inherit(self, parent: AddressSpace, child: AddressSpace) -> None:
        """Gives `child`, which has nothing yet, all that `parent` has. StatusError COMMITMENT_LIMIT
        or INSUFFICIENT_RESOURCES: the caller ends it then.
        """
        for vad in parent.vads.all:
            if vad.inherit != Inherit.NONE:
                self._inherit(parent, child, vad)
        for vad in parent.vads.all:
            _inherit_image(child, vad)

    def _inherit(self, parent: AddressSpace, child: AddressSpace, vad: Vad) -> None:
        self.commitment.charge_space(child, vad.charge, vad.spans)
        copy = Vad(vad.start, vad.end, vad.protect, list(vad.spans), inherit=vad.inherit)
        copy.may_copy, copy.advice = vad.may_copy, vad.advice
        child.vads.add(copy)
        if vad.view is not None:
            copy.view = View(child, vad.start, vad.end, vad.view.object, vad.view.first)
            copy.view.advice = vad.view.advice
            copy.view.watch()
        if vad in parent.stacks:
            child.stacks.add(copy)
        for first, end, protect in vad.spans:
            if protect is None:
                continue
            if end - first >= self.bulk_pages and vad.view is None:
                self.bulk.share(parent, child, first, end, protect)
            else:
                addresses = first << PAGE_SHIFT, end << PAGE_SHIFT
                parent.pages.share_with(child.pages, *addresses, protect)

    def end(self, space: AddressSpace) -> None:
        """Takes a space's pages, tables and charge away; whoever uses it hears
        PROCESS_IS_TERMINATING. Once more does nothing.
        """
        if space not in self.roster.spaces:
            return
        space.ended = space.ended or f"{space.name} has ended"
        for vad in space.vads.all:
            self.allocations.remove(space, vad)
            if vad.view is not None:
                self.sections.release(vad.view.object)
        assert not space.charge, f"{space.name} has ended and is charged"
        space.tables.release_all()
        self.roster.remove(space)


def _inherit_image(child: AddressSpace, vad: Vad) -> None:
    """The parts of an image belong together in the child, too; told by the first of them."""
    if vad.image and vad is vad.image[0]:
        parts = [copy for part in vad.image if (copy := child.vads.find(part.start)) is not None]
        for copy in parts:
            copy.image = parts
