"""What an image is that has no volume which Octavo reads: by the marks that other file systems and
files have at fixed places.

Sources: the formats' own documents, and magic(5) of file(1) for their offsets.
"""

from __future__ import annotations

import codecs
import re

LOOK_BYTES = 36864  # from the beginning: ISO 9660's mark, at 32769, is the last

_COPY_OUT = "use a program that reads it"
_EXTRACT = "unpack it first"
_CONVERT = "convert it to a raw image first, such as with qemu-img convert -O raw"
_MARKS: list[tuple[int, bytes, str, str]] = [
    (3, b"NTFS    ", "an NTFS volume", _COPY_OUT),
    (3, b"EXFAT   ", "an exFAT volume", _COPY_OUT),
    (0, b"QFI\xfb", "a qcow2 image", _CONVERT),
    (0, b"KDMV", "a VMDK image", _CONVERT),
    (64, b"\x7f\x10\xda\xbe", "a VDI image", _CONVERT),
    (0, b"conectix", "a VHD image", _CONVERT),
    (0, b"vhdxfile", "a VHDX image", _CONVERT),
    (0, b"\x1f\x8b", "compressed by gzip", _EXTRACT),
    (0, b"\xfd7zXZ\0", "compressed by xz", _EXTRACT),
    (0, b"BZh", "compressed by bzip2", _EXTRACT),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd", _EXTRACT),
    (0, b"PK\x03\x04", "a ZIP archive", _EXTRACT),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _EXTRACT),
    (257, b"ustar", "a tar archive", _EXTRACT),
    (0, b"XFSB", "an XFS volume", _COPY_OUT),
    (32769, b"CD001", "an ISO 9660 image", _COPY_OUT),
]
_CONTROL = re.compile("[\0-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")  # that no text has


def foreign(head: bytes) -> str:
    """What the first LOOK_BYTES bytes, or all there are, belong to, and what to do; "" when no mark
    is known.
    """
    for at, mark, what, advice in _MARKS:
        if head.startswith(mark, at):
            return f"is {what}, not a FAT or ext2 volume: {advice}"
    if not any(head):
        return "has only zeros where a volume begins: none has been made there"
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return ""
    return "" if _CONTROL.search(text) else "is text, not the image of a disk"
