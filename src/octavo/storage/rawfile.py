"""A device as one file, to be mapped into address spaces:
`system.virtual.sections.create(file=RawFile(device))`.

Its section is its own: whoever mounts the same device sees it through other frames, so a device is
either mounted or raw.
"""

from __future__ import annotations

from octavo.arguments import shown
from octavo.memory.pagers.region import RegionPager, whole_device
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError
from octavo.storage.device import Device


class RawFile:
    """All bytes of `device`."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.path = device.name
        self.writable = not device.read_only
        self.section = Section(device.name, RegionPager(device), whole_device(device), device.size)

    def duplicate(self) -> RawFile:
        """The same file."""
        return self

    async def prepare_mapping(self) -> None:
        """A device needs no preparation."""

    async def grow(self, size: int) -> None:
        """StatusError INVALID_PARAMETER: a device has the size that it has."""
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"{self.path}: a device of {self.device.size} bytes cannot grow to {shown(size)}",
        )

    async def close(self) -> None:
        """The device stays open: it is its owner's."""
