"""Names on FAT: short (8.3) names, long names in extra slots, and which of the two a name needs.

A long name lies in front of its short entry, last slot first, 13 UTF-16 units a slot:

     0  number (last | 0x40)          1  5 units   11  0x0F   12  0
    13  checksum of the short name   14  6 units   26  0      28  2 units

A name that is 8.3 and all upper case, or all lower case in its base or extension, has no long name:
two bits of byte 12 of its entry say "base in lower case" (8) and "extension in lower case" (16).

Nothing on a volume says which code page its short names are in: DOS wrote in that of its country.
437 is taken unless another is named.

Source: Microsoft FAT specification; the case bits are NT's. Departures: characters outside ASCII
always take a long name, and the short name of such a one is made with "_": it is the same in every
code page.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Container
from functools import lru_cache

from octavo.arguments import shown
from octavo.status import Status, StatusError

MAX_NAME_UNITS = 255
LOWER_BASE = 0x08
LOWER_EXTENSION = 0x10
UNITS_IN_SLOT = 13
_SLOT_BYTES = 2 * UNITS_IN_SLOT
CODE_PAGE = "cp437"
_PRINTABLE = bytes(range(0x20, 0x7F))

_FORBIDDEN = '"*/:<>?\\|'
ILLEGAL = re.compile(rf"[\x00-\x1f{re.escape(_FORBIDDEN)}]")
_SHORT = re.compile(
    r"([A-Za-z0-9!#$%&'()\-@^_`{}~]{1,8})(?:\.([A-Za-z0-9!#$%&'()\-@^_`{}~]{1,3}))?", re.ASCII
)
_NEVER_SHORT = re.compile(r'^ |[\x00-\x1f"*+,./:;<=>?\[\\\]a-z|\x7f]')
_NEVER_LABEL = re.compile(r'^ +[^ ]|[\x00-\x1f"*+,./:;<=>?\[\\\]|\x7f]')
_NOT_SHORT = re.compile(r"[^A-Z0-9!#$%&'()\-@^_`{}~]")
_MADE_SHORT = {i: "_" for i in range(128) if _NOT_SHORT.match(chr(i))} | {
    ord(" "): None,
    ord("."): None,
}


def fold(name: str) -> str:
    """The form in which names are compared: upper case, character by character."""
    if name.isascii():
        return name.upper()
    return "".join(u if len(u := c.upper()) == 1 else c for c in name)


def has_illegal(text: str) -> bool:
    """Whether `ILLEGAL` is in a text: that of all the names of a directory, say, so it is looked
    for in the quick way first.
    """
    if text.isprintable() and not any(character in text for character in _FORBIDDEN):
        return False
    return ILLEGAL.search(text) is not None


def clean_name(name: str) -> str:
    """A name as it is stored, without trailing dots and spaces; StatusError OBJECT_NAME_INVALID
    when it cannot be.
    """
    cleaned = name.rstrip(". ")
    if not cleaned:
        raise StatusError(
            Status.OBJECT_NAME_INVALID,
            f"{name!r} cannot be a name on FAT: it is empty or has only dots and spaces",
        )
    found = ILLEGAL.search(cleaned)
    if found:
        raise StatusError(
            Status.OBJECT_NAME_INVALID,
            f"{name!r} cannot be a name on FAT: it contains {found[0]!r}",
        )
    if (len(cleaned) > MAX_NAME_UNITS or not cleaned.isascii()) and _units(
        cleaned
    ) > MAX_NAME_UNITS:
        raise StatusError(
            Status.OBJECT_NAME_INVALID,
            f"a name of {_units(cleaned)} UTF-16 units is longer than FAT's {MAX_NAME_UNITS}",
        )
    return cleaned


def _units(name: str) -> int:
    try:
        return len(name.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        raise StatusError(
            Status.OBJECT_NAME_INVALID, f"{name!a} cannot be a name on FAT: it is not valid Unicode"
        ) from None


def exact_short(name: str) -> tuple[bytes, int] | None:
    """The 11 bytes and the case bits that store a name without a long one; None when it needs a
    long one.
    """
    found = _SHORT.fullmatch(name)
    if not found:
        return None
    base, extension = found[1], found[2] or ""
    flags = 0
    upper = base.upper()
    if base != upper:
        if base != base.lower():
            return None
        flags = LOWER_BASE
    ending = extension.upper()
    if extension != ending:
        if extension != extension.lower():
            return None
        flags |= LOWER_EXTENSION
    return (upper.ljust(8) + ending.ljust(3)).encode("ascii"), flags


def is_short(raw: bytes, codepage: str) -> bool:
    """Whether 11 bytes can be a short name: capitals, no blank in front, none of the characters
    that FAT forbids.
    """
    base, extension = _parts(raw, codepage)
    return bool(base) and not _NEVER_SHORT.search(base + extension)


def is_label(raw: bytes, codepage: str) -> bool:
    """Whether 11 bytes can be a volume label: no blank in front, none of the characters that FAT
    forbids.
    """
    return not _NEVER_LABEL.search(_decode(raw, codepage))


def make_short(name: str, taken: Container[str], salt: int = 0) -> bytes:
    """A short name for a long one that is not in `taken` (folded display names): NAME~1 to ~4, then
    two letters and a hash.

    Thousands of equal names would have equal hashes: each takes a `salt` of its own.
    """
    stem, dot, extension = fold(name).lstrip(". ").rpartition(".")
    if not dot:
        stem, extension = extension, ""
    if name.isascii():
        stem, extension = stem.translate(_MADE_SHORT), extension.translate(_MADE_SHORT)[:3]
    else:
        stem = _NOT_SHORT.sub("_", stem.replace(" ", "").replace(".", ""))
        extension = _NOT_SHORT.sub("_", extension.replace(" ", ""))[:3]
    suffix = "." + extension if extension else ""
    for number in range(1, 5):
        base = f"{stem[:6]}~{number}"
        if base + suffix not in taken:
            return (base.ljust(8) + extension.ljust(3)).encode("ascii")
    key = salt & 0xFFFF
    for unit in name.encode("utf-16-le", "surrogatepass"):
        key = (key * 31 + unit) & 0xFFFF
    for step in range(0x10000):
        for number in range(1, 10):
            base = f"{stem[:2]}{key + step & 0xFFFF:04X}~{number}"
            if base + suffix not in taken:
                return (base.ljust(8) + extension.ljust(3)).encode("ascii")
    raise StatusError(
        Status.OBJECT_NAME_COLLISION, f"no short name is left for {name!r} in this directory"
    )


_ROTATED = tuple(
    (i & 255) >> 1 | (i & 1) << 7 for i in range(511)
)  # a sum that has not been cut to 8 bits, rotated right


def checksum(short: bytes) -> int:
    """The checksum of an 11-byte short name that its long slots carry: rotate right, add the next
    byte. Unrolled: listing lives on it.
    """
    r = _ROTATED
    a, b, c, d, e, f, g, h, i, j, k = short
    return (r[r[r[r[r[r[r[r[r[r[a] + b] + c] + d] + e] + f] + g] + h] + i] + j] + k) & 255


def long_slots(name: str, short: bytes) -> bytes:
    """The slots that carry a long name, in the order in which they lie on the disk."""
    units = name.encode("utf-16-le")
    count = -(-len(units) // _SLOT_BYTES)
    if len(units) < count * _SLOT_BYTES:
        units = (units + b"\0\0").ljust(count * _SLOT_BYTES, b"\xff")
    middle = b"\x0f\0" + bytes((checksum(short),))
    parts: list[bytes] = []
    number = 0x40 | count
    for at in range(len(units) - _SLOT_BYTES, -1, -_SLOT_BYTES):
        parts += (
            bytes((number,)), units[at : at + 10], middle,
            units[at + 10 : at + 22], b"\0\0", units[at + 22 : at + 26],
        )  # fmt: skip
        count -= 1
        number = count
    return b"".join(parts)


def check_code_page(page: str | int) -> str:
    """The codec of a code page, given as 850, "850" or Python's name.

    StatusError INVALID_PARAMETER when there is none, or it is not ASCII where that is printable, as
    short names need it.
    """
    text = page if isinstance(page, str) else shown(page)
    try:
        name = codecs.lookup(f"cp{text}" if text.isdecimal() else text).name
        upper = bytes(range(0x80, 0x100)).decode(name, "octavo.private")
        plain = all(text.decode(name) == text.decode("ascii") for text in (_PRINTABLE, b"\\x41"))
        if plain and not all(
            0xF080 <= ord(c) <= 0xF0FF for c in upper
        ):  # ASCII and UTF-8 have nothing there
            return name
    except (LookupError, ValueError):  # ValueError: a NUL in the name, or what is no text
        pass
    why = f"{shown(page)} is no code page of short names: it takes 437, 850, 932 or the like"
    raise StatusError(Status.INVALID_PARAMETER, why)


def _private(error: UnicodeError) -> tuple[str, int]:
    """Bytes that a code page does not have become U+F080 to U+F0FF: names that differ stay
    different.
    """
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xF000 | byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("octavo.private", _private)


def _decode(raw: bytes, codepage: str) -> str:
    if raw[:1] == b"\x05":  # stands for 0xE5, which would mean a free slot
        raw = b"\xe5" + raw[1:]
    return raw.decode(codepage, "octavo.private")


def _parts(short: bytes, codepage: str) -> tuple[str, str]:
    """Base and extension of a short name; where characters have two bytes, none lies in both."""
    if short.isascii() and short[0] != 5:
        text = short.decode("ascii")  # ten times as fast as other code pages
        return text[:8].rstrip(" "), text[8:].rstrip(" ")
    return _decode(short[:8], codepage).rstrip(" "), short[8:].decode(
        codepage, "octavo.private"
    ).rstrip(" ")


@lru_cache(4096)  # ".", "..", "__init__.py", "Makefile": trees are full of the same names
def shown_short(short: bytes, flags: int, codepage: str) -> str:
    """A short name for people: dot, and lower case where the case bits say so."""
    base, extension = _parts(short, codepage)
    if flags & LOWER_BASE:
        base = base.lower()
    if flags & LOWER_EXTENSION:
        extension = extension.lower()
    return f"{base}.{extension}" if extension else base


def shown_label(raw: bytes, codepage: str) -> str:
    """A volume label for people; "" for none."""
    text = _decode(raw, codepage).rstrip(" \0")
    return "" if text == "NO NAME" else text
