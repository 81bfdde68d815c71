"""A sound ext2 volume, and how damaged ones are tried."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import pytest

import octavo
from octavo.files import Volume
from octavo.status import Status, StatusError
from octavo.system import System
from octavo.testing.bufferdisk import BufferDisk
from tests.fs.ext.trees import debugfs, make_ext, seen_by_debugfs

BLOCK = 1024


MOUNT = {Status.UNRECOGNIZED_VOLUME}


READ = {
    Status.FILE_CORRUPT_ERROR,
    Status.ACCESS_DENIED,  # what has become a device
    Status.OBJECT_NAME_NOT_FOUND,  # what has become a link to nothing
    Status.OBJECT_PATH_NOT_FOUND,
    Status.FILE_IS_A_DIRECTORY,
    Status.REPARSE_POINT_NOT_RESOLVED,
}


MOST_READS = 4000  # requests of the device for one pass over a volume of 1 MiB


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, int]]:
    """A volume of 1 MiB, and the first byte of the inodes of some of its paths."""
    folder = tmp_path_factory.mktemp("good")
    tree = folder / "tree"
    (tree / "dir" / "below").mkdir(parents=True)
    (tree / "small").write_text("small")
    (tree / "direct").write_bytes(b"d" * 12 * BLOCK)
    (tree / "one").write_bytes(b"1" * 20 * BLOCK)
    (tree / "two").write_bytes(b"2" * 300 * BLOCK)
    with open(tree / "three", "wb") as file:
        file.seek((12 + 256 + 65536 + 300) * BLOCK)
        file.write(b"3" * BLOCK)
    (tree / "fast").symlink_to("small")
    (tree / "slow").symlink_to("./" * 40 + "small")
    (tree / "dir" / "file").write_text("file")
    image = make_ext(folder / "x.img", "1M", tree, "-b", "1024", "-I", "256")
    seen = seen_by_debugfs(image)
    at = {}
    numbers = {"": 2} | {path[1:].decode(): s.number for path, s in seen.items()}
    told = debugfs(image, [f"imap <{n}>" for n in numbers.values()])
    for path, text in zip(numbers, told, strict=True):
        found = re.search(rb"located at block (\d+), offset 0x([0-9a-f]+)", text)
        assert found
        at[path] = int(found[1]) * BLOCK + int(found[2], 16)
    at["#dir"] = numbers["dir"]
    return image.read_bytes(), at


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """A system on which all images are tried."""
    with octavo.boot("2M") as booted:
        yield booted


def sound(error: StatusError, wanted: set[Status]) -> None:
    """An error is one sentence of a status that may be."""
    assert error.status in wanted, error
    assert error.text and "\n" not in error.text and len(error.text) < 600


def read_all(volume: Volume, told: list[StatusError]) -> dict[str, bytes]:
    """Everything that a volume has: the beginnings and ends of its files. Adds what fails."""
    out = {}
    for here, entries in volume.walk("", told.append):
        for e in entries:
            assert (
                e.modified and e.created and e.flags and e.name.encode("utf-8", "surrogateescape")
            )
            if e.is_directory:
                continue
            path = f"{here}/{e.name}"
            try:
                info = volume.stat(path)
                assert info.is_directory or info.size >= 0
                with volume.open(path) as file:
                    data = file.read(64 * BLOCK)
                    file.seek(max(0, file.size - 9))
                    out[path.strip("/")] = data + file.read(9)
            except StatusError as error:
                told.append(error)
    return out


def tried(
    system: System, data: bytes | bytearray, wanted: set[Status] = READ
) -> tuple[dict[str, bytes], list[StatusError]]:
    """What is read of an image, and what is told. Nothing else than `wanted` is, and of mounting
    UNRECOGNIZED_VOLUME.
    """
    device = BufferDisk("disk", bytearray(data), read_only=True)
    try:
        volume = system.attach_device(device)
    except StatusError as error:
        sound(error, MOUNT)
        return {}, [error]
    told: list[StatusError] = []
    try:
        out = read_all(volume, told)
        volume.space()
    finally:
        system.unmount(volume.letter, discard=True)
    for each in told:
        sound(each, wanted)
    assert device.statistics().reads < MOST_READS
    return out, told


def patched(data: bytes, *changes: tuple[int, str, int]) -> bytearray:
    """A copy with numbers of these struct formats put at places."""
    out = bytearray(data)
    for at, form, value in changes:
        struct.pack_into("<" + form, out, at, value)
    return out


Good = tuple[bytes, dict[str, int]]


def place(data: bytes, inode: int, index: int) -> int:
    """A place in an inode that begins at a byte."""
    return int(struct.unpack_from("<I", data, inode + 40 + 4 * index)[0])
