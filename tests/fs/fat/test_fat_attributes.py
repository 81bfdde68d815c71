"""Attributes and times of files."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import pytest

import octavo
from octavo.cli.main import run as octavo_run
from octavo.fs.fat.entry import from_dos, to_dos
from octavo.status import Status, StatusError
from tests.conftest import run
from tests.fs.fat.oddities import digest

# -- 2.7: attributes -------------------------------------------------------------------------------


@pytest.mark.mtools
def test_attributes_are_set_cleared_and_kept(filled: Path) -> None:
    """Of files and directories; mtools sees the same; what is not asked for stays."""
    with octavo.open_image(filled) as volume:
        before = volume.stat("a.bin").modified
        volume.set_attributes("A.BIN", "rhs")
        volume.set_attributes("d", "H")
        assert volume.stat("a.bin").flags == "rhs-a" and volume.stat("d").flags == "-h-d-"
        volume.set_attributes("a.bin", off="ha")
        volume.set_attributes("b.bin", "r", "r")
    with octavo.open_image(filled) as volume:
        assert [e.flags for e in volume.entries()] == ["r-s--", "----a", "-h-d-"]
        assert volume.stat("a.bin").modified == before and volume.read_bytes("a.bin") == b"a" * 3000
        assert volume.check() == []
    assert run("mattrib", "-i", filled, "::a.bin").split()[:2] == ["S", "R"]


def test_what_read_only_files_refuse(filled: Path) -> None:
    """They are neither written, nor removed, nor replaced, until the attribute is cleared, or by
    force.
    """
    with octavo.open_image(filled) as volume:
        volume.set_attributes("a.bin", "r")
        volume.set_attributes("d", "r")
        for status, change in (
            (Status.ACCESS_DENIED, lambda: volume.write_bytes("a.bin", b"x")),
            (Status.ACCESS_DENIED, lambda: volume.open("a.bin", "ab")),
            (Status.CANNOT_DELETE, lambda: volume.remove("a.bin")),
            (Status.CANNOT_DELETE, lambda: volume.rename("b.bin", "a.bin", replace=True)),
        ):
            with pytest.raises(StatusError, match="read-only attribute") as caught:
                change()
            assert caught.value.status == status
        assert (
            volume.read_bytes("a.bin") == b"a" * 3000 and volume.read_bytes("b.bin") == b"b" * 3000
        )
        volume.remove("d/inner.txt")
        with pytest.raises(StatusError, match="read-only attribute"):
            volume.rmdir("d")
        volume.rename("a.bin", "moved.bin")
        assert volume.stat("moved.bin").flags == "r---a"
        volume.set_attributes("moved.bin", off="r")
        volume.rename("b.bin", "moved.bin", replace=True)
        volume.set_attributes("moved.bin", "r")
        free = volume.space().free
        volume.remove("moved.bin", force=True)
        volume.rmdir("d", force=True)
        assert volume.space().free == free + 4 * 1024 and volume.entries() == []
    with octavo.open_image(filled) as volume:
        assert volume.entries() == [] and volume.check() == []


def test_attributes_that_cannot_be_changed(filled: Path) -> None:
    """Other letters, the root directory, what is not there, a volume that is read-only; nothing is
    changed.
    """
    before = digest(filled)
    with octavo.open_image(filled) as volume:
        for path, letters, status in (
            ("a.bin", "d", Status.INVALID_PARAMETER),
            ("a.bin", "x", Status.INVALID_PARAMETER),
            ("a.bin", "щ", Status.INVALID_PARAMETER),
            ("", "r", Status.ACCESS_DENIED),
            ("nobody", "r", Status.OBJECT_NAME_NOT_FOUND),
            ("d/nobody/x", "r", Status.OBJECT_PATH_NOT_FOUND),
        ):
            with pytest.raises(StatusError) as caught:
                volume.set_attributes(path, letters)
            assert caught.value.status == status
    with (
        octavo.open_image(filled, read_only=True) as volume,
        pytest.raises(StatusError, match="read-only"),
    ):
        volume.set_attributes("a.bin", "r")
    assert digest(filled) == before


def test_attributes_of_an_open_file(filled: Path) -> None:
    """Who has it open goes on writing; what is changed then, and the attribute, are both on the
    medium.
    """
    with octavo.open_image(filled) as volume, volume.open("a.bin", "r+b") as file:
        volume.set_attributes("a.bin", "r", "a")
        file.write(b"new")
        with pytest.raises(StatusError, match="read-only attribute"):
            volume.open("a.bin", "r+b")
    with octavo.open_image(filled) as volume:
        assert (
            volume.stat("a.bin").flags == "r---a"
            and volume.read_bytes("a.bin") == b"new" + b"a" * 2997
        )
        assert volume.check() == []


def test_attrib(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The verb: shows, changes, and refuses what is no change."""
    where = f"{filled}:/a.bin"

    def shown() -> str:
        capsys.readouterr()
        assert octavo_run(["attrib", where]) == 0
        return capsys.readouterr().out.split()[0]

    assert shown() == "----a"
    assert octavo_run(["attrib", where, "-a", "+rh"]) == 0
    assert shown() == "rh---"
    assert octavo_run(["attrib", "--codepage", "850", where, "-R"]) == 0
    assert shown() == "-h---"
    assert octavo_run(["attrib", where, "r"]) == 1  # an image
    for wrong in ("+", "-d", "+rx", "--force"):
        with pytest.raises(SystemExit) as caught:
            octavo_run(["attrib", where, wrong])
        assert caught.value.code == 2
    assert shown() == "-h---"


# -- 2.8: times ------------------------------------------------------------------------------------

FIRST, LAST = datetime(1980, 1, 1), datetime(2107, 12, 31, 23, 59, 58)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(1979, 12, 31, 23, 59, 59), FIRST), (datetime(1975, 6, 5, 4, 3, 2), FIRST),
        (datetime(1980, 1, 1, 0, 0, 1), FIRST),
        (datetime(1980, 1, 1, 0, 0, 2), datetime(1980, 1, 1, 0, 0, 2)),
        (datetime(2107, 12, 31, 23, 59, 59), LAST),
        (datetime(2108, 1, 1), LAST), (datetime(2150, 7, 8, 9), LAST),
        (datetime(9999, 12, 31), LAST),
    ],
)  # fmt: skip
def test_moments_outside_of_fats_years(moment: datetime, expected: datetime) -> None:
    """The first and the last moment, not the same day of another year."""
    date, clock, _ = to_dos(moment.timetuple())
    assert from_dos(date, clock, 0) == expected


@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        (-1, FIRST), (0, FIRST), (-1e20, FIRST), (-math.inf, FIRST), (-(10**400), FIRST),
        (315_360_000, FIRST), (1e10, LAST), (1e20, LAST), (math.inf, LAST),
        (10**400, LAST), (4_400_000_000, LAST), (True, FIRST),
    ],
)  # fmt: skip
def test_any_time_can_be_set(wall: float, expected: datetime, filled: Path) -> None:
    """Brought into FAT's years, by whichever way it is set; the data is what it was to be."""
    with octavo.open_image(filled) as volume:
        volume.write_bytes("new.bin", b"new", modified=wall)
        volume.write_bytes("a.bin", b"over", modified=wall)
        with volume.open("b.bin", "r+b") as file:
            file.write(b"B")
            file.set_modified(wall)
    with octavo.open_image(filled) as volume:
        assert {volume.stat(name).modified for name in ("new.bin", "a.bin", "b.bin")} == {expected}
        assert (
            volume.read_bytes("b.bin") == b"B" + b"b" * 2999
            and volume.read_bytes("a.bin") == b"over"
        )
        assert volume.check() == []


@pytest.mark.parametrize("wall", [math.nan, "yesterday", b"1", [1], 1j])
def test_what_is_no_time(wall: float, filled: Path) -> None:
    """Refused at once: no file, no change, and what is written before and after is kept."""
    with octavo.open_image(filled) as volume:
        for path in ("new.bin", "a.bin"):
            with pytest.raises(StatusError, match="is no time") as caught:
                volume.write_bytes(path, b"x", modified=wall)
            assert caught.value.status == Status.INVALID_PARAMETER
        assert not volume.exists("new.bin")
        with volume.open("b.bin", "r+b") as file:
            file.write(b"B")
            with pytest.raises(StatusError, match="is no time"):
                file.set_modified(wall)
            file.write(b"B")
        assert volume.stat("b.bin").modified.year > 2000
    with octavo.open_image(filled) as volume:
        assert (
            volume.read_bytes("a.bin") == b"a" * 3000
            and volume.read_bytes("b.bin") == b"BB" + b"b" * 2998
        )
        assert volume.check() == []
