"""Drive letters: all of them and one beyond; what fails to be attached gives its letter back, and
its device is closed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import octavo
from octavo.cli.main import run
from octavo.status import Status, StatusError
from tests.machines import fails

FLOPPY, DISK = "1440K", "2M"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.fixture
def booted() -> Iterator[octavo.System]:
    """A system without volumes, which ends with a balance."""
    with octavo.boot(memory="32M", seed=1) as system:
        yield system
        system.check()


def made(folder: Path, name: str, size: str) -> Path:
    """An image with an empty volume."""
    path = folder / name
    assert run(["mkfs", "--size", size, str(path)]) == 0
    return path


def open_files() -> int:
    """Files that this process has open."""
    return len(os.listdir("/proc/self/fd"))


def fill(system: octavo.System, folder: Path) -> dict[str, bytes]:
    """A volume at every letter, each with a file of its own: letter -> what is in it."""
    floppies = [system.attach(made(folder, f"floppy{i}", FLOPPY)) for i in range(26)]
    model = {}
    for volume in floppies:
        model[volume.letter] = f"this is {volume.letter}".encode()
        volume.write_bytes("a.txt", model[volume.letter])
    return model


def agrees(system: octavo.System, model: dict[str, bytes]) -> None:
    """Exactly these volumes are there, each with its own file."""
    assert sorted(system.volumes) == sorted(model)
    assert {
        letter: volume.read_bytes("a.txt") for letter, volume in system.volumes.items()
    } == model
    system.check()


def test_floppies_get_every_letter_and_no_more(booted: octavo.System, tmp_path: Path) -> None:
    """A: and B: first, then C: to Z:; the 27th is refused and its image closed; a letter that is
    given back is had again.
    """
    model = fill(booted, tmp_path)
    assert list(booted.volumes) == [f"{letter}:" for letter in LETTERS]
    beyond = made(tmp_path, "beyond", FLOPPY)
    agrees(booted, model)
    files = open_files()
    for _ in range(3):
        fails(Status.NO_SUCH_DEVICE, booted.attach, beyond)
        fails(Status.NO_SUCH_DEVICE, booted.attach_ram_disk)
    assert open_files() == files
    agrees(booted, model)
    for letter in ("Q:", "b:", "Z:", "A:"):
        booted.unmount(letter)
        del model[letter.upper()]
        assert open_files() == files - 1
        fails(Status.NO_SUCH_DEVICE, booted.unmount, letter)
        agrees(booted, model)
        volume = booted.attach(beyond)
        assert volume.letter == letter.upper() and open_files() == files
        model[volume.letter] = letter.encode()
        volume.write_bytes("a.txt", model[volume.letter])
        beyond = made(tmp_path, f"beyond {letter[0]}", FLOPPY)
        fails(Status.NO_SUCH_DEVICE, booted.attach, beyond)
        agrees(booted, model)
    for letter in list(booted.volumes):
        booted.unmount(letter)
    assert not booted.volumes and open_files() == files - 26


def test_disks_begin_at_c(booted: octavo.System, tmp_path: Path) -> None:
    """24 of them; A: and B: stay for floppies."""
    files = open_files()
    for i, letter in enumerate(LETTERS[2:]):
        assert booted.attach(made(tmp_path, f"disk{i}", DISK)).letter == letter + ":"
    fails(Status.NO_SUCH_DEVICE, booted.attach, made(tmp_path, "beyond", DISK))
    for letter in "AB":
        assert booted.attach(made(tmp_path, f"floppy{letter}", FLOPPY)).letter == letter + ":"
    fails(Status.NO_SUCH_DEVICE, booted.attach, made(tmp_path, "floppy", FLOPPY))
    assert open_files() == files + 26 and len(booted.volumes) == 26
    booted.unmount("M:")
    assert booted.attach(made(tmp_path, "last", FLOPPY)).letter == "M:"


def test_an_attach_that_fails_keeps_nothing(booted: octavo.System, tmp_path: Path) -> None:
    """No volume in the image, or no image: the letter is the next one's, no file stays open, no
    frame is lost.
    """
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 4096)
    (tmp_path / "zeros").write_bytes(bytes(1 << 20))
    disk = made(tmp_path, "disk", DISK)
    booted.attach(made(tmp_path, "first", DISK))
    files, frames = open_files(), booted.memory.physical.available
    for _ in range(30):
        for name in ("noise", "zeros", "absent"):
            with pytest.raises(StatusError):
                booted.attach(tmp_path / name)
    assert open_files() == files and list(booted.volumes) == ["C:"]
    booted.check()
    assert booted.memory.physical.available >= frames - 8  # views of what was looked at may stay
    assert booted.attach(disk).letter == "D:"


def test_a_ram_disk_without_a_letter_gives_its_frames_back(booted: octavo.System) -> None:
    """24 of them; the 25th is refused, again and again, and costs no frame."""
    for letter in LETTERS[2:]:
        volume = booted.attach_ram_disk(256 << 10)
        volume.write_bytes("a.txt", letter.encode())
        assert volume.letter == letter + ":"
    fails(Status.NO_SUCH_DEVICE, booted.attach_ram_disk, 256 << 10)
    frames = booted.memory.physical.available
    for _ in range(20):
        fails(Status.NO_SUCH_DEVICE, booted.attach_ram_disk, 256 << 10)
    assert booted.memory.physical.available == frames
    agrees(booted, {f"{letter}:": letter.encode() for letter in LETTERS[2:]})
