"""The label and the serial number of a FAT volume: where they are, and the edits that change them.

    boot sector, and its backup    0x29  serial (4)  label (11), "NO NAME" for none
    root directory                 an entry with the attribute "label", in any slot; none for none

The root directory counts. A boot sector without the mark 0x29 has no field for a label, without
0x28 or 0x29 none for a serial number, and stays as it is: boot code may be in its place. A backup
that describes another volume stays, too.

Source: Microsoft FAT specification. Departures: of several labels in the root directory the first
is changed and the others go, since each would be the label once those before it are gone. None is
given that is not ASCII: fsck.fat takes it for damage, whatever the code page.
"""

from __future__ import annotations

from octavo.arguments import named
from octavo.fs.fat.books import FatChange
from octavo.fs.fat.bpb import BOOT_SECTOR_BYTES, NO_LABEL
from octavo.fs.fat.directory import FatDirectory
from octavo.fs.fat.entry import FREE_SLOT, SLOT, VOLUME_LABEL, Entry, new_entry
from octavo.fs.fat.format import FatFormat
from octavo.fs.fat.names import CODE_PAGE, is_label, shown_label
from octavo.status import Status, StatusError

LABEL_BYTES = 11
WITH_SERIAL, WITH_LABEL = 0x28, 0x29  # marks behind the byte of flags


def clean_label(label: str) -> bytes:
    """A volume label as 11 bytes, blanks for none; StatusError OBJECT_NAME_INVALID when it cannot
    be one.
    """
    text = named(label, "the label of a volume").upper()
    padded = text.encode("ascii", "replace").ljust(LABEL_BYTES)
    if (
        len(text) > LABEL_BYTES
        or not text.isascii()
        or text.startswith(" ")
        or not is_label(padded, CODE_PAGE)
    ):
        why = (
            f"{label!r} cannot be a volume label: it has at most 11 ASCII letters, digits and "
            'spaces, no space in front, and none of " * + , . / : ; < = > ? [ \\ ] |'
        )
        raise StatusError(Status.OBJECT_NAME_INVALID, why)
    return padded if shown_label(padded, CODE_PAGE) else b" " * LABEL_BYTES


async def boot_sectors(format: FatFormat) -> list[int]:
    """Where the boot sector is, and its backup, if that describes the same volume."""
    g, cache = format.geometry, format.cache
    if not g.backup_offset:
        return [0]
    first = await cache.copy_read(format.section, 0, BOOT_SECTOR_BYTES)
    other = await cache.copy_read(format.section, g.backup_offset, BOOT_SECTOR_BYTES)
    at = g.flags_offset
    same = first[11:at] == other[11:at] and first[at + 1 : at + 6] == other[at + 1 : at + 6]
    return [0, g.backup_offset] if same else [0]


async def plan_label(
    format: FatFormat,
    change: FatChange,
    root: FatDirectory,
    label: bytes,
    stamp: tuple[int, int, int],
) -> bool:
    """Plans a label as `clean_label` has it, written at `stamp`; False, and nothing done, when the
    root directory must grow.
    """
    section = root.node.section
    assert section is not None, "the root directory is loaded"
    there = (await format.parsed(section)).labels
    named = label if label.strip() else b""
    if named and there:
        entry = there.pop(0)
        entry.set_short(label, entry.raw[12])
        entry.set_written(*stamp[:2])
        change.edit(section, _short(entry) * SLOT, entry.pack())
    elif named:
        first = root.slots.take(1, section.size // SLOT)
        if first < 0:
            return False
        change.slots = [*change.slots, (root.slots, first, 1)]
        data = new_entry("", VOLUME_LABEL, stamp, label).pack()
        if first + 1 == root.slots.end and (first + 1) * SLOT < section.size:
            data += b"\0"  # what lies behind the last entry is not always zero
        change.edit(section, first * SLOT, data)
    for entry in there:
        change.edit(section, _short(entry) * SLOT, bytes((FREE_SLOT,)))
        change.gone = [*change.gone, (root.slots, _short(entry), 1)]
    g = format.geometry
    if g.label_offset:
        for sector in await boot_sectors(format):
            change.edit(format.section, sector + g.label_offset, named or NO_LABEL)
    return True


def _short(entry: Entry) -> int:
    """The slot of an entry itself, behind those of a long name."""
    return entry.slot + entry.slots - 1


async def plan_serial(format: FatFormat, change: FatChange, serial: int) -> None:
    """Plans a serial number of 32 bits; StatusError NOT_SUPPORTED where the boot sector has no
    field for it.
    """
    g = format.geometry
    mark = await format.cache.copy_read(format.section, g.flags_offset + 1, 1)
    if mark[0] not in (WITH_SERIAL, WITH_LABEL):
        why = f"{format.name}: its boot sector has no field for a serial number"
        raise StatusError(Status.NOT_SUPPORTED, why)
    for sector in await boot_sectors(format):
        at = sector + g.flags_offset + 2
        change.edit(format.section, at, serial.to_bytes(4, "little"))
