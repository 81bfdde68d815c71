"""Firmware maps in the forms in which people have them: every dialect in every wrapping, several boots, damaged and hostile files."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
import re
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import octavo
from octavo.boot.firmware_map import normalise
from octavo.cli.main import run
from octavo.machine import maptext
from octavo.machine.firmware import FirmwareMap, FirmwareRange, MemoryKind
from octavo.machine.mapsources import load_firmware_map, parse_text, recorded_maps
from octavo.machine.maptext import MOST_HEAD, open_unpacked
from octavo.status import StatusError

K = MemoryKind
PC = [
    FirmwareRange(0, 0x9FC00, K.USABLE),
    FirmwareRange(0x9FC00, 0xA0000, K.RESERVED),
    FirmwareRange(0xF0000, 0x100000, K.RESERVED),
    FirmwareRange(0x100000, 0xFEE0000, K.USABLE),
    FirmwareRange(0xFEE0000, 0x10000000, K.NVS),
    FirmwareRange(0xFFFC0000, 0x100000000, K.RESERVED),
]
LARGER = [*PC[:3], FirmwareRange(0x100000, 0x1FEE0000, K.USABLE), FirmwareRange(0x1FEE0000, 0x20000000, K.ACPI), PC[5]]
_E820 = {K.USABLE: "usable", K.RESERVED: "reserved", K.ACPI: "ACPI data", K.NVS: "ACPI NVS", K.UNUSABLE: "unusable"}
_NUMBERS = {K.USABLE: 1, K.RESERVED: 2, K.ACPI: 3, K.NVS: 4, K.UNUSABLE: 5}
_SIZED = {**_E820, K.USABLE: "kernel usable RAM", K.RESERVED: "device reserved"}
_EFI_NUMBERS = {K.USABLE: 7, K.RESERVED: 0, K.ACPI: 9, K.NVS: 10, K.UNUSABLE: 8}
_EFI = {K.USABLE: "Conventional Memory", K.RESERVED: "Reserved", K.ACPI: "ACPI Reclaim Memory", K.NVS: "ACPI Memory NVS", K.UNUSABLE: "Unusable Memory"}
_IOMEM = {K.USABLE: "System RAM", K.RESERVED: "PCI Bus 0000:00", K.ACPI: "ACPI Tables", K.NVS: "ACPI Non-volatile Storage", K.UNUSABLE: "Unusable memory"}
_GRUB = {K.USABLE: "available RAM", K.RESERVED: "reserved RAM", K.ACPI: "ACPI reclaimable RAM", K.NVS: "ACPI non-volatile storage RAM", K.UNUSABLE: "faulty RAM (BadRAM)"}


def coloured(line: str, escape: str) -> str:
    """A line in the colours of dmesg and journalctl, in which the escape character may have become something else."""
    return f"{escape}[32m[    0.000000] {escape}[0m{escape}[33m" + line.replace(": ", f": {escape}[0m", 1)


LOGS: dict[str, Callable[[int, FirmwareRange], str]] = {
    "E820": lambda i, r: f"BIOS-e820: [mem {r.start:#018x}-{r.end - 1:#018x}] {_E820[r.kind]}",
    "E820 with sizes": lambda i, r: f"BIOS-e820: [mem {r.start:#018x}-{r.end - 1:#018x}]  639.5 KB {_SIZED[r.kind]}",
    "E820 before 3.5": lambda i, r: f" BIOS-e820: {r.start:016x} - {r.end:016x} ({_E820[r.kind]})",
    "E820 before 2.3": lambda i, r: f" BIOS-e820: {r.end - r.start:08x} @ {r.start:08x} ({_E820[r.kind]})",
    "E820 by numbers": lambda i, r: f"BIOS-e820: [mem {r.start:#018x}-{r.end - 1:#018x}] type {_NUMBERS[r.kind]}",
    "guest of Xen": lambda i, r: f"Xen: [mem {r.start:#018x}-{r.end - 1:#018x}] {_E820[r.kind]}",
    "Xen": lambda i, r: f"(XEN) [0000001b4dd165de]  {r.start:016x} - {r.end:016x} ({_E820[r.kind]})",
    "Xen 4.15": lambda i, r: f"(XEN)  [{r.start:016x}, {r.end - 1:016x}] ({_E820[r.kind]})",
    "EFI": lambda i, r: f"efi: mem{i:02d}: [{_EFI[r.kind]:<19}|   |  |  |  |  |   |WB|WT|WC|UC] range=[{r.start:#018x}-{r.end - 1:#018x}] (0MB)",
    "EFI of 3.x": lambda i, r: f"EFI: mem{i:02d}: type={_EFI_NUMBERS[r.kind]}, attr=0xf, range=[{r.start:#018x}-{r.end:#018x}) (0MB)",
    "FreeBSD": lambda i, r: f"SMAP type={_NUMBERS[r.kind]:02x} base={r.start:016x} len={r.end - r.start:016x}",
    "FreeBSD's sysctl": lambda i, r: f"SMAP type={_NUMBERS[r.kind]:02x}, xattr=01, base={r.start:016x}, len={r.end - r.start:016x}",
    "GRUB": lambda i, r: f"base_addr = {r.start:#x}, length = {r.end - r.start:#x}, {_GRUB[r.kind]}",
    "modified": lambda i, r: f"modified: [mem {r.start:#018x}-{r.end - 1:#018x}] {_E820[r.kind]}",
    "the user's": lambda i, r: f"user: [mem {r.start:#018x}-{r.end - 1:#018x}] {_E820[r.kind]}",
}
LISTS: dict[str, Callable[[int, FirmwareRange], str]] = {
    "hexadecimal": lambda i, r: f"{r.start:#x}-{r.end - 1:#x} {_E820[r.kind]} # {i}",
    "decimal": lambda i, r: f"{r.start} - {r.end - 1}  {_E820[r.kind]}",
    "cut": lambda i, r: f"[mem {r.start:#018x}-{r.end - 1:#018x}] {_E820[r.kind]}",
    "iomem": lambda i, r: f"{r.start:08x}-{r.end - 1:08x} : {_IOMEM[r.kind]}",
}
WRAPPINGS: dict[str, Callable[[list[str]], bytes]] = {
    "plain": lambda lines: "\n".join(lines).encode(),
    "CR LF, NUL and a line end": lambda lines: "".join(f"{line}\r\n" for line in lines).encode() + b"\0" * 50 + b"\n",
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
    "JSON": lambda lines: [json.dumps({"_HOSTNAME": "h", "MESSAGE": line, "PRIORITY": "6"}) for line in lines],
    "one line of JSON": lambda lines: [json.dumps({"dmesg": "\n".join(lines)})],
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


@st.composite
def maps(draw: st.DrawFn) -> list[FirmwareRange]:
    """Disjoint, ascending ranges, RAM among them, below 4 GiB."""
    edges = sorted(draw(st.sets(st.integers(0, 1 << 20), min_size=2, max_size=16)))
    ranges = [FirmwareRange(a << 12, b << 12, draw(st.sampled_from(list(_E820)))) for a, b in pairwise(edges)]
    return [FirmwareRange(ranges[0].start, ranges[0].end, K.USABLE), *ranges[1:]]


def load(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> FirmwareMap:
    """The map in a file."""
    path = tmp_path_factory.getbasetemp() / "form"
    path.write_bytes(data)
    return load_firmware_map(str(path))


@pytest.mark.parametrize("dialect", LOGS)
@settings(max_examples=30)
@given(ranges=maps(), manner=st.sampled_from(list(MANNERS)), wrapping=st.sampled_from(list(WRAPPINGS)))
def test_every_log_in_every_manner(tmp_path_factory: pytest.TempPathFactory, dialect: str, ranges: list[FirmwareRange], manner: str, wrapping: str) -> None:
    """What was written is what is read; notes only where there is something to say."""
    lines = MANNERS[manner]([LOGS[dialect](i, r) for i, r in enumerate(ranges)])
    found = load(tmp_path_factory, WRAPPINGS[wrapping](lines))
    assert found == ranges, (dialect, manner, wrapping)
    assert bool(found.notes) == (dialect in ("modified", "the user's")), found.notes


@pytest.mark.parametrize("dialect", LISTS)
@settings(max_examples=30)
@given(ranges=maps(), wrapping=st.sampled_from(list(WRAPPINGS)))
def test_every_list(tmp_path_factory: pytest.TempPathFactory, dialect: str, ranges: list[FirmwareRange], wrapping: str) -> None:
    """Lists too."""
    lines = [LISTS[dialect](i, r) for i, r in enumerate(ranges)]
    assert load(tmp_path_factory, WRAPPINGS[wrapping](lines)) == ranges


def log(ranges: Sequence[FirmwareRange], dialect: str = "E820") -> str:
    """A map as a log."""
    return "".join(f"[    0.000000] {LOGS[dialect](i, r)}\n" for i, r in enumerate(ranges))


def wrapped(text: str, width: int) -> str:
    """A text as mail wraps it, at blanks."""
    return re.sub(rf"(.{{20,{width}}})[ ]", r"\1\n", text)


@pytest.mark.parametrize("dialect", ["E820", "E820 before 3.5", "EFI", "EFI of 3.x", "Xen"])
@pytest.mark.parametrize("width", [60, 72, 76, 100])
def test_lines_that_mail_wrapped(dialect: str, width: int) -> None:
    """The kind stands in the next line, or half the range does; quoted, or in quoted-printable."""
    text = wrapped(log(PC, dialect), width)
    assert text.count("\n") > len(PC)
    assert parse_text(text) == PC
    assert parse_text("".join(f"> {line}\n" for line in text.splitlines())) == PC
    printable = log(PC, dialect).replace("=", "=3D").replace("0x0000", "0x=\n0000")
    assert parse_text(printable) == PC


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("BIOS-e820: [mem 0x0000000000200000-0x00000000002", "line 7: this BIOS-e820 line cannot be read, and is left out"),
        ("BIOS-e820: [mem 0x0000000000200000-0x00000000002fffff]", "line 7: this BIOS-e820 line cannot be read, and is left out"),
        ("BIOS-e820: [mem 0x0000000000200000-0x00000000002fffff] strange", "line 7: the kind 'strange' is unknown, and is taken as reserved"),
        ("BIOS-e820: [mem 0x300000-0x1fffff] usable", "line 7: this BIOS-e820 line cannot be read, and is left out"),
        ("BIOS-e820: [mem 0x0000000000000000-0xffffffffffffffff] usable", "line 7: a range of size zero is left out"),
        ("BIOS-e820: [mem 0x300000-0x2fffff] usable", "line 7: a range of size zero is left out"),
        ("efi: mem0: nothing", "line 7: this efi: mem line cannot be read, and is left out"),
        ("BIOS-e820: [gap 0x0000000000200000-0x00000000002fffff]    1   MB ...", ""),
        ("efi: Remove mem62: MMIO range=[0xe0000000-0xefffffff] (256MB) from e820 map", ""),
        ("e820: update [mem 0x00000000-0x00000fff] usable ==> reserved", ""),
        ("e820: [mem 0x40000000-0xfeffffff] available for PCI devices", ""),
    ],
)
def test_what_is_not_read_is_named(line: str, says: str) -> None:
    """The rest of the map is read; odd lines are told by number; lines that are no part of a map are not."""
    found = parse_text(log(PC) + line + "\n[    0.000000] NX protection: active\n", "x")
    assert [r for r in found if r.start != 0x200000] == PC
    assert [note.removeprefix("x, ") for note in found.notes] == ([says] if says else [])


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("soft reserved", K.RESERVED),
        ("Soft Reserved", K.RESERVED),
        ("persistent (type 7)", K.RESERVED),
        ("persistent (type 12)", K.RESERVED),
        ("type 20", K.RESERVED),
        ("(type 9)", K.RESERVED),
        ("ACPI non-volatile storage", K.NVS),
        ("(ACPI NVS)", K.NVS),
        ("System RAM", K.USABLE),
        ("unusable", K.UNUSABLE),
        ("type 5", K.UNUSABLE),
    ],
)
def test_kinds_of_all_kernels(word: str, kind: MemoryKind) -> None:
    """Old and new names, without a remark."""
    found = parse_text(log(PC) + f"BIOS-e820: [mem 0x0000000100000000-0x00000001ffffffff] {word}\n")
    assert found == [*PC, FirmwareRange(1 << 32, 2 << 32, kind)] and not found.notes


# -- which map is in force ------------------------------------------------------------------------------------------


def efi(*items: tuple[int, int, int, str]) -> str:
    """EFI lines of (number, start, end, kind)."""
    return "".join(f"efi: mem{i:02d}: [{kind}|   |  |WB|WT|WC|UC] range=[{a:#018x}-{b - 1:#018x}] (1MB)\n" for i, a, b, kind in items)


def test_efi_wins_only_as_a_whole_set() -> None:
    """One line of many, a set with a gap, and a set without the end leave the E820 map in force; alone they are read, and told of."""
    for lines, why in (
        (efi((2, 0x200000, 0x300000, "Conventional Memory")), "mem00 is missing"),
        (efi((0, 0, 0xA0000, "Boot Code"), (2, 0x100000, 0xFEE0000, "Conventional Memory")), "mem01 is missing"),
        (efi((0, 0, 0xA0000, "Boot Code"), (1, 0x100000, 0xF000000, "Conventional Memory")), "0xf000000 is not in them, and usable elsewhere"),
    ):
        found = parse_text(log(PC) + lines)
        assert found == PC and f"the efi lines are no whole set ({why}); the BIOS-e820 map is taken" in found.notes[0]
    whole = efi((0, 0, 0xA0000, "Boot Code"), (1, 0x100000, 0xFEE0000, "Conventional Memory"))
    assert parse_text(log(PC) + whole) == [FirmwareRange(0, 0xA0000, K.USABLE), FirmwareRange(0x100000, 0xFEE0000, K.USABLE)]
    alone = parse_text(efi((2, 0x200000, 0x300000, "Conventional Memory")))
    assert alone == [FirmwareRange(0x200000, 0x300000, K.USABLE)] and "mem00 is missing" in alone.notes[0]


def test_efi_lines_of_what_the_kernel_keeps() -> None:
    """Linux prints the map a second time without conventional memory: the first is the machine's; another whole one is the last."""
    first = efi((0, 0, 0xA0000, "Boot Code"), (1, 0x100000, 0xFEE0000, "Conventional Memory"))
    second = efi((0, 0x8000, 0xA0000, "Boot Code"))
    assert parse_text(first + second)[1].end == 0xFEE0000
    again = parse_text(first + efi((0, 0, 0xA0000, "Boot Code"), (1, 0x100000, 0x1FEE0000, "Conventional Memory")))
    assert again[1].end == 0x1FEE0000 and "line 3: the efi lines begin again here" in again.notes[0]


def test_several_boots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last one, and the map, its JSON and the boot log say so."""
    path = tmp_path / "boots"
    path.write_text(log(PC) + "[  10.0] later\n" + log(LARGER))
    assert load_firmware_map(str(path)) == LARGER
    says = f"{path}, line 8: the log has 2 boots; this is the map of the last one, which begins here"
    assert run(["map", str(path)]) == 0
    assert f"Note: {says}" in capsys.readouterr().out
    assert run(["map", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [says]
    with octavo.boot(memory="8M", firmware_map=str(path)) as system:
        assert f"Note: {says}" in system.log


def test_boots_with_a_start_and_without() -> None:
    """A start makes a boot of what repeats a map; without one, lines that stand in the map before are a quotation."""
    head = "[    0.000000] Linux version 6.1.0 (gcc)\n[    0.000000] BIOS-provided physical RAM map:\n"
    shorter = PC[:4]
    assert parse_text(head + log(PC) + head + log(shorter)) == shorter
    quoted = parse_text(log(PC) + "see this:\n" + log(shorter))
    assert quoted == PC and "line 8: the lines from here repeat a part of the map before them" in quoted.notes[0]
    efi_once = efi((0, 0, 0xA0000, "Boot Code"), (1, 0x100000, 0xFEE0000, "Conventional Memory"))
    assert parse_text(head + log(PC) + efi_once + head + log(LARGER)) == LARGER
    assert parse_text("".join(head + log(PC[: 3 + i % 4]) for i in range(50)) + head + log(LARGER)).notes[0].endswith("begins here")
    shuffled = [PC[3], PC[0], PC[5], PC[2], PC[1], PC[4]]
    assert parse_text(log(shuffled)) == shuffled and not parse_text(log(shuffled)).notes


def test_whose_map() -> None:
    """The user's before the firmware's, the hypervisor's before its guest's, the kernel's for want of another; and it is said."""
    mine = [FirmwareRange(0, 0x9F000, K.USABLE), FirmwareRange(0x100000, 0x4000000, K.USABLE)]
    users = parse_text(log(PC) + "user-defined physical RAM map:\n" + log(mine, "the user's"))
    assert users == mine and "line 8: the user changed the firmware's map (mem= or memmap=)" in users.notes[0]
    both = parse_text(log(LARGER, "Xen 4.15") + "[    0.000000] Linux version 5.1\n" + log(mine, "guest of Xen"))
    assert both == LARGER and both.notes == ("map: the hypervisor's map is taken, not that of its guest (line 8)",)
    changed = "".join(line.replace("modified", "reserve setup_data") for line in log(mine, "modified").splitlines(keepends=True))
    assert parse_text(log(PC) + log(mine, "modified") + changed) == PC
    rest = parse_text(log(PC[4:]) + log(mine, "modified"))  # the log begins in the middle of the firmware's map
    assert rest == mine and "line 3: the firmware's own map is not whole in the log" in rest.notes[0]
    kernels = parse_text(log(LARGER, "modified") + changed)
    assert kernels == mine and "line 7: this" not in kernels.notes[0] and "the firmware's own map is not in the log" in kernels.notes[0]


# -- forms that are named, damaged and hostile files ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ok\nBIOS-e801: [mem 0x0000000000000000-0x000000000009efff] usable\n", "line 2: this is a BIOS-e801 or BIOS-88 map"),
        (" BIOS-88: 0000000000000000 - 000000000009f000 (usable)\n", "line 1: this is a BIOS-e801 or BIOS-88 map"),
        ("efi: Processing:\nefi:   0x000000200000-0x00003b3fffff [Conventional Memory|   |WB]\n", "line 2: this is the EFI map of a kernel for ARM"),
        ("0x0-0xfff usable\n0010-0777 usable\n", "line 2: '0010' begins with a zero"),
        ("0-" + "9" * 5000 + " usable\n", "line 1: a number of 5000 digits is past 64 bits"),
        ("0x0-0x" + "f" * 5000 + " usable\n", "line 1: the range 0x0 to a number of more than 64 bits"),
        ('[{"start": ' + "9" * 5000 + ', "end": 1, "kind": "usable"}]', "not valid JSON"),
        ('[{"start": "0010", "end": 1, "kind": "usable"}]', "range 0: '0010' begins with a zero"),
        ('[{"start": 1.5, "end": 1, "kind": "usable"}]', "range 0: '1.5' is no number"),
        ('[{"start": true, "end": 1, "kind": "usable"}]', "range 0: 'True' is no number"),
        ('[{"start": "\u0663", "end": 9, "kind": "usable"}]', "is no number"),
        ("\u0660-\u0669 usable\n", "line 1: expected 'START-END KIND'"),
        ("00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n", "all addresses are 0; Linux shows those of /proc/iomem to root only"),
        ("BIOS-e820: [mem 0x" + "f" * 3000 + "-0x0] usable\n", "line 1: this BIOS-e820 line cannot be read"),
        ("efi: mem" + "9" * 5000 + ": x\n", "line 1: this efi: mem line cannot be read"),
        ("[    0.000000] Linux version 6.1\nnothing here\n", "line 1: expected"),
        (log([FirmwareRange(i << 12, (i + 1) << 12, K.USABLE) for i in range(4097)]), "line 4097: more than 4096 ranges"),
    ],
)
def test_one_sentence_with_its_place(text: str, says: str) -> None:
    """No traceback, and no other map than the one that is there."""
    with pytest.raises(StatusError) as error:
        parse_text(text)
    assert says in error.value.text and "\n" not in error.value.text


def test_iomem_as_root_has_it() -> None:
    """What lies in another range is a part of it, indented or not; names of devices are reserved, without a remark."""
    text = (
        "$ sudo cat /proc/iomem\n00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n000a0000-000fffff : PCI Bus 0000:00\n"
        "  000f0000-000fffff : System ROM\n00100000-0fedffff : System RAM\n  01000000-01ffffff : Kernel code\n  02000000-02ffffff : Reserved\n"
    )
    found = parse_text(text)
    assert [(r.start, r.kind) for r in found] == [(0, K.RESERVED), (0x1000, K.USABLE), (0xA0000, K.RESERVED), (0x100000, K.USABLE)] and not found.notes


def test_specific_purpose_memory_is_no_ram() -> None:
    """As in binary tables; by its flag, by an unknown attribute, or by number."""
    for line in (
        "efi: mem00: [Conventional Memory|   |  |  |SP|  |   |WB|WT|WC|UC] range=[0x0-0xfffff] (1MB)",
        "efi: mem00: [Conventional Memory|attr=0x000000000004000f] range=[0x0-0xfffff] (1MB)",
        "efi: mem00: type=7, attr=0x4000f, range=[0x0-0x100000) (1MB)",
    ):
        assert parse_text(line) == [FirmwareRange(0, 0x100000, K.RESERVED)]


def test_unknown_and_empty_ranges_of_lists() -> None:
    """A word that nobody uses is told; an empty range is left out."""
    found = parse_text("0x0-0xfff usable\n0x1000-0x1fff usabel\n0x2000-0x1fff usable\n", "x")
    assert found == [FirmwareRange(0, 0x1000, K.USABLE), FirmwareRange(0x1000, 0x2000, K.RESERVED)]
    assert found.notes == ("x, line 2: the kind 'usabel' is unknown, and is taken as reserved", "x, line 3: the range of size zero at 0x2000 is left out")
    many = parse_text("".join(f"{i << 12:#x}-{(i << 12) + 4095:#x} what{i}\n" for i in range(200)))
    assert len(many.notes) <= 41
    assert "lines 1, 2, 3, 4 and 196 more" in parse_text("".join(f"{i}-{i} what\n" for i in range(200))).notes[0]


def test_no_usable_memory_is_said(tmp_path: Path) -> None:
    """With what the reader had to say of the map, and with what lies out of reach."""
    path = tmp_path / "x"
    path.write_text("0x0-0xfffffff usabel\n")
    with pytest.raises(StatusError, match="the firmware map has no usable memory; .*line 1: the kind 'usabel' is unknown"):
        run(["map", str(path)])
    path.write_text("0x100000000-0x1ffffffff usable\n")
    with pytest.raises(StatusError, match="no usable memory that i386 reaches; 4096 MiB lie above it"):
        run(["map", str(path), "--arch", "i386"])


def test_a_map_behind_much_else_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """32 MiB of log in front of it, far more than is held at once; packed too."""
    filler = (b"Jun 19 18:06:35 host sshd: Failed password for invalid user: admin " + b"x" * 950 + b"\n") * 1024
    for name, opener in (("log", open), ("log.gz", gzip.open)):
        path = tmp_path / name
        with opener(path, "wb") as file:
            for _ in range(32):
                file.write(filler)
            file.write(log(PC).encode())
        tracemalloc.start()
        found = load_firmware_map(str(path))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == PC and peak < 40 << 20, peak


def test_long_lines_and_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of many MiB is cut, with a remark; packed zeros are no map; what unpacks without end is refused."""
    path = tmp_path / "x"
    path.write_text(log(PC) + "y" * (6 << 20) + "\n" + log(LARGER))
    found = load_firmware_map(str(path))
    assert found == LARGER and found.notes[0] == f"{path}, line 7: the line is longer than 1048576 characters; what is behind is not read"
    path.write_bytes(gzip.compress(bytes(64 << 20)))
    with pytest.raises(StatusError, match="a binary file of 4 MiB or more is no firmware map"):
        load_firmware_map(str(path))
    monkeypatch.setattr(maptext, "MOST_UNPACKED", 8 << 20)
    path.write_bytes(gzip.compress(b"a\n" * (8 << 20)))
    with pytest.raises(StatusError, match="of text; cut the boot's lines out of it"):
        load_firmware_map(str(path))
    path.write_text('[{"start": 0, "end": 4096, "kind": "usable"}' + " " * MOST_HEAD + "]")
    with pytest.raises(StatusError, match="JSON of more than 4 MiB"):
        load_firmware_map(str(path))


def test_packed_files_that_are_damaged_or_foreign(tmp_path: Path) -> None:
    """Cut and changed ones, by each packer; what is not unpacked is named."""
    path = tmp_path / "x"
    text = random.Random(1).randbytes(5000).hex().encode()
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        packed = pack(text)
        for data in (packed[:-20], packed[:20] + b"\0\xff" * 8 + packed[36:]):
            path.write_bytes(data)
            with pytest.raises(StatusError, match="the packed data is damaged"):
                load_firmware_map(str(path))
    for magic, says in ((b"PK\x03\x04", "a zip archive"), (b"\x28\xb5\x2f\xfd", "packed by zstd"), (b"LPKSHHRH", "journalctl")):
        path.write_bytes(magic + bytes(100))
        with pytest.raises(StatusError, match=says), open_unpacked(str(path)):
            pass


@pytest.mark.parametrize("name", ["a\0b", "\udc00\ud800", "x" * 5000, "/"])
def test_names_that_are_none(name: str) -> None:
    """No traceback."""
    with pytest.raises(StatusError):
        load_firmware_map(name)


# -- anything -------------------------------------------------------------------------------------------------------

SEEDS = [
    *((Path(octavo.__file__).parent / "machine" / "maps" / f"{name}.txt").read_bytes() for name in recorded_maps()),
    (Path(__file__).parent / "data" / "pc-6g.e820").read_bytes(),
    *(wrapping([LOGS[dialect](i, r) for i, r in enumerate(PC)]) for wrapping in WRAPPINGS.values() for dialect in LOGS),
    json.dumps([{"start": r.start, "end": r.end, "kind": r.kind.name} for r in PC]).encode(),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A map with bytes changed, cut out, doubled and put in, or any bytes."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 12))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 40)))
        data[at:end] = draw(st.one_of(st.binary(max_size=20), st.just(bytes(data[at:end]) * 2), st.sampled_from([b"\n", b"9" * 400, b"0x", b"-", b"[mem ", b"\0"])))
    return bytes(data)


@settings(max_examples=300, deadline=4000)
@given(data=st.one_of(damaged(), st.binary(max_size=600)))
def test_any_file_is_a_map_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """No crash, in time; what comes out can be normalised, and notes are single lines."""
    try:
        found = load(tmp_path_factory, data)
    except StatusError as error:
        assert error.text and "\n" not in error.text
        return
    assert found and all("\n" not in note for note in found.notes)
    clean = normalise(found, 1 << 52)
    assert all(a.end <= b.start for a, b in pairwise(clean))


PARTS = [*"0123456789abcdefx-:[]()|,= \n\t\r@", "BIOS-e820: ", "[mem ", "efi: mem", "range=[", "usable", "(XEN) ", "user: "]


@settings(max_examples=200, deadline=4000)
@given(parts=st.lists(st.sampled_from(PARTS), max_size=200))
def test_any_text_of_such_parts(parts: list[str]) -> None:
    """Texts that are nearly maps."""
    try:
        parse_text("".join(parts))
    except StatusError as error:
        assert "\n" not in error.text


def test_hostile_lines_take_no_long_time() -> None:
    """Lines made to go back and forth in, and a file in which every line may be an entry."""

    def many() -> Iterator[str]:
        for start in ("BIOS-e820: [mem ", "efi: mem00: [", "efi: mem00: [a|", "(XEN) [", "SMAP type=1 ", "user: [mem 0x0-", "0 - ", "[mem 0x"):
            yield start * 20000 + "\n"
            yield start + " " * 200000 + "\n"
            yield start + "0" * 200000 + "\n"

    for text in many():
        with pytest.raises(StatusError):
            parse_text(text)
