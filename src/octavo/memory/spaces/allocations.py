"""Allocations of spaces: committed, protected and taken away, with what is charged for them.

Whoever changes an allocation does it here: NT's calls, a guard page that was touched, views that
come and go. What a page of a view may be is its section's question.
"""

from __future__ import annotations

from octavo.machine.abi import PAGE_SHIFT
from octavo.memory.spaces.commit import Commitment
from octavo.memory.spaces.protect import Protect, copied, is_copy, read_only
from octavo.memory.spaces.sectionobjects import SectionObjects
from octavo.memory.spaces.space import Space
from octavo.memory.spaces.vad import Vad


class Allocations:
    """Charges to `commitment`; asks `sections` what their views may be."""

    def __init__(self, commitment: Commitment, sections: SectionObjects) -> None:
        self.commitment, self.sections = commitment, sections

    def commit(self, space: Space, vad: Vad, first: int, end: int, protect: Protect) -> None:
        """Commits pages [first, end) of an allocation with a protection; those that are committed
        already get it, too. StatusError COMMITMENT_LIMIT, SECTION_PROTECTION.
        """
        if vad.view is not None:
            protect = self.for_view(space, vad, protect)
            view = vad.view
            self.sections.commit(view.object, view.page_at(first), view.page_at(end))
        else:
            pages = end - first - vad.committed(first, end)
            self.commitment.charge_space(space, pages, [(first, end, protect)])
        self.protect(space, vad, first, end, protect)

    def protect(self, space: Space, vad: Vad, first: int, end: int, protect: Protect) -> None:
        """Gives committed pages a protection; watched ones are to fault at their next write."""
        vad.set(first, end, protect)
        shown = protect if vad.written is None else read_only(protect)
        space.pages.protect(first << PAGE_SHIFT, end << PAGE_SHIFT, shown)

    def for_view(self, space: Space, vad: Vad, protect: Protect) -> Protect:
        """The protection that pages of a view get when they are to have this one; what may be
        copied is charged. StatusError SECTION_PROTECTION, COMMITMENT_LIMIT.
        """
        assert vad.view is not None
        if is_copy(vad.protect):  # what is mapped copy-on-write stays it
            protect = copied(protect)
        protect = self.sections.allow(vad.view.object, protect)
        if is_copy(protect) and not vad.may_copy:
            self.commitment.charge_space(space, vad.end - vad.start, vad.spans)
            vad.may_copy = True
        return protect

    def decommit(self, space: Space, vad: Vad, first: int, end: int) -> None:
        """Private pages [first, end) go, and what was charged for them; they are reserved then."""
        space.pages.drop(first << PAGE_SHIFT, end << PAGE_SHIFT)
        self.commitment.charge_space(space, -vad.committed(first, end))
        space.forget_locks(first, end)
        if vad.written is not None:
            vad.written.difference_update([page for page in vad.written if first <= page < end])
        vad.set(first, end, None)

    def release(self, space: Space, vad: Vad, first: int, end: int) -> None:
        """The same, and their addresses are free; what is left of the allocation becomes one or
        two.
        """
        self.decommit(space, vad, first, end)
        space.vads.remove(vad)
        space.stacks.discard(vad)
        for rest in vad.cut(first, end):
            space.vads.add(rest)

    def remove(self, space: Space, vad: Vad) -> None:
        """Takes an allocation away, unless the space has ended with it meanwhile; the section of a
        view goes on to be.
        """
        if space.vads.find(vad.start) is not vad:
            return
        space.pages.drop(vad.start << PAGE_SHIFT, vad.end << PAGE_SHIFT)
        self.commitment.charge_space(space, -vad.charge)
        space.forget_locks(vad.start, vad.end)
        space.vads.remove(vad)
        space.stacks.discard(vad)
        if vad.view is not None:
            vad.view.leave()
