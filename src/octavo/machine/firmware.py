"""Firmware memory maps: what a machine's firmware says of its physical addresses, and how that is
called.

    MemoryKind     what a range is good for
    FirmwareRange  [start, end) in bytes, of one kind
    FirmwareMap    the ranges of one map, with notes: sentences on what its reader left out, doubted
                   or chose
    Remarks        how a reader collects those sentences

The forms in which people have maps are read by `maplogs` (boot logs), `maplists` (lists,
/proc/iomem, JSON) and `rawmaps` (binary tables); `mapsources` opens them. Readers only read:
overlaps, order and alignment are `octavo.boot.firmware_map`'s affair.

Source: ACPI 6.5 section 15 (E820 types); UEFI 2.10 section 7.2 (memory types and attributes).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

from octavo.status import Status, StatusError

MAX_RANGES = 4096
ADDRESS_LIMIT = 1 << 64
# an attribute: memory that is meant for a device or a special use, not for everybody's pages
EFI_SPECIFIC_PURPOSE = 0x40000
_MOST_REMARKS = 40
_MOST_LINES = 4  # that a remark names


class MemoryKind(enum.IntEnum):
    """What a range is good for; where two ranges overlap the higher kind wins."""

    USABLE = 1
    TEMPORARY = 2  # the firmware's or loader's until boot ends, usable then
    ACPI = 3
    NVS = 4
    RUNTIME = 5  # code and data of UEFI's runtime services
    IO = 6  # memory-mapped registers
    RESERVED = 7
    UNUSABLE = 8

    @property
    def ram(self) -> bool:
        """True for what becomes ordinary memory."""
        return self <= MemoryKind.TEMPORARY


@dataclass(frozen=True)
class FirmwareRange:
    """Bytes [start, end) of one kind."""

    start: int
    end: int
    kind: MemoryKind


class FirmwareMap(list[FirmwareRange]):
    """The ranges of one map in its source's order; `notes` are sentences about the reading, each
    with its place.
    """

    def __init__(self, ranges: Iterable[FirmwareRange] = (), notes: Iterable[str] = ()) -> None:
        super().__init__(ranges)
        self.notes = tuple(notes)


class Remarks:
    """What a reader has to say of the source `where`: each remark once, with the lines that it is
    about.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._lines: dict[str, list[int]] = {}
        self._counts: dict[str, int] = {}

    def add(self, text: str, line: int = 0) -> None:
        """Remembers a remark about a line; 0 is the whole source."""
        if text not in self._lines and len(self._lines) >= _MOST_REMARKS:
            text, line = "there is more to say than is shown here", 0
        lines = self._lines.setdefault(text, [])
        self._counts[text] = self._counts.get(text, 0) + 1
        if line and len(lines) < _MOST_LINES and line not in lines:
            lines.append(line)

    def sentences(self) -> list[str]:
        """All remarks, each with its place."""
        return [
            f"{self.where}{self._place(text, lines)}: {text}" for text, lines in self._lines.items()
        ]

    def _place(self, text: str, lines: list[int]) -> str:
        if not lines:
            return ""
        more = self._counts[text] - len(lines)
        return f", line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}" + (
            f" and {more} more" if more else ""
        )


_WORDS = {
    MemoryKind.USABLE: "usable, usable ram, kernel usable ram, system ram, ram, conventional "
    "memory, conventional, boot code, available, available ram",
    MemoryKind.TEMPORARY: "temporary, boot data, loader code, loader data",
    MemoryKind.ACPI: "acpi, acpi data, acpi tables, acpi reclaim, acpi reclaim memory, acpi "
    "reclaimable, acpi reclaimable ram",
    MemoryKind.NVS: "nvs, acpi nvs, acpi non-volatile storage, acpi non-volatile storage ram, "
    "acpi memory nvs, acpi mem nvs, pal code",
    MemoryKind.RUNTIME: "runtime, runtime code, runtime data",
    MemoryKind.IO: "io, memory mapped i/o, mmio, mem mapped i/o port space, mmio port, mmio port "
    "space",
    MemoryKind.RESERVED: "reserved, device reserved, soft reserved, reserved ram, reserved "
    "memory, persistent, persistent memory, unaccepted memory, "
    "unaccepted, unknown e820 type, ram holding coreboot tables, ram holding firmware code",
    MemoryKind.UNUSABLE: "unusable, unusable memory, bad, faulty ram (badram)",
}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words.split(", ")}
_PHRASE = (  # this and the others are compiled when needed
    r"[\s(]*("
    + "|".join(
        re.escape(word).replace(r"\ ", r"\s+") for word in sorted(_KINDS, key=len, reverse=True)
    )
    + r")(?![a-z0-9])"
)
_DATE = (
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)"
    r"[a-z]*,?\s+[a-z0-9]"
)
_GOES_ON = (  # "usable by nobody", "RAM, bad"; "(usable) ==> (reserved)"; "usable [reserved]"
    rf"[\s(,;:?!/-]*(?!{_DATE})[a-z]|[^a-z]*[=-]>\s*\(?[a-z]"
    r"|[^a-z]*(?:reserved|unusable|faulty|bad|not)\b"
)
_TYPE = r"[\s(]*type[\s=]+([0-9]{1,10})(?![0-9])"

_E820 = {
    1: MemoryKind.USABLE,
    2: MemoryKind.RESERVED,
    3: MemoryKind.ACPI,
    4: MemoryKind.NVS,
    5: MemoryKind.UNUSABLE,
}
_UEFI = [
    MemoryKind.RESERVED,
    MemoryKind.TEMPORARY,  # loader code
    MemoryKind.TEMPORARY,  # loader data
    MemoryKind.USABLE,  # boot services code
    MemoryKind.TEMPORARY,  # boot services data
    MemoryKind.RUNTIME,
    MemoryKind.RUNTIME,
    MemoryKind.USABLE,  # conventional
    MemoryKind.UNUSABLE,
    MemoryKind.ACPI,
    MemoryKind.NVS,
    MemoryKind.IO,
    MemoryKind.IO,  # port space
    MemoryKind.NVS,  # PAL code
    MemoryKind.RESERVED,  # persistent memory: outlives a boot, so it is not for pages
]


def e820_kind(number: int) -> MemoryKind:
    """The kind of an E820 type; any unknown one is reserved, as ACPI demands."""
    return _E820.get(number, MemoryKind.RESERVED)


def uefi_kind(number: int, attributes: int = 0) -> MemoryKind:
    """The kind of a UEFI type; unknown ones, unaccepted memory, and RAM that is kept for a specific
    purpose are reserved.
    """
    kind = _UEFI[number] if number < len(_UEFI) else MemoryKind.RESERVED
    return MemoryKind.RESERVED if kind.ram and attributes & EFI_SPECIFIC_PURPOSE else kind


def kind_of(word: str) -> MemoryKind | None:
    """The kind that is called exactly `word`, in any case and with blanks of any kind; None for
    words that nobody uses.
    """
    return _KINDS.get(" ".join(word.lower().split()))


def kind_before(text: str) -> MemoryKind | None:
    """The kind that a text begins with ("usable", "(ACPI NVS)", "type 9"); None for no known one.

    What stands behind it does not matter, unless it goes on in words: "usable by nobody" is no RAM,
    and "ACPI" may be half a name.
    """
    if found := re.match(_PHRASE, text, re.I):
        kind = _KINDS[" ".join(found[1].lower().split())]
    elif found := re.match(_TYPE, text, re.I):
        kind = e820_kind(int(found[1]))
    else:
        return None
    return (
        None if kind <= MemoryKind.ACPI and re.match(_GOES_ON, text[found.end() :], re.I) else kind
    )


def possible(start: int, end: int) -> bool:
    """True when [start, end) can be a range of addresses, an empty one included."""
    return 0 <= start <= end <= ADDRESS_LIMIT


def too_many(where: str) -> StatusError:
    """The error for a map of more than MAX_RANGES ranges."""
    return StatusError(Status.INVALID_PARAMETER, f"{where}: more than {MAX_RANGES} ranges")
