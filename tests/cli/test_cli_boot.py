"""Boots from the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.command import OCTAVO, octavo


def test_boot(image: Path) -> None:
    """The log, the commands, the last status; JSON has it all."""
    out = octavo("boot", image, "--memory", "4M", "-c", "md new; cd new; dir")
    for line in (
        "Firmware memory map:",
        "Zones:",
        "PFN database:",
        "Memory: 4.0 MiB managed",
        "Volume C: FAT16",
        "Directory of C:\\new",
    ):
        assert line in out
    octavo("boot", image, "-c", "dir; type nothing", code=1)
    octavo("boot", image, "-c", "nonsense", code=2)
    data = json.loads(
        octavo("boot", image, "--json", "-c", "dir", "--arch", "pae", "--firmware-map", "ovmf-128m")
    )
    assert data["status"] == 0 and " Directory of C:\\" in data["output"]
    assert data["statistics"]["memory"]["limit"] == 16384
    assert any("pae, 3 levels" in line for line in data["log"])
    assert "new" in octavo("boot", image, stdin="dir\nexit\nnonsense\n")


def test_boot_without_an_image_makes_a_ram_disk() -> None:
    """2 MiB at C:, in frames of the memory limit."""
    out = octavo("boot", "--memory", "8M", "-c", "md a; copy a b; mount; memory")
    assert "C: FAT12" in out and "RAMDISK" in out


def test_boot_twice_from_one_seed(image: Path, tmp_path: Path) -> None:
    """The traces are equal, and another seed's is not."""
    copy = tmp_path / "copy" / image.name
    copy.parent.mkdir()
    copy.write_bytes(image.read_bytes())
    traces = []
    for path, seed in ((image, 4), (copy, 4), (image, 5)):
        out = octavo(
            "boot",
            path,
            "--seed",
            seed,
            "--memory",
            "2M",
            "-c",
            "md d; copy d e; del *; sync; rd d; rd e",
        )
        traces.append(out.splitlines()[-1])
    assert traces[0].startswith("Event trace: ") and traces[0] == traces[1] != traces[2]


def test_floppies_get_a(tmp_path: Path, image: Path) -> None:
    """By the size of the image."""
    floppy = tmp_path / "floppy.img"
    octavo("mkfs", "--size", "720K", floppy)
    out = octavo("boot", image, floppy, "-c", "mount")
    assert "A: FAT12" in out and "C: FAT16" in out


def test_read_only_boot(image: Path) -> None:
    """Nothing can be changed, and nothing is."""
    before = image.read_bytes()
    octavo("boot", image, "--read-only", "-c", "dir; md x", code=1)
    assert image.read_bytes() == before


def test_boot_c_stops_at_the_first_error(image: Path) -> None:
    """Errors are on stderr; -k goes on; -q prints no log; a script on standard input goes on, as
    before.
    """
    for options, made in ((["-q"], False), (["-q", "-k"], True)):
        done = subprocess.run(
            [*OCTAVO, "boot", str(image), *options, "-c", "type nothing; md made; cd"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == "type: nothing: no such file or directory\n" and done.stdout == (
            "C:\\\n" if made else ""
        )
        assert done.returncode == (0 if made else 1)
        assert octavo("ls", f"{image}:") == ("made/\n" if made else "")
    assert octavo("boot", image, "-q", "-c", "cd", "-c", "cd made; cd") == "C:\\\nC:\\made\n"
    assert octavo("boot", image, "-q", "-c", "copy made b; sync") == "       0 files copied\n"
    assert "no such file" in octavo("boot", image, "-q", "-c", "copy a b; sync", code=1)
    assert octavo("boot", image, "-q", stdin="rd made\nrd b\nrd b\ncd") == "C:\\\n"


def test_a_script_with_byte_order_marks(image: Path) -> None:
    """Its first command is found, also that of a second file behind the first."""
    octavo("boot", "-q", image, stdin="\ufeffmd one\n\ufeffmd two\n")
    assert octavo("ls", f"{image}:").split() == ["one/", "two/"]


def test_an_image_that_is_given_twice(image: Path) -> None:
    """It is in use by this program itself."""
    said = octavo("boot", image, image, "-q", "-c", "dir", code=1)
    assert (
        said
        == f"octavo: {image}: the image is in use: it is open already, in this program or another\n"
    )
