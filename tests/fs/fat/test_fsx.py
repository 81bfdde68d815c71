"""One file by all ways at once (`make fsx` has more), and faults that it must find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from octavo.cache.manager import CacheManager
from octavo.fs.vfs.file import OpenedFile
from octavo.memory.pages.writeback import WriteBack
from octavo.status import StatusError
from tests.fsx import KINDS, MEMORIES, WAYS, exercise
from tests.volumes import shared_memory

SEEDS = range(24)
OPS = 200


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for images."""
    with shared_memory() as made:
        yield made


done: Counter[str] = Counter()


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize("part", range(4))
def test_some_thousand_operations(part: int, folder: Path) -> None:
    """What one way wrote every other reads; a failure says how to do it again."""
    for seed in SEEDS[part::4]:
        done.update(exercise(seed, folder, OPS).done)


def test_everything_is_tried() -> None:
    """The seeds above meet all kinds of volumes, memory and ways, and full volumes."""
    kinds = {Random(seed).choice(KINDS) for seed in SEEDS}
    assert len(kinds) > len(KINDS) * 2 // 3 and {kind[0] for kind in kinds} == {12, 16, 32}
    assert not done or set(done) - {"would wait"} == {way.__name__ for way in WAYS} | {"full"}
    assert len(set(MEMORIES)) == 3


def lose_a_byte(method: Any) -> Any:
    """A write that leaves its last byte out now and then."""
    count = 0

    def losing(self: CacheManager, section: Any, offset: int, data: Any) -> Any:
        nonlocal count
        count += 1
        if count % 50 == 0 and len(data) > 1 and offset + len(data) <= section.size:
            data = data[:-1]
        return method(self, section, offset, data)

    return losing


def sometimes_nothing(method: Any) -> Any:
    """A method that does nothing now and then."""
    count = 0

    def lazy(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        return method(*arguments) if count % 10 else _nothing()

    return lazy


async def _nothing() -> None:
    pass


def sometimes_forgotten(method: Any) -> Any:
    """As `sometimes_nothing`, of a plain method."""
    count = 0

    def lazy(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count % 10:
            method(*arguments)

    return lazy


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [
        (CacheManager, "copy_write", lose_a_byte),
        (CacheManager, "purge", sometimes_nothing),
        (OpenedFile, "_fill", sometimes_nothing),
        (WriteBack, "mark", sometimes_forgotten),
    ],
    ids=["a byte is lost", "what is cut stays", "no zeros", "a page is not dirty"],
)
def test_faults_are_found(
    owner: type, name: str, fault: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these is seen within a few cases."""
    method = getattr(owner, name)
    monkeypatch.setattr(owner, name, fault(method))
    with pytest.raises((AssertionError, StatusError)):
        for seed in SEEDS:
            exercise(seed, folder, OPS)
