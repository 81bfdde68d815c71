"""Empty files that are made at once: as those that are planned, and as whole."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

import pytest

import octavo
from octavo.files import Volume
from octavo.fs.vfs.volume import Volume as Mounted
from octavo.status import StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice, never
from tests.conftest import fsck, make_image

NAMES = ["a.txt", "B.TXT", "c", "file0001.dat", "UPPER.low", "~x", "x.y"]
OTHERS = ["a long name.txt", "Mixed.Txt", "ALONGN~2.TXT", "grün", "trailing. ", "x" * 200]


def made(image: Path, at_once: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    """The digest of an image in which files were made, in a directory that grows, at one virtual
    time.
    """
    with octavo.boot("4M", [image], seed=1) as system:
        volume = next(iter(system.volumes.values()))
        core = cast(Mounted[Any], volume.core)
        assert core.names is not None
        if not at_once:
            monkeypatch.setattr(core.names, "try_make", lambda *_: None)
        volume.mkdir("d")
        for i in range(150):
            for name in (*NAMES, *OTHERS):
                volume.open(f"d/{i}{name}"[-200:], "wb").close()
            if i % 7 == 3:
                volume.remove(f"d/{i}a.txt")
                volume.rename(f"d/{i}c", f"d/{i}moved")
            with pytest.raises(StatusError):
                volume.open(f"d/{i}b.TXT", "xb")
        used = sum(1 for node in core.nodes.used if node.section is not None)
        assert used <= (2 if at_once else 2000)
    return hashlib.sha256(image.read_bytes()).hexdigest()


@pytest.mark.dosfstools
@pytest.mark.parametrize(("bits", "size"), [(12, 2 << 20), (16, 16 << 20), (32, 40 << 20)])
def test_at_once_or_planned_the_same_bytes_are_written(
    bits: int, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of one slot and of several, aliases that are taken, pages that end, slots that are free
    again.
    """
    blank = make_image(tmp_path / "blank.img", size, bits)
    digests = set()
    for at_once in (True, False):
        image = tmp_path / f"{at_once}.img"
        image.write_bytes(blank.read_bytes())
        digests.add(made(image, at_once, monkeypatch))
        fsck(image)
    assert len(digests) == 1


@pytest.mark.dosfstools
def test_a_new_file_has_a_section_from_its_first_use_on(tmp_path: Path) -> None:
    """Closed unused it has none; written by two handles, one of them opened before there was a
    section, it has one.
    """
    image = make_image(tmp_path / "disk.img", 16 << 20, 16)
    with octavo.open_image(image) as volume:
        core = cast(Mounted[Any], volume.core)
        volume.open("unused", "wb").close()
        first = volume.open("used", "w+b")
        assert all(node.section is None for node in core.nodes.used)
        second = volume.open("used", "r+b")
        second.write(b"12345678")
        first.seek(4)
        first.write(b"5678")
        assert first.core.section is second.core.section
        assert first.size == 8 and first.readall() == b""
        first.close()
        second.close()
        with volume.open("timed", "wb") as file:
            file.set_modified(1e9)
        assert volume.stat("timed").modified.year == 2001
        assert volume.read_bytes("used") == b"12345678"
        volume.remove("unused")
        for data in (b"", b"late"):  # removed before its first use
            with volume.open("gone", "w+b") as file:
                volume.remove("gone")
                file.write(data)
                file.seek(0)
                assert file.read() == data and not volume.exists("gone")
        core.store.cache.check()
    fsck(image)


@pytest.mark.dosfstools
def test_every_kth_request_fails(tmp_path: Path) -> None:
    """Files are made, some written, while the k-th read or write fails: the call that fails
    has made nothing, the retry makes it, and the image is clean.
    """
    blank = make_image(tmp_path / "blank.img", 2 << 20, 12)
    for verb in ("read", "write"):
        failed = 0
        for number in range(1, 40):
            image = tmp_path / "disk.img"
            image.write_bytes(blank.read_bytes())
            failed += fails_once(image, verb, number)
        assert failed, verb
        fsck(image)


def fails_once(image: Path, verb: str, number: int) -> int:
    """Makes files on a device whose request of that number fails, and tries again what failed."""
    failures = 0
    with octavo.boot("1M") as system:
        device = FaultyDevice(ImageDisk(image, system.scheduler))
        volume = system.attach_device(device)
        start = device.numbers[verb]
        device.plan = lambda v, n: v == verb and n == start + number
        names = [f"f{i}.txt" for i in range(30)]
        for name in names:
            failures += not attempt(volume, name)
        try:
            volume.flush()
        except StatusError:
            failures += 1
            volume.flush()
        device.plan = never
        assert [entry.name for entry in volume.entries()] == names
    fsck(image)
    return failures


def attempt(volume: Volume, name: str) -> bool:
    """Makes a file; again where that has failed."""
    try:
        volume.open(name, "xb").close()
    except StatusError as error:
        assert "injected" in error.text
        assert not volume.exists(name)
        volume.open(name, "xb").close()
        return False
    return True
