"""The lines in which kernels, hypervisors and loaders print firmware maps while they start.

    slot        printed by                  lines
    firmware    Linux                       BIOS-e820: [mem 0x00...00000000-0x00...0009fbff] usable
                before 3.5 (end exclusive)  BIOS-e820: 0000000000000000 - 000000000009fc00 (usable)
                before 2.3 (size @ start)   BIOS-e820: 0009fc00 @ 00000000 (usable)
                with sizes (2025)           BIOS-e820: [mem 0x...-0x...]  639   KB kernel usable RAM
                as a guest of Xen           Xen: [mem 0x...-0x...] usable
                FreeBSD, verbose            SMAP type=01 base=0000000000000000 len=000000000009fc00
                GRUB's lsmmap               base_addr = 0x0, length = 0x9fc00, available RAM
    hypervisor  Xen                         (XEN)  0000000000000000 - 000000000009fc00 (usable)
                since 4.15 (end inclusive)  (XEN)  [0000000000000000, 000000000009fbff] (usable)
                                            (XEN)  [0000000100000000, 0000000100ffffff] type 12
    efi         Linux with efi=debug        efi: mem00: [Conventional Memory|RUN|...|WB|WT|WC|UC]
                                                range=[0x0-0x9ffff] (0MB)           (in one line)
                to 3.x (end exclusive)      efi: mem00: type=7, attr=0xf, range=[0x0-0xa0000) (0MB)
    user        Linux with mem= or memmap=  user: [mem 0x...-0x...] usable
    kernel      Linux                       modified: [mem 0x...-0x...] usable
                                            (or "reserve setup_data:" or extended: in front)

Whatever stands in front (times, hosts, quote marks, JSON) or behind does not matter, unless it
changes the kind's name. Here is what one entry looks like, wherever it stands in a line; which
entries make a map is `octavo.machine.maplogs`' affair.

Source: the lines that these programs print, in logs of real machines.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from octavo.machine.firmware import MemoryKind, e820_kind, kind_before, uefi_kind

MOST_ENTRY = 400  # characters
_HEX = r"0x[0-9a-f]+"
_BARE = r"[0-9a-f]{8,16}"
_KIND = r"(?P<kind>[a-z(].*)"
_NEW = (
    rf"\s*\[mem\s+(?P<start>{_HEX})\s*-\s*(?P<last>{_HEX})\s*\]"
    rf"(?:\s*[0-9.]+\s+[KMGTPE]?i?B\b)?\s*{_KIND}"
)
_OLD = rf"\s*(?P<start>{_BARE})\s+-\s+(?P<end>{_BARE})\s+{_KIND}"
_SIZED = rf"\s*(?P<size>{_BARE})\s+@\s+(?P<start>{_BARE})\s+{_KIND}"
_E820 = (_NEW, _OLD, _SIZED)
_XEN = (_OLD, rf"\s*\[(?P<start>{_BARE}),\s+(?P<last>{_BARE})\]\s+{_KIND}")
_XEN_BEGINS = r"(?=\[[0-9a-f]{16}, [0-9a-f]{16}\] (?:\(|type ))"
_EFI = (
    rf"(?P<number>[0-9]{{1,5}}):\s*(?:type=(?P<efi>[0-9]{{1,10}}),\s*)?"
    rf"(?:attr=(?P<attributes>{_HEX}),\s*)?"
    rf"(?:\[\s*(?P<kind>[^|\]]+?)\s*(?P<flags>\|[^\]]*)?\]\s*)?"
    rf"range=\[(?P<start>{_HEX})\s*-\s*(?:(?P<last>{_HEX})\]|(?P<end>{_HEX})\))",
)
_SMAP = (
    r"(?P<e820>[0-9a-f]{1,8}),?\s+(?:xattr=\w+,?\s+)?"
    r"base=(?:0x)?(?P<start>[0-9a-f]+),?\s+len=(?:0x)?(?P<size>[0-9a-f]+)",
)
_LSMMAP = (rf"(?P<start>{_HEX}),\s+length\s+=\s+(?P<size>{_HEX}),\s+{_KIND}",)
_NEXT = r"\s*:\s*(?=\[(?:mem|gap)\b|[0-9a-f]{8,16} [-@])"


def _named(*names: str) -> tuple[str, ...]:
    """What tells that an entry with such a name may be there, colours and line ends between its
    parts aside.
    """
    return tuple(f"{name}: {sign}" for name in names for sign in "[0\x1b^\\")


class Dialect(NamedTuple):
    """Expressions, compiled when a line needs them: every start of a program pays for what is
    compiled before.

    `begins` finds an entry in lines with one of `marks` in them (in lower case), and `entries` are
    the forms of what is behind it.
    """

    slot: str
    name: str
    marks: tuple[str, ...]
    begins: str
    entries: tuple[str, ...]


_DIALECTS = [
    Dialect("firmware", "BIOS-e820", ("bios-e820",), r"BIOS-e820\s*:", _E820),
    Dialect("firmware", "Xen", _named("xen"), r"\bXen" + _NEXT, _E820),
    Dialect("firmware", "SMAP", ("smap type=",), r"\bSMAP type=(?=[0-9a-f]+,? )", _SMAP),
    Dialect("firmware", "lsmmap", ("base_addr = 0x",), r"\bbase_addr = (?=0x)", _LSMMAP),
    Dialect(
        "hypervisor",
        "Xen-e820",
        ("(xen)",),
        r"\(XEN\)(?:\s*\[[^\]]{1,40}\])?\s+(?=[0-9a-f]{16}(?: -|$))",
        _XEN,
    ),
    Dialect(
        "hypervisor",
        "Xen-e820",
        ("] (usable", "] (reserved", "] (acpi", "] (unusable", "] type "),
        _XEN_BEGINS,
        _XEN,
    ),
    Dialect(
        "efi",
        "efi: mem",
        ("efi:mem", *(f"efi: {sign}" for sign in "m[\x1b^\\")),
        r"\befi:\s*mem(?=[0-9]+:)",
        _EFI,
    ),
    Dialect("user", "user", _named("user"), r"\buser" + _NEXT, _E820),
    Dialect("kernel", "modified", _named("modified"), r"\bmodified" + _NEXT, _E820),
    Dialect(
        "kernel",
        "setup_data",
        _named("reserve setup_data", "extended"),
        r"\b(?:reserve setup_data|extended)" + _NEXT,
        _E820,
    ),
]
_STARTS = {
    "firmware": r"bios-provided physical ram map|(?<![a-z] )\blinux version [0-9]\S*(?: \(|\s*$)",
    "hypervisor": r"\bxen version [0-9]\S* \(|\(xen\)(?:\s*\[[^\]]{1,40}\])?\s+[a-z0-9-]+ ram map:",
}
_START_MARKS = ("bios-provided", "linux version", "xen version", " ram map:")
_NAMED_MARKS = ("bios-e801", "bios-88", "efi:  ")
_NAMED = [
    (
        r"BIOS-(?:e801|88)\s*:",
        "this is a BIOS-e801 or BIOS-88 map: it says how much memory there is, and not "
        "what is reserved; "
        "to plan with it, write its ranges as lines such as '0x100000-0x3ffffff usable'",
    ),
    (
        rf"\befi:\s+{_HEX}-{_HEX} \[",
        "this is the EFI map of a kernel for ARM or RISC-V, and Octavo plans x86 machines: "
        "give the BIOS-e820 or 'efi: mem' lines of one",
    ),
]
_MARKS = (*_START_MARKS, *_NAMED_MARKS, *(mark for dialect in _DIALECTS for mark in dialect.marks))
_STEMS = {"".join(mark.partition(": ")[:2]) for mark in _MARKS}  # in which marks begin, or all


class Entry(NamedTuple):
    """Bytes [start, end) of a kind, None for one whose name `word` is unknown; `number` is that of
    an EFI descriptor.

    `open` is True when the line ends in the name of the kind, so that more of it may stand in the
    next one.
    """

    start: int
    end: int
    kind: MemoryKind | None
    word: str
    number: int
    open: bool


def entries_in(line: str) -> list[tuple[Dialect, str]]:
    """Each beginning of an entry in a line: its dialect, and what stands behind it as far as the
    next one.
    """
    lowered = line.lower()
    found = [
        (f.start(), f.end(), d)
        for d in _DIALECTS
        if any(m in lowered for m in d.marks)
        for f in re.finditer(d.begins, line, re.I)
    ]
    found.sort(key=lambda f: f[:2])
    ends = [start for start, _, _ in found[1:]] + [len(line)] * bool(found)
    return [
        (dialect, line[start : min(end, start + MOST_ENTRY)])
        for (_, start, dialect), end in zip(found, ends, strict=True)
    ]


def may_have_entry(lowered: str) -> bool:
    """False for a lower-case text that has nothing of a map and no sign of a start in it; quick."""
    return any(stem in lowered for stem in _STEMS) and any(mark in lowered for mark in _MARKS)


def start_of(line: str) -> str:
    """The slot of the map that a machine prints behind this line, which it logs once when it
    starts; empty for other lines.
    """
    lowered = line.lower()
    if not any(mark in lowered for mark in _START_MARKS):
        return ""
    return next((slot for slot, form in _STARTS.items() if re.search(form, lowered)), "")


def named_form(line: str) -> str:
    """A sentence on a map of a form that is not read; empty for other lines."""
    lowered = line.lower()
    if not any(mark in lowered for mark in _NAMED_MARKS):
        return ""
    return next((says for form, says in _NAMED if re.search(form, line, re.I)), "")


def is_gap(text: str) -> bool:
    """True for a line that tells of a hole."""
    return text.lstrip().startswith("[gap")


def read_entry(dialect: Dialect, text: str) -> Entry | None:
    """The entry behind its beginning; None when it is none, or not whole."""
    found = next((f for f in (re.match(form, text, re.I) for form in dialect.entries) if f), None)
    if found is None:
        return None
    entry = {key: value or "" for key, value in found.groupdict().items()}
    start = int(entry["start"], 16)
    kind, word = _entry_kind(entry), entry.get("kind", "")
    ends = found.end() == len(text) and dialect.slot != "efi"
    return Entry(
        start,
        _end_of(entry, start),
        kind,
        word,
        int(entry.get("number") or 0),
        ends and (kind is None or word.strip(" (").lower() == "acpi"),
    )


def _end_of(entry: dict[str, str], start: int) -> int:
    """The address behind an entry, which states it, or its last byte, or its size."""
    if entry.get("last"):
        return int(entry["last"], 16) + 1
    return int(entry["end"], 16) if entry.get("end") else start + int(entry["size"], 16)


def _entry_kind(entry: dict[str, str]) -> MemoryKind | None:
    """The kind that an entry states; EFI's attributes may keep RAM for a specific purpose."""
    if entry.get("e820"):
        return e820_kind(int(entry["e820"], 16))
    attributes = int(entry.get("attributes") or "0", 16)
    if entry.get("efi"):
        return uefi_kind(int(entry["efi"]), attributes)
    flags = entry.get("flags", "").split("|")
    stated = next((re.fullmatch(rf"\s*attr=({_HEX})\s*", f) for f in flags if "attr=" in f), None)
    kind = _efi_word(entry) if "flags" in entry else kind_before(entry["kind"])
    purpose = (
        any(f.strip() == "SP" for f in flags)
        or uefi_kind(7, attributes | int(stated[1] if stated else "0", 16)) != MemoryKind.USABLE
    )
    return MemoryKind.RESERVED if kind and kind.ram and purpose else kind


def _efi_word(entry: dict[str, str]) -> MemoryKind | None:
    number = re.fullmatch(r"type=([0-9]{1,10})", entry["kind"])
    return uefi_kind(int(number[1])) if number else kind_before(entry["kind"])
