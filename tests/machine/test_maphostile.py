"""Maps that are damaged, hostile or none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import octavo
from octavo.boot.firmware_map import normalise
from octavo.cli.main import run
from octavo.machine import mapsources
from octavo.machine.firmware import FirmwareRange
from octavo.machine.mapsources import load_firmware_map, parse_text, recorded_maps
from octavo.status import StatusError
from tests.machine.mapforms import load
from tests.maplines import LOGS, PC, WRAPPINGS, K, log
from tests.places import DATA

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
