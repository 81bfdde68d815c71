"""Blocks of zeros become holes on the host, and nothing else changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import octavo
from octavo.transfer.holes import BLOCK, write_with_holes
from tests.command import call

PIECES = st.one_of(
    st.binary(max_size=50),
    st.integers(0, 3 * BLOCK).map(bytes),
    st.sampled_from([b"x" * BLOCK, bytes(BLOCK), bytes(2 * BLOCK)]),
)


@settings(max_examples=150)
@given(st.lists(st.lists(PIECES, max_size=4).map(b"".join), max_size=4))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]
) -> None:
    """Any pieces, at any places: the same bytes, and as many."""
    path = tmp_path_factory.getbasetemp() / "file"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        write_with_holes(fd, chunks)
    finally:
        os.close(fd)
    assert path.read_bytes() == b"".join(chunks)


def data_in(path: Path) -> int:
    """Bytes of a file that are no hole."""
    with open(path, "rb") as file:
        found, place, end = 0, 0, file.seek(0, 2)
        while place < end:
            try:
                start = os.lseek(file.fileno(), place, os.SEEK_DATA)
            except OSError:
                break
            place = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found += place - start
    return found


def test_holes_come_out_of_an_image(tmp_path: Path, image: Path) -> None:
    """A sparse file goes in whole, and is sparse again outside."""
    source, out = tmp_path / "sparse", tmp_path / "out"
    with open(source, "wb") as file:
        for place in (1 << 20, (3 << 20) + 100, (5 << 20) - 1):
            file.seek(place)
            file.write(b"x")
    call("cp", source, f"{image}:/")
    with octavo.open_image(image, read_only=True) as volume:
        assert volume.read_bytes("sparse") == source.read_bytes()
    call("cp", f"{image}:/sparse", out)
    assert out.read_bytes() == source.read_bytes()
    assert data_in(out) <= 3 * BLOCK
    call("cp", f"{image}:/sparse", out)
    assert data_in(out) <= 3 * BLOCK, "also where it takes the place of another"
