"""A FAT volume: the format, its planner, who applies what is planned, and the volume over them."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from octavo.cache.manager import CacheManager
from octavo.fs.base import Problem
from octavo.fs.fat.bpb import Geometry
from octavo.fs.fat.entry import Entry
from octavo.fs.fat.format import FatFormat
from octavo.fs.vfs.volume import Volume
from octavo.status import StatusError
from octavo.storage.device import Device

if TYPE_CHECKING:
    from octavo.fs.fat.planner import FatPlanner
    from octavo.fs.vfs.format import Mender, Packer, Progress


class Fat(FatFormat):
    """The format with its check, which is loaded when somebody asks for one."""

    async def check(self, progress: Progress | None, mender: Mender | None) -> list[Problem]:
        """What is wrong with a flushed volume; with a mender, what can be mended is, in the
        pages.
        """
        from octavo.fs.fat.check import check_volume

        return await check_volume(self, progress, mender)


async def fat_volume(
    device: Device, geometry: Geometry, cache: CacheManager, unclean: bool, codepage: str
) -> Volume[Entry]:
    """The volume on a device; it can be changed where the device and the geometry allow it.
    `unclean`: its dirty flag is set.
    """
    format = Fat(device, geometry, cache, codepage, unclean)
    writer = packer = None
    if not (device.read_only or format.refusal):
        from octavo.fs.fat.planner import FatPlanner  # a volume that is only read plans nothing
        from octavo.fs.vfs.order import Writer

        planner = FatPlanner(format)
        writer, packer = Writer(device.name, planner, cache), partial(_packer, planner)
    volume = Volume(device, format, cache, writer, packer)
    with suppress(StatusError):  # whoever looks into the root will be told
        await format.read_label(await volume.nodes.load(volume.nodes.root))
    return volume


def _packer(planner: FatPlanner) -> Packer[Entry]:
    """Loaded with the first batch."""
    from octavo.fs.fat.packer import FatPacker

    return FatPacker(planner)
