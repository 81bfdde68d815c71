"""How many nodes a volume keeps of files and directories in use."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from octavo.files import Volume
from tests.conftest import fsck

FEW = 8


def nodes(volume: Volume) -> Any:
    """The volume's nodes, of which it keeps FEW that nobody needs."""
    found = volume.core.nodes  # type: ignore[attr-defined]  # the vfs's own
    found.most = FEW
    return found


@pytest.mark.dosfstools
def test_directories_of_what_is_open_are_kept(small: tuple[Volume, Path]) -> None:
    """Others come and go while a file is open: what is written is in its own directory."""
    volume, image = small
    kept = nodes(volume)
    for name in ("a/b", *(f"d{i}" for i in range(3 * FEW))):
        volume.mkdir(name, parents=True)
    volume.write_bytes("a/b/old", b"x")
    volume.flush()
    with volume.open("a/b/old", "r+b") as file:
        for i in range(3 * FEW):
            assert volume.entries(f"d{i}") == []
            assert len(kept.used) <= FEW + 1
        file.write(b"longer than before")
        volume.rename("d1", "d2/e")
    volume.flush()
    assert volume.read_bytes("a/b/old") == b"longer than before" and volume.check() == []
    fsck(image)


@pytest.mark.dosfstools
def test_nodes_that_are_all_needed_and_then_not(small: tuple[Volume, Path]) -> None:
    """More open files than nodes are kept: nothing can go, and it is not tried at each path; others
    are bounded by what is open, and all go when nothing is.
    """
    volume, image = small
    kept = nodes(volume)
    trims = [0]
    trim = kept.trim

    async def counted() -> None:
        trims[0] += 1
        await trim()

    kept.trim = counted
    for i in range(5 * FEW):
        volume.write_bytes(f"f{i}", b"x")
        volume.mkdir(f"d{i}")
    with ExitStack() as stack:
        for i in range(2 * FEW):
            stack.enter_context(volume.open(f"f{i}", "r"))
        trims[0] = 0
        for i in range(5 * FEW):
            volume.entries(f"d{i}")
            assert len(kept.used) <= 2 * 2 * FEW + 2
        assert 0 < trims[0] <= 5
    for i in range(5 * FEW):
        volume.entries(f"d{i}")
    assert len(kept.used) <= 2 * 2 * FEW + 2
    volume.flush()
    fsck(image)


@pytest.mark.dosfstools
def test_a_chain_of_directories_is_dropped_from_its_end(small: tuple[Volume, Path]) -> None:
    """Each directory is kept by the one in it: the deepest goes first, so that all can."""
    volume, image = small
    kept = nodes(volume)
    deep = "/".join("n" for _ in range(3 * FEW))
    volume.mkdir(deep, parents=True)
    volume.mkdir("side")
    for _ in range(3):
        assert volume.entries(deep) == []
        for _ in range(4):
            assert volume.entries("side") == []
        assert len(kept.used) <= FEW + 1
    volume.flush()
    assert volume.check() == []
    fsck(image)
