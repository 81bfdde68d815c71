"""`octavo map`: what firmware maps lead to, in text, in JSON and drawn."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from octavo.boot.plan import plan_boot
from octavo.cli.drawing import MOST_STRETCHES, REGION_COLOURS
from octavo.cli.main import run
from octavo.machine.mapsources import load_firmware_map, recorded_maps
from octavo.machine.paging import FORMATS
from octavo.status import StatusError
from tests.boxes import overlap


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
