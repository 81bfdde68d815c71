"""Opening a part of an image, or one more part of an image that is open.

Parts of one image that do not overlap may be open at the same time; the image behind them is opened
once, and closed with the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from octavo.arguments import invalid
from octavo.status import Status, StatusError
from octavo.storage.device import SECTOR, Device
from octavo.storage.hosterrors import in_use
from octavo.storage.image import ImageDisk
from octavo.storage.imagename import ImageName
from octavo.storage.partition import Entry, Partition, place_of
from octavo.threads.scheduler import Scheduler


def open_part(
    name: ImageName, scheduler: Scheduler, read_only: bool, devices: Iterable[Device]
) -> Device:
    """The device that an image's name means, but for its partition, which whoever reads the table
    finds; `devices` are those that are open, with which an image is shared.

    StatusError as `ImageDisk`; INVALID_PARAMETER for a place within a sector, SHARING_VIOLATION too
    for an image of which another part is open for reading only, NO_SUCH_DEVICE when it ends before
    the part begins.
    """
    if name.start % SECTOR:
        raise invalid(
            f"{name.path}: no volume begins at byte {name.start}, which is within a sector of "
            f"{SECTOR}"
        )
    others = list(devices)
    disk = next((d for d in map(_image, others) if d is not None and d.is_at(name.path)), None)
    shared = disk is not None
    if disk is None:
        disk = ImageDisk(name.path, scheduler, read_only)
    elif not read_only and (disk.read_only or any(d is disk for d in others)):
        raise in_use(name.path)
    else:
        disk.share()
    if name.start >= disk.size and name.start:
        disk.close()
        raise StatusError(
            Status.NO_SUCH_DEVICE,
            f"{name.path}: has {disk.size} bytes: nothing begins at byte {name.start}",
        )
    if not (name.start or shared):
        return disk
    what = f"{name.path}, from byte {name.start}" if name.start else name.path
    entry = Entry(0, "", name.start, disk.size - name.start)
    return Partition(disk, entry, what, read_only)


def check_apart(device: Device, devices: Iterable[Device]) -> None:
    """StatusError SHARING_VIOLATION for a device that has bytes of its image in common with one of
    those that are open, if either may be written.
    """
    disk, first = place_of(device)
    for other in devices:
        its, start = place_of(other)
        apart = its is not disk or first >= start + other.size or start >= first + device.size
        if not apart and not (device.read_only and other.read_only):
            raise in_use(disk.name)


def _image(device: Device) -> ImageDisk | None:
    """The image that a device is, or is a part of; None for another device."""
    disk, _ = place_of(device)
    return disk if isinstance(disk, ImageDisk) else None
