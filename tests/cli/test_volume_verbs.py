"""The verbs on volumes as a whole, label, resize and tree; and attrib on many files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import octavo
from tests.command import OCTAVO, call
from tests.conftest import fsck, run
from tests.storage.tables import MIB, SCRIPTS, sfdisk


@pytest.mark.dosfstools
@pytest.mark.mtools
def test_label_and_serial(image: Path) -> None:
    """Shown, changed and taken away, as mtools shows them; a wrong one changes nothing."""
    call("label", image, "my disk", "--serial", "dead-BEEF")
    assert call("label", image) == f"{image}: label MY DISK, serial DEAD-BEEF\n"
    shown = run("mdir", "-i", image, "::")
    assert "Volume in drive : is MY DISK" in shown and "DEAD-BEEF" in shown
    assert json.loads(call("label", "--json", image)) == {
        "image": str(image), "type": "FAT16", "label": "MY DISK", "serial": "DEAD-BEEF"
    }  # fmt: skip
    before = image.read_bytes()
    for arguments, code in ((["a/b"], 2), (["twelve chars"], 2), (["--serial", "12"], 2),
                            (["x", "y"], 2)):  # fmt: skip
        call("label", image, *arguments, code=code)
    assert "the whole image is needed" in call("label", f"{image}:/docs", "NEW", code=2)
    assert image.read_bytes() == before
    call("label", image, "")
    assert call("label", f"{image}:") == f"{image}: label -, serial DEAD-BEEF\n"
    fsck(image)


@pytest.mark.dosfstools
@pytest.mark.fdisk
def test_resize(tmp_path: Path, image: Path, tree: Path) -> None:
    """A plain image grows and shrinks with its volume; a partition's bounds hold; what cannot be is
    refused, and nothing changes.
    """
    call("cp", "-r", tree, f"{image}:/")
    for size, bytes_ in (
        ("24M", 24 * MIB),
        ("+8M", 32 * MIB),
        ("12000001", 11_999_744),
        ("12M", 12 * MIB),
    ):
        assert "FAT16, " in call("resize", image, size)
        assert image.stat().st_size == bytes_
        fsck(image)
        call("cp", "-r", f"{image}:/tree", tmp_path / f"out{size}")
        run("diff", "-r", tree, tmp_path / f"out{size}")
    with open(image, "ab") as file:
        file.truncate(20 * MIB)
    call("resize", image)
    fsck(image)
    assert json.loads(call("df", "--json", image))[0]["total"] > 19 * MIB
    before = image.read_bytes()
    for size, code in (("1K", 2), ("2M", 2), ("x", 2), ("0", 2), ("8G", 2), ("", 2)):
        assert call("resize", image, size, code=code).count("\n") == 1, size
    assert "the whole image is needed" in call("resize", f"{image}:/tree", "24M", code=2)
    assert image.read_bytes() == before
    disk = sfdisk(tmp_path / "parts.img", 64 * MIB, SCRIPTS["four"])
    call("mkfs", "--force", "--size", "7M", f"{disk}#1")
    before = disk.read_bytes()
    end = str(8 * MIB + 512)
    assert "a volume on it cannot have" in call("resize", f"{disk}#1", end, code=2)
    assert disk.read_bytes() == before
    call("resize", f"{disk}#1")
    (tmp_path / "part").write_bytes(disk.read_bytes()[MIB : 9 * MIB])
    fsck(tmp_path / "part")
    assert disk.read_bytes()[9 * MIB :] == before[9 * MIB :]
    assert json.loads(call("df", "--json", f"{disk}#1"))[0]["total"] > 7.9 * MIB


def test_tree(image: Path) -> None:
    """Drawn, with files and without; in ASCII; as JSON; what is no directory is told."""
    with octavo.open_image(image) as volume:
        volume.mkdir("docs/inner", parents=True)
        volume.write_bytes("docs/a.txt", b"abc")
        volume.write_bytes("z", b"")
    assert call("tree", "--ascii", f"{image}:") == (
        f"{image}:\n|   z\n|\n\\---docs\n    |   a.txt\n    |\n    \\---inner\n"
    )
    assert call("tree", "-d", f"{image}:").splitlines()[1:] == ["└───docs", "    └───inner"]
    assert call("tree", f"{image}:/docs/inner") == f"{image}:/docs/inner\n"
    (top,) = json.loads(call("tree", "--json", f"{image}:/docs"))
    assert top == {"path": f"{image}:/docs", "type": "directory", "contents": [
        {"name": "a.txt", "type": "file", "size": 3},
        {"name": "inner", "type": "directory", "contents": []},
    ]}  # fmt: skip
    (top,) = json.loads(call("tree", "-d", "--json", f"{image}:"))
    assert [e["name"] for e in top["contents"]] == ["docs"]
    assert "is not a directory" in call("tree", f"{image}:z", code=1)
    said = call("tree", f"{image}:/none", f"{image}:/z", code=1)
    assert said.count("\n") == 2 and call("tree", "-e", f"{image}:/none", f"{image}:", code=1)
    ascii_only = subprocess.run([*OCTAVO, "tree", f"{image}:"], capture_output=True, check=True,
                                env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"})  # fmt: skip
    assert b"\\---docs" in ascii_only.stdout


def test_attributes_of_many(image: Path) -> None:
    """Several, by wildcards, and all below; as JSON; one that is not there holds up no other."""
    with octavo.open_image(image) as volume:
        volume.mkdir("d/e", parents=True)
        for name in ("a.sys", "b.sys", "d/c", "d/e/f"):
            volume.write_bytes(name, b"")
    call("attrib", f"{image}:/*.sys", f"{image}:/d", "+rh", "-a")
    assert call("attrib", f"{image}:/a.sys", f"{image}:/b.sys", f"{image}:/d", f"{image}:/d/c") == (
        f"rh--- {image}:/a.sys\nrh--- {image}:/b.sys\nrh-d- {image}:/d\n----a {image}:/d/c\n"
    )
    assert "no such file" in call("attrib", f"{image}:/none", f"{image}:/a.sys", "-r", code=1)
    assert call("attrib", f"{image}:/a.sys").startswith("-h---")
    call("attrib", "-e", f"{image}:/none", f"{image}:/a.sys", "-h", code=1)
    assert call("attrib", f"{image}:/a.sys").startswith("-h---")
    call("attrib", "--recursive", f"{image}:/", "+s")
    records = json.loads(call("attrib", "--recursive", "--json", f"{image}:"))
    assert {r["path"]: r["attributes"] for r in records} == {
        "/a.sys": "-hs--", "/b.sys": "rhs--", "/d": "rhsd-", "/d/c": "--s-a", "/d/e": "--sd-",
        "/d/e/f": "--s-a",
    }  # fmt: skip
    assert "is no change of attributes" in call("attrib", f"{image}:/d", "+r", "+x", code=2)
    assert "nothing matches" in call("attrib", f"{image}:/*.zip", "+r", code=1)
