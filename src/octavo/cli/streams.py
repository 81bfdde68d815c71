"""The standard streams of the process: closed, full, gone, or unable to show a name, they end in a
sentence at most.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO


def prepare_streams() -> None:
    """Makes all three be there, and take any text.

    A descriptor that is closed would be given to the next image that is opened, and output would go
    into it: it gets one from which nothing can be read, or to which nothing can be written.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # gets the lowest number that is free
            os.open(os.devnull, os.O_RDONLY if fd else os.O_WRONLY)
    sys.stdin = sys.stdin or io.StringIO()
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream, errors in (
        (sys.stdin, "replace"),
        (sys.stdout, "backslashreplace"),
        (sys.stderr, "backslashreplace"),
    ):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def give_up(stream: TextIO) -> None:
    """Lets nothing more go to a stream that has failed: what it still holds would fail again when
    Python ends.
    """
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
