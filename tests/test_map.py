"""`octavo map`, the shell's views of memory, the PFN picture, and the kernel's own memory on a booted system."""

from __future__ import annotations

import json
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo.cli.main import run
from octavo.drivers.image import ImageDisk
from octavo.machine.mapsources import recorded_maps
from octavo.machine.paging import FORMATS
from octavo.memory.pfn import STATE, State
from octavo.memory.spaces.addressspace import Allocate
from octavo.shell.picture import COLOURS
from octavo.shell.shell import Shell
from octavo.status import StatusError


@pytest.mark.parametrize("arch", FORMATS)
@pytest.mark.parametrize("name", recorded_maps())
def test_map_of_every_machine(name: str, arch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text, JSON and drawing agree on the segments, and the drawing is XML."""
    svg = tmp_path / "out.svg"
    assert run(["map", name, "--arch", arch, "--svg", str(svg), "-m", "7M"]) == 0
    text = capsys.readouterr().out
    assert "What each use can reach" in text and "Loader's map" in text
    assert run(["map", name, "--arch", arch, "--json", "-m", "7M"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert sum(s["usable"] for s in data["segments"]) == data["managed"] == 1792
    assert [r["name"] for r in data["layout"]] == [] or data["layout"][0]["name"] == "user"
    drawn = ElementTree.parse(svg).getroot()
    words = [t.text for t in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert all(s["name"] in words for s in data["segments"])


def test_the_reach_that_once_stopped_gnu_mach(capsys: pytest.CaptureFixture[str]) -> None:
    """On a PC with 6 GiB the kernel's own uses reach 872 MiB less the firmware's part, everybody else all of it."""
    assert run(["map", "pc-6g", "--arch", "pae", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert 860 << 8 < data["reach"]["kernel"] < 872 << 8
    assert data["reach"]["any"] == data["managed"] > 6000 << 8
    assert [s["name"] for s in data["segments"]] == ["DMA", "DIRECTMAP", "DMA32", "HIGHMEM"]
    assert data["segments"][1]["watermarks"] == {"min": 10956, "low": 13148, "high": 21913}


def test_a_kernel_address_of_exectos(capsys: pytest.CaptureFixture[str]) -> None:
    """The kernel lies behind the firmware's regions, and the loader's region covers both."""
    assert run(["map", "ovmf-128m", "--arch", "pae", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["kernel"] == 0x80894000
    loader = next(r for r in data["layout"] if r["name"] == "loader")
    assert loader["start"] == 0x80000000 and loader["end"] >= 0x80894000 + (2 << 20)


def test_machines_too_small_and_too_large(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 MiB has no room for a kernel and no layout, and is shown all the same; what is out of reach is said."""
    small = tmp_path / "small.txt"
    small.write_text("0x100000-0x1fffff usable\n")
    assert run(["map", str(small)]) == 0
    text = capsys.readouterr().out
    assert "no room for a kernel image of 2 MiB" in text and "Layout: none, 256 frames are below x86-64's minimum of 2048" in text
    assert run(["map", "server-24g", "--arch", "i386"]) == 0
    assert "Out of reach: 21504 MiB lie above 0x100000000" in capsys.readouterr().out
    large = tmp_path / "large.txt"
    large.write_text("0x0-0xffffffffffffffff usable\n")
    assert run(["map", str(large), "--arch", "la57"]) == 0
    assert "lie above 0x40000000000" in capsys.readouterr().out


@pytest.mark.parametrize("arch", ["i386", "pae"])
def test_regions_that_do_not_fit_the_window(arch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 GiB of registers is more than a window of 916 MiB: the rest is shown, and why nothing is mapped."""
    path = tmp_path / "wide"
    path.write_text("0x0-0x9ffff usable\n0x100000-0x3fffffff usable\n0x80000000-0xbfffffff mmio\n")
    assert run(["map", str(path), "--arch", arch, "--svg", str(tmp_path / "x.svg")]) == 0
    text = capsys.readouterr().out
    assert "nothing is mapped: the loader's window of 916 MiB at 0x80000000 is too small" in text
    assert "What each use can reach" in text and "permanent  not mapped" in text and "nonpaged pool" in text
    assert run(["map", str(path), "--arch", arch, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["kernel"] is None and "window of 916 MiB" in data["missing"]["mappings"] and data["layout"] and data["segments"]
    assert run(["map", str(path), "--json"]) == 0
    assert not json.loads(capsys.readouterr().out)["missing"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no-such"], "give a file, 'host', or one of isa-16m"),
        (["pc-8m", "-m", "1G"], "has only"),
        (["pc-8m", "--svg", "/no/such/folder/x.svg"], "cannot write the drawing"),
    ],
)
def test_map_errors(arguments: list[str], says: str) -> None:
    """One sentence."""
    with pytest.raises(StatusError) as error:
        run(["map", *arguments])
    assert says in error.value.text


def test_memory_views_in_the_shell(tmp_path: Path) -> None:
    """buddy, slab, pool, stat, a frame, a picture; and what makes no sense."""
    with octavo.boot(memory="16M") as system:
        system.attach_ram_disk()
        out: list[str] = []
        shell = Shell(system, out.append)
        free = system.memory.physical.available
        for view in ("slab", "pool", "spaces"):
            shell.execute(f"memory {view}")
        assert len(out) == 3 and system.memory.physical.available == free  # looking takes nothing
        cache = system.kernel.caches.create("inode", 152)
        address = cache.allocate()
        system.kernel.nonpaged.allocate(1000, "File")
        stack = system.kernel.stacks.allocate(16384)

        def say(line: str) -> str:
            out.clear()
            shell.execute(line)
            return "\n".join(out)

        assert "DMA " in say("memory buddy") and "usable for an order" in say("memory buddy")
        assert "inode" in say("memory slab")
        assert "File" in say("memory pool") and "Stacks: 1 in use" in say("memory pool")
        assert f"nr_free {system.memory.pfns.counts[State.FREE]}" in say("memory stat")
        assert "held by slab inode" in say(f"memory {address >> 12:#x}")
        assert "held by kernel stacks; firmware range 0x" in say(f"memory {stack.frames[0]}") and "usable, segment D" in out[0]
        path = tmp_path / "frames.png"
        assert "1 frame a pixel" in say(f'memory picture "{path}"')
        assert pixels_of(path)[: system.memory.pfns.frames].tolist() == system.memory.pfns.table[:, STATE].tolist()
        assert "neither a frame number" in say("memory nonsense") and shell.status == 2
        assert "takes nothing after it" in say("memory buddy all")
        assert "cannot write the picture" in say("memory picture /no/such/x.png") and shell.status == 1
        system.kernel.stacks.free(stack)
        cache.free(address)
        system.check()


def pixels_of(path: Path) -> np.ndarray:
    """The pixels of a PNG with an indexed palette and unfiltered rows, in order; its chunks' checksums are looked at."""
    data, at, body = path.read_bytes(), 8, b""
    width = height = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        part = data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(kind + part)
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", part)
        elif kind == b"PLTE":
            assert tuple(part[int(State.ACTIVE) * 3 :][:3]) == COLOURS[State.ACTIVE]
        elif kind == b"IDAT":
            body += part
        at += 12 + size
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(-1)


@pytest.mark.parametrize("arch", FORMATS)
def test_kernel_memory_gives_way(arch: str, image: Path) -> None:
    """Slabs without objects, cached stacks and kept pool pages go when files need the memory; what is in use stays."""
    with octavo.boot(memory="8M", disks=[image], arch=arch) as system:
        kernel = system.kernel
        cache = kernel.caches.create("thing", 1000)
        objects = [cache.allocate() for _ in range(1200)]
        stacks = [kernel.stacks.allocate(8192) for _ in range(4)]
        for stack in stacks:
            kernel.stacks.free(stack)
        for address in objects[100:]:
            cache.free(address)
        cache.object(objects[0])[:] = b"k" * 1000
        before = cache.statistics()["slabs"]
        volume = system.volumes["C:"]
        data = bytes(range(256)) * 4096
        for i in range(8):
            volume.write_bytes(f"f{i}.bin", data)
        assert all(volume.read_bytes(f"f{i}.bin") == data for i in range(8))
        assert cache.statistics()["slabs"] < before
        assert bytes(cache.object(objects[0])) == b"k" * 1000
        system.check()


def test_spaces_on_a_booted_system(image: Path, tmp_path: Path) -> None:
    """A space, files and a page file share 4 MiB: the files' pages go first, then the space's; the shell tells of both."""
    page_file = tmp_path / "page.file"
    page_file.write_bytes(bytes(8 << 20))
    with octavo.boot(memory="4M", disks=[image]) as system:
        disk = ImageDisk(page_file, system.scheduler)
        system.virtual.add_page_file(disk)
        space = system.virtual.create("init")
        base, _ = space.allocate(0, 8 << 20, Allocate.COMMIT)
        data = bytes(range(256)) * 4096
        for i in range(4):
            system.volumes["C:"].write_bytes(f"f{i}.bin", data)
            for page in range(i * 512, (i + 1) * 512):
                system.scheduler.run(space.write(base + page * 4096, b"%d" % page))
        assert all(system.volumes["C:"].read_bytes(f"f{i}.bin") == data for i in range(4))
        assert all(system.scheduler.run(space.read(base + p * 4096, 4)).rstrip(b"\0") == b"%d" % p for p in range(2048))
        assert system.memory.frames_in_use <= 1024
        system.check()
        out: list[str] = []
        Shell(system, out.append).execute("memory spaces")
        assert "init: 2048 pages committed" in out[2] and "paged" in out[3] and "READWRITE" in out[4]
        system.virtual.destroy(space)
        system.check()
        disk.close()


def test_since_when(image: Path) -> None:
    """In debug, a frame tells when it last changed hands."""
    with octavo.boot(memory="8M", disks=[image]) as system:
        system.memory.pfns.debug()
        system.volumes["C:"].write_bytes("a.txt", b"x")
        since = system.memory.pfns.since
        assert since is not None
        claimed = int(np.argmax(since))
        assert f"since claim {system.memory.pfns.claims} of" in system.memory.explain(claimed)
