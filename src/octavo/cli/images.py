"""Making and checking images: mkfs, check."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from octavo.cli.output import Advance, print_json, progress, show
from octavo.cli.target import Images, parse_image
from octavo.cli.verb import Verb, add_json, add_options, option, size, values, wrong
from octavo.fs.base import Problem
from octavo.fs.fat.labels import clean_label
from octavo.fs.fat.mkfs import Plan, make_fat, plan_volume
from octavo.fs.numbered import find_partition
from octavo.printing import counted
from octavo.status import Status, StatusError
from octavo.storage.device import Device
from octavo.storage.hosterrors import host_error, make_file, require_storage
from octavo.storage.image import ImageDisk
from octavo.storage.imagename import ImageName, parse_image_name
from octavo.storage.opening import open_part
from octavo.system import System

_TYPES = {"fat": 0, "fat12": 12, "fat16": 16, "fat32": 32}


_MKFS_OPTIONS = (
    option("image", metavar="IMAGE", help="the image to make"),
    option("-s", "--size", help="size of a new image, such as 1440K, 64M, 1G"),
    option(
        "-t",
        "--type",
        choices=_TYPES,
        default="fat",
        help="fat (the default) is what fits the size",
    ),
    option("-n", "--label", default="", help="volume label, at most 11 characters"),
    option(
        "--cluster",
        metavar="SIZE",
        help="bytes in a cluster: a power of two from 512 to 256K; sectors have 4096 bytes with "
        "more than 64K",
    ),
    option(
        "-f",
        "--force",
        action="store_true",
        help="overwrite an image that exists; all in it is lost",
    ),
)


def _mkfs_arguments(parser: ArgumentParser) -> None:
    add_options(parser, _MKFS_OPTIONS)


def mkfs(arguments: Namespace) -> int:
    """Makes an image with an empty FAT volume."""
    path, asked, label = arguments.image, arguments.size, arguments.label
    exists = _may_overwrite(arguments)
    try:
        name = parse_image_name(path)
        length = _length(name) if asked is None else size(arguments, asked)
        cluster = size(arguments, arguments.cluster) if arguments.cluster else 0
        plan = plan_volume(length, _TYPES[arguments.type], cluster)
        with values(arguments):
            clean_label(label)
        if exists:
            resized = length if asked is not None and os.path.isfile(path) else None
            _make_volume(name, plan, label, resized, False)
        else:
            make_file(path, lambda fd: _make_volume(name, plan, label, length, True))
    except OSError as error:
        raise host_error(error, path) from None
    clusters = f"{counted(plan.clusters, 'cluster')} of {plan.cluster} bytes"
    show(f"{path}: FAT{plan.bits}, {length >> 10} KiB, {clusters}")
    return 0


def _may_overwrite(arguments: Namespace) -> bool:
    """True when the image exists, and is to be overwritten; False for a new one, whose size is
    given. StatusError for what must stay.
    """
    path: str = arguments.image
    there = parse_image_name(path).path
    if not os.path.exists(there):
        if there != path:
            require_storage(there)
        if arguments.size is None:
            wrong(arguments, "a new image needs a size, such as --size 64M")
        return False
    if not arguments.force:
        raise StatusError(
            Status.OBJECT_NAME_COLLISION, f"{path}: exists already: --force overwrites it"
        )
    require_storage(there)
    return True


def _make_volume(name: ImageName, plan: Plan, label: str, length: int | None, blank: bool) -> None:
    """Writes an empty volume to an image, which gets `length` bytes before (None: it keeps its
    own).
    """
    with _opened(name) as (system, device):
        if length is not None and isinstance(device, ImageDisk):
            device.resize(length)
        system.scheduler.run(make_fat(device, system.cache, plan, label, blank))


@contextmanager
def _opened(name: ImageName) -> Iterator[tuple[System, Device]]:
    """The part of an image that a name means, on a system of its own."""
    with System("16M") as system:
        device = open_part(name, system.scheduler, False, [])
        try:
            if name.number is not None:
                find = find_partition(device, system.cache, name.number)
                device = system.scheduler.run(find)
            yield system, device
        finally:
            device.close()


def _length(name: ImageName) -> int:
    """Bytes of what a name means."""
    with _opened(name) as (_, device):
        return device.size


def _check_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="the image to check")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="mend what can be mended; what is in lost clusters is given up: copy out what "
        "matters before",
    )
    add_json(parser)


def check(arguments: Namespace) -> int:
    """Checks a volume, and mends it if asked to."""
    target = parse_image(arguments.image)
    with Images([target] if arguments.repair else [], codepage=arguments.codepage) as images:
        volume = images.volume(target)
        space = volume.space()
        units = (space.total - space.free) // space.unit
        with progress("Checking", units, "clusters") as advance:
            problems = volume.check(_steps(advance), arguments.repair)
        kind = volume.kind
    if arguments.json:
        print_json(
            {"image": target.image, "type": kind, "problems": [p._asdict() for p in problems]}
        )
    else:
        _tell(f"{target.image}: {kind}", problems, arguments.repair)
    return int(not all(p.mended for p in problems))


def _steps(advance: Advance | None) -> Callable[[int, int], None]:
    """What a check calls with the units done so far, for a bar that wants those done since."""
    done = 0

    def on_progress(count: int, total: int) -> None:
        nonlocal done
        if advance is not None:
            advance("", count - done)
        done = count

    return on_progress


def _tell(what: str, problems: list[Problem], repair: bool) -> None:
    for problem in problems:
        show(str(problem))
    left = sum(not p.mended for p in problems)
    found = counted(len(problems), "problem") + (f", {left} left" if repair else "")
    show(f"{what}, {found if problems else 'clean'}")


VERBS = {
    "mkfs": Verb(
        "Make an image with an empty FAT volume.",
        "  octavo mkfs --size 1440K floppy.img\n  octavo mkfs --type fat32 --size 1G disk.img",
        _mkfs_arguments,
        mkfs,
    ),
    "check": Verb(
        "Check a volume; changes nothing without --repair. Exit code 1 when something is "
        "wrong, or left wrong.",
        "  octavo check disk.img\n  octavo check --repair disk.img",
        _check_arguments,
        check,
    ),
}
