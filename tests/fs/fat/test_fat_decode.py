"""Directories decoded many at once say what they say when parsed one by one, or nothing."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest

from octavo.fs.fat.decode import decode, joined, subdirectories, used_slots
from octavo.fs.fat.directory import named
from octavo.fs.fat.entry import (
    ARCHIVE,
    DIRECTORY,
    FREE_SLOT,
    SLOT,
    VOLUME_LABEL,
    Entry,
    new_entry,
    parse_directory,
)
from octavo.fs.fat.names import exact_short, long_slots, make_short
from octavo.fs.protocol import FileInfo

STAMP = 20000, 30000, 7
DOTS = b"".join(new_entry("", DIRECTORY, STAMP, dots.ljust(11), 5).pack() for dots in (b".", b".."))
NAMES = [
    *(
        "a",
        "A.TXT",
        "readme",
        "README.md",
        "Makefile",
        "x.tar.gz",
        "mixedCase.Txt",
        "no ext ension",
    ),
    *("exactly13char", "exactly26characters.in.it!", "x" * 255, "grün", "日本語.txt", "𝄞.mid"),
    *("UPPER.low", "low.UPP", "a.b", "...three dots", "trailing", "_", "~1", "e.", "f g"),
]
SHORTS = [
    *(b"ABC     TXT", b"A B     TXT", b"        EXT", b"FOO     B C", b"\x05BC     TXT"),
    *(b"GR\x9aN    TXT", b"a       TXT", b".HIDDEN    ", b"LPT/1   TXT", b"           "),
]


def slots_of(name: str, rng: random.Random, taken: set[str]) -> bytes:
    """What stores a name."""
    directory = rng.random() < 0.3
    short = exact_short(name)
    entry = new_entry(name, DIRECTORY if directory else ARCHIVE, STAMP, cluster=rng.randrange(9999))
    entry.size = 0 if directory else rng.randrange(1 << 32)
    entry.set_short(*(short or (make_short(name, taken), 0)))
    taken.add(entry.short_name)
    long = b"" if short else long_slots(name, entry.raw[:11])
    return long + entry.pack()


def directory(rng: random.Random, odd: float) -> bytes:
    """The bytes of a directory; what is unusual in it is `odd` likely."""
    parts, taken = [DOTS] if rng.random() < 0.9 else [], set[str]()
    for name in rng.sample(NAMES, rng.randrange(len(NAMES))):
        slots = slots_of(name, rng, taken)
        if rng.random() < 0.2:  # it was removed
            slots = b"".join(
                bytes((FREE_SLOT,)) + slots[i + 1 : i + SLOT] for i in range(0, len(slots), SLOT)
            )
        parts.append(slots)
        if rng.random() < odd:
            attributes = rng.choice(
                [ARCHIVE, VOLUME_LABEL, 15, DIRECTORY, DIRECTORY | VOLUME_LABEL]
            )
            parts.append(new_entry("", attributes, STAMP, rng.choice(SHORTS)).pack())
    data = bytearray(b"".join(parts))
    while data and rng.random() < odd:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    room = len(data) // SLOT + rng.randrange(40)
    data += bytes(room * SLOT - len(data))
    if rng.random() < 0.2:  # what lies behind the end is no zero
        data += bytes(SLOT) + slots_of("behind the end", rng, set())
    return bytes(data) or bytes(SLOT)


def said(entry: FileInfo) -> tuple[object, ...]:
    """All that a listing shows."""
    times = entry.modified, entry.created
    return (
        *(entry.name, entry.size, entry.is_directory, entry.number, *times),
        *(entry.short_name, entry.flags),
    )


def parsed(data: bytes, wide: bool) -> list[Entry]:
    """The entries of one directory."""
    return list(named(parse_directory(data, wide).entries).values())


@pytest.mark.parametrize("odd", [0.0, 0.03, 0.2])
def test_many_at_once_are_as_one_by_one(odd: float) -> None:
    """Random directories, without and with damage: the same entries, or none are told, which
    happens only where something is odd. Directories in them are those that the entries name.
    """
    told = 0
    for seed in range(300):
        rng = random.Random(seed)
        wide = rng.random() < 0.5
        many = [directory(rng, odd) for _ in range(rng.randrange(1, 6))]
        data, bounds = b"".join(many), [0, *accumulate(map(len, many))]
        slots, begins = used_slots(data, bounds)
        found = decode(slots, begins, wide, "cp437")
        expected = [parsed(each, wide) for each in many]
        assert found is not None or odd, seed
        if found is not None:
            told += 1
            for i, entries in enumerate(expected):
                assert [said(e) for e in found.entries(i)] == [said(e) for e in entries], seed
                assert [e.raw for e in found.entries(i)] == [e.raw for e in entries]
            inner = [e.cluster for entries in expected for e in entries if e.is_directory]
            below = subdirectories(slots, wide)
            assert set(below) <= set(inner) and (odd or sorted(below) == sorted(inner)), seed
    assert told >= (300 if not odd else 20), told


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(DOTS) + 13] + b"\0" + data[len(DOTS) + 14 :],
        lambda data: data[: len(DOTS)] + data[len(DOTS) + SLOT :],
        lambda data: data + data[len(DOTS) :],
        lambda data: data.replace("a lo".encode("utf-16-le"), "a/lo".encode("utf-16-le")),
        lambda data: data.replace("a lo".encode("utf-16-le"), "\0 lo".encode("utf-16-le")),
        lambda data: data.replace("a ".encode("utf-16-le"), b"\xff\xff \0"),
        lambda data: data.replace("a ".encode("utf-16-le"), b"\x00\xd8 \0"),
        lambda data: data[:-SLOT],
        lambda data: data.replace(b"\x43", b"\x42", 1),
    ],
    ids=["sum", "missing", "twice", "slash", "end", "0xFFFF", "half", "no entry", "order"],
)
def test_damage_is_left_to_who_parses(spoil: object) -> None:
    """A checksum, a missing slot, a name twice, characters that no name has: nothing is told of all
    the directories that were asked for.
    """
    rng = random.Random(1)
    data = DOTS + slots_of("a long name of many letters", rng, set())
    assert callable(spoil)
    spoilt = spoil(data)
    for bytes_, tells in ((data, True), (spoilt, False)):
        bounds = [0, len(bytes_), len(bytes_ + data)]
        used = used_slots(bytes_ + data, bounds)
        assert (decode(*joined([used, used]), True, "cp437") is not None) == tells
