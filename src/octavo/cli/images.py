"""Making and checking images: mkfs, check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from octavo.cli.output import print_json, progress
from octavo.cli.target import Images, parse_image_target
from octavo.drivers.image import ImageDisk
from octavo.fs.fat.mkfs import clean_label, make_fat, plan_volume
from octavo.status import Status, StatusError
from octavo.system import System, parse_size

_TYPES = {"fat": 0, "fat12": 12, "fat16": 16, "fat32": 32}


def size_option(text: str) -> int:
    """A size from the command line; a wrong one is a wrong call."""
    try:
        return parse_size(text)
    except StatusError as error:
        raise typer.BadParameter(error.text) from None


def mkfs(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image to make.")],
    size: Annotated[str | None, typer.Option("--size", "-s", help="Size of a new image, such as 1440K, 64M, 1G.")] = None,
    type_: Annotated[str, typer.Option("--type", "-t", help="fat12, fat16, fat32, or fat for what fits the size.")] = "fat",
    label: Annotated[str, typer.Option("--label", "-n", help="Volume label, at most 11 characters.")] = "",
    cluster: Annotated[str | None, typer.Option("--cluster", help="Bytes in a cluster: a power of two from 512 to 64K.")] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite an image that exists; all in it is lost.")] = False,
) -> None:
    """Make an image with an empty FAT volume.

    octavo mkfs --type fat32 --size 1G disk.img
    """
    if type_.lower() not in _TYPES:
        raise typer.BadParameter(f"{type_!r} is not one of {', '.join(_TYPES)}", param_hint="--type")
    path = Path(image)
    exists = path.exists()
    if exists and not force:
        raise StatusError(Status.OBJECT_NAME_COLLISION, f"{image}: exists already: --force overwrites it")
    if size is None and not exists:
        raise typer.BadParameter("a new image needs a size, such as --size 64M", param_hint="--size")
    length = size_option(size) if size is not None else _length(path)
    plan = plan_volume(length, _TYPES[type_.lower()], size_option(cluster) if cluster else 0)
    clean_label(label)
    try:
        with open(path, "r+b" if exists else "xb") as file:
            if size is not None and (not exists or path.is_file()):
                file.truncate(length)
    except OSError as error:
        raise StatusError(Status.ACCESS_DENIED, f"{image}: {error.strerror}") from None
    try:
        with System("16M") as system:
            device = ImageDisk(path, system.scheduler)
            try:
                system.scheduler.run(make_fat(device, system.cache, plan, label, blank=not exists))
            finally:
                device.close()
    except BaseException:
        if not exists:
            path.unlink()
        raise
    print(f"{image}: FAT{plan.bits}, {length >> 10} KiB, {plan.clusters} clusters of {plan.per_cluster * 512} bytes")


def _length(path: Path) -> int:
    with open(path, "rb") as file:
        return file.seek(0, os.SEEK_END)


def check(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image to check.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a volume; changes nothing. Exit code 1 when something is wrong.

    octavo check disk.img
    """
    target = parse_image_target(image)
    with Images([target]) as images:
        volume = images.volume(target)
        space = volume.space()
        with progress("Checking", (space.total - space.free) // space.unit, "clusters") as advance:
            done = 0

            def on_progress(count: int, total: int) -> None:
                nonlocal done
                advance("", count - done)
                done = count

            problems = volume.check(on_progress)
        kind = volume.kind
    if json:
        print_json({"image": target.image, "type": kind, "problems": [{"where": p.where, "what": p.what} for p in problems]})
    else:
        for problem in problems:
            print(problem)
        print(f"{target.image}: {kind}, " + (f"{len(problems)} problems" if problems else "clean"))
    if problems:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Adds the verbs of this file."""
    for function in (mkfs, check):
        app.command()(function)
