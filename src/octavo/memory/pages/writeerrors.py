"""Errors of writes that nobody waited for, kept for who flushes or closes their section next: each
is told once, and the first of a section is the one that is told.

    note      a write has failed, and nobody was there       (lazy writer, page writer)
    take      somebody is told
    peek      somebody looks whether to go on; it is told still
    forget    nobody will ask any more: the section has ended
"""

from __future__ import annotations

from octavo.memory.pages.section import Pager, Section
from octavo.status import StatusError


class WriteErrors:
    """At most one error for each section. A section that has one must be asked or forgotten before
    it ends.
    """

    __slots__ = ("_errors",)

    def __init__(self) -> None:
        self._errors: dict[Section, StatusError] = {}

    def note(self, section: Section, error: StatusError) -> None:
        """Keeps the error of a section that has none yet."""
        self._errors.setdefault(section, error)

    def take(self, section: Section) -> StatusError | None:
        """The section's error, for somebody who is told; it has none then."""
        return self._errors.pop(section, None)

    def peek(self, section: Section) -> StatusError | None:
        """The section's error, which is kept."""
        return self._errors.get(section)

    def take_all(self, pager: Pager) -> StatusError | None:
        """The first error of the sections of a pager, for somebody who is told of all of them."""
        taken = [self._errors.pop(s) for s in [s for s in self._errors if s.pager is pager]]
        return taken[0] if taken else None

    def forget(self, section: Section) -> None:
        """The section has ended, and nobody will ask."""
        self._errors.pop(section, None)

    def __len__(self) -> int:
        return len(self._errors)
