"""Firmware maps that people write, and lists of ranges that Linux shows.

    ranges   0x0-0x9fbff usable          hexadecimal or decimal, end inclusive; "#" begins a comment
             [mem 0x0-0x9fbff] usable    cut out of a log
    iomem    00000000-0009fbff : System RAM       /proc/iomem, read as root; end inclusive
               00001000-00001fff : Kernel code    what lies in the range before it is part of that
    JSON     [{"start": 0, "end": "0x1000", "kind": "usable"}, ...] or {"ranges": [...]}, end
             exclusive; `octavo map --json` writes such

A list is nothing but such lines: the first other one is an error that names it. A kind that nobody
uses is taken as reserved, with a remark; in iomem, whose kinds are names of devices too, without
one.
"""

from __future__ import annotations

import json
import re
from typing import Any

from octavo.machine.firmware import (
    ADDRESS_LIMIT,
    MAX_RANGES,
    FirmwareMap,
    FirmwareRange,
    MemoryKind,
    Remarks,
    kind_of,
    possible,
)
from octavo.machine.maptext import MOST_HEAD
from octavo.status import Status, StatusError

_NUMBER = r"0x[0-9a-f]+|[0-9]+"
_LINE = re.compile(rf"(?:\[mem\s+)?({_NUMBER})\s*-\s*({_NUMBER})\s*\]?\s*:?\s+([a-z(].*)", re.I)
_IOMEM = r"([0-9a-f]{8,16})-([0-9a-f]{8,16}) :(?: (.+))?"
_JSON = r"\s*[\[{]\s*(?![0-9\s]|mem\b)"
_MOST_DIGITS = 40
_MOST_LINES = 100_000  # of a list, with comments and what iomem has in other ranges


def number_of(text: str) -> int:
    """A number in hexadecimal with 0x, or in decimal. StatusError INVALID_PARAMETER for what may be
    octal, is too long, or is none.
    """
    if not re.fullmatch(_NUMBER, text, re.I):
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"{text[:_MOST_DIGITS]!r} is no whole number: write it as 4096 or 0x1000",
        )
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    if text.startswith("0") and text.strip("0"):
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"{text[:_MOST_DIGITS]!r} begins with a zero: write 0x in front of "
            "hexadecimal, and decimal without zeros",
        )
    if len(text) > _MOST_DIGITS and text.strip("0"):
        raise StatusError(
            Status.INVALID_PARAMETER, f"a number of {len(text)} digits is past 64 bits"
        )
    return int(text[:_MOST_DIGITS])


class RangeList:
    """Reads a list line by line, until there is something else in it."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._remarks = Remarks(where)
        self._ranges: list[FirmwareRange] = []
        self._parent: tuple[int, int] = (0, 0)  # the range of iomem in which others may lie
        self._hidden = False
        self._lines = 0
        self._error: StatusError | None = None

    @property
    def alive(self) -> bool:
        """False once a line was no range: the text is no list."""
        return self._error is None

    @property
    def nothing(self) -> bool:
        """True when the first line was no range."""
        return self._error is not None and not self._ranges

    def line(self, number: int, text: str) -> None:
        """Looks at a line."""
        self._lines += 1
        if self._lines > _MOST_LINES and self._error is None:
            self._error = StatusError(
                Status.INVALID_PARAMETER,
                f"{self.where}, line {number}: a list of more than {_MOST_LINES} lines is "
                "no firmware map",
            )
        text = text.split("#", 1)[0].strip()
        if not text or self._error or "/proc/iomem" in text:
            return
        try:
            self._range(number, text)
        except StatusError as error:
            self._error = StatusError(error.status, f"{self.where}, line {number}: {error.text}")

    def _range(self, number: int, text: str) -> None:
        """Takes a line of either form. StatusError for any other."""
        if found := re.fullmatch(_IOMEM, text, re.I):
            start, last = int(found[1], 16), int(found[2], 16)
            self._iomem(start, _checked(start, last), found[3] or "", number)
        elif found := _LINE.fullmatch(text):
            start, last = number_of(found[1]), number_of(found[2])
            add_range(self._ranges, self._remarks, start, last, found[3], number)
        else:
            anywhere = ", and no line of a boot log's map, such as 'BIOS-e820: ...', anywhere"
            other = "" if self._ranges else anywhere
            raise StatusError(
                Status.INVALID_PARAMETER, f"expected 'START-END KIND', got {text[:60]!r}{other}"
            )

    def _iomem(self, start: int, end: int, name: str, number: int) -> None:
        low, high = self._parent
        if (start, end) == (0, 1):
            self._hidden = True
        elif not (low <= start and end <= high):
            self._parent = start, end
            if not name:
                self._remarks.add("the range has no name, and is taken as reserved", number)
            _append(self._ranges, FirmwareRange(start, end, kind_of(name) or MemoryKind.RESERVED))

    def result(self) -> FirmwareMap:
        """The map. StatusError INVALID_PARAMETER that names the line that is no range, or says that
        there is none.
        """
        if self._error:
            raise self._error
        if self._hidden and not self._ranges:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{self.where}: all addresses are 0; Linux shows those of /proc/iomem to "
                "root only: read it with sudo",
            )
        if not self._ranges:
            raise no_range(self.where)
        return FirmwareMap(self._ranges, self._remarks.sentences())


def no_range(where: str) -> StatusError:
    """The error for a source in which nothing is a range."""
    return StatusError(
        Status.INVALID_PARAMETER,
        f"{where}: no memory range found; give a boot log with BIOS-e820 or 'efi: mem' "
        "lines, /proc/iomem, JSON with 'ranges', or lines such as '0x0-0x9fbff usable'",
    )


def _append(ranges: list[FirmwareRange], item: FirmwareRange) -> None:
    ranges.append(item)
    if len(ranges) > MAX_RANGES:
        raise StatusError(Status.INVALID_PARAMETER, f"more than {MAX_RANGES} ranges")


def add_range(
    ranges: list[FirmwareRange],
    remarks: Remarks,
    start: int,
    end: int,
    kind: str,
    line: int = 0,
    inclusive: bool = True,
) -> None:
    """Adds a range that somebody wrote; `end` is its last byte, or, not `inclusive`, the first one
    behind it.

    StatusError INVALID_PARAMETER for an impossible range; an empty one only gets a remark.
    """
    behind = _checked(start, end, inclusive)
    if start == behind:
        remarks.add(f"the range of size zero at {start:#x} is left out", line)
        return
    found = kind_of(kind)
    if found is None:
        remarks.add(f"the kind {kind[:30]!r} is unknown, and is taken as reserved", line)
    _append(ranges, FirmwareRange(start, behind, found or MemoryKind.RESERVED))


def _checked(start: int, end: int, inclusive: bool = True) -> int:
    """The address behind a range; StatusError, in the numbers that somebody wrote, for an
    impossible one.
    """
    behind = end + inclusive
    if not possible(start, behind):
        fault = (
            "begins below 0"
            if start < 0
            else "ends before it begins"
            if behind < start
            else "reaches past 64 bits"
        )
        raise StatusError(
            Status.INVALID_PARAMETER, f"the range {_short(start)} to {_short(end)} {fault}"
        )
    return behind


def _short(address: int) -> str:
    return (
        f"{address:#x}" if abs(address) <= ADDRESS_LIMIT << 8 else "a number of more than 64 bits"
    )


def is_json(text: str) -> bool:
    """True for what begins as JSON; a log's "[    0.000000]" does not."""
    return bool(re.match(_JSON, text))


def parse_json(text: str, where: str, more: bool = False) -> FirmwareMap:
    """A map in JSON; `more` when `text` is only the beginning of it.

    StatusError INVALID_PARAMETER that names the range or the place that is wrong, FILE_TOO_LARGE
    for a map of more than MOST_HEAD bytes.
    """
    items = _items(text, where, more)
    out: list[FirmwareRange] = []
    remarks = Remarks(where)
    for i, item in enumerate(items if isinstance(items, list) else []):
        try:
            start, end, kind = _json_range(item)
            add_range(out, remarks, start, end, kind, inclusive=False)
        except StatusError as error:
            raise StatusError(error.status, f"{where}: range {i}: {error.text}") from None
    if not out:
        raise no_range(where)
    return FirmwareMap(out, remarks.sentences())


def _json_range(item: Any) -> tuple[int, int, str]:
    """Start, end and kind of a range. StatusError where it lacks one, or has it as nobody writes
    it.
    """
    try:
        start, end, kind = item["start"], item["end"], item["kind"]
    except (KeyError, TypeError):
        raise StatusError(
            Status.INVALID_PARAMETER, "needs start, end (numbers, end exclusive) and kind"
        ) from None
    if not isinstance(kind, str):
        raise StatusError(Status.INVALID_PARAMETER, 'the kind is no text, such as "usable"')
    return _json_number(start), _json_number(end), kind


def _items(text: str, where: str, more: bool) -> object:
    """The ranges in a text, or whatever stands in their place; those of a log, which is many
    objects one behind the other, are none.
    """
    begin = len(text) - len(text.lstrip())
    try:
        data, end = json.JSONDecoder(parse_int=_whole_number).raw_decode(text, begin)
        items = data.get("ranges") if isinstance(data, dict) else data
        rest = text[end:].lstrip()
        if rest and not (items is None and rest.startswith("{")):
            raise json.JSONDecodeError("there is more behind its end", text, len(text) - len(rest))
    except (json.JSONDecodeError, RecursionError) as error:
        raise _no_json(error, where, more) from None
    return items


def _no_json(error: json.JSONDecodeError | RecursionError, where: str, more: bool) -> StatusError:
    """Why a text is no JSON; `more` when it is only the beginning of it."""
    if more:
        return StatusError(
            Status.FILE_TOO_LARGE,
            f"{where}: JSON of more than {MOST_HEAD >> 20} MiB is no firmware map",
        )
    if isinstance(error, RecursionError):
        return StatusError(
            Status.INVALID_PARAMETER,
            f"{where}: not valid JSON: too many lists and objects lie in each other",
        )
    return StatusError(
        Status.INVALID_PARAMETER,
        f"{where}, line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}",
    )


def _whole_number(digits: str) -> int | str:
    """What JSON has as a number; one that is too long stays text, about which `number_of` has a
    sentence.
    """
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _json_number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, list | dict):
        raise StatusError(
            Status.INVALID_PARAMETER,
            "start and end must be numbers, and one is a list or an object",
        )
    return number_of(value if isinstance(value, str) else json.dumps(value))
