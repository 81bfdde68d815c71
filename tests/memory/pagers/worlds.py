"""A machine with one book mapped."""

from __future__ import annotations

from octavo.machine.abi import PAGE_SIZE
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.view import SectionObject
from tests.books import PAGES, Book
from tests.machines import Machine
from tests.stores import make


class World:
    """A machine with one book mapped, to be looked at in sequence."""

    def __init__(
        self, manner: str = "good", cluster: int = 16, frames: int = 300, slots: int = 0
    ) -> None:
        self.machine = make(frames, slots)[0] if slots else Machine(frames=frames)
        self.book = Book(self.machine, manner, cluster)
        self.section: SectionObject
        self.section, self.control = self.machine.virtual.sections.create_external(
            self.book, PAGES * PAGE_SIZE, "book"
        )
        assert self.section.memory_object is not None
        self.kept = self.section.memory_object
        self.base, _ = self.machine.space.map(self.section)
        self.machine.run(self.machine.space.advise(self.base, 1, Advice.SEQUENTIAL))

    def read(self, page: int) -> bytes:
        """The first bytes of a page."""
        return self.machine.read(self.base + page * PAGE_SIZE, 8)

    def write(self, page: int, data: bytes) -> None:
        """The first bytes of a page."""
        self.machine.write(self.base + page * PAGE_SIZE, data)
