"""mkfs on a host that fails: at each write and each flush; and that is full from each write on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import octavo
from tests.cli.test_mkfs import random_tree
from tests.command import call


def failing(
    function: Callable[..., Any], k: int, full: bool = False
) -> tuple[Callable[..., Any], list[int]]:
    """A call of the host's whose k-th use fails, or with `full` all from there on, and how often it
    was used.
    """
    used = [0]

    def attempt(*arguments: Any) -> Any:
        used[0] += 1
        if full and used[0] >= k:
            raise OSError(errno.ENOSPC, "the host is full")
        if used[0] == k:
            raise OSError(errno.EIO, "a bad sector")
        return function(*arguments)

    return attempt, used


@pytest.mark.parametrize("name", ["pwritev", "fsync"])
@pytest.mark.parametrize("new", [True, False])
def test_every_kth_call_fails(
    new: bool, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, with exit code 1; a new image is gone, or clean without what is told; the next
    attempt makes what it would have made.
    """
    random_tree(tmp_path / "tree", 3, 8)
    image = tmp_path / "disk.img"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    command = ["mkfs", "--force", "--from", tmp_path / "tree", image]
    call(*command)
    wanted, function = image.read_bytes(), getattr(os, name)
    for k in range(1, 60):
        if new:
            image.unlink(missing_ok=True)
        attempt, used = failing(function, k)
        with monkeypatch.context() as patch:
            patch.setattr(os, name, attempt)
            done = call(*command, code=None)
        if used[0] < k:
            assert image.read_bytes() == wanted
            return
        assert "a bad sector" in done and done.count("\n") == 1, k
        if image.exists() and new:
            with octavo.open_image(image, read_only=True) as volume:
                assert volume.check() == []
        call(*command)
        assert image.read_bytes() == wanted, k
    raise AssertionError("there are not so many calls")


def test_a_host_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is told, once, and not that the volume is full; no image is left."""
    random_tree(tmp_path / "tree", 3, 8)
    image, function = tmp_path / "disk.img", os.pwritev
    for k in range(1, 60):
        attempt, used = failing(function, k, full=True)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwritev", attempt)
            said = call("mkfs", "--from", tmp_path / "tree", image, code=None)
        if used[0] < k:
            assert k > 6 and image.exists()
            return
        assert "the host is full" in said and said.count("\n") == 1, k
        assert not image.exists(), k
    raise AssertionError("there are not so many writes")
