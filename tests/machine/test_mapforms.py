"""Firmware maps in the forms in which people have them: every dialect in every wrapping, several
boots, damaged and hostile files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import octavo
from octavo.boot.firmware_map import normalise
from octavo.cli.main import run
from octavo.machine import mapsources, maptext
from octavo.machine.firmware import FirmwareMap, FirmwareRange
from octavo.machine.mapsources import load_firmware_map, parse_text, recorded_maps
from octavo.status import StatusError
from tests.maplines import E820_WORDS, LARGER, LISTS, LOGS, MANNERS, PC, WRAPPINGS, K, efi, log
from tests.places import DATA


@st.composite
def maps(draw: st.DrawFn) -> list[FirmwareRange]:
    """Disjoint, ascending ranges, RAM among them, below 4 GiB."""
    edges = sorted(draw(st.sets(st.integers(0, 1 << 20), min_size=2, max_size=16)))
    ranges = [
        FirmwareRange(a << 12, b << 12, draw(st.sampled_from(list(E820_WORDS))))
        for a, b in pairwise(edges)
    ]
    return [FirmwareRange(ranges[0].start, ranges[0].end, K.USABLE), *ranges[1:]]


def load(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> FirmwareMap:
    """The map in a file."""
    path = tmp_path_factory.getbasetemp() / "form"
    path.write_bytes(data)
    return load_firmware_map(str(path))


@pytest.mark.parametrize("dialect", LOGS)
@settings(max_examples=30)
@given(
    ranges=maps(), manner=st.sampled_from(list(MANNERS)), wrapping=st.sampled_from(list(WRAPPINGS))
)
def test_every_log_in_every_manner(
    tmp_path_factory: pytest.TempPathFactory,
    dialect: str,
    ranges: list[FirmwareRange],
    manner: str,
    wrapping: str,
) -> None:
    """What was written is what is read; notes only where there is something to say."""
    lines = MANNERS[manner]([LOGS[dialect](i, r) for i, r in enumerate(ranges)])
    found = load(tmp_path_factory, WRAPPINGS[wrapping](lines))
    assert found == ranges, (dialect, manner, wrapping)
    assert bool(found.notes) == (dialect in ("modified", "the user's")), found.notes


@pytest.mark.parametrize("dialect", LISTS)
@settings(max_examples=30)
@given(ranges=maps(), wrapping=st.sampled_from(list(WRAPPINGS)))
def test_every_list(
    tmp_path_factory: pytest.TempPathFactory,
    dialect: str,
    ranges: list[FirmwareRange],
    wrapping: str,
) -> None:
    """Lists too."""
    lines = [LISTS[dialect](i, r) for i, r in enumerate(ranges)]
    assert load(tmp_path_factory, WRAPPINGS[wrapping](lines)) == ranges


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
        (
            "BIOS-e820: [mem 0x0000000000200000-0x00000000002",
            "line 7: this BIOS-e820 line cannot be read, and is left out",
        ),
        (
            "BIOS-e820: [mem 0x0000000000200000-0x00000000002fffff]",
            "line 7: this BIOS-e820 line cannot be read, and is left out",
        ),
        (
            "BIOS-e820: [mem 0x0000000000200000-0x00000000002fffff] strange",
            "line 7: the kind 'strange' is unknown, and is taken as reserved",
        ),
        (
            '{"MESSAGE":"BIOS-e820: [mem 0x0000000000200000-0x00000000002fffff]"}',
            "line 7: this BIOS-e820 line cannot be read, and is left out",
        ),
        (
            "BIOS-e820: [mem 0x300000-0x1fffff] usable",
            "line 7: this BIOS-e820 line cannot be read, and is left out",
        ),
        (
            "BIOS-e820: [mem 0x0000000000000000-0xffffffffffffffff] usable",
            "line 7: a range of size zero is left out",
        ),
        ("BIOS-e820: [mem 0x300000-0x2fffff] usable", "line 7: a range of size zero is left out"),
        ("efi: mem0: nothing", "line 7: this efi: mem line cannot be read, and is left out"),
        ("BIOS-e820: [gap 0x0000000000200000-0x00000000002fffff]    1   MB ...", ""),
        ("efi: Remove mem62: MMIO range=[0xe0000000-0xefffffff] (256MB) from e820 map", ""),
        ("e820: update [mem 0x00000000-0x00000fff] usable ==> reserved", ""),
        ("e820: [mem 0x40000000-0xfeffffff] available for PCI devices", ""),
    ],
)
def test_what_is_not_read_is_named(line: str, says: str) -> None:
    """The rest of the map is read; odd lines are told by number; lines that are no part of a map
    are not.
    """
    found = parse_text(log(PC) + line + "\n[    0.000000] NX protection: active\n", "x")
    assert [r for r in found if r.start != 0x200000] == PC
    assert [note.removeprefix("x, ") for note in found.notes] == ([says] if says else [])


# -- which map is in force -------------------------------------------------------------------------


def test_efi_wins_only_as_a_whole_set() -> None:
    """One line of many, a set with a gap, and a set without the end leave the E820 map in force;
    alone they are read, and told of.
    """
    for lines, why in (
        (efi((2, 0x200000, 0x300000, "Conventional Memory")), "mem00 is missing"),
        (
            efi((0, 0, 0xA0000, "Boot Code"), (2, 0x100000, 0xFEE0000, "Conventional Memory")),
            "mem01 is missing",
        ),
        (
            efi((0, 0, 0xA0000, "Boot Code"), (1, 0x100000, 0xF000000, "Conventional Memory")),
            "0xf000000 is not in them, and usable elsewhere",
        ),
    ):
        found = parse_text(log(PC) + lines)
        assert (
            found == PC
            and f"the efi lines are no whole set ({why}); the BIOS-e820 map is taken"
            in found.notes[0]
        )
    whole = efi((0, 0, 0xA0000, "Boot Code"), (1, 0x100000, 0xFEE0000, "Conventional Memory"))
    assert parse_text(log(PC) + whole) == [
        FirmwareRange(0, 0xA0000, K.USABLE),
        FirmwareRange(0x100000, 0xFEE0000, K.USABLE),
    ]
    alone = parse_text(efi((2, 0x200000, 0x300000, "Conventional Memory")))
    assert (
        alone == [FirmwareRange(0x200000, 0x300000, K.USABLE)]
        and "mem00 is missing" in alone.notes[0]
    )


def test_efi_lines_of_what_the_kernel_keeps() -> None:
    """Linux prints the map a second time without conventional memory: the first is the machine's;
    another whole one is the last.
    """
    first = efi((0, 0, 0xA0000, "Boot Code"), (1, 0x100000, 0xFEE0000, "Conventional Memory"))
    second = efi((0, 0x8000, 0xA0000, "Boot Code"))
    assert parse_text(first + second)[1].end == 0xFEE0000
    again = parse_text(
        first + efi((0, 0, 0xA0000, "Boot Code"), (1, 0x100000, 0x1FEE0000, "Conventional Memory"))
    )
    assert again[1].end == 0x1FEE0000 and "line 3: the efi lines begin again here" in again.notes[0]


def test_several_boots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last one, and the map, its JSON and the boot log say so."""
    path = tmp_path / "boots"
    path.write_text(log(PC) + "[  10.0] later\n" + log(LARGER))
    assert load_firmware_map(str(path)) == LARGER
    says = (
        f"{path}, line 8: the log has 2 boots; this is the map of the last one, which begins here"
    )
    assert run(["map", str(path)]) == 0
    assert f"Note: {says}" in capsys.readouterr().out
    assert run(["map", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [says]
    with octavo.boot(memory="8M", firmware_map=str(path)) as system:
        assert f"Note: {says}" in system.log


def test_boots_with_a_start_and_without() -> None:
    """A start makes a boot of what repeats a map; without one, lines that stand in the map before
    are a quotation.
    """
    head = (
        "[    0.000000] Linux version 6.1.0 (gcc)\n[    0.000000] BIOS-provided physical RAM map:\n"
    )
    shorter = PC[:4]
    assert parse_text(head + log(PC) + head + log(shorter)) == shorter
    quoted = parse_text(log(PC) + "see this:\n" + log(shorter))
    assert (
        quoted == PC
        and "line 8: the lines from here repeat a part of the map before them" in quoted.notes[0]
    )
    efi_once = efi((0, 0, 0xA0000, "Boot Code"), (1, 0x100000, 0xFEE0000, "Conventional Memory"))
    assert parse_text(head + log(PC) + efi_once + head + log(LARGER)) == LARGER
    assert (
        parse_text("".join(head + log(PC[: 3 + i % 4]) for i in range(50)) + head + log(LARGER))
        .notes[0]
        .endswith("begins here")
    )
    shuffled = [PC[3], PC[0], PC[5], PC[2], PC[1], PC[4]]
    assert parse_text(log(shuffled)) == shuffled and not parse_text(log(shuffled)).notes


def test_bytes_in_json_wherever_a_block_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Lines have their numbers; arrays that are none of bytes, and one that does not end, are left
    as they are.
    """
    odd = '{"MESSAGE": []}\n{"MESSAGE": [1, 300]}\n{"MESSAGE": [1,, 2]}\n'
    lines = "".join(
        json.dumps({"n": i, "MESSAGE": [*LOGS["E820"](i, r).encode()]}, indent=1) + "\n"
        for i, r in enumerate(PC)
    )
    text = (
        odd + lines + json.dumps({"MESSAGE": [*b"BIOS-e820: what"]}) + '\n{"MESSAGE": [66, 73, 79,'
    )
    path = tmp_path / "x"
    path.write_text(" " * 64 + text)
    for block in (7, 64, 1000, 1 << 20):
        monkeypatch.setattr(mapsources, "MOST_HEAD", 64)
        monkeypatch.setattr(maptext, "_BLOCK", block)
        found = load_firmware_map(str(path))
        assert found == PC
        assert found.notes == (
            f"{path}, line {text.count(chr(10))}: this BIOS-e820 line cannot be read, and "
            "is left out",
        )


def test_whose_map() -> None:
    """The user's before the firmware's, the hypervisor's before its guest's, the kernel's for want
    of another; and it is said.
    """
    mine = [FirmwareRange(0, 0x9F000, K.USABLE), FirmwareRange(0x100000, 0x4000000, K.USABLE)]
    users = parse_text(log(PC) + "user-defined physical RAM map:\n" + log(mine, "the user's"))
    assert (
        users == mine
        and "line 8: the user changed the firmware's map (mem= or memmap=)" in users.notes[0]
    )
    both = parse_text(
        log(LARGER, "Xen 4.15") + "[    0.000000] Linux version 5.1\n" + log(mine, "guest of Xen")
    )
    assert both == LARGER and both.notes == (
        "map: the hypervisor's map is taken, not that of its guest (line 8)",
    )
    changed = "".join(
        line.replace("modified", "reserve setup_data")
        for line in log(mine, "modified").splitlines(keepends=True)
    )
    assert parse_text(log(PC) + log(mine, "modified") + changed) == PC
    rest = parse_text(
        log(PC[4:]) + log(mine, "modified")
    )  # the log begins in the middle of the firmware's map
    assert (
        rest == mine and "line 3: the firmware's own map is not whole in the log" in rest.notes[0]
    )
    kernels = parse_text(log(LARGER, "modified") + changed)
    assert (
        kernels == mine
        and "line 7: this" not in kernels.notes[0]
        and "the firmware's own map is not in the log" in kernels.notes[0]
    )


# -- forms that are named, damaged and hostile files -----------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "ok\nBIOS-e801: [mem 0x0000000000000000-0x000000000009efff] usable\n",
            "line 2: this is a BIOS-e801 or BIOS-88 map",
        ),
        (
            " BIOS-88: 0000000000000000 - 000000000009f000 (usable)\n",
            "line 1: this is a BIOS-e801 or BIOS-88 map",
        ),
        (
            "efi: Processing:\nefi:   0x000000200000-0x00003b3fffff [Conventional Memory|   |WB]\n",
            "line 2: this is the EFI map of a kernel for ARM",
        ),
        ("0x0-0xfff usable\n0010-0777 usable\n", "line 2: '0010' begins with a zero"),
        ("0-" + "9" * 5000 + " usable\n", "line 1: a number of 5000 digits is past 64 bits"),
        (
            "0x0-0x" + "f" * 5000 + " usable\n",
            "line 1: the range 0x0 to a number of more than 64 bits",
        ),
        ("9-7 usable\n", "line 1: the range 0x9 to 0x7 ends before it begins"),
        (
            "0x0-0x10000000000000000 usable\n",
            "line 1: the range 0x0 to 0x10000000000000000 reaches past 64 bits",
        ),
        (
            "00001000-000001ff : System RAM\n",
            "line 1: the range 0x1000 to 0x1ff ends before it begins",
        ),
        (
            '[{"start": ' + "9" * 5000 + ', "end": 1, "kind": "usable"}]',
            "map: range 0: a number of 5000 digits is past 64 bits",
        ),
        (
            '[{"start": -5, "end": 1, "kind": "usable"}]',
            "range 0: the range -0x5 to 0x1 begins below 0",
        ),
        (
            '[{"start": 5, "end": 1, "kind": "usable"}]',
            "range 0: the range 0x5 to 0x1 ends before it begins",
        ),
        (
            '[{"start": 0, "end": 18446744073709551617, "kind": "usable"}]',
            "range 0: the range 0x0 to 0x10000000000000001 reaches past 64 bits",
        ),
        ('[{"start": [], "end": 1, "kind": "usable"}]', "range 0: start and end must be numbers"),
        ('[{"start": 0, "end": 1, "kind": 7}]', "range 0: the kind is no text"),
        ('[{"start": 0,\n "end" 1}]', "line 2, column 8: not valid JSON: Expecting"),
        ("[" * 100000, "not valid JSON: too many lists and objects lie in each other"),
        (
            '[{"start": 0, "end": 1, "kind": "usable"}]\nmore',
            "line 2, column 1: not valid JSON: there is more behind its end",
        ),
        (
            '{"MESSAGE": "a"}\n{"MESSAGE": [98, 99]}\n',
            "map: no memory range found; give a boot log",
        ),
        ('[{"start": "0010", "end": 1, "kind": "usable"}]', "range 0: '0010' begins with a zero"),
        (
            '[{"start": 1.5, "end": 1, "kind": "usable"}]',
            "range 0: '1.5' is no whole number: write it as 4096 or 0x1000",
        ),
        ('[{"start": true, "end": 1, "kind": "usable"}]', "range 0: 'true' is no whole number"),
        ('[{"start": "\u0663", "end": 9, "kind": "usable"}]', "is no whole number"),
        ("\u0660-\u0669 usable\n", "line 1: expected 'START-END KIND'"),
        (
            "00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n",
            "all addresses are 0; Linux shows those of /proc/iomem to root only",
        ),
        (
            "0x0-0xfff usable\n[    0.000000] Linux version 6.1\n",
            "line 2: expected 'START-END KIND', got '[    0.000000] Linux",
        ),
        (
            "BIOS-e820: [mem 0x" + "f" * 3000 + "-0x0] usable\n",
            "line 1: this BIOS-e820 line cannot be read",
        ),
        ("efi: mem" + "9" * 5000 + ": x\n", "line 1: this efi: mem line cannot be read"),
        (
            "nothing here\n[    0.000000] Linux version 6.1\n",
            "line 2: a machine starts here, and its log has no line of a map",
        ),
        (
            log([FirmwareRange(i << 12, (i + 1) << 12, K.USABLE) for i in range(4097)]),
            "line 4097: more than 4096 ranges",
        ),
    ],
)
def test_one_sentence_with_its_place(text: str, says: str) -> None:
    """No traceback, and no other map than the one that is there."""
    with pytest.raises(StatusError) as error:
        parse_text(text)
    assert says in error.value.text and "\n" not in error.value.text


def test_iomem_as_root_has_it() -> None:
    """What lies in another range is a part of it, indented or not; names of devices are reserved,
    without a remark.
    """
    text = (
        "$ sudo cat /proc/iomem\n00000000-00000fff : Reserved\n00001000-0009fbff : System "
        "RAM\n000a0000-000fffff : PCI Bus 0000:00\n"
        "  000f0000-000fffff : System ROM\n00100000-0fedffff : System RAM\n  "
        "01000000-01ffffff : Kernel code\n  02000000-02ffffff : Reserved\n"
    )
    found = parse_text(text)
    assert [(r.start, r.kind) for r in found] == [
        (0, K.RESERVED),
        (0x1000, K.USABLE),
        (0xA0000, K.RESERVED),
        (0x100000, K.USABLE),
    ] and not found.notes


def test_iomem_without_a_name() -> None:
    """A range that has none is reserved, and told; what lies in another one is a part of that all
    the same.
    """
    for behind in (":", ": ", ":\r"):
        text = (
            f"00001000-0009fbff : System RAM\n  00002000-00002fff {behind}\n000a0000-000fffff "
            f"{behind}\n00100000-0fedffff : System RAM\n"
        )
        found = parse_text(text)
        assert [(r.start, r.kind) for r in found] == [
            (0x1000, K.USABLE),
            (0xA0000, K.RESERVED),
            (0x100000, K.USABLE),
        ]
        assert found.notes == ("map, line 3: the range has no name, and is taken as reserved",)


def test_unknown_and_empty_ranges_of_lists() -> None:
    """A word that nobody uses is told; an empty range is left out."""
    found = parse_text("0x0-0xfff usable\n0x1000-0x1fff usabel\n0x2000-0x1fff usable\n", "x")
    assert found == [FirmwareRange(0, 0x1000, K.USABLE), FirmwareRange(0x1000, 0x2000, K.RESERVED)]
    assert found.notes == (
        "x, line 2: the kind 'usabel' is unknown, and is taken as reserved",
        "x, line 3: the range of size zero at 0x2000 is left out",
    )
    many = parse_text("".join(f"{i << 12:#x}-{(i << 12) + 4095:#x} what{i}\n" for i in range(200)))
    assert len(many.notes) <= 41
    assert (
        "lines 1, 2, 3, 4 and 196 more"
        in parse_text("".join(f"{i}-{i} what\n" for i in range(200))).notes[0]
    )


def test_no_usable_memory_is_said(tmp_path: Path) -> None:
    """With what the reader had to say of the map, and with what lies out of reach."""
    path = tmp_path / "x"
    path.write_text("0x0-0xfffffff usabel\n")
    with pytest.raises(
        StatusError,
        match="the firmware map has no usable memory; .*line 1: the kind 'usabel' is unknown",
    ):
        run(["map", str(path)])
    path.write_text("0x100000000-0x1ffffffff usable\n")
    with pytest.raises(
        StatusError, match="no usable memory that i386 reaches; 4096 MiB lie above it"
    ):
        run(["map", str(path), "--arch", "i386"])


def test_directories(tmp_path: Path) -> None:
    """Those that are no copy of sysfs, or a damaged one, are told as such, without Python's
    words.
    """

    def says(text: str) -> None:
        with pytest.raises(StatusError) as error:
            load_firmware_map(str(tmp_path))
        assert error.value.text.startswith(f"{tmp_path}: {text}"), error.value.text

    says("the directory is no copy of /sys/firmware/memmap, which has a directory for each range")
    one = tmp_path / "0"
    one.mkdir()
    says("range 0: cannot read 'start': No such file or directory")
    for start, end, text in (
        ("zz", "0xfff", "'0xzz' is no whole number"),
        ("0x5000", "0x3000", "the range 0x5000 to 0x3000 ends before it begins"),
    ):
        for name, value in (("start", start), ("end", end), ("type", "System RAM")):
            (one / name).write_text(value + "\n")
        says(f"range 0: {text}")
    (one / "start").write_text("0\n")
    assert load_firmware_map(str(tmp_path)) == [FirmwareRange(0, 0x3001, K.USABLE)]
    with pytest.raises(
        StatusError, match="none/x: cannot read the firmware map: No such file or directory"
    ):
        mapsources.read_sysfs(str(tmp_path / "none/x"))


@pytest.mark.parametrize("name", ["", "a\0b", "\udc00\ud800", "x" * 5000, "/"])
def test_names_that_are_none(name: str) -> None:
    """No traceback."""
    with pytest.raises(StatusError):
        load_firmware_map(name)


# -- anything --------------------------------------------------------------------------------------

SEEDS = [
    *(
        (Path(octavo.__file__).parent / "machine" / "maps" / f"{name}.txt").read_bytes()
        for name in recorded_maps()
    ),
    (DATA / "pc-6g.e820").read_bytes(),
    *(
        wrapping([LOGS[dialect](i, r) for i, r in enumerate(PC)])
        for wrapping in WRAPPINGS.values()
        for dialect in LOGS
    ),
    json.dumps([{"start": r.start, "end": r.end, "kind": r.kind.name} for r in PC]).encode(),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A map with bytes changed, cut out, doubled and put in, or any bytes."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 12))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 40)))
        data[at:end] = draw(
            st.one_of(
                st.binary(max_size=20),
                st.just(bytes(data[at:end]) * 2),
                st.sampled_from([b"\n", b"9" * 400, b"0x", b"-", b"[mem ", b"\0"]),
            )
        )
    return bytes(data)


@settings(max_examples=300, deadline=4000)
@given(data=st.one_of(damaged(), st.binary(max_size=600)))
def test_any_file_is_a_map_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """No crash, in time; what comes out can be normalised, and notes are single lines."""
    try:
        found = load(tmp_path_factory, data)
    except StatusError as error:
        assert error.text and "\n" not in error.text
        return
    assert found and all("\n" not in note for note in found.notes)
    clean = normalise(found, 1 << 52)
    assert all(a.end <= b.start for a, b in pairwise(clean))


PARTS = [
    *"0123456789abcdefx-:[]()|,= \n\t\r@",
    "BIOS-e820: ",
    "[mem ",
    "efi: mem",
    "range=[",
    "usable",
    "(XEN) ",
    "user: ",
]


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
        for start in (
            "BIOS-e820: [mem ",
            "efi: mem00: [",
            "efi: mem00: [a|",
            "(XEN) [",
            "SMAP type=1 ",
            "user: [mem 0x0-",
            "0 - ",
            "[mem 0x",
        ):
            yield start * 20000 + "\n"
            yield start + " " * 200000 + "\n"
            yield start + "0" * 200000 + "\n"

    for text in many():
        with pytest.raises(StatusError):
            parse_text(text)
