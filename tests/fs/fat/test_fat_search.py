"""Which free clusters are given: one run where there is one, nobody's twice."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, cast

import pytest

import octavo
from octavo.fs.fat.books import ANY, Books
from octavo.fs.fat.search import Search
from octavo.status import Status, StatusError
from tests.fs.fat.oddities import volume_of
from tests.volumes import fat_of


class Full:
    """A census that has counted."""

    async def check_room(self, count: int) -> None:
        """There is no room."""
        raise self.full(count)

    def full(self, missing: int) -> StatusError:
        """So many are missing."""
        return StatusError(Status.DISK_FULL, f"{missing} are missing")


class Table:
    """A FAT as a list, in windows of `window` entries, and a search in it."""

    def __init__(self, used: list[bool], window: int) -> None:
        self.used, self.window, self.looked = used, window, 0
        self.books = Books()
        self.search = Search(self.values, len(used), self.books, cast(Any, Full()))

    async def values(self, at: int, most: int) -> list[int]:
        """Entries to the end of a window."""
        self.looked += 1
        end = min(at + most, at - at % self.window + self.window, len(self.used))
        return [int(used) for used in self.used[at:end]]

    def find(self, count: int) -> list[tuple[int, int]]:
        """As the search, which never waits here."""
        try:
            self.search.find(count).send(None)
        except StopIteration as done:
            return cast(list[tuple[int, int]], done.value)
        raise AssertionError("it waits")

    def longest(self) -> int:
        """Of the runs that nobody has."""
        free = [not used for used in self.used]
        for first, count in self.books.given.items():
            free[first : first + count] = [False] * count
        rows = "".join(" x"[here] for here in free[2:]).split()
        return max(map(len, rows), default=0)


@pytest.mark.parametrize("seed", range(60))
def test_one_run_where_there_is_one(seed: int) -> None:
    """In any order of taking, chaining, dropping and freeing; DISK_FULL when there are too few
    only.
    """
    rng = random.Random(seed)
    size = rng.choice((40, 200, 1000))
    table = Table([rng.random() < rng.choice((0.1, 0.5, 0.9)) for _ in range(size)], 64)
    books, held = table.books, list[tuple[int, int]]()
    for _ in range(120):
        count = rng.choice((1, 2, 3, 5, 9, 40))
        longest = table.longest()
        given = {c for first, n in books.given.items() for c in range(first, first + n)}
        free = table.used[2:].count(False) - len(given)
        try:
            runs = table.find(count)
        except StatusError:
            assert free < count
        else:
            taken = [c for first, n in runs for c in range(first, first + n)]
            assert len(taken) == len(set(taken)) == count
            assert len(runs) == 1 or longest < count
            assert not any(table.used[c] or c in given for c in taken)
            if rng.random() < 0.3:
                continue  # its change is planned, and goes on
            for first, _ in runs:
                del books.given[first]
            if rng.random() < 0.8:
                held += runs
                books.count(-count)
                for cluster in taken:
                    table.used[cluster] = True
        while held and rng.random() < 0.4:
            first, n = held.pop(rng.randrange(len(held)))
            table.used[first : first + n] = [False] * n
            books.count(n)
            books.longest = min(2 * books.longest + n, ANY)


def test_a_search_in_vain_is_not_repeated() -> None:
    """Until something was freed."""
    table = Table([bool(i % 3) for i in range(6000)], 1000)
    assert len(table.find(2)) == 2
    table.looked = 0
    for _ in range(50):
        assert len(table.find(2)) == 2
    assert table.looked <= 2
    table.books.given.clear()
    table.used[5000:5010] = [False] * 10
    table.books.longest = 2 * table.books.longest + 10
    assert table.find(9)[0][1] == 9


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_a_file_gets_one_run_on_a_volume_full_of_holes(bits: int, tmp_path: Path) -> None:
    """When it is written whole, or its room is taken before."""
    with octavo.open_image(volume_of(tmp_path / "x.img", bits)) as volume:
        unit = volume.space().unit
        for i in range(60):
            volume.write_bytes(f"hole {i}", b"h" * unit)
        for i in range(0, 60, 2):
            volume.remove(f"hole {i}")
        volume.flush()
        fat_of(volume).table.search.cursor = 2
        volume.write_bytes("whole", b"w" * 20 * unit)
        with volume.open("piece by piece", "wb") as file:
            file.truncate(20 * unit)
        for name in ("whole", "piece by piece"):
            entry = volume.stat(name)
            runs = volume.scheduler.run(fat_of(volume).table.chain(entry.number, name))
            assert [n for _, n in runs] == [20]
        assert volume.check() == []
