"""The boot sector of a FAT volume, and the geometry that follows from it.

     0  jump, OEM name      11  bytes/sector   13  sectors/cluster      14  reserved sectors
    16  FATs                17  root entries   19  total sectors (16)   21  media
    22  sectors/FAT (16)    24  CHS            28  hidden               32  total sectors (32)
    FAT12/16:  36 drive  37 flags  38 0x29  39 serial  43 label  54 "FAT16   "
    FAT32:     36 sectors/FAT (32)  40 flags  42 version  44 root cluster  48 FSInfo  50 backup
               64 drive  65 flags  66 0x29  67 serial  71 label  82 "FAT32   "

    | reserved | FAT 1 | FAT 2 | root directory (FAT12/16) | cluster 2 | cluster 3 | ...

Source: Microsoft FAT specification (fatgen103). Departures: a volume is FAT32 if its 16-bit FAT
size is 0, else FAT12 or FAT16 by its number of clusters, as Linux has it (mkfs.fat makes FAT32
volumes with fewer clusters than the specification allows); a missing 55 AA signature is overlooked
when all else makes sense, since many real images lack it. Clusters may have any size that 128
sectors give (512 KiB with sectors of 4096 bytes), as Linux has it; the specification warns of more
than 32 KiB, and Windows makes up to 256 KiB on such disks.

Two things leave it open where clusters are, and such a volume is read-only:
 - A FAT with fewer entries than there are clusters (`unreachable` of them). Either the volume was
   enlarged without it, or its size is wrong, and what follows lies elsewhere: `mount` looks whether
   that is where it should be.
 - Root entries that do not fill whole sectors, which the specification forbids: it rounds up,
   Windows does not, Linux and fsck.fat refuse. The root directory can be read, and nothing behind
   it (`doubt`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from octavo.status import Status, StatusError

BOOT_SECTOR_BYTES = 512
MAX_SECTORS_PER_CLUSTER = 128
FAT12_CLUSTERS = 4085  # fewer: FAT12
FAT16_CLUSTERS = 65525  # fewer: FAT16
MAX_CLUSTERS = 0x0FFFFFF5
DIRTY_FLAG = 1
ENTRY_BYTES = 32
MOST_DIRECTORY_BYTES = 65536 * ENTRY_BYTES
MOST_BYTES = (1 << 32) - 1  # of a file
FSINFO_BYTES = 512
FSINFO_LEAD, FSINFO_MIDDLE = 0x41615252, 0x61417272  # marks of the FSInfo sector
UNKNOWN = 0xFFFFFFFF  # free clusters, by FSInfo
NO_LABEL = b"NO NAME    "  # in the boot sector of a volume that has none


@dataclass(frozen=True)
class Geometry:
    """A FAT volume's layout; offsets and sizes in bytes unless the name says otherwise."""

    bits: int
    sector: int
    cluster: int
    fats: int
    fat_offset: int  # of the FAT in use
    fat_size: int
    mirrored: bool
    root_offset: int  # FAT12/16
    root_size: int  # FAT12/16; 0 for FAT32
    root_cluster: int  # FAT32; 0 for FAT12/16
    data_offset: int
    clusters: int  # that the FAT has entries for
    unreachable: int  # clusters behind them
    size: int
    flags_offset: int  # of the byte that holds the dirty flag
    fsinfo_offset: int  # 0 for none
    backup_offset: int  # of FAT32's second boot sector; 0 for none
    label_offset: int  # of the label in the boot sector; 0 for none
    serial: int
    label: bytes  # 11, in a code page
    truncated: bool  # the device is shorter than the volume
    doubt: str = ""  # why nobody can say where clusters are

    @property
    def name(self) -> str:
        """FAT12, FAT16 or FAT32."""
        return f"FAT{self.bits}"

    @property
    def misfit(self) -> str:
        """Why nothing may be changed on such a volume; "" when nothing is wrong with it."""
        if self.doubt:
            return self.doubt
        if self.unreachable:
            return (
                f"its FAT has entries for {self.clusters} of "
                f"{self.clusters + self.unreachable} clusters"
            )
        return "the image is shorter than its volume" if self.truncated else ""

    @property
    def most_directory(self) -> int:
        """Bytes of a directory that is not refused."""
        return max(MOST_DIRECTORY_BYTES, self.cluster)

    def place(self, cluster: int) -> int:
        """Byte offset of a cluster on the device."""
        return self.data_offset + (cluster - 2) * self.cluster


def _refuse(name: str, why: str) -> StatusError:
    return StatusError(
        Status.UNRECOGNIZED_VOLUME, f"{name}: not a FAT volume that makes sense: {why}"
    )


def parse_boot_sector(data: bytes, name: str, device_size: int) -> Geometry:
    """The geometry that a boot sector describes; StatusError UNRECOGNIZED_VOLUME that names the
    first field that makes no sense.
    """
    if len(data) < BOOT_SECTOR_BYTES:
        raise _refuse(name, f"it has {len(data)} bytes, and a boot sector has {BOOT_SECTOR_BYTES}")
    sector, per_cluster, reserved, fats, root_entries, total16, media, fat16 = struct.unpack_from(
        "<HBHBHHBH", data, 11
    )
    total32, fat32 = struct.unpack_from("<II", data, 32)
    if sector not in (512, 1024, 2048, 4096):
        raise _refuse(name, f"{sector} bytes per sector")
    if not per_cluster or per_cluster & (per_cluster - 1):  # one byte: at most 128
        raise _refuse(name, f"{per_cluster} sectors per cluster")
    if not reserved:
        raise _refuse(name, "no reserved sectors")
    if fats not in (1, 2, 3, 4):
        raise _refuse(name, f"{fats} file allocation tables")
    if media != 0xF0 and media < 0xF8:
        raise _refuse(name, f"media byte {media:#04x}")
    wide = fat16 == 0
    fat_sectors = fat32 if wide else fat16
    total = total16 or total32
    root_size = root_entries * ENTRY_BYTES
    data_sector = reserved + fats * fat_sectors + -(-root_size // sector)
    if not fat_sectors or data_sector >= total:
        raise _refuse(name, f"{fats} FATs of {fat_sectors} sectors do not fit into {total} sectors")
    if wide and root_entries:
        raise _refuse(name, f"{root_entries} root directory entries on FAT32")
    if not wide and not root_entries:
        raise _refuse(name, "no root directory entries")
    clusters = (total - data_sector) // per_cluster
    bits = 32 if wide else 12 if clusters < FAT12_CLUSTERS else 16
    if not clusters or clusters > (MAX_CLUSTERS if wide else FAT16_CLUSTERS - 1):
        raise _refuse(name, f"{clusters} clusters")
    reachable = min(clusters, fat_sectors * sector * 8 // bits - 2)
    if reachable < 1 or data_sector * sector > device_size:
        raise _refuse(
            name, f"its tables need {data_sector * sector} bytes and the device has {device_size}"
        )
    return _finish(
        data, name, device_size, bits, sector, per_cluster * sector, reserved, fats, fat_sectors,
        root_size, reachable, clusters - reachable, total,
    )  # fmt: skip


def _finish(
    data: bytes, name: str, device_size: int, bits: int, sector: int, cluster: int,
    reserved: int, fats: int, fat_sectors: int, root_size: int, clusters: int,
    unreachable: int, total: int,
) -> Geometry:  # fmt: skip
    wide = bits == 32
    active, mirrored, root_cluster, fsinfo, backup = 0, True, 0, 0, 0
    if wide:
        flags, version, root_cluster, fsinfo, backup = struct.unpack_from("<HHIHH", data, 40)
        if version:
            raise _refuse(name, f"FAT32 version {version:#x}")
        if flags & 0x80:
            active, mirrored = flags & 15, False
        if active >= fats:
            raise _refuse(name, f"FAT {active} is in use and there are {fats}")
        if not 2 <= root_cluster < clusters + 2:
            raise _refuse(
                name,
                f"the root directory begins at cluster {root_cluster} and there are {clusters}",
            )
        if not 0 < fsinfo < reserved:
            fsinfo = 0
        if not 0 < backup < reserved:
            backup = 0
    extended = 66 if wide else 38
    serial, label, label_offset = 0, b"", extended + 5 if data[extended] == 0x29 else 0
    if data[extended] in (0x28, 0x29):
        serial = struct.unpack_from("<I", data, extended + 1)[0]
        label = data[label_offset : label_offset + 11] if label_offset else b""
    fat_size = fat_sectors * sector
    root_offset = reserved * sector + fats * fat_size
    doubt = ""
    if root_size % sector:
        doubt = (
            f"its {root_size // ENTRY_BYTES} root entries do not fill whole sectors of "
            f"{sector} bytes"
        )
    return Geometry(
        bits=bits, sector=sector, cluster=cluster, fats=fats,
        fat_offset=reserved * sector + active * fat_size, fat_size=fat_size,
        mirrored=mirrored, root_offset=root_offset, root_size=root_size, root_cluster=root_cluster,
        data_offset=root_offset + -(-root_size // sector) * sector,
        clusters=clusters, unreachable=unreachable, size=total * sector,
        flags_offset=65 if wide else 37, fsinfo_offset=fsinfo * sector,
        backup_offset=backup * sector, label_offset=label_offset, serial=serial, label=label,
        truncated=total * sector > device_size, doubt=doubt,
    )  # fmt: skip
