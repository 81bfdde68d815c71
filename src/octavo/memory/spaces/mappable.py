"""What a file has to offer to be mapped."""

from __future__ import annotations

from typing import Protocol

from octavo.memory.pages.section import Section


class MappableFile(Protocol):
    """An open file of a file system that has a section."""

    path: str

    @property
    def writable(self) -> bool: ...
    @property
    def section(self) -> Section: ...

    def duplicate(self) -> MappableFile:
        """The same file, opened once more."""

    async def prepare_mapping(self) -> None:
        """Says that the file will be written through views. StatusError."""

    async def grow(self, size: int) -> None:
        """Makes the file at least `size` bytes long, whoever else changes its size at the same
        time. StatusError.
        """

    async def close(self) -> None: ...
