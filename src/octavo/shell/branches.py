"""A directory and what is below it as a drawing, line by line: for the shell's tree and the verb.

    +---docs
    |   |   a.txt
    |   |
    |   \\---inner
    \\---empty

Names are in their order. A directory that damage has put into two places, or into itself, is drawn
once; depth is bounded by the length of a path.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from octavo.files import Report, Volume
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.protocol import FileInfo


class _Marks(NamedTuple):
    """What lines are drawn with."""

    branch: str
    last: str
    beside: str
    below: str = "    "


_LINES = _Marks("├───", "└───", "│   ")
_ASCII = _Marks("+---", "\\---", "|   ")


class _Open(NamedTuple):
    """A directory whose inner ones are being drawn."""

    path: str
    prefix: str
    inner: list[FileInfo]  # the next one is at the end


def tree_lines(
    volume: Volume, path: str, files: bool, ascii_only: bool, on_error: Report
) -> Iterator[str]:
    """The lines for a directory, without itself; with `files`, those of its files as well. What
    cannot be read is told by `on_error`, and the rest goes on.

    StatusError when the path is no directory.
    """
    marks = _ASCII if ascii_only else _LINES
    top = volume.stat(path)
    if not top.is_directory:
        raise StatusError(Status.NOT_A_DIRECTORY, f"{path}: is not a directory")
    seen = {top.number}
    inner, lines = _look(volume.entries(path), "", files, marks)
    yield from lines
    stack = [_Open(path.strip("/"), "", inner)]
    while stack:
        above = stack[-1]
        if not above.inner:
            stack.pop()
            continue
        entry = above.inner.pop()
        yield above.prefix + (marks.branch if above.inner else marks.last) + entry.name
        here = f"{above.path}/{entry.name}".lstrip("/")
        prefix = above.prefix + (marks.beside if above.inner else marks.below)
        try:
            inner, lines = _look(_entries(volume, here, entry, seen), prefix, files, marks)
        except StatusError as error:
            on_error(error)
            continue
        yield from lines
        stack.append(_Open(here, prefix, inner))


def _entries(volume: Volume, path: str, entry: FileInfo, seen: set[int]) -> list[FileInfo]:
    """What is in a directory. StatusError also for one that was drawn."""
    if entry.number and entry.number in seen:
        text = f"{path}: is in two places: what is in it was drawn once; the volume is damaged"
        raise StatusError(Status.FILE_CORRUPT_ERROR, text)
    seen.add(entry.number)
    return volume.entries(path)


def _look(
    entries: list[FileInfo], prefix: str, files: bool, marks: _Marks
) -> tuple[list[FileInfo], list[str]]:
    """The inner directories, the first one last, and the lines of the files."""
    ordered = sorted(entries, key=lambda e: e.name.lower(), reverse=True)
    inner = [e for e in ordered if e.is_directory]
    beside = prefix + (marks.beside if inner else marks.below)
    lines = [beside + e.name for e in reversed(ordered) if not e.is_directory] if files else []
    return inner, [*lines, beside.rstrip()] if lines else []
