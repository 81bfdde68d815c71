"""For tests of what stands on a device: devices that fail, take their time, keep all in memory, or
record what a power cut can leave.
"""

from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.bytespager import BytesPager
from octavo.testing.crash import RecordingDevice
from octavo.testing.faulty import FaultyDevice, Plan
from octavo.testing.modelled import FLASH, HARD_DISK, DiskModel, ModelledDisk

__all__ = [
    "FLASH",
    "HARD_DISK",
    "BufferDisk",
    "BytesPager",
    "DiskModel",
    "FaultyDevice",
    "ModelledDisk",
    "Plan",
    "RecordingDevice",
]
