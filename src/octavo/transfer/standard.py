"""Standard input as the source of a copy: one file without a name, whose length is known when it
has ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from octavo.storage.hosterrors import host_error
from octavo.threads.interrupts import interruptible
from octavo.transfer.host import HostTree
from octavo.transfer.tree import CHUNK, Item

NAME = "standard input"


class StandardInput(HostTree):
    """Its one file was last changed at `moment`, in seconds since 1970."""

    def __init__(self, moment: float) -> None:
        super().__init__()
        self._moment = moment

    def shown(self, path: str) -> str:
        """What messages call it."""
        return NAME

    def split(self, path: str) -> tuple[str, str]:
        """It has no name."""
        return "", ""

    def stat(self, path: str) -> Item:
        """A file of nobody knows how many bytes."""
        return Item("", False, 0, self._moment, unknown=True)

    def read(self, path: str, size: int) -> Iterable[bytes]:
        """All that comes, in full chunks but for the last."""
        while data := _chunk():
            yield data

    def attributes(self, path: str) -> tuple[str, str]:
        """None."""
        return "", ""


def _chunk() -> bytes:
    """The next CHUNK bytes; fewer at the end. A pipe gives them piece by piece."""
    pieces, missing = [], CHUNK
    try:
        with interruptible():
            while missing and (data := os.read(0, missing)):
                pieces.append(data)
                missing -= len(data)
    except OSError as error:
        raise host_error(error, NAME) from None
    return b"".join(pieces)
