"""Looking at a machine's memory before anything boots: map, zones, mappings, layout."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import NamedTuple

from octavo.boot.layout import Region, compute_layout, minimum_pages
from octavo.boot.loader import Descriptor, LoaderMap, LoaderType
from octavo.boot.plan import BootPlan, plan_boot
from octavo.boot.zones import FALLBACK, Zone, reach
from octavo.cli.drawing import draw_maps, human
from octavo.cli.output import print_json
from octavo.cli.verb import Verb, add_json, size, wrong
from octavo.machine.abi import PAGE_SHIFT
from octavo.machine.mapsources import load_firmware_map, recorded_maps
from octavo.machine.paging import FORMATS
from octavo.memory.frames.buddy import watermarks
from octavo.status import StatusError
from octavo.system import DEFAULT_ARCH
from octavo.transfer.host import write_file

KERNEL_PAGES = 512  # 2 MiB, for want of a kernel
_USES = {
    "any": "user pages, file cache",
    "dma32": "devices with 32 address bits",
    "kernel": "what the kernel must always see",
    "dma": "ISA devices",
}


class _Prospect(NamedTuple):
    """What a firmware map leads to. `unmapped` and `without` say why there are no mappings, and why
    there is no layout; empty where there are.
    """

    plan: BootPlan
    loader: LoaderMap
    unmapped: str
    layout: list[Region]
    without: str


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "map", metavar="MAP",
        help="a file (a boot log of Linux, Xen or FreeBSD, /proc/iomem, JSON, ranges, or binary "
        "E820, UEFI or Multiboot tables; packed or not; 'uefi:FILE' names a binary form), 'host', "
        f"or a recorded map: {', '.join(recorded_maps())}",
    )  # fmt: skip
    parser.add_argument(
        "--arch",
        choices=FORMATS,
        default=DEFAULT_ARCH,
        help=f"page-table format (default {DEFAULT_ARCH})",
    )
    parser.add_argument("-m", "--memory", help="memory limit, such as 16M (default: all there is)")
    parser.add_argument(
        "--svg", metavar="OUT", help="draw the physical and virtual maps into this file"
    )
    add_json(parser)


def show_map(arguments: Namespace) -> int:
    """Prints or draws what a firmware map leads to."""
    if arguments.svg in ("", "-"):
        wrong(
            arguments,
            f"--svg {arguments.svg!r}: give the name of a file; /dev/stdout is the standard output",
        )
    limit = size(arguments, arguments.memory) if arguments.memory else None
    found = _look_at(arguments.map, arguments.arch, limit)
    if arguments.svg:
        write_file(arguments.svg, draw_maps(arguments.map, found.plan, found.layout).encode())
    if arguments.json:
        print_json(_as_data(found))
        return 0
    print("\n".join(_as_lines(found)))
    if arguments.svg:
        print(f"\nDrawn: {arguments.svg}")
    return 0


def _look_at(source: str, arch: str, limit: int | None) -> _Prospect:
    """What a map leads to under a memory limit in bytes (None: all there is)."""
    ranges = load_firmware_map(source)
    plan = plan_boot(ranges, arch, limit)
    loader = LoaderMap.from_firmware(plan.arch, ranges)
    unmapped = _place_kernel(loader)
    image = 1 if unmapped else (loader.next - loader.window.start) >> PAGE_SHIFT
    return _Prospect(plan, loader, unmapped, *_layout(plan, image))


def _place_kernel(loader: LoaderMap) -> str:
    """Maps the firmware's regions and a kernel image; says why not, where that is impossible, and
    leaves everything unmapped.
    """
    first = loader.free_run(KERNEL_PAGES, loader.frames_limit)
    if not first:
        return f"there is no room for a kernel image of {human(KERNEL_PAGES << PAGE_SHIFT)}"
    try:
        loader.place(KERNEL_PAGES, first)
    except StatusError as error:
        return error.text
    return ""


def _layout(plan: BootPlan, image: int) -> tuple[list[Region], str]:
    """The layout of the virtual addresses; none, and why, where there is too little memory or too
    much.
    """
    least = minimum_pages(plan.arch)
    if plan.managed < least:
        return [], f"{plan.managed} frames are below {plan.arch.name}'s minimum of {least}"
    try:
        return compute_layout(plan.arch, plan.managed, plan.frames - 1, image), ""
    except StatusError as error:
        return [], error.text


def _as_lines(found: _Prospect) -> list[str]:
    return [
        *found.plan.log(),
        *_zones(found.plan),
        *_loader(found.loader, found.unmapped),
        *_regions(found.layout, found.without),
    ]


def _zones(plan: BootPlan) -> list[str]:
    lines = [
        "Watermarks (frames: ordinary allocation stops at min, pageout starts at low and "
        "ends at high):"
    ]
    for z in plan.zones:
        least, low, high = watermarks(z.usable)
        lines.append(f"  {z.name:<10} min {least}, low {low}, high {high}")
    lines.append("What each use can reach:")
    for use, frames in reach(plan.zones).items():
        lines.append(
            f"  {use:<7} {human(frames << PAGE_SHIFT):>10}  {_USES[use]:<32} from "
            f"{', '.join(FALLBACK[use])}"
        )
    return lines


def _loader(loader: LoaderMap, unmapped: str) -> list[str]:
    how = (
        f"nothing is mapped: {unmapped}"
        if unmapped
        else f"with a kernel image of {human(KERNEL_PAGES << PAGE_SHIFT)} at {loader.kernel:#x}"
    )
    return [f"Loader's map ({len(loader.items)} descriptors; {how}):", *_descriptors(loader.items)]


def _regions(layout: list[Region], without: str) -> list[str]:
    if without:
        return [f"Layout: none, {without}"]
    return [
        "Layout of the virtual addresses:",
        *(
            f"  {r.start:#018x} - {r.end - 1:#018x}  {human(r.end - r.start):>10}  {r.name}"
            for r in layout
        ),
    ]


def _descriptors(items: Iterable[Descriptor]) -> list[str]:
    out = []
    for d in items:
        where = f"at {d.virtual:#x}" if d.virtual else "not mapped"
        if d.type == LoaderType.TEMPORARY and d.virtual:
            where += ", until the kernel runs"
        out.append(
            f"  {d.first << PAGE_SHIFT:#018x} - {(d.end << PAGE_SHIFT) - 1:#018x}  "
            f"{human(d.count << PAGE_SHIFT):>10}  {d.type.name.lower():<10} {where}"
        )
    return out


def _as_data(found: _Prospect) -> dict[str, object]:
    missing = {"mappings": found.unmapped, "layout": found.without}
    return {
        **_plan_data(found.plan),
        "kernel": found.loader.kernel or None,
        "descriptors": [_descriptor_data(d) for d in found.loader.items],
        "layout": [{"name": r.name, "start": r.start, "end": r.end} for r in found.layout],
        "missing": {what: why for what, why in missing.items() if why},
    }


def _plan_data(plan: BootPlan) -> dict[str, object]:
    return {
        "arch": plan.arch.name,
        "notes": list(plan.notes),
        "ranges": [
            {"start": r.start, "end": r.end, "kind": r.kind.name.lower()} for r in plan.ranges
        ],
        # scripts know zones by this key
        "segments": [_zone_data(z) for z in plan.zones],
        "reach": reach(plan.zones),
        "database": {"first": plan.database[0], "frames": plan.database[1], "entries": plan.frames},
        "managed": plan.managed,
        "found": plan.found,
        "beyond": plan.beyond,
        "outside": plan.outside,
    }


def _zone_data(zone: Zone) -> dict[str, object]:
    marks = zip(("min", "low", "high"), watermarks(zone.usable), strict=True)
    return {
        "name": zone.name,
        "first": zone.first,
        "end": zone.end,
        "usable": zone.usable,
        "watermarks": dict(marks),
    }


def _descriptor_data(item: Descriptor) -> dict[str, object]:
    return {
        "type": item.type.name.lower(),
        "first": item.first,
        "count": item.count,
        "virtual": item.virtual or None,
    }


VERBS = {
    "map": Verb(
        "Show what a machine's firmware map leads to: memory, zones, the loader's "
        "mappings, the kernel's layout.",
        "  octavo map host\n  octavo map pc-6g --arch pae --svg pc.svg\n"
        "  octavo map uefi:memmap.bin --json",
        _arguments, show_map,
    ),
}  # fmt: skip
