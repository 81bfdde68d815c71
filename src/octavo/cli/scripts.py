"""Lines of commands that come from the host: scripts, and standard input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from octavo.shell.line import MOST_LINE
from octavo.status import Status, StatusError
from octavo.storage.hosterrors import host_error

MOST_DROPPED = 1 << 20  # characters of a line that is too long


def open_script(path: str) -> TextIO:
    """A text of the host, to be read by lines. StatusError when it cannot be."""
    try:
        return open(path, encoding="utf-8", errors="replace")
    except OSError as error:
        raise host_error(error, path) from None
    except ValueError:
        raise StatusError(Status.OBJECT_NAME_INVALID, f"{path!r}: is no name of a file") from None


def whole_lines(stream: TextIO, name: str) -> Iterator[str]:
    """The lines of a text, with their ends. Of one that is longer than any command may be, only so
    much is kept that it is seen to be. StatusError when they cannot be read, or are none.
    """
    most = MOST_LINE + len("\r\n")
    while line := _part(stream, name, most):
        rest, dropped = line, 0
        while len(rest) == most and not rest.endswith("\n"):
            rest = _part(stream, name, most)
            dropped += len(rest)
            if dropped > MOST_DROPPED:
                text = f"{name}: a line has more than {MOST_DROPPED} characters: this is no script"
                raise StatusError(Status.FILE_TOO_LARGE, text)
        yield line


def _part(stream: TextIO, name: str, most: int) -> str:
    try:
        return stream.readline(most)
    except OSError as error:
        raise host_error(error, name) from None
