"""Firmware maps, and what a boot would make of them. See docs/machines.md."""

from octavo.boot.layout import compute_layout
from octavo.boot.plan import BootPlan, plan_boot
from octavo.machine.firmware import FirmwareMap, FirmwareRange, MemoryKind
from octavo.machine.mapsources import load_firmware_map, recorded_maps

__all__ = [
    "BootPlan",
    "FirmwareMap",
    "FirmwareRange",
    "MemoryKind",
    "compute_layout",
    "load_firmware_map",
    "plan_boot",
    "recorded_maps",
]
