"""Firmware memory maps: what a machine's firmware says of its physical addresses, read from the forms in which people have them.

    sysfs    /sys/firmware/memmap/N/{start,end,type}     the running machine ("host")
    dmesg    BIOS-e820: [mem 0x0-0x9fbff] usable         Linux 3.x and later, and the older "0000 - 0000 (usable)"
             efi: mem00: [Conventional Memory| ...] range=[0x0-0x9ffff] (0MB)
    ranges   JSON [{"start": 0, "end": 4096, "kind": "usable"}, ...], end exclusive, or text lines "0x0-0xfff usable", end inclusive

Readers only read: overlaps, order and alignment are `octavo.boot.firmware_map`'s affair.
A range in this program is [start, end) in bytes.

Source: ACPI 6.5 section 15 (E820 types); UEFI 2.10 section 7.2 (memory types).
"""

from __future__ import annotations

import enum
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from octavo.status import Status, StatusError

MAX_RANGES = 4096
MOST_BYTES = 4 << 20  # of a file
ADDRESS_LIMIT = 1 << 64


class MemoryKind(enum.IntEnum):
    """What a range is good for; where two ranges overlap the higher kind wins."""

    USABLE = 1
    ACPI = 2
    NVS = 3
    RESERVED = 4
    UNUSABLE = 5


@dataclass(frozen=True)
class FirmwareRange:
    """Bytes [start, end) of one kind."""

    start: int
    end: int
    kind: MemoryKind


_WORDS = {
    "usable": MemoryKind.USABLE,
    "system ram": MemoryKind.USABLE,
    "ram": MemoryKind.USABLE,
    "conventional memory": MemoryKind.USABLE,
    "boot code": MemoryKind.USABLE,
    "boot data": MemoryKind.USABLE,
    "loader code": MemoryKind.USABLE,
    "loader data": MemoryKind.USABLE,
    "acpi data": MemoryKind.ACPI,
    "acpi tables": MemoryKind.ACPI,
    "acpi reclaim memory": MemoryKind.ACPI,
    "acpi": MemoryKind.ACPI,
    "acpi nvs": MemoryKind.NVS,
    "acpi non-volatile storage": MemoryKind.NVS,
    "acpi memory nvs": MemoryKind.NVS,
    "nvs": MemoryKind.NVS,
    "unusable": MemoryKind.UNUSABLE,
    "unusable memory": MemoryKind.UNUSABLE,
}

_E820 = re.compile(r"BIOS-e820:\s*\[mem (0x[0-9a-f]+)-(0x[0-9a-f]+)\]\s*(.+?)\s*$", re.I)
_E820_OLD = re.compile(r"BIOS-e820:\s*([0-9a-f]{8,16}) - ([0-9a-f]{8,16}) \((.+?)\)", re.I)
_EFI = re.compile(r"efi: mem\d+:\s*(?:type=\d+, )?\[\s*([A-Za-z /-]+?)\s*(?:\||\]).*range=\[(0x[0-9a-f]+)-(0x[0-9a-f]+)([\])])", re.I)
_LINE = re.compile(r"^\s*(0x[0-9a-f]+|\d+)\s*-\s*(0x[0-9a-f]+|\d+)\s+(.+?)\s*$", re.I)


_RECORDED = os.path.join(os.path.dirname(__file__), "maps")


def _kind(word: str) -> MemoryKind:
    """Anything that is not known to be usable is reserved: the firmware knows why."""
    return _WORDS.get(word.strip().lower(), MemoryKind.RESERVED)


def _make(start: int, end: int, kind: MemoryKind, where: str) -> FirmwareRange:
    if not 0 <= start < end <= ADDRESS_LIMIT:
        raise StatusError(Status.INVALID_PARAMETER, f"{where}: the range {start:#x} to {end:#x} is empty, backward or past 64 bits")
    return FirmwareRange(start, end, kind)


def _bounded(ranges: Iterable[FirmwareRange], where: str) -> list[FirmwareRange]:
    out = []
    for item in ranges:
        out.append(item)
        if len(out) > MAX_RANGES:
            raise StatusError(Status.INVALID_PARAMETER, f"{where}: more than {MAX_RANGES} ranges")
    if not out:
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"{where}: no memory range found; expected dmesg text with BIOS-e820 or efi lines, or lines such as '0x0-0x9fbff usable'",
        )
    return out


def read_sysfs(path: str = "/sys/firmware/memmap") -> list[FirmwareRange]:
    """The running machine's map, from Linux's sysfs."""
    out = []
    try:
        for name in sorted((n for n in os.listdir(path) if n.isdigit()), key=int):
            start, end, kind = (_read(os.path.join(path, name, field)).strip() for field in ("start", "end", "type"))
            out.append(_make(int(start, 16), int(end, 16) + 1, _kind(kind), f"{path}: range {name}"))
    except (OSError, ValueError) as error:
        raise StatusError(Status.NO_SUCH_DEVICE, f"{path}: cannot read the firmware map: {error}") from None
    return _bounded(out, path)


def _read(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(MOST_BYTES).decode("utf-8", "replace")


def parse_dmesg(text: str, where: str = "dmesg") -> list[FirmwareRange]:
    """Ranges from `BIOS-e820:` lines, or from `efi: mem` lines where there are any (they say more)."""
    e820, efi = [], []
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{where}, line {number}"
        if found := _E820.search(line):
            e820.append(_make(int(found[1], 16), int(found[2], 16) + 1, _kind(found[3]), place))
        elif found := _E820_OLD.search(line):
            e820.append(_make(int(found[1], 16), int(found[2], 16), _kind(found[3]), place))
        elif found := _EFI.search(line):
            end = int(found[3], 16) + (found[4] == "]")  # "range=[a-b]" is inclusive, the old "[a-b)" is not
            efi.append(_make(int(found[2], 16), end, _kind(found[1]), place))
    return _bounded(efi or e820, where)


def parse_ranges(text: str, where: str = "map") -> list[FirmwareRange]:
    """Ranges from JSON or from text lines; '#' begins a comment in text."""
    if text.lstrip().startswith(("[", "{")):
        return _parse_json(text, where)
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#", 1)[0]
        if not line.strip():
            continue
        found = _LINE.match(line)
        if not found:
            raise StatusError(Status.INVALID_PARAMETER, f"{where}, line {number}: expected 'START-END KIND', got {line.strip()[:60]!r}")
        out.append(_make(int(found[1], 0), int(found[2], 0) + 1, _kind(found[3]), f"{where}, line {number}"))
    return _bounded(out, where)


def _parse_json(text: str, where: str) -> list[FirmwareRange]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StatusError(Status.INVALID_PARAMETER, f"{where}: not valid JSON: {error}") from None
    items = data.get("ranges") if isinstance(data, dict) else data
    out = []
    for i, item in enumerate(items if isinstance(items, list) else []):
        place = f"{where}: range {i}"
        try:
            start, end = (v if isinstance(v, int) else int(v, 0) for v in (item["start"], item["end"]))
            kind = _kind(str(item["kind"]))
        except (KeyError, TypeError, ValueError):
            raise StatusError(Status.INVALID_PARAMETER, f"{place}: needs start, end (numbers, end exclusive) and kind") from None
        out.append(_make(start, end, kind, place))
    return _bounded(out, where)


def recorded_maps() -> list[str]:
    """Names of the maps that come with Octavo, recorded on real machines."""
    return sorted(name.removesuffix(".txt") for name in os.listdir(_RECORDED) if name.endswith(".txt"))


def load_firmware_map(source: str) -> list[FirmwareRange]:
    """A map by 'host', by the name of a recorded one, or from a file; StatusError with one sentence where that fails."""
    if source == "host":
        return read_sysfs()
    path = os.path.join(_RECORDED, source + ".txt")
    if "/" in source or not os.path.isfile(path):
        path = source
    if os.path.isdir(path):
        return read_sysfs(path)
    try:
        text = _read(path)
    except OSError as error:
        raise StatusError(Status.OBJECT_NAME_NOT_FOUND, f"{source}: {error.strerror}; give a file, 'host', or one of {', '.join(recorded_maps())}") from None
    where = source
    if "e820" in text.lower() or "efi: mem" in text:
        return parse_dmesg(text, where)
    return parse_ranges(text, where)
