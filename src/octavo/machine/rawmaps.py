"""Firmware memory maps in the binary forms in which firmware and boot loaders hand them over.

    e820         base u64, length u64, type u32 (20 bytes), and since ACPI 3.0 attributes u32
                 (24 bytes; bit 0 clear: ignore); the 20-byte form is also QEMU's fw_cfg file
                 etc/e820
    uefi         type u32, pad u32, physical u64, virtual u64, pages u64, attributes u64 (40 bytes),
                 then whatever a later version adds: the descriptor's size is told apart from the
                 data, or given
    multiboot1   size u32 of what follows, base u64, length u64, type u32
    multiboot2   the information structure: total size u32, reserved u32, tags (type u32, size u32,
                 ...) on 8-byte boundaries; tag 6 has entries of the size that it states (base u64,
                 length u64, type u32, reserved u32), tag 17 a UEFI map

All little-endian. RAM that a UEFI descriptor keeps for a specific purpose is reserved. Entries of
length 0 are dropped. An entry that wraps past 64 bits is dropped when it claims to be RAM, and
reaches to the end of the address space otherwise: memory that nobody has is not made up, memory
that is taken is kept.

Source: ACPI 6.5 section 15; UEFI 2.10 section 7.2; Multiboot specifications 0.6.96 and 2.0; QEMU's
docs/specs/fw_cfg.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from octavo.machine.firmware import (
    ADDRESS_LIMIT,
    MAX_RANGES,
    FirmwareMap,
    FirmwareRange,
    MemoryKind,
    e820_kind,
    uefi_kind,
)
from octavo.status import Status, StatusError

_UEFI_SIZES = range(40, 257, 8)
_PAGE_LIMIT = ADDRESS_LIMIT >> 12


class _MismatchError(Exception):
    """The data is not in this form; the text says why."""


def _range(start: int, length: int, kind: MemoryKind) -> list[FirmwareRange]:
    """The range of one entry, by the rules for empty and wrapping ones."""
    if length == 0 or (start + length > ADDRESS_LIMIT and kind.ram):
        return []
    return [FirmwareRange(start, min(start + length, ADDRESS_LIMIT), kind)]


def _entries(data: bytes, size: int, what: str) -> range:
    if not data or len(data) % size:
        raise _MismatchError(f"{len(data)} bytes are no whole number of {size}-byte {what}")
    if len(data) // size > MAX_RANGES:
        raise _MismatchError(f"{len(data) // size} {what} are more than {MAX_RANGES}")
    return range(0, len(data), size)


def parse_e820(data: bytes) -> list[FirmwareRange]:
    """Raw E820 entries of 20 or 24 bytes; where both fit, the one in which every type and attribute
    makes sense.
    """
    failure = _MismatchError("")
    for size in (24, 20):
        try:
            return _parse_e820(data, size)
        except _MismatchError as error:
            failure = failure if str(failure) and size == 20 and len(data) % 20 else error
    raise failure


def _parse_e820(data: bytes, size: int) -> list[FirmwareRange]:
    out: list[FirmwareRange] = []
    for number, at in enumerate(_entries(data, size, "E820 entries")):
        start, length, kind = struct.unpack_from("<QQI", data, at)
        attributes = struct.unpack_from("<I", data, at + 20)[0] if size == 24 else 1
        if not 1 <= kind <= 20 and kind < 0xF0000000:
            raise _MismatchError(f"entry {number}: type {kind:#x} is none of E820's")
        if attributes > 0xF:
            raise _MismatchError(f"entry {number}: attributes {attributes:#x} are none of ACPI's")
        if attributes & 1:
            out += _range(start, length, e820_kind(kind))
    return out


def parse_uefi(data: bytes, size: int = 0) -> list[FirmwareRange]:
    """Raw UEFI descriptors of `size` bytes; 0 finds the size for which every descriptor makes
    sense.
    """
    failure = _MismatchError("no descriptor size from 40 to 256 bytes fits")
    for candidate in (size,) if size else _UEFI_SIZES:
        try:
            return _parse_uefi(data, candidate)
        except _MismatchError as error:
            failure = error if size else failure
    raise failure


def _parse_uefi(data: bytes, size: int) -> list[FirmwareRange]:
    if size < 40 or size % 8:
        raise _MismatchError(
            f"a descriptor size of {size} bytes is not possible: at least 40, and a multiple of 8"
        )
    out: list[FirmwareRange] = []
    for number, at in enumerate(_entries(data, size, "UEFI descriptors")):
        kind, pad, start, _, pages, attributes = struct.unpack_from("<IIQQQQ", data, at)
        if 16 <= kind < 0x70000000:
            raise _MismatchError(f"descriptor {number}: type {kind:#x} is none of UEFI's")
        if start & 0xFFF or pages > _PAGE_LIMIT or (size == 40 and pad):
            raise _MismatchError(
                f"descriptor {number}: start {start:#x} or page count {pages:#x} is not possible"
            )
        out += _range(start, pages << 12, uefi_kind(kind, attributes))
    return out


def parse_multiboot1(data: bytes) -> list[FirmwareRange]:
    """The mmap buffer of Multiboot 1: each entry states its size."""
    out: list[FirmwareRange] = []
    at = 0
    while at < len(data):
        size = struct.unpack_from("<I", data, at)[0] if at + 4 <= len(data) else 0
        if not 20 <= size <= 256 or at + 4 + size > len(data):
            raise _MismatchError(
                f"the entry at byte {at} has size {size}, and {len(data) - at} bytes are left"
            )
        start, length, kind = struct.unpack_from("<QQI", data, at + 4)
        out += _range(start, length, e820_kind(kind))
        at += 4 + size
        if len(out) > MAX_RANGES:
            raise _MismatchError(f"more than {MAX_RANGES} entries")
    return out


def parse_multiboot2(data: bytes) -> list[FirmwareRange]:
    """The information structure of Multiboot 2; a UEFI map in it wins, since it says more."""
    if len(data) < 16 or struct.unpack_from("<I", data)[0] != len(data):
        raise _MismatchError("the total size at byte 0 is not the file's")
    maps: dict[int, list[FirmwareRange]] = {}
    for kind, body in _tags(data):
        if kind in (6, 17) and len(body) >= 8:
            entry, _ = struct.unpack_from("<II", body)
            parse = _multiboot2_mmap if kind == 6 else _parse_uefi
            maps[kind] = parse(body[8:], entry)
    if not maps:
        raise _MismatchError("there is no memory map tag (6 or 17)")
    return maps.get(17) or maps[6]


def _tags(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, contents) of the tags of Multiboot 2, up to the one that ends them."""
    at = 8
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if size < 8 or at + size > len(data):
            raise _MismatchError(
                f"tag {kind} at byte {at} has size {size}, and {len(data) - at} bytes are left"
            )
        if kind == 0:
            return
        yield kind, data[at + 8 : at + size]
        at += size + 7 & ~7


def _multiboot2_mmap(data: bytes, size: int) -> list[FirmwareRange]:
    if size < 24 or size % 8:
        raise _MismatchError(
            f"memory map entries of {size} bytes are not possible: at least 24, and a multiple of 8"
        )
    out: list[FirmwareRange] = []
    for at in _entries(data, size, "memory map entries"):
        start, length, kind = struct.unpack_from("<QQI", data, at)
        out += _range(start, length, e820_kind(kind))
    return out


FORMS: dict[str, Callable[[bytes], list[FirmwareRange]]] = {
    "multiboot2": parse_multiboot2,
    "multiboot1": parse_multiboot1,
    # strict about types: a UEFI map has 0 or an address where E820 has its type
    "e820": parse_e820,
    "uefi": parse_uefi,
}


def parse_raw(data: bytes, where: str, form: str = "") -> FirmwareMap:
    """A binary map; without `form`, the first of FORMS in which all of it makes sense. StatusError
    INVALID_PARAMETER where none does.
    """
    reasons = []
    for name in (form,) if form else FORMS:
        try:
            out = FORMS[name](data)
        except _MismatchError as error:
            reasons.append(f"as {name}, {error}")
        else:
            if out:
                return FirmwareMap(out)
            reasons.append(f"as {name}, it has no range")
    raise StatusError(
        Status.INVALID_PARAMETER, f"{where}: not a firmware map: {'; '.join(reasons)}"
    )
