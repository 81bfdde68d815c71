"""Which of several boots in a log has the map: what starts one, what is only a repetition, and what
is said of it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from octavo.cli.main import run
from octavo.machine.firmware import FirmwareRange
from octavo.machine.mapsources import parse_text
from octavo.status import StatusError
from tests.maplines import LARGER, PC, K, efi, log

HEAD = "[    0.000000] Linux version 6.1.0 (gcc)\n[    0.000000] BIOS-provided physical RAM map:\n"
WHOLE = efi((0, 0, 0xA0000, "Boot Code"), (1, 0x100000, 0x1FEE0000, "Conventional Memory"))
WHOLE_RANGES = [FirmwareRange(0, 0xA0000, K.USABLE), FirmwareRange(0x100000, 0x1FEE0000, K.USABLE)]


def test_a_start_ends_the_boot_before_it() -> None:
    """Boots whose lines are of other kinds are not merged, and the last boot that has a map is
    taken; the notes say which.
    """
    banner = "[    0.000000] Linux version 6.1.0 (gcc)\n"
    found = parse_text(HEAD + log(PC) + banner + WHOLE)
    assert found == WHOLE_RANGES and found.notes == (
        "map, line 10: the log has 2 boots; this is the map of the last one, which begins here",
    )
    found = parse_text(HEAD + WHOLE + HEAD + log(PC))
    assert found == PC and "line 7: the log has 2 boots" in found.notes[0]
    found = parse_text(
        HEAD
        + log(PC)
        + "user-defined physical RAM map:\n"
        + log(PC[:4], "the user's")
        + banner
        + log(LARGER)
    )
    assert found == LARGER and len(found.notes) == 1
    for ended in (HEAD, banner, "x\n" + HEAD + "y\n", HEAD + HEAD):
        found = parse_text(HEAD + log(PC) + ended)
        assert (
            found == PC
            and "the last in the log; this is the map before it, which begins in line 3"
            in found.notes[0]
        )
    found = parse_text(
        HEAD + log(PC) + HEAD + " BIOS-e801: 0000000000000000 - 000000000009f000 (usable)\n"
    )
    assert (
        found == PC
        and found.notes[0].startswith("map, line 10: no line of a map")
        and found.notes[1].startswith("map, line 11: this is a BIOS-e801")
    )
    found = parse_text(HEAD + log(PC) + HEAD + "BIOS-e820: [mem 0x00000000000")
    assert (
        found == PC
        and "line 10: no line of a map" in found.notes[0]
        and "line 11: this BIOS-e820 line cannot be read" in found.notes[1]
    )


def test_a_map_that_is_cut_too_early_says_of_which_boot(tmp_path: Path) -> None:
    """What is too small to be a machine may be the beginning of a boot's map, and another boot's
    may have been meant.
    """
    path = tmp_path / "x"
    path.write_text(HEAD + log(PC) + HEAD + log(PC[:1]))
    with pytest.raises(
        StatusError,
        match=r"only 157 frames of usable memory, below the minimum of 256 .*line 11: the log "
        r"has 2 boots",
    ):
        run(["map", str(path)])


def test_starts_that_are_repeated_or_late() -> None:
    """Two consoles, copies of a log, sorted and reversed logs, and words that look like a start:
    the right map all the same.
    """
    twice = "".join(line * 2 for line in (HEAD + log(PC) + WHOLE).splitlines(keepends=True))
    for text in (HEAD * 3 + log(PC) + WHOLE, twice):
        found = parse_text(text)
        assert found == WHOLE_RANGES and not found.notes
    whole = HEAD + log(LARGER) + WHOLE
    assert parse_text(whole + whole) == WHOLE_RANGES
    assert (
        parse_text(HEAD + log(LARGER[:3]) + whole) == WHOLE_RANGES
    )  # the second console gets all of it again
    assert (
        parse_text(HEAD + log(PC) + HEAD + log(PC[3:] + PC[:3] + PC[3:])) == PC[3:] + PC[:3]
    )  # and the first goes on in between
    for lines in (
        sorted(whole.splitlines()),
        sorted(whole.lower().splitlines()),
        whole.splitlines()[::-1],
    ):
        assert sorted(parse_text("\n".join(lines)), key=lambda r: r.start) == WHOLE_RANGES
    assert parse_text(WHOLE + HEAD + log(PC)) == PC
    for words in (
        "I run Linux version 5.4\n",
        "driver for Linux version 5.4 (and later)\n",
        "[    0.0] Xen version 4.11.\n",
        "Hypervisor detected: Xen HVM\n",
    ):
        found = parse_text(HEAD + log(LARGER) + words + WHOLE + words)
        assert found == WHOLE_RANGES and not found.notes


def test_starts_of_a_hypervisor_and_its_guest() -> None:
    """The first guest is a part of the hypervisor's boot; the next start is another boot."""
    xen, banner = (
        "(XEN) [000000b4dd165de1] Xen version 4.11.1 (a@b) (gcc) debug=n\n(XEN) "
        "[000000b4dd165de2] Xen-e820 RAM map:\n",
        HEAD.splitlines(keepends=True)[0],
    )
    one = xen + log(LARGER, "Xen 4.15") + banner + log(PC, "guest of Xen")
    assert parse_text(one) == LARGER
    assert parse_text(xen + log(LARGER, "Xen 4.15") + banner).notes == ()
    two = parse_text(one + xen + log(PC, "Xen 4.15") + banner + log(PC[:4], "guest of Xen"))
    assert two == PC and [note.split(": ", 1)[1][:18] for note in two.notes] == [
        "the log has 2 boot",
        "the hypervisor's m",
    ]
    for alone in (
        log(PC),
        log(PC, "E820 before 3.5"),
        efi(*((i, r.start, r.end, "Conventional Memory") for i, r in enumerate(PC))),
    ):
        found = parse_text(
            xen + log(LARGER, "Xen 4.15") + HEAD + alone
        )  # the machine starts again, without a hypervisor
        assert [r.end for r in found] == [r.end for r in PC] and [
            note.split(": ", 1)[1][:18] for note in found.notes
        ] == ["the log has 2 boot"]
    later = parse_text(one + xen)
    assert (
        later == LARGER and "line 17: no line of a map stands behind this start" in later.notes[0]
    )


def test_boots_in_one_line_of_json() -> None:
    """The line ends in JSON's text are line ends."""
    text = json.dumps({"dmesg": HEAD + log(PC) + HEAD + WHOLE})
    assert parse_text(text) == WHOLE_RANGES and "the log has 2 boots" in parse_text(text).notes[0]
