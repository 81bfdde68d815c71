"""Names that meet, and names that would lead out of the target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import octavo
from octavo.files import Report
from octavo.status import Status
from octavo.transfer.host import HostTree
from octavo.transfer.tree import Excluded, Item
from octavo.transfer.volume import VolumeTree
from tests.command import octavo as command
from tests.transfer.copies import OLD, contents, copy, names

# -- 2.6 -------------------------------------------------------------------------------------------


def test_names_that_meet_are_told_and_neither_is_lost(image: Path, source: Path) -> None:
    """Case, dots and spaces at the end, backslashes: the first is copied, each other told;
    directories with all that is in them.
    """
    for name in (
        "README.txt",
        "readme.TXT",
        "readme.txt.",
        "readme.txt ",
        "a\\b",
        "..\\up",
        "fine",
    ):
        (source / name).write_text(name)
    for name in ("Sub", "sub"):
        (source / name).mkdir()
        (source / name / "x").write_text(name)
    said = command("cp", "-r", source, f"{image}:/", code=1)
    assert (
        said.count("would be the same file as") == 4
        and said.count(r"contains '\\'") == 2
        and len(said.splitlines()) == 6
    )
    assert (
        f"octavo: {source}/sub: would be the same file as {source}/Sub in the target: "
        "rename one of them" in said.splitlines()
    )
    with octavo.open_image(image) as volume:
        assert contents(volume) == {
            "SOURCE/README.TXT": b"README.txt",
            "SOURCE/FINE": b"fine",
            "SOURCE/SUB/X": b"Sub",
        }


def test_a_name_that_is_another_files_short_name_is_told(
    volume: octavo.Volume, source: Path
) -> None:
    """Whether the other was there before, or is made by the same command."""
    tree = VolumeTree(volume, "")
    (source / "LONGFI~1.TXT").write_text("short")
    volume.write_bytes("longfilename.txt", OLD)
    told = copy(HostTree(), source / "LONGFI~1.TXT", tree, "/")[1]
    assert [e.status for e in told] == [
        Status.OBJECT_NAME_COLLISION
    ] and "short name of 'longfilename.txt'" in told[0].text
    assert volume.read_bytes("longfilename.txt") == OLD
    (source / "A longer file name.txt").write_text("long")
    (source / "ALONGE~1.TXT").write_text("short")
    told = copy(HostTree(), source, tree, "/")[1]
    assert len(told) == 1 and "ALONGE~1.TXT: exists already" in told[0].text
    assert (
        volume.read_bytes("source/A longer file name.txt") == b"long"
        and len(volume.entries("source")) == 2
    )


def test_two_sources_of_one_name(image: Path, source: Path, out: Path) -> None:
    """In both directions the first is copied, and the second told."""
    for name in ("one", "two"):
        (source / name).mkdir()
        (source / name / "x").write_text(name)
        command("cp", source / name / "x", f"{image}:/{name}")
    assert "two/x: would be the same file as" in command(
        "cp", source / "one" / "x", source / "two" / "x", f"{image}:/", code=1
    )
    assert command("cat", f"{image}:/x") == "one"
    command("mkdir", f"{image}:/d", f"{image}:/e")
    command("cp", source / "one" / "x", f"{image}:/d")
    command("cp", source / "two" / "x", f"{image}:/e")
    assert "/e/x: would be the same file as" in command(
        "cp", f"{image}:/d/x", f"{image}:/e/x", out, code=1
    )
    assert (out / "x").read_text() == "one"


class HostileTree(HostTree):
    """A source with one file, of a name that no honest file system has."""

    def __init__(self, name: str) -> None:
        self.name = name

    def walk(
        self, path: str, report: Report, excluded: Excluded | None = None
    ) -> Iterator[tuple[str, list[Item]]]:
        """The one file."""
        yield "", [Item(self.name, False, 4, 0.0), Item("fine", False, 4, 0.0)]

    def read(self, path: str, size: int) -> Iterable[bytes]:
        """Its contents."""
        yield b"evil"


@pytest.mark.parametrize("name", ["", ".", "..", "/etc/evil", "../evil", "a/b", "nul\0", "\ud800"])
def test_a_name_from_an_image_never_leads_out_of_the_target(
    name: str, source: Path, out: Path
) -> None:
    """Told; what is fine beside it is copied."""
    told = copy(HostileTree(name), source, HostTree(), out)[1]
    assert [e.status for e in told] == [
        Status.OBJECT_NAME_INVALID
    ] and "cannot be a name on the host" in told[0].text
    assert (
        names(out) == ["source"]
        and names(out / "source") == ["fine"]
        and names(out.parent) == ["out", "source"]
    )
