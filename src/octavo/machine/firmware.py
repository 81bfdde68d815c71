"""Firmware memory maps: what a machine's firmware says of its physical addresses, read from the forms in which people have them.

    sysfs    /sys/firmware/memmap/N/{start,end,type}     the running machine ("host")
    dmesg    BIOS-e820: [mem 0x0-0x9fbff] usable         Linux 3.x and later, and the older "0000 - 0000 (usable)"
             efi: mem00: [Conventional Memory| ...] range=[0x0-0x9ffff] (0MB)
    raw      binary tables, see octavo.machine.rawmaps
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


_WORDS = {
    MemoryKind.USABLE: "usable, system ram, ram, conventional memory, conventional, boot code",
    MemoryKind.TEMPORARY: "temporary, boot data, loader code, loader data",
    MemoryKind.ACPI: "acpi, acpi data, acpi tables, acpi reclaim, acpi reclaim memory",
    MemoryKind.NVS: "nvs, acpi nvs, acpi non-volatile storage, acpi memory nvs, acpi mem nvs, pal code",
    MemoryKind.RUNTIME: "runtime, runtime code, runtime data",
    MemoryKind.IO: "io, memory mapped i/o, mmio, mem mapped i/o port space, mmio port",
    MemoryKind.UNUSABLE: "unusable, unusable memory",
}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words.split(", ")}

_E820 = re.compile(r"BIOS-e820:\s*\[mem (0x[0-9a-f]+)-(0x[0-9a-f]+)\]\s*(.+?)\s*$", re.I)
_E820_OLD = re.compile(r"BIOS-e820:\s*([0-9a-f]{8,16}) - ([0-9a-f]{8,16}) \((.+?)\)", re.I)
_EFI = re.compile(r"efi: mem\d+:\s*(?:type=\d+, )?\[\s*([A-Za-z /-]+?)\s*(?:\||\]).*range=\[(0x[0-9a-f]+)-(0x[0-9a-f]+)([\])])", re.I)
_LINE = re.compile(r"^\s*(0x[0-9a-f]+|\d+)\s*-\s*(0x[0-9a-f]+|\d+)\s+(.+?)\s*$", re.I)


_RECORDED = os.path.join(os.path.dirname(__file__), "maps")


def _kind(word: str) -> MemoryKind:
    """Anything that is not known to be usable is reserved: the firmware knows why."""
    return _KINDS.get(word.strip().lower(), MemoryKind.RESERVED)


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
    """A map by 'host', by the name of a recorded one, or from a file; StatusError with one sentence where that fails.

    The form of a file is found out; a binary one can be named in front of it: "uefi:map.bin" (e820, uefi, multiboot1, multiboot2).
    """
    if source == "host":
        return read_sysfs()
    path = os.path.join(_RECORDED, source + ".txt")
    if "/" in source or not os.path.isfile(path):
        path = source
    form, _, rest = source.partition(":")
    if form not in ("e820", "uefi", "multiboot1", "multiboot2") or os.path.exists(path):
        form, rest = "", path
    if os.path.isdir(rest):
        return read_sysfs(rest)
    try:
        with open(rest, "rb") as file:
            data = file.read(MOST_BYTES)
    except OSError as error:
        raise StatusError(Status.OBJECT_NAME_NOT_FOUND, f"{rest}: {error.strerror}; give a file, 'host', or one of {', '.join(recorded_maps())}") from None
    if form or b"\0" in data:
        from octavo.machine.rawmaps import parse_raw  # binary maps are rare, and starts are many

        return parse_raw(data, rest, form)
    text = data.decode("utf-8", "replace")
    if "bios-e820:" in text.lower() or "efi: mem" in text:
        return parse_dmesg(text, source)
    return parse_ranges(text, source)
