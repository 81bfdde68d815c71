"""Disks and what is made on them: images, RAM disks, empty FAT volumes. See docs/images.md."""

from octavo.fs.fat.mkfs import make_fat, plan_volume
from octavo.machine.frames import Frames
from octavo.memory.pagers.medium import Op, Request
from octavo.storage.device import Device
from octavo.storage.filedisk import FileDisk
from octavo.storage.image import ImageDisk
from octavo.storage.ramdisk import RamDisk

__all__ = [
    "Device",
    "FileDisk",
    "Frames",
    "ImageDisk",
    "Op",
    "RamDisk",
    "Request",
    "make_fat",
    "plan_volume",
]
