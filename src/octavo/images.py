"""Disks and what is made on them: images, RAM disks, empty FAT volumes. See docs/images.md."""

from octavo.drivers.image import ImageDisk
from octavo.drivers.ramdisk import RamDisk
from octavo.fs.fat.mkfs import make_fat, plan_volume
from octavo.io.device import Device

__all__ = ["Device", "ImageDisk", "RamDisk", "make_fat", "plan_volume"]
