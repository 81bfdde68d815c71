"""`octavo map`, the shell's views of memory, the PFN picture, and the kernel's own memory on a
booted system.
"""

from __future__ import annotations

import json
import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo.boot.plan import plan_boot
from octavo.boot.zones import Zone
from octavo.cli.drawing import MOST_STRETCHES, REGION_COLOURS
from octavo.cli.main import run
from octavo.machine.abi import State
from octavo.machine.mapsources import load_firmware_map, recorded_maps
from octavo.machine.paging import FORMATS
from octavo.machine.ram import Ram
from octavo.memory.frames.pfn import PfnDatabase
from octavo.memory.spaces.addressspace import Allocate
from octavo.shell.picture import LEGEND, PALETTE, STATES, grid_of, picture
from octavo.shell.raster import letters
from octavo.shell.shell import Shell
from octavo.status import StatusError
from octavo.storage.image import ImageDisk


@pytest.mark.parametrize("arch", FORMATS)
@pytest.mark.parametrize("name", recorded_maps())
def test_map_of_every_machine(
    name: str, arch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text, JSON and drawing agree on the zones, and the drawing is XML."""
    svg = tmp_path / "out.svg"
    assert run(["map", name, "--arch", arch, "--svg", str(svg), "-m", "7M"]) == 0
    text = capsys.readouterr().out
    assert "What each use can reach" in text and "Loader's map" in text
    count, lines = text.partition("Loader's map (")[2].split(" ", 1)
    described = re.findall(
        r"(?m)^  0x\w{16} - 0x\w{16} +[\d.]+ \S+  (\w+) +(at 0x[0-9a-f]+(?:, until the "
        r"kernel runs)?|not mapped)$",
        lines,
    )
    assert len(described) == int(count)
    assert all(
        where.endswith(", until the kernel runs") == (kind == "temporary" and where != "not mapped")
        for kind, where in described
    )
    assert run(["map", name, "--arch", arch, "--json", "-m", "7M"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert sum(s["usable"] for s in data["segments"]) == data["managed"] == 1792
    assert [r["name"] for r in data["layout"]] == [] or data["layout"][0]["name"] == "user"
    drawn = ElementTree.parse(svg).getroot()
    words = [t.text for t in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert all(s["name"] in words for s in data["segments"])


SVG = "{http://www.w3.org/2000/svg}"


def box_of(text: ElementTree.Element) -> tuple[float, float, float, float]:
    """The box of a text in a drawing, with letters as wide as they get on average in the fonts that
    browsers have.
    """
    size = float(text.get("font-size", "11"))
    width = (
        len(text.text or "")
        * size
        * (0.62 if text.get("font-family") == "monospace" or text.get("font-weight") else 0.56)
    )
    x = float(text.get("x", "0")) - (width if text.get("text-anchor") == "end" else 0)
    return x, float(text.get("y", "0")) - size * 0.8, width, size


def drawing(name: str, arch: str, tmp_path: Path, *more: str) -> ElementTree.Element:
    """The drawing of a map."""
    out = tmp_path / "out.svg"
    assert run(["map", name, "--arch", arch, "--svg", str(out), *more]) == 0
    return ElementTree.parse(out).getroot()


@pytest.mark.parametrize("arch", FORMATS)
@pytest.mark.parametrize("name", recorded_maps())
@pytest.mark.parametrize("limit", [(), ("-m", "7M")])
def test_drawings_of_every_machine(
    name: str, arch: str, limit: tuple[str, ...], tmp_path: Path
) -> None:
    """No text lies over another or outside; the scale is stated; each zone has a bracket that
    spans its RAM; every kind is in the legend.
    """
    root = drawing(name, arch, tmp_path, *limit)
    texts = list(root.iter(SVG + "text"))
    boxes = [box_of(t) for t in texts]
    words = [t.text or "" for t in texts]
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    assert all(x >= 0 and x + w <= width and y >= 0 and y + h <= height for x, y, w, h in boxes)
    assert not [
        (words[i], words[j])
        for i, j in combinations(range(len(boxes)), 2)
        if overlap(boxes[i], boxes[j])
    ]
    assert any("heights grow with the logarithm of the size" in w for w in words) and {
        "4 KiB",
        "1 TiB",
        "Kinds",
        "Heights",
    } <= set(words)
    ranges = load_firmware_map(name)
    plan = plan_boot(ranges, arch, 7 << 20 if limit else None)
    assert {r.kind.name.lower() for r in plan.ranges} <= set(words)
    brackets = [p.get("d", "") for p in root.iter(SVG + "path") if p.get("class") == "zone"]
    assert len(brackets) == len(plan.zones)
    lower = {
        t.text: float(t.get("y", "0")) + 2
        for t in texts
        if t.get("font-family") == "monospace" and float(t.get("x", "0")) < 200
    }
    for bracket, zone in zip(brackets, reversed(plan.zones), strict=True):
        end = float(bracket.split("V")[1].split("H")[0])
        assert abs(end + 1 - lower[f"{zone.first << 12:#x}"]) < 0.2, (zone, bracket)


def test_a_region_has_one_colour_on_every_architecture(tmp_path: Path) -> None:
    """And no two regions of an architecture share one."""
    seen: dict[str, str] = {}
    for arch in FORMATS:
        root = drawing("pc-6g", arch, tmp_path)
        parts = list(root.iter())
        own = {}
        for box, label in pairwise(parts):
            if box.tag == SVG + "rect" and box.get("x") == "710" and label.tag == SVG + "text":
                own[label.text or ""] = box.get("fill", "")
        assert len(own) >= 13 and len(set(own.values())) == len(own)
        assert all(seen.setdefault(name, colour) == colour for name, colour in own.items())
    assert set(seen) == set(REGION_COLOURS)


def test_drawings_of_odd_maps(tmp_path: Path) -> None:
    """More ranges than are shown are counted; a name with control characters is XML all the same;
    small zones keep apart.
    """
    many = tmp_path / ("m\x01\x1b" + "n" * 100)
    many.write_text(
        "0x100000000-0x13fffffff usable\n"
        + "".join(f"{i * 3 << 20:#x}-{(i * 3 + 1 << 20) - 1:#x} usable\n" for i in range(900))
    )
    words = [t.text or "" for t in drawing(str(many), "pae", tmp_path).iter(SVG + "text")]
    left_out, of = map(
        int, re.findall(r"the (\d+) smallest of (\d+) ranges are not shown", " ".join(words))[0]
    )
    assert of - left_out == MOST_STRETCHES and of >= 900
    tiny = tmp_path / "tiny"
    tiny.write_text(
        "0xe00000-0xffffff usable\n0x1000000-0x3001fff usable\n0x36800000-0x36801fff "
        "usable\n0x100000000-0x100001fff usable\n"
    )
    root = drawing(str(tiny), "pae", tmp_path)
    texts = list(root.iter(SVG + "text"))
    boxes = [box_of(t) for t in texts]
    assert not [
        (texts[i].text, texts[j].text)
        for i, j in combinations(range(len(boxes)), 2)
        if overlap(boxes[i], boxes[j])
    ]
    assert {"DMA", "DIRECTMAP", "DMA32", "HIGHMEM"} <= {t.text for t in texts}


def test_the_reach_that_once_stopped_gnu_mach(capsys: pytest.CaptureFixture[str]) -> None:
    """On a PC with 6 GiB the kernel's own uses reach 872 MiB less the firmware's part, everybody
    else all of it.
    """
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


def test_machines_too_small_and_too_large(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 MiB has no room for a kernel and no layout, and is shown all the same; what is out of reach
    is said.
    """
    small = tmp_path / "small.txt"
    small.write_text("0x100000-0x1fffff usable\n")
    assert run(["map", str(small)]) == 0
    text = capsys.readouterr().out
    assert (
        "no room for a kernel image of 2 MiB" in text
        and "Layout: none, 256 frames are below x86-64's minimum of 2048" in text
    )
    assert run(["map", "server-24g", "--arch", "i386"]) == 0
    assert "Out of reach: 21504 MiB lie above 0x100000000" in capsys.readouterr().out
    large = tmp_path / "large.txt"
    large.write_text("0x0-0xffffffffffffffff usable\n")
    assert run(["map", str(large), "--arch", "la57"]) == 0
    assert "lie above 0x40000000000" in capsys.readouterr().out


@pytest.mark.parametrize("arch", ["i386", "pae"])
def test_regions_that_do_not_fit_the_window(
    arch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 GiB of registers is more than a window of 916 MiB: the rest is shown, and why nothing is
    mapped.
    """
    path = tmp_path / "wide"
    path.write_text("0x0-0x9ffff usable\n0x100000-0x3fffffff usable\n0x80000000-0xbfffffff mmio\n")
    assert run(["map", str(path), "--arch", arch, "--svg", str(tmp_path / "x.svg")]) == 0
    text = capsys.readouterr().out
    assert "nothing is mapped: the loader's window of 916 MiB at 0x80000000 is too small" in text
    assert (
        "What each use can reach" in text
        and "permanent  not mapped" in text
        and "nonpaged pool" in text
    )
    assert run(["map", str(path), "--arch", arch, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (
        data["kernel"] is None
        and "window of 916 MiB" in data["missing"]["mappings"]
        and data["layout"]
        and data["segments"]
    )
    assert run(["map", str(path), "--json"]) == 0
    assert not json.loads(capsys.readouterr().out)["missing"]


@pytest.mark.parametrize(("arch", "outside"), [("i386", 2), ("pae", 1), ("x86-64", 1)])
def test_regions_out_of_reach_are_counted(
    arch: str, outside: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Registers above what the page tables, or frame numbers, can name are cut off, and it is said;
    the rest is mapped.
    """
    path = tmp_path / "high"
    path.write_text(
        "0x100000-0x3ffffff usable\n0xf0000000-0xf000ffff mmio\n0xfffff000-0x1000fffff "
        "mmio\n0x38000000000000-0x380000000fffff mmio\n"
    )
    assert run(["map", str(path), "--arch", arch, "--svg", str(tmp_path / "x.svg")]) == 0
    text = capsys.readouterr().out
    assert re.search(
        rf"Out of reach: {outside} ranges? without RAM above 0x\d+\n", text
    ) and re.search(r"f0000000 .* permanent  at 0x", text)
    assert run(["map", str(path), "--arch", arch, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["outside"] == outside and not data["missing"] and data["layout"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no-such"], "give a file, 'host', or one of isa-16m"),
        (["pc-8m", "-m", "1G"], "has only"),
        (
            ["pc-8m", "--svg", "/no/such/folder/x.svg"],
            "/no/such/folder/x.svg: No such file or directory",
        ),
    ],
)
def test_map_errors(arguments: list[str], says: str) -> None:
    """One sentence."""
    with pytest.raises(StatusError) as error:
        run(["map", *arguments])
    assert says in error.value.text


@pytest.mark.parametrize("name", ["", "-"])
def test_drawings_need_a_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong call, and no file."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run(["map", "pc-8m", f"--svg={name}"])
    shown = capsys.readouterr()
    assert (
        ended.value.code == 2
        and f"--svg {name!r}: give the name of a file" in shown.err
        and not shown.out
    )
    assert not list(tmp_path.iterdir())


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
        assert (
            "held by kernel stacks; firmware range 0x" in say(f"memory {stack.frames[0]}")
            and "usable, zone D" in out[0]
        )
        path = tmp_path / "frames.png"
        assert "1 frame a cell, 128 cells a row" in say(f'memory picture "{path}"')
        look_at_picture(system, path)
        assert "neither a frame number" in say("memory nonsense") and shell.status == 2
        assert "takes nothing after it" in say("memory buddy all")
        assert (
            "/no/such/x.png: No such file or directory" in say("memory picture /no/such/x.png")
            and shell.status == 1
        )
        system.kernel.stacks.free(stack)
        cache.free(address)
        system.check()


def pixels_of(path: Path) -> np.ndarray:
    """The pixels of a PNG with an indexed palette and unfiltered rows; its chunks' checksums are
    looked at.
    """
    data, at, body = path.read_bytes(), 8, b""
    width = height = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        part = data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(kind + part)
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", part)
        elif kind == b"PLTE":
            assert part == bytes(v for colour in PALETTE for v in colour)
        elif kind == b"IDAT":
            body += part
        at += 12 + size
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:]


def shows(pixels: np.ndarray, text: str) -> bool:
    """True when a text stands somewhere in a picture, in ink on paper."""
    shape = letters(text).astype(np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, shape.shape)
    likely = windows[..., 0, 0] == shape[0, 0]
    for y, x in ((2, 2), (4, 0), (8, 4), (4, 8), (0, 10)):
        likely &= windows[..., y, x] == shape[y, x]
    return any((windows[y, x] == shape).all() for y, x in zip(*np.nonzero(likely), strict=True))


def look_at_picture(system: octavo.System, path: Path) -> None:
    """Every frame's cell has the colour of its state and owner, by `explain`; addresses, zones
    and the legend are there.
    """
    pfns = system.memory.pfns
    grid, pixels = grid_of(pfns.frames), pixels_of(path)
    found = [
        pixels[y + grid.zoom // 2 + 1, x + grid.zoom // 2 + 1] - 2
        for x, y in (grid.cell(pfn) for pfn in range(pfns.frames))
    ]
    for pfn, index in enumerate(found):
        name, text = LEGEND[index][0], system.memory.explain(pfn)
        if pfns.state_of(pfn) != State.ACTIVE:
            assert name == STATES[pfns.state_of(pfn)][0], text
        elif name == "files and sections":
            assert ", page " in text
        elif name == "other":
            assert text.endswith("active")
        else:
            assert name.removesuffix(" caches") in text
    for index in set(found):
        assert shows(pixels, f"{LEGEND[index][0]} {found.count(index)}"), LEGEND[index]
    assert {"slab caches", "kernel stacks", "nonpaged pool", "PFN database", "free", "absent"} <= {
        LEGEND[i][0] for i in found
    }
    for text in ("DMA", "DIRECTMAP", "a cell is 1 frame, a row 512 KiB", "8 MiB"):
        assert shows(pixels, text), text
    x, y = grid.cell(system.plan.zones[1].first)
    assert (pixels[y, x : grid.left + grid.width * grid.zoom] == 1).all() and not (
        pixels[y - 1, x:] == 1
    ).all()


@pytest.mark.parametrize("frames", [1, 63, 64, 4097, 70000, (1 << 22) + 1, 5 << 22])
def test_pictures_of_any_size(frames: int) -> None:
    """Texts lie inside the picture, not over each other and not over the cells; a zone may begin
    anywhere.
    """
    pfns = PfnDatabase(Ram(frames, paper=True), frames, 0)
    zones = [
        Zone(name, first, frames, 1)
        for name, first in (("DMA", 1), ("DIRECTMAP", 4096), ("DMA32", 5001), ("HIGHMEM", 70001))
        if first < frames
    ]
    raster, grid = picture(pfns, zones)
    height, width = raster.pixels.shape
    bottom, right = grid.top + grid.rows * grid.zoom, grid.left + grid.width * grid.zoom
    assert grid.rows * grid.width * grid.share >= frames and right - grid.left >= min(1024, 64 * 16)
    boxes = raster.texts
    assert len(boxes) >= 3 + len(zones)
    for x, y, w, h in boxes:
        assert x >= 0 and x + w <= width and y >= 0 and y + h <= height
        assert x + w <= grid.left or x >= right or y + h <= grid.top or y >= bottom
    assert not any(overlap(a, b) for a, b in combinations(boxes, 2))


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    """True when two boxes (x, y, width, height) share a point."""
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


@pytest.mark.parametrize("arch", FORMATS)
def test_kernel_memory_gives_way(arch: str, image: Path) -> None:
    """Slabs without objects, cached stacks and kept pool pages go when files need the memory; what
    is in use stays.
    """
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
        before = cache.statistics().slabs
        volume = system.volumes["C:"]
        data = bytes(range(256)) * 4096
        for i in range(8):
            volume.write_bytes(f"f{i}.bin", data)
        assert all(volume.read_bytes(f"f{i}.bin") == data for i in range(8))
        assert cache.statistics().slabs < before
        assert bytes(cache.object(objects[0])) == b"k" * 1000
        system.check()


def test_spaces_on_a_booted_system(image: Path, tmp_path: Path) -> None:
    """A space, files and a page file share 4 MiB: the files' pages go first, then the space's; the
    shell tells of both.
    """
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
        assert all(
            system.scheduler.run(space.read(base + p * 4096, 4)).rstrip(b"\0") == b"%d" % p
            for p in range(2048)
        )
        assert system.memory.frames_in_use <= 1024
        system.check()
        out: list[str] = []
        Shell(system, out.append).execute("memory spaces")
        assert (
            "init: 2048 pages committed" in out[2] and "paged" in out[3] and "READWRITE" in out[4]
        )
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
