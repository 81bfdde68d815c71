"""Names of parts of images, disk.img#2 and disk.img@@1M, in every verb; and `octavo partitions`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from time import monotonic

import pytest

import octavo
from octavo.status import Status, StatusError
from octavo.storage.imagename import ImageName, parse_image_name
from tests.command import OCTAVO, call
from tests.conftest import fsck, run
from tests.storage.tables import MIB, SCRIPTS, by_sfdisk, gpt_disk, gpt_entry, mbr_disk, sfdisk


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("d.img", ImageName("d.img")),
        ("d.img#2", ImageName("d.img", 2)),
        ("d.img#0", ImageName("d.img", 0)),
        ("d.img@@1M", ImageName("d.img", None, MIB)),
        ("d.img@@0", ImageName("d.img")),
        ("d.img@@1.5K", ImageName("d.img", None, 1536)),
        ("d@@1#2", ImageName("d@@1", 2)),
        ("d#1@@512", ImageName("d#1", None, 512)),
        ("d#1#2", ImageName("d#1", 2)),
        ("d.img#two", ImageName("d.img#two")),
        ("d.img#", ImageName("d.img#")),
        ("#2", ImageName("#2")),
        ("@@1M", ImageName("@@1M")),
        ("d.img@@M", ImageName("d.img@@M")),
        ("d.img@@1X", ImageName("d.img@@1X")),
        ("d.img@@99999999999999999999", ImageName("d.img@@99999999999999999999")),
        ("", ImageName("")),
    ],
)
def test_names(text: str, name: ImageName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they mean; and a file that has the whole name is meant, wherever one is."""
    monkeypatch.chdir(tmp_path)
    assert parse_image_name(text) == name and name.whole == (not name.start and name.number is None)
    if text:
        Path(text).touch()
        assert parse_image_name(text) == ImageName(text)


def parted(path: Path) -> Path:
    """A disk with FAT volumes in partitions 1, 5 and 6, each to its last sector."""
    sfdisk(path, 32 * MIB, SCRIPTS["logical"].replace("40M", "20M"))
    for number, label in ((1, "ONE"), (5, "FIVE"), (6, "SIX")):
        call("mkfs", "--force", "--label", label, f"{path}#{number}")
    return path


@pytest.mark.fdisk
@pytest.mark.dosfstools
def test_verbs_on_partitions(tmp_path: Path, tree: Path) -> None:
    """Each verb works on the part that is named, also on two parts at once; what is around it is as
    it was.
    """
    disk = parted(tmp_path / "disk.img")
    before = disk.read_bytes()
    parts = {n: (start, size) for n, _, start, size, _ in by_sfdisk(disk)}
    call("cp", "-r", tree, f"{disk}#6:/")
    call("cp", "-r", f"{disk}#6:/tree", f"{disk}#1:/")
    assert call("ls", f"{disk}#1:/tree").split() == ["a.txt", "empty/", "none", "sub/"]
    call("mkdir", f"{disk}#5:/d", f"{disk}#1:/e")
    call("mv", f"{disk}#1:/tree/a.txt", f"{disk}#1:/e/")
    call("attrib", f"{disk}#1:/e/a.txt", "+r")
    assert call("cat", f"{disk}@@1M:/e/a.txt") == "a" * 100
    call("rm", "-rf", f"{disk}#6:/tree")
    assert json.loads(call("df", "--json", f"{disk}#5", disk))[0]["label"] == "FIVE"
    assert call("check", f"{disk}#6").endswith("FAT16, clean\n")
    after = disk.read_bytes()
    for number, (start, size) in parts.items():
        if number in (1, 5, 6):
            (tmp_path / "part").write_bytes(after[start : start + size])
            fsck(tmp_path / "part")
        if number in (7, 8):
            assert after[start : start + size] == before[start : start + size]
    assert after[:MIB] == before[:MIB]


@pytest.mark.fdisk
def test_a_volume_fills_its_partition_to_the_last_sector(tmp_path: Path) -> None:
    """And no more: the sector behind it stays what it was, and one sector more is refused."""
    script = "label: dos\n1: start=1,size=4000,type=6\n2: start=4001,size=40,type=6\n"
    disk = sfdisk(tmp_path / "disk.img", 2 * MIB, script)
    data = bytearray(disk.read_bytes())
    data[512:] = b"\xdb" * (len(data) - 512)
    disk.write_bytes(data)
    call("mkfs", "--force", "--cluster", "512", f"{disk}#1")
    with octavo.boot("4M", [f"{disk}#1"]) as system:
        volume = system.volumes["C:"]
        device = volume.core.device
        assert device.size == 4000 * 512 and volume.core.name == f"{disk}, partition 1"
        volume.write_bytes("full", b"x" * volume.space().free)
        assert volume.space().free == 0
    data = bytearray(disk.read_bytes())
    assert data[4000 * 512 : 4001 * 512] == b"x" * 512
    assert data[4001 * 512 :] == b"\xdb" * (len(data) - 4001 * 512)
    assert "which has 2048000" in call("mkfs", "--force", "--size", "2048512", f"{disk}#1", code=2)
    call("mkfs", "--force", "--size", "19K", f"{disk}#2")
    assert disk.read_bytes()[: 4001 * 512] == data[: 4001 * 512]
    assert call("ls", f"{disk}@@{4001 * 512}:") == ""
    for start in (1, 4001):
        hidden = disk.read_bytes()[start * 512 + 28 : start * 512 + 32]
        assert int.from_bytes(hidden, "little") == start
    call("rm", f"{disk}#1:/full")
    call("mkdir", f"{disk}#1:/d", f"{disk}#2:/d")


def test_offsets(tmp_path: Path, image: Path) -> None:
    """The last sector of an image and the place behind it; within a sector."""
    disk = tmp_path / "offset.img"
    disk.write_bytes(bytes(3 * 512) + image.read_bytes())
    end = disk.stat().st_size
    call("mkdir", f"{disk}@@1536:/made")
    assert call("ls", f"{disk}@@1536:/") == "made/\n"
    assert f"from byte {end - 512}: has only" in call("ls", f"{disk}@@{end - 512}:", code=1)
    said = f"octavo: {disk}: has {end} bytes: nothing begins at byte {end}\n"
    assert call("ls", f"{disk}@@{end}:", code=1) == said
    assert "within a sector of 512" in call("ls", f"{disk}@@1535:", code=1)
    call("mkfs", "--force", f"{disk}@@8M")
    assert "FAT16" in call("df", f"{disk}@@8M") and disk.stat().st_size == end


@pytest.mark.fdisk
def test_what_is_not_there(tmp_path: Path) -> None:
    """Numbers that no partition has, and partitions with others in them: nothing is changed."""
    disk = parted(tmp_path / "disk.img")
    before = disk.read_bytes()
    for number in (3, 9):
        said = f"octavo: {disk}: has no partition {number}, but 1, 2, 5, 6, 7, 8\n"
        assert call("ls", f"{disk}#{number}:/", code=1) == said
        assert call("mkfs", "--force", f"{disk}#{number}", code=1) == said
        assert call("boot", "-q", f"{disk}#{number}", "-c", "dir", code=1) == said
    assert "0 bytes per sector" in call("ls", f"{disk}#0:/", code=1)
    said = f"octavo: {disk}: partition 2 of type 0x0F has other partitions in it, and no volume\n"
    assert call("mkfs", "--force", f"{disk}#2", code=1) == said
    assert call("ls", f"{disk}#2:", code=1) == said
    said = call("ls", f"{disk}#7:", code=1)
    assert f"{disk}, partition 7 of type 0x01: has only zeros" in said
    assert "exists already: --force" in call("mkfs", f"{disk}#7", code=1)
    missing = tmp_path / "none.img"
    assert "No such file" in call("mkfs", "--size", "1M", f"{missing}#1", code=1)
    assert "cannot open the image" in call("ls", f"{missing}#1:", code=1)
    assert disk.read_bytes() == before and not list(tmp_path.glob("none*"))


@pytest.mark.fdisk
def test_parts_that_overlap_are_in_use(tmp_path: Path) -> None:
    """A part and the whole, or a part under two names: refused where one of them is written."""
    disk = parted(tmp_path / "disk.img")
    said = f"octavo: {disk}: the image is in use: it is open already, in this program or another\n"
    for other in (str(disk), f"{disk}@@1M", f"{disk}@@1048576"):
        begun = monotonic()
        assert call("cp", "--wait", "60", f"{other}:/x", f"{disk}#1:/y", code=1) == said
        assert monotonic() - begun < 30, "nobody waits for oneself"
    assert call("boot", "-q", f"{disk}#5", f"{disk}#5", "-c", "dir", code=1) == said
    out = call("boot", "-q", f"{disk}#5", f"{disk}#6", disk, "-c", "d:; md x; c:; md y; mount")
    assert all(label in out for label in ("FIVE", "SIX", "ONE"))
    assert (call("ls", f"{disk}#5:"), call("ls", f"{disk}#6:")) == ("y/\n", "x/\n")
    assert call("ls", f"{disk}#1:", f"{disk}@@1M:").count(":/:") == 2
    with octavo.boot("8M", [f"{disk}#1"], read_only=True) as system:
        with pytest.raises(StatusError) as caught:
            system.attach(f"{disk}#5")
        assert caught.value.status == Status.SHARING_VIOLATION
        system.attach(f"{disk}#1", read_only=True)
        system.unmount("C:")
        assert system.volumes["D:"].entries() == []
    call("mkdir", f"{disk}#1:/all closed")


@pytest.mark.fdisk
@pytest.mark.parametrize("name", SCRIPTS)
def test_partitions_as_sfdisk_lists_them(name: str, tmp_path: Path) -> None:
    """And every byte that a partition may have is in one, in a gap, or a table of logical ones."""
    disk = sfdisk(tmp_path / "disk.img", 64 * MIB, SCRIPTS[name])
    (found,) = json.loads(call("partitions", "--json", disk))
    assert found["faults"] == [] and found["size"] == 64 * MIB
    table = json.loads(run("sfdisk", "-J", disk))["partitiontable"]
    assert found["scheme"] == {"dos": "MBR", "gpt": "GPT"}[table["label"]]
    assert (found["id"], found["sector"]) == (table["id"], 512)
    ours = [(p["number"], p["type"], p["start"], p["size"], p.get("name", "")) for p in
            found["partitions"]]  # fmt: skip
    assert ours == by_sfdisk(disk)
    theirs = {p["node"]: p for p in table.get("partitions", [])}
    for part in found["partitions"]:
        their = theirs[f"{disk}{part['number']}"]
        assert part.get("active", False) == their.get("bootable", False)
        assert part.get("id") == their.get("uuid")
    first, end = (512, 64 * MIB) if found["scheme"] == "MBR" else (
        table["firstlba"] * 512, (table["lastlba"] + 1) * 512)  # fmt: skip
    used = [(p["start"], p["size"]) for p in found["partitions"] if "extended" not in p["kind"]]
    gaps = [(g["start"], g["size"]) for g in found["free"]]
    covered = sorted(used + gaps)
    for (start, size), (after, _) in zip(covered, [*covered[1:], (end, 0)], strict=True):
        assert after - start - size in (0, 512), "a table of logical ones has a sector"
        assert after == start + size or found["scheme"] == "MBR"
    assert covered[0][0] in (first, first + 512)
    free = {at for start, size in gaps for at in range(start, start + size, 512)}
    for line in run("sfdisk", "-F", disk).split("Size\n")[1:]:
        for row in line.splitlines():
            start, _, sectors = map(int, row.split()[:3])
            sets = {at * 512 for at in range(start, start + sectors)}
            assert len(sets - free) <= 2 * (name == "backwards"), row  # sfdisk has tables in it


def piped_partitions(disk: Path) -> dict[str, object]:
    """What is printed of a disk with faults."""
    done = subprocess.run([*OCTAVO, "partitions", "--json", str(disk)], capture_output=True,
                          check=False)  # fmt: skip
    assert done.returncode == 1
    found: dict[str, object] = json.loads(done.stdout)[0]
    return found


def test_partitions_with_faults(tmp_path: Path, image: Path) -> None:
    """A damaged header in a sentence, and exit code 1; a volume is no empty table."""
    disk = tmp_path / "damaged.img"
    data = gpt_disk([gpt_entry(100, 199), gpt_entry(300, 2000)])
    data[520:526] = b"broken"
    disk.write_bytes(data)
    said = call("partitions", disk, code=1)
    assert "claims to have 28261 bytes: its backup is used" in said
    assert "partition 2 ends at sector 2000, and the device has 1000 sectors" in said
    disk.write_bytes(mbr_disk({0: [(0x83, 1, 30000)]}))
    assert "partition 1 ends at sector 30000" in call("partitions", disk, code=1)
    disk.write_bytes(mbr_disk({0: [(0x83, 1, 1000), (0x83, 10, 20)]}))
    said = call("partitions", disk, code=1)
    assert "partition 2 begins in partition 1" in said
    disk.write_bytes(mbr_disk({0: [(0x83, 1, 1000), (0x83, 10, 20), (0x83, 1001, 18999)]}))
    out = piped_partitions(disk)
    assert out["free"] == [], "what is in a partition is not free"
    (found,) = json.loads(call("partitions", "--json", image))
    assert (found["scheme"], found["volume"], found["free"]) == (None, "FAT16", [])
    assert "no partition table, but a volume: FAT16" in call("partitions", image)
    disk.write_bytes(bytes(700))
    assert f"{disk}: no partition table, 512 bytes" in call("partitions", disk)
    assert "No such file" in call("partitions", tmp_path / "none", code=1)
