"""Firmware maps in boot logs and lists, in every manner in which they are printed."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.machine.firmware import FirmwareRange
from octavo.machine.mapsources import parse_text
from tests.machine.mapforms import load
from tests.maplines import E820_WORDS, LISTS, LOGS, MANNERS, PC, WRAPPINGS, K, log


@st.composite
def maps(draw: st.DrawFn) -> list[FirmwareRange]:
    """Disjoint, ascending ranges, RAM among them, below 4 GiB."""
    edges = sorted(draw(st.sets(st.integers(0, 1 << 20), min_size=2, max_size=16)))
    ranges = [
        FirmwareRange(a << 12, b << 12, draw(st.sampled_from(list(E820_WORDS))))
        for a, b in pairwise(edges)
    ]
    return [FirmwareRange(ranges[0].start, ranges[0].end, K.USABLE), *ranges[1:]]


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
