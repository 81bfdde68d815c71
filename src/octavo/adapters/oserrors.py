"""StatusErrors as Python's own callers know them: an OSError of the class that belongs to its
errno, such as FileNotFoundError, with the sentence; the StatusError is its cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from octavo.status import StatusError


def os_error(error: StatusError) -> OSError:
    """The OSError of a StatusError."""
    return OSError(error.errno, error.text)


@contextmanager
def as_os_errors() -> Iterator[None]:
    """A `with` block, or a decorator, out of which StatusErrors come as OSErrors."""
    try:
        yield
    except StatusError as error:
        raise os_error(error) from error
