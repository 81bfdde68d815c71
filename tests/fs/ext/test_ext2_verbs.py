"""ext2 volumes by verbs, in partitions, and on devices that fail."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import octavo
from octavo.cli.main import run as octavo_run
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice
from tests.conftest import blank_image
from tests.fs.ext.trees import (
    BACKSLASH,
    LEADS,
    LINKS,
    debugfs,
    make_ext,
    make_tree,
)
from tests.storage.tables import SCRIPTS, sfdisk

# -- the command line, partitions ------------------------------------------------------------------


def octavo_command(*words: str | Path) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    program = Path(sys.executable).parent / "octavo"
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_verbs(tmp_path: Path) -> None:
    """ls, cat, cp, df, attrib and check."""
    tree = make_tree(tmp_path / "tree")
    (tree / "mode0").chmod(0o600)
    image = make_ext(tmp_path / "x.img", "16M", tree, "-b", "4096", "-L", "a label")
    code, out, _ = octavo_command("ls", "-l", f"{image}:/sizes")
    assert code == 0 and re.search(r"^-rw-r--r--        49153 \S+ \S+ 49153.bin$", out, re.M)
    code, out, _ = octavo_command("cat", f"{image}:/to file", f"{image}:/level0/up")
    assert code == 0 and out.startswith("0o644")
    code, out, _ = octavo_command("df", image)
    stats = debugfs(image, ["stats"])[0].decode()
    free = re.search(r"Free blocks: +(\d+)", stats)
    assert free and f"{int(free[1]) * 4}" in out.split("\n")[1].split() and "a label" in out
    assert octavo_command("attrib", f"{image}:/mode755")[1].startswith("-rwxr-xr-x ")
    code, out, error = octavo_command("check", image)
    assert (code, out) == (1, "") and "e2fsck -fn does" in error
    code, out, error = octavo_command("rm", f"{image}:/mode644")
    assert code == 1 and "ext2 is only read" in error


def test_a_tree_is_copied_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Links to files are followed; links to directories and to nothing, and special files, are told
    and left out, as on the host. All else is there, with its time.
    """
    tree = make_tree(tmp_path / "tree")
    for path in tree.glob("mode*"):
        path.chmod(0o644)
    image = make_ext(tmp_path / "x.img", "16M", tree, "-b", "2048")
    debugfs(image, ["mknod char c 1 3"], write=True)
    assert octavo_run(["cp", "-r", f"{image}:/", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    for name in ("to directory", "dots", "nowhere", "through a file", "itself", "/a", "/b", "char"):
        assert name in told
    out = tmp_path / "out"
    left_out = LINKS.keys() - LEADS.keys()
    for here, _, files in os.walk(tree):
        for name in files:
            original = Path(here, name)
            copy = out / original.relative_to(tree).parent / name.replace("\\", BACKSLASH)
            link = str(original.relative_to(tree)) if original.is_symlink() else ""
            if link in left_out:
                assert not copy.exists()
                continue
            assert copy.read_bytes() == (tree / LEADS[link] if link else original).read_bytes()
            if not link:
                assert int(copy.stat().st_mtime) == int(original.stat().st_mtime)
    assert len(list(out.rglob("*"))) == len(list(tree.rglob("*"))) - len(left_out) + 1  # lost+found


@pytest.mark.fdisk
@pytest.mark.parametrize("script", ["one", "logical", "gpt"])
def test_in_a_partition(script: str, tmp_path: Path) -> None:
    """The first that has a volume, of either format."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("in a partition")
    inner = make_ext(tmp_path / "inner.img", "4M", tmp_path / "tree")
    disk = sfdisk(tmp_path / "disk.img", 64 << 20, SCRIPTS[script])
    listed = subprocess.run(
        ["sfdisk", "-J", disk], capture_output=True, text=True, check=True
    ).stdout
    starts = [int(n) * 512 for n in re.findall(r'"start": (\d+)', listed)]
    with open(disk, "r+b") as file:
        file.seek(starts[-1])
        file.write(inner.read_bytes())
    with octavo.open_image(disk) as volume:
        assert volume.read_bytes("a") == b"in a partition" and volume.kind == "ext2"
        assert ", partition" in volume.core.name
    if script == "gpt":
        small = blank_image(tmp_path / "fat.img", 4 << 20)
        assert octavo_run(["mkfs", "--force", str(small)]) == 0
        with open(disk, "r+b") as file:
            file.seek(starts[0])
            file.write(small.read_bytes())
        with octavo.open_image(disk) as volume:
            assert volume.kind.startswith("FAT") and volume.core.name.endswith("partition 1")


@pytest.mark.parametrize("unit", [2048, 4096])
def test_a_table_of_larger_sectors(unit: int, tmp_path: Path) -> None:
    """A volume that fills its partition in sectors of that size is found; another is not."""
    inner = make_ext(tmp_path / "inner.img", "4M", None, "-b", "4096")
    for sectors, found in ((4 << 20) // unit, True), ((4 << 20) // unit - 4096 // unit, False):
        table = struct.pack("<B3xB3xII", 0, 0x83, 1024, sectors)
        head = (bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa").ljust(1024 * unit, b"\0")
        disk = tmp_path / "disk.img"
        disk.write_bytes(head + inner.read_bytes())
        try:
            with octavo.open_image(disk) as volume:
                assert found and volume.kind == "ext2"
        except StatusError as error:
            assert not found and "partition 1 of type 0x83: has only zeros" in error.text


def test_reads_that_fail(tmp_path: Path) -> None:
    """The k-th read of the device fails: that call says so, once; done again, it succeeds."""
    tree = make_tree(tmp_path / "tree")
    image = make_ext(tmp_path / "x.img", "16M", tree, "-b", "1024")
    wanted = {p: (tree / p).read_bytes() for p in ("sizes/300000.bin", "to file", "mode644")}
    wanted["long"] = wanted.pop("mode644")  # it leads there
    fails = 0
    for k in range(1, 40):
        with octavo.boot("2M") as system:
            device = FaultyDevice(ImageDisk(image, system.scheduler, read_only=True))
            volume = system.attach_device(device)
            device.numbers = dict.fromkeys(device.numbers, 0)
            device.plan = lambda verb, number: (verb, number) == ("read", k)
            told = []
            for path, data in wanted.items():
                for _ in range(2):
                    try:
                        assert volume.read_bytes(path) == data
                    except StatusError as error:
                        told.append(error.status)
                assert volume.read_bytes(path) == data
            assert told in ([], [Status.IO_DEVICE_ERROR])
            fails += len(told)
            system.check()
    assert fails > 5
