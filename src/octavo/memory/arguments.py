"""Arguments from outside: each is what it must be, or the call ends at once in StatusError INVALID_PARAMETER.

whole    a number without a fraction, within bounds (a bool is none)
named    a text
shown    a value as a sentence shows it, however long it is; `hexed` in hexadecimal
"""

from __future__ import annotations

import reprlib

from octavo.status import Status, StatusError

MOST_CPUS = 4096  # of a machine: each costs a list or an array in every pool and cache
_LONGEST = 1 << 64  # numbers beyond are described: Python refuses to write very long ones out


def shown(value: object) -> str:
    """A value in at most some forty characters."""
    if isinstance(value, int) and not -_LONGEST < value < _LONGEST:
        return f"a number of {value.bit_length()} bits"
    return reprlib.repr(value)


def hexed(value: object) -> str:
    """As `shown`, with numbers in hexadecimal, as addresses are."""
    return f"{value:#x}" if type(value) is int and -_LONGEST < value < _LONGEST else shown(value)


def invalid(text: str) -> StatusError:
    """The error of an argument that cannot be."""
    return StatusError(Status.INVALID_PARAMETER, text)


def whole(value: object, what: str, low: int | None = None, high: int | None = None) -> int:
    """`value`, a whole number from `low` to `high` (None: without a bound).

    StatusError INVALID_PARAMETER, which says `what` it is.
    """
    if type(value) is int and (low is None or low <= value) and (high is None or value <= high):
        return value
    least, most = "" if low is None else f" from {shown(low)}", " on" if high is None else f" to {shown(high)}"
    bounds = least and least + most
    raise invalid(f"{what} cannot be {shown(value)}: a whole number{bounds} is needed")


def named(value: object, what: str) -> str:
    """`value`, a name. StatusError INVALID_PARAMETER when it is no text."""
    if type(value) is str:
        return value
    raise invalid(f"{what} cannot be {shown(value)}: a text is needed")
