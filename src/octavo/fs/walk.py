"""A walk through a tree of directories, parents first, that looks at many of them at once.

What was read ahead is used only while nothing on the volume has changed since; else directories are
opened one by one, as they are where a look at them does not say everything (damage, ext2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from octavo.fs.base import MOST_PATH
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.protocol import FileInfo, FileSystemVolume, Glance

Report = Callable[[StatusError], None]
MOST_ASKED = 256  # directories at once


class Here(NamedTuple):
    """A directory that the walk will come to; `found` are those that were looked at when the volume
    had made `changes`, which may be among them.
    """

    path: str
    info: FileInfo
    found: dict[int, Glance]
    changes: int

    def glance(self) -> Glance | None:
        """What it said."""
        return self.found.get(self.info.number)


class Walk:
    """Comes to the directory at `start`, which is `info`, and to all below it. What cannot be read
    is passed to `on_error`, and the rest goes on; without that, it is raised.
    """

    def __init__(
        self, core: FileSystemVolume, start: str, info: FileInfo, on_error: Report | None
    ) -> None:
        self._core = core
        self._on_error = on_error
        self._pending = [Here(start, info, {}, core.changes)]
        self._seen: set[int] = set()  # numbers of directories
        self._came: Here | None = None  # to what was found last

    def known(self) -> tuple[str, list[FileInfo]] | None:
        """The next directory, where that was looked at already."""
        if not self._pending:
            return None
        here = self._pending[-1]
        glance = here.glance()
        if glance is None or not self._current(here):
            return None
        self._pending.pop()
        return self._found(here, glance.entries())

    async def next(self) -> tuple[str, list[FileInfo]] | None:
        """The next directory; None when there is no other."""
        while self._pending:
            here = self._pending.pop()
            if self._current(here) and here.glance() is None:
                here = await self._look(here)
            glance = here.glance()
            if glance is not None and self._current(here):
                return self._found(here, glance.entries())
            entries = await self._opened(here)
            if entries is not None:
                now = self._core.changes
                return self._found(here._replace(found={}, changes=now), entries)
        return None

    def enter(self, entries: list[FileInfo]) -> None:
        """Those of the directory that was found last whose directories are to be entered."""
        came = self._came
        assert came is not None, "no directory was found"
        prefix = came.path + "/" if came.path else ""
        self._pending += [
            Here(prefix + e.name, e, came.found, came.changes)
            for e in reversed(entries)
            if e.is_directory
        ]

    def _current(self, here: Here) -> bool:
        """Whether a look at it is good: nothing was changed, and it has one place and a path."""
        number = here.info.number
        return (
            number not in self._seen
            and number != 0
            and here.changes == self._core.changes
            and len(here.path) <= MOST_PATH
        )

    def _found(self, here: Here, entries: list[FileInfo]) -> tuple[str, list[FileInfo]]:
        self._seen.add(here.info.number)
        self._came = here
        return here.path, entries

    async def _look(self, here: Here) -> Here:
        """Looks at a directory, and at those that come after it."""
        asked, pending = [here.info], self._pending
        i = len(pending)
        while i and len(asked) < MOST_ASKED and pending[i - 1].glance() is None:
            i -= 1
            asked.append(pending[i].info)
        found = await self._core.glance(asked)
        changes = self._core.changes
        if here.changes != changes:
            return here
        for j in range(i, len(pending)):
            if pending[j].changes == changes and pending[j].info.number in found:
                pending[j] = pending[j]._replace(found=found)
        return here._replace(found=found)

    async def _opened(self, here: Here) -> list[FileInfo] | None:
        """The entries of a directory that is opened; None, which is told, where it cannot be read,
        or is in another place, too.
        """
        try:
            entries = await self._core.entries(here.path)  # refuses one that contains itself
        except StatusError as error:
            if self._on_error is None:
                raise
            self._on_error(error)
            return None
        number = here.info.number
        if not number or number not in self._seen:
            return entries
        if self._on_error is not None:
            text = "is in two places: what is in it was listed once; the volume is damaged"
            self._on_error(StatusError(Status.FILE_CORRUPT_ERROR, f"{here.path}: {text}"))
        return None
