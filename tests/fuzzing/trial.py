"""What is done with one damaged image, and what must hold whatever its bytes say.

    read      the partitions, the volume, its space, all names, all files, check
    change    new, written over, moved and removed files and directories, flushed
    repair    check that mends, and what is left after that

Each part has a machine of 4 MiB of its own, in virtual time, and begins with the damaged image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import octavo
from octavo.files import Volume
from octavo.fs.fat.findings import MOST_PROBLEMS
from octavo.fs.reading import reader
from octavo.status import Status, StatusError
from octavo.storage.partitions import partitions
from octavo.system import System
from tests.fuzzing.bases import DamagedDisk

MOST_READS = 12_000  # requests of the device in one part
MOST_BYTES = 256 << 20  # that they read
WHOLE = 1 << 20  # files up to this size are read whole, of others both ends
MOST_FILES = 400
MOST_TEXT = 1200  # characters of a sentence
NEVER = {Status.INVALID_PARAMETER, Status.FILE_CLOSED}  # nothing here is called wrongly


@dataclass
class Outcome:
    """What came of an image: why there is no volume, what was told while it was read, what check
    says, and the bytes of its files.
    """

    refused: str = ""
    told: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """In a word: "refused", "told", "found" by check alone, or "sound"."""
        if self.refused or self.told:
            return "refused" if self.refused else "told"
        return "found" if self.problems else "sound"


def sentence(error: StatusError) -> str:
    """What an error says, in one sentence."""
    assert error.status not in NEVER, error
    assert error.text and len(error.text) <= MOST_TEXT and "\n" not in error.text, error.text
    return error.text


@contextmanager
def machine(disk: DamagedDisk) -> Iterator[System]:
    """A machine; its ledger balances at the end, and the disk was asked for no more than there may
    be.
    """
    system = octavo.boot("4M", seed=1)
    try:
        yield system
        system.check()
    finally:
        system.abandon()
    assert disk.counts.reads <= MOST_READS and disk.counts.read_bytes <= MOST_BYTES


def try_reading(disk: DamagedDisk) -> Outcome:
    """Reads all there is, and changes nothing."""
    found = Outcome()
    with machine(disk) as system:
        table = system.scheduler.run(partitions(disk, reader(disk, system.cache)))
        assert len(table.entries) <= 10_000 and all("\n" not in fault for fault in table.faults)
        try:
            volume = system.attach_device(disk)
        except StatusError as error:
            found.refused = sentence(error)
            return found
        found.told += table.faults
        space = volume.space()
        assert 0 <= space.free <= space.total
        _read_all(volume, found)
        try:
            found.problems = [str(problem) for problem in volume.check()]
        except StatusError as error:
            if error.status != Status.NOT_SUPPORTED:  # ext2 is not checked
                found.told.append(sentence(error))
        assert len(found.problems) <= MOST_PROBLEMS + 1
        assert all("\n" not in problem for problem in found.problems)
    assert not disk.counts.writes
    return found


def _read_all(volume: Volume, found: Outcome) -> None:
    def tell(error: StatusError) -> None:
        found.told.append(sentence(error))

    for path, entries in volume.walk("", tell):
        for entry in entries:
            name = f"{path}/{entry.name}".lstrip("/")
            assert entry.name and entry.size >= 0
            if entry.is_directory or len(found.files) >= MOST_FILES:
                continue
            try:
                found.files[name] = _contents(volume, name)
            except StatusError as error:
                tell(error)


def _contents(volume: Volume, name: str) -> bytes:
    """The bytes of a file, or its beginning and end; they are as many as its size says."""
    with volume.open(name) as file:
        if file.size <= WHOLE:
            data = file.read()
            assert len(data) == file.size, name
            return data
        first = file.read(4096)
        file.seek(-4096, 2)
        last = file.read()
        assert len(first) == len(last) == 4096, name
        return first + last


def try_changing(disk: DamagedDisk, before: Outcome) -> None:
    """Changes names and files. On a volume with which nothing was wrong nothing is afterwards, and
    the other files are what they were.
    """
    with machine(disk) as system:
        try:
            volume = system.attach_device(disk)
        except StatusError as error:
            assert sentence(error)
            return
        names = list(before.files)[:2]
        done = _changes(volume, names)
        with suppress(StatusError):
            volume.flush()
    if before.kind != "sound":
        return
    after = try_reading(disk.again())
    assert after.kind == "sound", (after.refused, after.told, after.problems)
    for name, data in before.files.items():
        assert name in names or after.files.get(name) == data, name
    assert not done or after.files["new.bin"] == b"new" * 700


def _changes(volume: Volume, names: list[str]) -> bool:
    """Some of each kind; True when a new file has been written."""

    def attempt(call: Callable[[], object]) -> bool:
        try:
            call()
        except StatusError as error:
            assert sentence(error)
            return False
        return True

    done = attempt(lambda: volume.write_bytes("new.bin", b"new" * 700))
    assert not done or volume.read_bytes("new.bin") == b"new" * 700
    attempt(lambda: volume.mkdir("A directory with a name/below", parents=True))
    attempt(lambda: volume.write_bytes("sub/another one.txt", b"1"))
    attempt(lambda: volume.set_label("A LABEL"))
    attempt(lambda: volume.set_serial(0x12345678))
    for name in names[:1]:
        _change(volume, name, attempt)
    for name in names[1:]:
        attempt(lambda name=name: volume.remove(name))  # type: ignore[misc]
    attempt(lambda: volume.rmtree("A directory with a name"))
    return done


def _change(volume: Volume, name: str, attempt: Callable[[Callable[[], object]], bool]) -> None:
    """Changes one file in place and at its end, replaces it, and moves it."""

    def write(mode: str, data: bytes, size: int | None) -> None:
        with volume.open(name, mode) as file:
            file.write(data)
            if size is not None:
                file.truncate(size)

    attempt(lambda: write("ab", b"more" * 300, None))
    attempt(lambda: write("r+b", b"first", 600))
    attempt(lambda: volume.set_attributes(name, "h", "a"))
    attempt(lambda: volume.set_modified(name, 1e9))
    if attempt(lambda: volume.write_bytes(name, b"over" * 500)):
        assert volume.read_bytes(name) == b"over" * 500
    attempt(lambda: volume.rename(name, "moved somewhere"))


def try_repairing(disk: DamagedDisk) -> None:
    """Mends what can be mended: when all could be, nothing is found after it."""
    with machine(disk) as system:
        try:
            volume = system.attach_device(disk)
            said = volume.check(repair=True)
            again = volume.check()
        except StatusError as error:
            assert sentence(error)
            return
        assert len(said) <= MOST_PROBLEMS + 1
        if volume.read_only or not all(problem.mended for problem in said):
            return
        assert again == [], (said, again)
        volume.flush()
    after = try_reading(disk.again())
    assert after.kind in ("sound", "told") and after.problems == [], (after.told, after.problems)


def try_all(disk: DamagedDisk) -> Outcome:
    """All of it, each part with an image of its own."""
    found = try_reading(disk.again())
    try_changing(disk.again(), found)
    try_repairing(disk.again())
    return found
