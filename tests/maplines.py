"""Firmware maps as the texts in which people have them, for the tests of their readers."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable, Sequence

from octavo.machine.firmware import FirmwareRange, MemoryKind

K = MemoryKind
PC = [
    FirmwareRange(0, 0x9FC00, K.USABLE),
    FirmwareRange(0x9FC00, 0xA0000, K.RESERVED),
    FirmwareRange(0xF0000, 0x100000, K.RESERVED),
    FirmwareRange(0x100000, 0xFEE0000, K.USABLE),
    FirmwareRange(0xFEE0000, 0x10000000, K.NVS),
    FirmwareRange(0xFFFC0000, 0x100000000, K.RESERVED),
]
LARGER = [
    *PC[:3],
    FirmwareRange(0x100000, 0x1FEE0000, K.USABLE),
    FirmwareRange(0x1FEE0000, 0x20000000, K.ACPI),
    PC[5],
]
E820_WORDS = {
    K.USABLE: "usable",
    K.RESERVED: "reserved",
    K.ACPI: "ACPI data",
    K.NVS: "ACPI NVS",
    K.UNUSABLE: "unusable",
}
_NUMBERS = {K.USABLE: 1, K.RESERVED: 2, K.ACPI: 3, K.NVS: 4, K.UNUSABLE: 5}
_SIZED = {**E820_WORDS, K.USABLE: "kernel usable RAM", K.RESERVED: "device reserved"}
_EFI_NUMBERS = {K.USABLE: 7, K.RESERVED: 0, K.ACPI: 9, K.NVS: 10, K.UNUSABLE: 8}
_EFI = {
    K.USABLE: "Conventional Memory",
    K.RESERVED: "Reserved",
    K.ACPI: "ACPI Reclaim Memory",
    K.NVS: "ACPI Memory NVS",
    K.UNUSABLE: "Unusable Memory",
}
_IOMEM = {
    K.USABLE: "System RAM",
    K.RESERVED: "PCI Bus 0000:00",
    K.ACPI: "ACPI Tables",
    K.NVS: "ACPI Non-volatile Storage",
    K.UNUSABLE: "Unusable memory",
}
_GRUB = {
    K.USABLE: "available RAM",
    K.RESERVED: "reserved RAM",
    K.ACPI: "ACPI reclaimable RAM",
    K.NVS: "ACPI non-volatile storage RAM",
    K.UNUSABLE: "faulty RAM (BadRAM)",
}


def coloured(line: str, escape: str) -> str:
    """A line in the colours of dmesg and journalctl, in which the escape character may have become
    something else.
    """
    return f"{escape}[32m[    0.000000] {escape}[0m{escape}[33m" + line.replace(
        ": ", f": {escape}[0m", 1
    )


LOGS: dict[str, Callable[[int, FirmwareRange], str]] = {
    "E820": lambda i, r: f"BIOS-e820: [mem {r.start:#018x}-{r.end - 1:#018x}] {E820_WORDS[r.kind]}",
    "E820 with sizes": lambda i, r: (
        f"BIOS-e820: [mem {r.start:#018x}-{r.end - 1:#018x}]  639.5 KB {_SIZED[r.kind]}"
    ),
    "E820 before 3.5": lambda i, r: (
        f" BIOS-e820: {r.start:016x} - {r.end:016x} ({E820_WORDS[r.kind]})"
    ),
    "E820 before 2.3": lambda i, r: (
        f" BIOS-e820: {r.end - r.start:08x} @ {r.start:08x} ({E820_WORDS[r.kind]})"
    ),
    "E820 by numbers": lambda i, r: (
        f"BIOS-e820: [mem {r.start:#018x}-{r.end - 1:#018x}] type {_NUMBERS[r.kind]}"
    ),
    "guest of Xen": lambda i, r: (
        f"Xen: [mem {r.start:#018x}-{r.end - 1:#018x}] {E820_WORDS[r.kind]}"
    ),
    "Xen": lambda i, r: (
        f"(XEN) [0000001b4dd165de]  {r.start:016x} - {r.end:016x} ({E820_WORDS[r.kind]})"
    ),
    "Xen 4.15": lambda i, r: f"(XEN)  [{r.start:016x}, {r.end - 1:016x}] ({E820_WORDS[r.kind]})",
    "EFI": lambda i, r: (
        f"efi: mem{i:02d}: [{_EFI[r.kind]:<19}|   |  |  |  |  |   |WB|WT|WC|UC] "
        f"range=[{r.start:#018x}-{r.end - 1:#018x}] (0MB)"
    ),
    "EFI of 3.x": lambda i, r: (
        f"EFI: mem{i:02d}: type={_EFI_NUMBERS[r.kind]}, attr=0xf, "
        f"range=[{r.start:#018x}-{r.end:#018x}) (0MB)"
    ),
    "FreeBSD": lambda i, r: (
        f"SMAP type={_NUMBERS[r.kind]:02x} base={r.start:016x} len={r.end - r.start:016x}"
    ),
    "FreeBSD's sysctl": lambda i, r: (
        f"SMAP type={_NUMBERS[r.kind]:02x}, xattr=01, base={r.start:016x}, "
        f"len={r.end - r.start:016x}"
    ),
    "GRUB": lambda i, r: (
        f"base_addr = {r.start:#x}, length = {r.end - r.start:#x}, {_GRUB[r.kind]}"
    ),
    "modified": lambda i, r: (
        f"modified: [mem {r.start:#018x}-{r.end - 1:#018x}] {E820_WORDS[r.kind]}"
    ),
    "the user's": lambda i, r: (
        f"user: [mem {r.start:#018x}-{r.end - 1:#018x}] {E820_WORDS[r.kind]}"
    ),
}
LISTS: dict[str, Callable[[int, FirmwareRange], str]] = {
    "hexadecimal": lambda i, r: f"{r.start:#x}-{r.end - 1:#x} {E820_WORDS[r.kind]} # {i}",
    "decimal": lambda i, r: f"{r.start} - {r.end - 1}  {E820_WORDS[r.kind]}",
    "cut": lambda i, r: f"[mem {r.start:#018x}-{r.end - 1:#018x}] {E820_WORDS[r.kind]}",
    "iomem": lambda i, r: f"{r.start:08x}-{r.end - 1:08x} : {_IOMEM[r.kind]}",
}
WRAPPINGS: dict[str, Callable[[list[str]], bytes]] = {
    "plain": lambda lines: "\n".join(lines).encode(),
    "CR LF, NUL and a line end": lambda lines: (
        "".join(f"{line}\r\n" for line in lines).encode() + b"\0" * 50 + b"\n"
    ),
    "BOM": lambda lines: b"\xef\xbb\xbf" + "\n".join(lines).encode(),
    "UTF-16": lambda lines: "\r\n".join(lines).encode("utf-16"),
    "UTF-16 without BOM": lambda lines: "\n".join(lines).encode("utf-16-be"),
    "gzip": lambda lines: gzip.compress("\n".join(lines).encode()),
    "bzip2": lambda lines: bz2.compress("\n".join(lines).encode()),
    "xz": lambda lines: lzma.compress("\n".join(lines).encode()),
}
MANNERS: dict[str, Callable[[list[str]], list[str]]] = {
    "times": lambda lines: [f"[    0.{i:06d}][    T0] {line}" for i, line in enumerate(lines)],
    "journal": lambda lines: [f"Jun 19 18:06:35 ####-desktop kernel: {line}" for line in lines],
    "JSON": lambda lines: [
        json.dumps({"_HOSTNAME": "h", "MESSAGE": line, "PRIORITY": "6"}) for line in lines
    ],
    "one line of JSON": lambda lines: [json.dumps({"dmesg": "\n".join(lines)})],
    "bytes in JSON": lambda lines: [
        json.dumps({"MESSAGE": list(coloured(line, "\x1b").encode()), "PRIORITY": "6"})
        for line in lines
    ],
    "bytes in pretty JSON": lambda lines: json.dumps(
        [{"MESSAGE": list(line.encode())} for line in lines], indent="\t"
    ).split("\n"),
    "bytes and text in JSON": lambda lines: [
        json.dumps({"MESSAGE": [*line.encode()] if i % 2 else line}) for i, line in enumerate(lines)
    ],
    "kmsg": lambda lines: [f"6,{i},0,-;{line}" for i, line in enumerate(lines)],
    "colours": lambda lines: [coloured(line, "\x1b") for line in lines],
    "colours without escape": lambda lines: [coloured(line, "") for line in lines],
    "colours of cat -v": lambda lines: [coloured(line, "^[") for line in lines],
    "twice": lambda lines: [line for line in lines for _ in range(2)],
    "all over again": lambda lines: [*lines, "reboot", *lines],
    "blank lines": lambda lines: [part for line in lines for part in (line, "")],
    "quoted": lambda lines: [f"> > {line}" for line in lines],
    "text behind": lambda lines: [f"{line} <- look here" for line in lines],
    "serial line": lambda lines: [f"\r{line}\r" for line in lines],
    "garbage": lambda lines: ["\xff\xfe\x07noise", *lines, "Linux is here"],
}


def log(ranges: Sequence[FirmwareRange], dialect: str = "E820") -> str:
    """A map as a log."""
    return "".join(f"[    0.000000] {LOGS[dialect](i, r)}\n" for i, r in enumerate(ranges))


def efi(*items: tuple[int, int, int, str]) -> str:
    """EFI lines of (number, start, end, kind)."""
    return "".join(
        f"efi: mem{i:02d}: [{kind}|   |  |WB|WT|WC|UC] range=[{a:#018x}-{b - 1:#018x}] (1MB)\n"
        for i, a, b, kind in items
    )
