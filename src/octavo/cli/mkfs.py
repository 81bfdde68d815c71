"""Making images: mkfs."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from octavo.cli.output import Failures, progress, show
from octavo.cli.patience import patiently
from octavo.cli.verb import (
    Verb,
    add_exclude,
    add_options,
    add_stop,
    excluding,
    number,
    option,
    serial,
    size,
    source_date,
    values,
    waiting,
    wrong,
)
from octavo.fs.fat.labels import clean_label
from octavo.fs.fat.mkfs import boot_code, make_fat
from octavo.fs.fat.shape import OEM, Layout, Plan, plan_least, plan_volume
from octavo.fs.numbered import find_partition
from octavo.printing import counted
from octavo.status import Status, StatusError
from octavo.storage.device import SECTOR, Device
from octavo.storage.hosterrors import host_error, identity, make_file, require_storage
from octavo.storage.image import ImageDisk
from octavo.storage.imagename import ImageName, parse_image_name
from octavo.storage.opening import open_part
from octavo.storage.partition import place_of
from octavo.system import IMAGE_MAP, IMAGE_MEMORY, System
from octavo.transfer.copy import Manner, run_copy
from octavo.transfer.fresh import FreshVolume, room_for
from octavo.transfer.host import HostTree
from octavo.transfer.plan import Plan as CopyPlan
from octavo.transfer.plan import plan_copy
from octavo.transfer.volume import VolumeTree

_TYPES = {"fat": 0, "fat12": 12, "fat16": 16, "fat32": 32}

_OPTIONS = (
    option("image", metavar="IMAGE", help="the image to make, or a part of one: disk.img#2"),
    option("-s", "--size", help="size of a new image, such as 1440K, 64M, 1G; with --from, what "
           "the tree needs if it is not given"),
    option("--from", dest="tree", metavar="TREE", help="a directory of the host: what is in it is "
           "copied into the new volume's root"),
    option("-t", "--type", choices=_TYPES, default="fat",
           help="fat (the default) is what fits the size"),
    option("-n", "--label", default="", help="volume label, at most 11 characters"),
    option("-i", "--serial", metavar="HEX", help="volume serial number, such as 1234-ABCD; else "
           "the time"),
    option("--cluster", metavar="SIZE", help="bytes in a cluster: a power of two from 512 to 256K; "
           "sectors have 4096 bytes with more than 64K"),
    option("--sector", metavar="SIZE", help="bytes in a sector: 512, 1024, 2048 or 4096"),
    option("--fats", metavar="N", default="2", help="number of FATs: 1 or 2 (the default)"),
    option("--reserved", metavar="N", default="0", help="sectors before the FATs (default 1, FAT32 "
           "32)"),
    option("--root-entries", metavar="N", default="0", help="entries in the root directory of "
           "FAT12 and FAT16 (default 512)"),
    option("--media", metavar="BYTE", help="media byte: 0xf0, or 0xf8 (the default) to 0xff"),
    option("--oem", metavar="NAME", help="OEM name in the boot sector, at most 8 characters"),
    option("--track", metavar="N", default="0", help="sectors per track (default 63)"),
    option("--heads", metavar="N", default="0", help="heads (default 255)"),
    option("--hidden", metavar="N", help="sectors before the volume, as the boot sector has them "
           "(default: those before the partition, or 0)"),
    option("--boot-code", metavar="FILE", help="what a PC runs: raw code, or a boot sector whose "
           "code is taken"),
    option("-f", "--force", action="store_true", help="overwrite an image that exists; all in it "
           "is lost"),
)  # fmt: skip


def _arguments(parser: ArgumentParser) -> None:
    add_options(parser, _OPTIONS)
    add_exclude(parser)
    add_stop(parser)


def mkfs(arguments: Namespace) -> int:
    """Makes an image with a FAT volume, empty or with a tree in it."""
    name, failures = parse_image_name(arguments.image), Failures(arguments.stop)
    name = ImageName(name.path) if name.number == 0 else name  # the whole of it
    with values(arguments):
        clean_label(arguments.label)
        layout, wall = _layout(arguments), source_date()
    exists = _may_overwrite(arguments, name)
    file = name.whole and (not exists or os.path.isfile(name.path))
    copy = _tree(arguments, name, wall) if arguments.tree else None
    if copy is not None:
        failures.all(copy.problems)
    length = size(arguments, arguments.size) if arguments.size is not None else None
    if length is None and not (copy and file):
        length = _length(name, waiting(arguments))
    plan = _shape(arguments, length, copy, layout)
    resized = (length or plan.total * plan.sector) if file and (copy or arguments.size) else None
    new = _New(name, plan, arguments.label, resized, not exists, arguments.hidden is None)
    try:
        if exists:
            _make(new, copy, wall, waiting(arguments), failures)
        else:
            make_file(name.path, lambda fd: _make(new, copy, wall, waiting(arguments), failures))
    except OSError as error:
        raise host_error(error, name.path) from None
    clusters = f"{counted(plan.clusters, 'cluster')} of {plan.cluster} bytes"
    show(f"{arguments.image}: FAT{plan.bits}, {plan.total * plan.sector >> 10} KiB, {clusters}")
    return failures.code


def _layout(arguments: Namespace) -> Layout:
    """The layout that options ask for. StatusError for what cannot be."""
    numbers = {key: number(arguments, getattr(arguments, key), key) for key in (
        "reserved", "root_entries", "track", "heads")}  # fmt: skip
    media, hidden, oem = arguments.media, arguments.hidden, arguments.oem
    return Layout(
        **numbers,
        sector=size(arguments, arguments.sector) if arguments.sector else 0,
        media=None if media is None else number(arguments, media, "media"),
        hidden=0 if hidden is None else number(arguments, hidden, "hidden"),
        oem=OEM if oem is None else oem.encode("ascii", "replace"),
        serial=None if arguments.serial is None else serial(arguments, arguments.serial),
        code=_code(arguments.boot_code) if arguments.boot_code else b"",
    )


def _code(path: str) -> bytes:
    """A file with boot code, as much of it as tells whether it is too much."""
    try:
        with open(path, "rb") as file:
            return file.read(SECTOR + 1)
    except OSError as error:
        raise host_error(error, path) from None


def _tree(arguments: Namespace, name: ImageName, wall: int | None) -> CopyPlan:
    """What is to be copied. StatusError for a tree that cannot be read."""
    mounted: set[object] = set()  # the image may be in the tree itself
    with suppress(OSError):
        mounted.add(identity(os.stat(name.path)))
    source = HostTree(mounted)
    tree = os.path.join(arguments.tree, ".")
    copy = plan_copy(
        [(source, tree)], FreshVolume(arguments.image + ":"), "/", True, excluding(arguments)
    )
    if not copy.steps:
        raise copy.problems[0]
    if wall is not None:
        copy.no_later_than(wall)
    return copy


def _shape(arguments: Namespace, length: int | None, copy: CopyPlan | None, layout: Layout) -> Plan:
    """The plan for a volume of `length` bytes, or as small as its tree allows. StatusError
    DISK_FULL when the tree has no room.
    """
    bits = _TYPES[arguments.type]
    cluster = size(arguments, arguments.cluster) if arguments.cluster else 0
    fats = number(arguments, arguments.fats, "fats")
    room, slots = room_for(copy.steps if copy else [], bool(arguments.label.strip()))
    if length is None:
        plan = plan_least(room, slots, bits, cluster, fats, layout)
    else:
        plan = plan_volume(length, bits, cluster, fats, layout)
        if plan.bits != 32 and slots > plan.root_entries and not layout.root_entries:
            more = replace(layout, root_entries=min(slots, 0xFFFF))
            plan = plan_volume(length, bits, cluster, fats, more)
    if copy and not plan.holds(room(plan.cluster), slots):
        text = f"the tree has no room in {plan.total * plan.sector >> 10} KiB as FAT{plan.bits}"
        if plan.bits != 32 and slots > plan.root_entries:
            text += f", whose root directory has {plan.root_entries} entries and needs {slots}"
        raise StatusError(Status.DISK_FULL, f"{arguments.image}: {text}; nothing was made")
    boot_code(plan)
    return plan


class _New(NamedTuple):
    """A volume to be made: where, how, its label, the bytes that the file gets before (None: it
    keeps its own), whether it is known to be zeros, and whether the sectors before a part are its
    hidden ones.
    """

    name: ImageName
    plan: Plan
    label: str
    resized: int | None
    blank: bool
    hides: bool


def _make(
    new: _New, copy: CopyPlan | None, wall: int | None, wait: float, failures: Failures
) -> None:
    """Makes a volume, and copies what is to be in it."""
    with _opened(new.name, wait, wall) as (system, device):
        if new.resized is not None and isinstance(device, ImageDisk):
            device.resize(new.resized)
        plan, hidden = new.plan, place_of(device)[1] // new.plan.sector
        if new.hides:
            plan = replace(plan, layout=replace(plan.layout, hidden=hidden))
        system.scheduler.run(make_fat(device, system.cache, plan, new.label, new.blank))
        if copy is not None:
            copy.target = VolumeTree(system.attach_device(device), f"{new.name.path}:")
            with progress(f"Copying to {new.name.path}", copy.size) as advance:
                failures.all(run_copy(copy, advance, Manner(failures.stop)))


@contextmanager
def _opened(
    name: ImageName, wait: float, wall: int | None = None
) -> Iterator[tuple[System, Device]]:
    """The part of an image that a name means, on a system of its own."""
    with System(IMAGE_MEMORY, firmware_map=IMAGE_MAP, wall=wall) as system:
        opening = partial(open_part, name, system.scheduler, False, ())
        device = patiently(opening, wait, system.scheduler.clock)
        try:
            if name.number is not None:
                find = find_partition(device, system.cache, name.number)
                device = system.scheduler.run(find)
            yield system, device
            if system.volumes:
                system.unmount(next(iter(system.volumes)))
        finally:
            if not device.closed:
                device.close()


def _may_overwrite(arguments: Namespace, name: ImageName) -> bool:
    """True when the image exists, and is to be overwritten; False for a new one, whose size is
    known. StatusError for what must stay.
    """
    if not os.path.exists(name.path):
        if not name.whole:
            require_storage(name.path)
        if arguments.size is None and arguments.tree is None:
            wrong(arguments, "a new image needs a size, such as --size 64M, or --from TREE")
        return False
    if not arguments.force:
        raise StatusError(
            Status.OBJECT_NAME_COLLISION,
            f"{arguments.image}: exists already: --force overwrites it",
        )
    require_storage(name.path)
    return True


def _length(name: ImageName, wait: float) -> int:
    """Bytes of what a name means."""
    with _opened(name, wait) as (_, device):
        return device.size


VERBS = {
    "mkfs": Verb(
        "Make an image with a FAT volume, empty or with the files of a directory.",
        "  octavo mkfs --size 1440K floppy.img\n"
        "  octavo mkfs --type fat32 --size 1G disk.img\n"
        "  octavo mkfs --from tree --exclude '*.o' disk.img      # just as large as it must be\n"
        "  octavo mkfs --force --label DATA 'disk.img#2'         # the volume of partition 2\n"
        "  SOURCE_DATE_EPOCH=1700000000 octavo mkfs --from tree disk.img\n\n"
        "With SOURCE_DATE_EPOCH set, the same tree makes the same bytes: times are in UTC and not "
        "later than\nthat, the serial number is made of it (--serial sets another), and names are "
        "in order.",
        _arguments,
        mkfs,
    ),
}
