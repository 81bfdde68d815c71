"""Arguments from outside: each is what it must be, or the call ends at once in StatusError
INVALID_PARAMETER.

whole    a number without a fraction, within bounds (a bool is none)
numbers  whole numbers of 64 bits, flags among them: what they mean is the call's own question
seconds  a time that passes
named    a text
label    a name that a sentence, or a line of a report, can show
given    an object of a class
called   what is called with each piece of news, or nothing
octets   bytes to be copied; `room` is where bytes are to be put
parse_size  a number of bytes, as people write it
attribute_changes   what +r and -ha set and clear
shown    a value as a sentence shows it, however long it is; `hexed` in hexadecimal
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable
from typing import Any, TypeVar

from octavo.status import Status, StatusError

T = TypeVar("T")

MOST_CPUS = 4096  # of a machine: each costs a list or an array in every pool and cache
LONGEST_SECONDS = 1 << 32  # below which anything may wait
LONGEST_NAME = 255  # characters
LARGEST = (1 << 64) - 1  # bytes of anything
_LONGEST = 1 << 64  # numbers beyond are described: Python refuses to write very long ones out
_SIZE = re.compile(
    r"\s*([0-9]{1,20})(?:\.([0-9]{1,20}))?\s*(?:([KMGT])(?:i?B)?|B)?\s*", re.I | re.A
)


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
    least, most = (
        "" if low is None else f" from {shown(low)}",
        " on" if high is None else f" to {shown(high)}",
    )
    bounds = least and least + most
    raise invalid(f"{what} cannot be {shown(value)}: a whole number{bounds} is needed")


def parse_size(text: str | int) -> int:
    """Bytes from "16M", "1.5G", "4096", below 2 ** 64; K, M, G and T are powers of 1024.
    StatusError INVALID_PARAMETER for anything else.
    """
    if not isinstance(text, str):
        return whole(text, "a size in bytes", 0, LARGEST)
    found = _SIZE.fullmatch(text)
    part = (found[2] or "") if found else ""
    size = (
        int(found[1] + part) * 1024 ** " KMGT".index((found[3] or " ").upper()) // 10 ** len(part)
        if found
        else LARGEST + 1
    )
    if size > LARGEST:
        raise invalid(
            f"{shown(text)} is not a size: write 16M, 1.5G or a number of bytes, below 16777216T"
        )
    return size


def named(value: object, what: str) -> str:
    """`value`, a name. StatusError INVALID_PARAMETER when it is no text."""
    if type(value) is str:
        return value
    raise invalid(f"{what} cannot be {shown(value)}: a text is needed")


def label(value: object, what: str) -> str:
    """`value`, a name of printable characters or none.

    StatusError INVALID_PARAMETER when it is no text, OBJECT_NAME_INVALID when it cannot be shown.
    """
    text = named(value, what)
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise StatusError(
            Status.OBJECT_NAME_INVALID,
            f"{what} cannot be {shown(value)}: at most {LONGEST_NAME} printable characters "
            "are needed",
        )
    return text


def numbers(**values: object) -> None:
    """Looks at arguments by their names: each is a whole number of at most 64 bits, signed or not;
    flags are. StatusError INVALID_PARAMETER.
    """
    for name, value in values.items():
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or not -_LONGEST >> 1 <= value < _LONGEST
        ):
            raise invalid(
                f"{name.replace('_', ' ')} cannot be {shown(value)}: a whole number of 64 "
                "bits is needed"
            )


def seconds(value: object, what: str) -> float:
    """`value`, a time of more than no seconds that a thread can wait. StatusError
    INVALID_PARAMETER.
    """
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 < value < LONGEST_SECONDS
    ):  # which NaN is not
        return float(value)
    raise invalid(
        f"{what} cannot be {shown(value)}: seconds are needed, more than 0 and below "
        f"{LONGEST_SECONDS}"
    )


def given(value: object, kind: type[T], what: str) -> T:
    """`value`, an object of class `kind`. StatusError INVALID_PARAMETER when it is none."""
    if isinstance(value, kind):
        return value
    raise invalid(f"{what} cannot be {shown(value)}: an object of {kind.__name__} is needed")


def called(value: object, what: str) -> None:
    """Looks at `what`, which is called, if it is not None. StatusError INVALID_PARAMETER when it
    cannot be.
    """
    if value is not None and not callable(value):
        raise invalid(f"{what} cannot be {shown(value)}: a function is needed, or None")


def octets(value: Any, what: str) -> memoryview:
    """The bytes of `value`, a buffer of one or more dimensions in a row. StatusError
    INVALID_PARAMETER when it has none.
    """
    try:
        view = memoryview(value)
        if view.ndim and view.c_contiguous:
            return view.cast("B") if view.nbytes else memoryview(b"")
    except (TypeError, ValueError):  # no buffer, or one whose items are no numbers
        pass
    raise invalid(f"{what} cannot be {shown(value)}: bytes in a row are needed")


def room(value: Any, what: str) -> memoryview:
    """The bytes of `value`, to be written over. StatusError INVALID_PARAMETER when it has none, or
    they cannot be.
    """
    view = octets(value, what)
    if not len(view):
        return memoryview(bytearray())  # that of no bytes may be read-only
    if view.readonly:
        raise invalid(f"{what} cannot be {shown(value)}: it cannot be written over")
    return view


def attribute_changes(words: Iterable[str]) -> tuple[str, str]:
    """The letters of the attributes that words such as +r and -ha set, and those that they clear.
    StatusError INVALID_PARAMETER.
    """
    letters = {"+": "", "-": ""}
    for word in words:
        if not re.fullmatch("[+-][rhsaRHSA]+", word):
            raise invalid(f"{word}: is no change of attributes, such as +r or -ha")
        letters[word[0]] += word[1:].lower()
    return letters["+"], letters["-"]
