"""Trees that are damaged, deep, or change while they are copied."""

from __future__ import annotations

import errno
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import octavo
from octavo.cli.main import run as octavo_run
from octavo.status import Status, StatusError
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import plan_copy
from octavo.transfer.tree import CHUNK
from octavo.transfer.volume import VolumeTree
from tests.command import OCTAVO
from tests.command import octavo as command
from tests.conftest import fsck
from tests.transfer.copies import BIG, OneByOne, contents, copy, names

# -- 3.1 and 3.7 -----------------------------------------------------------------------------------


@pytest.fixture
def damaged(image: Path) -> Path:
    """An image with three directories, of which the chain of "BROKEN" leads nowhere, and which
    "TWICE" enters a second time.
    """
    with octavo.open_image(image) as volume:
        for name in ("ONE", "BROKEN", "TWO", "TWICE"):
            volume.mkdir(name)
            volume.write_bytes(f"{name}/F", name.encode())
        volume.mkdir("TWO/DEEP")
        volume.write_bytes("TWO/DEEP/F", b"deep")
    data = bytearray(image.read_bytes())
    first = data.index(b"ONE        \x10")
    for entry, cluster in (
        (b"BROKEN     \x10", b"\xf0\xff"),
        (b"TWICE      \x10", data[first + 26 : first + 28]),
    ):
        at = data.index(entry)
        data[at + 26 : at + 28] = cluster
    image.write_bytes(data)
    return image


def run_told(*arguments: object) -> tuple[list[str], list[str]]:
    """Output and errors of a command that fails with 1."""
    done = subprocess.run(
        [*OCTAVO, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1, done
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_a_damaged_directory_does_not_hide_the_rest(damaged: Path, out: Path) -> None:
    """ls -r, cp -r: what can be read is listed and copied, what cannot is told, and what is in two
    places is met once.
    """
    listed, said = run_told("ls", "-r", f"{damaged}:")
    assert [line for line in listed if line.endswith(":")] == [
        f"{damaged}:/{p}:" for p in ("", "ONE", "TWO", "TWO/DEEP")
    ]
    assert (
        len(said) == 2 and "BROKEN" in "".join(said) and "TWICE: is in two places" in "".join(said)
    )
    _, said = run_told("cp", "-r", f"{damaged}:/", out)
    assert len(said) == 2
    assert {str(p.relative_to(out)): p.read_text() for p in out.rglob("*") if p.is_file()} == {
        "ONE/F": "ONE",
        "TWO/F": "TWO",
        "TWO/DEEP/F": "deep",
    }


def test_rm_removes_what_can_be_removed(damaged: Path) -> None:
    """A tree that is removed tells each thing that stays, once; with --force nothing stays."""
    said: list[StatusError] = []
    with octavo.open_image(damaged) as volume:
        volume.rmtree("", said.append)  # as rm -r, which asks for -f where a whole volume is meant
    assert len(said) == 2
    assert command("ls", f"{damaged}:").split() == ["BROKEN/", "TWICE/"]
    octavo_run(["rm", "-rf", f"{damaged}:/BROKEN"])
    assert command("ls", f"{damaged}:").split() == ["TWICE/"]


def test_an_unreadable_host_directory_does_not_hide_the_rest(
    volume: octavo.Volume, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made, empty, and told; a file that goes away while it is looked at is told, too."""
    for name in ("a", "closed", "z"):
        (source / name).mkdir()
        (source / name / "f").write_text(name)
    scandir = os.scandir

    def closed(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    told = copy(HostTree(), source, VolumeTree(volume, ""), "/")[1]
    assert [e.text for e in told] == [f"{source}/closed: Permission denied"]
    assert (
        contents(volume) == {"SOURCE/A/F": b"a", "SOURCE/Z/F": b"z"}
        and volume.entries("source/closed") == []
    )


def test_a_missing_source_does_not_stop_the_others(image: Path, source: Path) -> None:
    """And a directory without -r."""
    (source / "a").write_text("a")
    said = command("cp", source / "missing", source, source / "a", f"{image}:/", code=1)
    assert len(said.splitlines()) == 2 and command("ls", f"{image}:") == "a\n"


def test_a_directory_that_cannot_be_made_takes_nothing_with_it(
    volume: octavo.Volume, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error for all that would be below it."""
    for name in ("a/b", "c"):
        (source / name).mkdir(parents=True)
        (source / name / "f").write_text(name)
    make = volume.mkdir

    def failing(path: str) -> None:
        if path.endswith("source/a"):
            raise StatusError(Status.FILE_CORRUPT_ERROR, "cannot be made")
        make(path)

    monkeypatch.setattr(volume, "mkdir", failing)
    assert [e.text for e in copy(HostTree(), source, OneByOne(volume, ""), "/")[1]] == [
        "cannot be made"
    ]
    assert contents(volume) == {"SOURCE/C/F": b"c"}


def test_a_tree_deeper_than_python_recurses(volume: octavo.Volume, source: Path, out: Path) -> None:
    """In and out again, and removed; with a low limit, since a deep tree that is left behind can be
    removed by few programs.
    """
    deep = source
    for _ in range(200):
        deep = deep / "d"
        deep.mkdir()
    (deep / "f").write_text("deep")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        assert copy(HostTree(), source, VolumeTree(volume, ""), "/")[1] == []
        assert copy(VolumeTree(volume, ""), "source", HostTree(), out)[1] == []
        volume.rmtree("source")
    finally:
        sys.setrecursionlimit(limit)
    assert (out / "source" / Path(*["d"] * 200) / "f").read_text() == "deep"


# -- issue 10, 5.3 and 5.8 -------------------------------------------------------------------------


def test_links_that_stand_in_the_target_lead_nowhere(
    image: Path, source: Path, out: Path, tmp_path: Path
) -> None:
    """A link where a directory is copied, and a link to nothing where a file is: refused, nothing
    is written outside; the rest is copied.
    """
    (source / "d").mkdir()
    for name in ("d/passwd", "f", "g"):
        (source / name).write_text(name)
    command("cp", "-r", f"{source}/.", f"{image}:/")
    (tmp_path / "outside").mkdir()
    (out / "d").symlink_to("../outside")
    (out / "f").symlink_to("../nowhere")
    said = command("cp", "-r", f"{image}:/", out, code=1)
    assert said.splitlines() == [
        f"octavo: {out}/d: is a file or a link: a directory cannot replace it",
        f"octavo: {out}/f: is a link to nothing: remove it first",
    ]
    assert (
        names(tmp_path / "outside") == []
        and not (tmp_path / "nowhere").exists()
        and (out / "g").read_text() == "g"
    )


def test_times_of_directories_are_kept(volume: octavo.Volume, source: Path, out: Path) -> None:
    """Of new ones, in both directions, whatever is put into them; those that were there keep
    theirs.
    """
    moments = {"": 1_100_000_000, "d": 1_200_000_000, "d/e": 1_300_000_000}
    (source / "d" / "e").mkdir(parents=True)
    for name in ("d/f", "d/e/f"):
        (source / name).write_text("x")
    for name, moment in reversed(moments.items()):
        os.utime(source / name, (moment, moment))
    assert copy(HostTree(), source, VolumeTree(volume, ""), "/")[1] == []
    assert {name: volume.stat(f"source/{name}").modified.timestamp() for name in moments} == moments
    os.utime(out, (1_400_000_000, 1_400_000_000))
    assert copy(VolumeTree(volume, ""), "source", HostTree(), out)[1] == []
    assert {name: (out / "source" / name).stat().st_mtime for name in moments} == moments
    (source / "d").touch()
    assert copy(HostTree(), source, VolumeTree(volume, ""), "/")[1] == []
    assert volume.stat("source/d").modified.timestamp() == moments["d"]


@pytest.mark.parametrize("size", [0, 100, CHUNK, BIG])
@pytest.mark.parametrize("change", [-50, 1, 2 * CHUNK])
def test_a_file_that_changes_while_it_is_copied_is_told(
    change: int, size: int, volume: octavo.Volume, source: Path
) -> None:
    """It grows or shrinks after it was planned: what is there is copied, and told."""
    if size + change < 0:
        size += 50
    (source / "log").write_bytes(b"x" * size)
    plan = plan_copy([(HostTree(), str(source / "log"))], VolumeTree(volume, ""), "/", False)
    os.truncate(source / "log", size + change)
    [error] = run_copy(plan)
    assert (
        f"has {'grown' if change > 0 else 'shrunk'} from {size} to {size + change} bytes"
        in error.text
    )
    assert volume.stat("log").size == size + change


@pytest.mark.parametrize("name", ["disk.img", "soft.img", "hard.img"])
def test_an_image_is_copied_neither_into_itself_nor_over_itself(name: str, image: Path) -> None:
    """Under none of its names, and refused before the first byte; what lies beside it is copied."""
    here = image.parent
    (here / "soft.img").symlink_to("disk.img")
    os.link(image, here / "hard.img")
    (here / "beside").write_bytes(b"b")
    other = here / name
    with octavo.open_image(image) as volume:
        volume.write_bytes("a", b"abc")
        volume.write_bytes("disk.img", b"abc")
    before = image.read_bytes()
    for source, target in (
        (other, f"{image}:/x"),
        (image, f"{other}:/x"),
        (f"{image}:/a", other),
        (f"{other}:/a", image),
        (f"{image}:/disk.img", here),
    ):
        assert "is an image that this copy reads or writes" in command(
            "cp", source, target, code=1
        ), (source, target)
        assert image.read_bytes() == before
    said = command("cp", "-r", here, f"{other}:/all", code=1)
    assert said.count("is an image that this copy reads or writes") == 3
    with octavo.open_image(image) as volume:
        assert [e.name for e in volume.entries("all")] == ["beside"]
    fsck(image)


def test_two_names_of_an_image_are_one_image(image: Path) -> None:
    """It is opened once, so that a copy within it is one."""
    os.link(image, image.with_name("hard.img"))
    with octavo.open_image(image) as volume:
        volume.write_bytes("a", b"abc")
    command("cp", f"{image}:/a", f"{image.with_name('hard.img')}:/b")
    assert "onto or into itself" in command(
        "cp", f"{image}:/a", f"{image.with_name('hard.img')}:/a", code=1
    )
    with octavo.open_image(image) as volume:
        assert volume.read_bytes("b") == b"abc"
