"""What the bytes of ext2 say: superblock, inode, directory. Nothing is read here.

    superblock  at byte 1024; the blocks behind it have 32 bytes for each group of blocks: where its
                two maps and its table of inodes begin
                0 inodes  4 blocks  12 free blocks  20 first block  24 block size  32 group's blocks
                40 group's inodes  56 53 EF  58 state  76 revision  88 inode's bytes  92 compatible,
                96 incompatible features  104 UUID  120 label
    inode       0 mode  4 size  12 changed  16 written  26 names  28 sectors  32 flags  40 places
                104 block of attributes  108 size, upper half  128 bytes of what follows  136 the
                rest of "written"  144 made  148 the rest of it
    directory   records, each in one block: 0 inode, 0 for none  4 bytes of the record  6 bytes of
                the name  7 type, where names have types  8 name

A time has 32 bits with a sign, seconds since 1970; its rest has 2 bits more, and nanoseconds, which
are not shown. An index of names lies in records without an inode.

Source: D. Poirier, "The Second Extended File System"; for the names and bits of later features the
Linux kernel's page "ext4 Data Structures and Algorithms". Departures: copies of the superblock are
not used; blocks have at most 4 KiB. A "\\" in a name, which parts names here, becomes U+F05C.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from octavo.status import Status, StatusError

DESCRIPTOR_BYTES = 32
INODE_BYTES = 160  # that are read, where an inode has so many
_SUPERBLOCK = struct.Struct("<6II4xI4xI12xHH16xI8xH2xII4x16s16s")
_INODE = struct.Struct("<HxxI4xii6xHII4x60s4xII")
_MORE = struct.Struct("<H6xI4xiI")
_RECORD = struct.Struct("<IHH")
_FEATURES = (
    "compression", "filetype", "a journal that needs recovery", "a journal of another volume",
    "meta_bg", "", "extents", "64bit", "mmp", "flex_bg", "ea_inode", "", "dirdata",
    "metadata_csum_seed", "large_dir", "inline_data", "encrypt", "casefold",
)  # fmt: skip
_TYPES, _READ = 1 << 1, 1 << 1 | 1 << 9  # filetype; and flex_bg: a table may be in another group


class Superblock(NamedTuple):
    """What a superblock says, when it makes sense; `limit` is the first block that is not on the
    device, and `files` the first that can be a file's.
    """

    kind: str
    label: str
    serial: int
    block: int  # bytes in one
    blocks: int
    free: int
    first: int
    files: int
    limit: int
    group: int  # blocks in one
    inodes: int
    group_inodes: int
    inode: int  # bytes in one
    types: bool
    clean: bool


def parse_superblock(data: bytes, size: int, name: str) -> Superblock | None:
    """The superblock of a volume on a device of `size` bytes; None for none. StatusError
    UNRECOGNIZED_VOLUME for what makes no sense, or has features that are not read.
    """
    if len(data) < 1024 or data[56:58] != b"\x53\xef":
        return None
    (
        inodes, blocks, _, free, _, first, log, group, group_inodes, _, state, revision, inode,
        compatible, incompatible, uuid, label,
    ) = _SUPERBLOCK.unpack_from(data)  # fmt: skip
    if not revision:
        inode, compatible, incompatible = 128, 0, 0
    kind = "ext3" if compatible & 4 else "ext2"  # 4: a journal
    block = 1024 << log if log <= 2 else 0
    if unread := [bit for bit in range(32) if incompatible & ~_READ & 1 << bit]:
        known = [_FEATURES[bit] if bit < len(_FEATURES) else "" for bit in unread]
        names = ", ".join(n or f"feature {1 << b:#x}" for n, b in zip(known, unread, strict=True))
        why = f"is an ext volume with {names}, which Octavo does not read: use a program that does"
        raise StatusError(Status.UNRECOGNIZED_VOLUME, f"{name}: {why}")
    wrong = (
        f"revision {revision}" if revision > 1
        else f"blocks of 2**{10 + log} bytes" if not block
        else f"first block {first}" if first != (block == 1024)
        else f"{group} blocks in a group" if not 8 <= group <= 8 * block
        else f"{group_inodes} inodes in a group" if not 0 < group_inodes <= 8 * block
        else f"inodes of {inode} bytes" if not 128 <= inode <= block or inode & (inode - 1)
        else f"{blocks} blocks" if blocks <= first + 1
        else f"{inodes} inodes" if not 2 <= inodes <= -(-(blocks - first) // group) * group_inodes
        else ""
    )  # fmt: skip
    if wrong:
        why = f"not an {kind} volume that makes sense: it has {wrong}"
        raise StatusError(Status.UNRECOGNIZED_VOLUME, f"{name}: {why}")
    groups = -(-(blocks - first) // group)
    return Superblock(
        kind, label.partition(b"\0")[0].decode("utf-8", "replace"), int.from_bytes(uuid[:4], "big"),
        block, blocks, min(free, blocks), first, first + 1 - (-groups * DESCRIPTOR_BYTES // block),
        min(blocks, size // block), group, inodes, group_inodes, inode,
        bool(incompatible & _TYPES), state & 3 == 1,
    )  # fmt: skip


class Inode(NamedTuple):
    """What an inode says; size in bytes, times in seconds since 1970."""

    mode: int
    size: int
    names: int
    flags: int
    modified: int
    created: int  # or changed, where it does not say
    places: tuple[int, ...]
    target: bytes  # of a link that has no block for it


def parse_inode(data: bytes, block: int) -> Inode:
    """The inode in its 128 bytes or more, of a volume with blocks of `block` bytes."""
    mode, size, changed, modified, names, sectors, flags, places, attributes, high = (
        _INODE.unpack_from(data)
    )
    created = changed
    if len(data) >= INODE_BYTES:
        more, rest, made, made_rest = _MORE.unpack_from(data, 128)
        modified += (rest & 3) << 32 if more >= 12 else 0
        created = made + ((made_rest & 3) << 32) if more >= 24 and made else changed
    if stat.S_ISREG(mode):
        size |= high << 32
    fast = stat.S_ISLNK(mode) and size < 60 and sectors == (block >> 9 if attributes else 0)
    target = places[:size] if fast else b""
    numbers = struct.unpack("<15I", places)
    return Inode(mode, size, names, flags, modified, created, numbers, target)


NO_INODE = parse_inode(bytes(128), 1024)


class ExtEntry:
    """A name and its inode, as `octavo.fs.vfs.node.Entry` has it; `why` says what is wrong with the
    inode.
    """

    __slots__ = ("name", "number", "inode", "why", "node", "size", "is_directory")

    def __init__(self, name: str, number: int, inode: Inode, why: str = "") -> None:
        self.name = name
        self.number = number
        self.inode = inode
        self.why = why
        self.node: Any = None
        self.size = inode.size
        self.is_directory = stat.S_ISDIR(inode.mode)

    @property
    def modified(self) -> datetime:
        """When it was last written, in local time."""
        return datetime.fromtimestamp(self.inode.modified)

    @property
    def created(self) -> datetime:
        """When it was made, or last changed where the inode does not say, in local time."""
        return datetime.fromtimestamp(self.inode.created)

    @property
    def short_name(self) -> str:
        """Its only name."""
        return self.name

    @property
    def flags(self) -> str:
        """Type and permissions, as ls -l has them."""
        return stat.filemode(self.inode.mode)


def parse_names(data: bytes, at: int, s: Superblock, what: str) -> Iterator[tuple[str, int]]:
    """(name, inode) of the records in whole blocks that begin at byte `at` of a directory.
    StatusError FILE_CORRUPT_ERROR names the byte where they make no sense.
    """
    place, mask = 0, 0xFF if s.types else 0xFFFF
    while place < len(data):
        inode, length, named = _RECORD.unpack_from(data, place)
        named &= mask
        name = data[place + 8 : place + 8 + named]
        bad = inode and (not name or b"/" in name or b"\0" in name)
        left = s.block - place % s.block  # what is left behind a record has room for another
        if bad or length < 8 + named or length % 4 or length > left or 0 < left - length < 8:
            why = f"the record at byte {at + place} has {length} bytes, with a name of {named}"
            raise corrupt(what, f"{why}, and makes no sense")
        if inode:
            yield decoded(name), inode
        place += length


def decoded(name: bytes) -> str:
    """A name, or the target of a link, as text."""
    return name.decode("utf-8", "surrogateescape").replace("\\", "\uf05c")


def corrupt(what: str, why: str) -> StatusError:
    """The error for what makes no sense."""
    return StatusError(Status.FILE_CORRUPT_ERROR, f"{what}: {why}")
