"""Which of several maps in a log is in force, and whose it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import octavo
from octavo.cli.main import run
from octavo.machine import mapsources, maptext
from octavo.machine.firmware import FirmwareRange
from octavo.machine.mapsources import load_firmware_map, parse_text
from tests.maplines import LARGER, LOGS, PC, K, efi, log

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
