"""Output to files and input from them: whole or not at all, onto the file that is read, with
failures and interrupts at each step.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

import octavo
from octavo.files import Volume
from octavo.shell.redirect import MOST_WAITING
from octavo.shell.shell import Shell
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.faulty import FaultyDevice
from octavo.threads.scheduler import Scheduler
from tests.shell.conftest import Session
from tests.volumes import make_volume

BIG = b"0123456789abcde\n" * (MOST_WAITING * 5 // 2 // 16)


@pytest.fixture
def volume(session: Session) -> Volume:
    """The volume at C:."""
    return session.shell.system.volumes["C:"]


def names(volume: Volume) -> list[str]:
    """What is in the root."""
    return sorted(e.name for e in volume.entries())


def test_output_to_a_file(session: Session, volume: Volume) -> None:
    """A new one, in the place of an old one, behind it; lines end in CR LF."""
    assert session("echo one > a") == session("echo two >> a") == session("echo three>>b") == ""
    assert volume.read_bytes("a") == b"one\r\ntwo\r\n" and volume.read_bytes("b") == b"three\r\n"
    session("dir /b > a")
    assert volume.read_bytes("a") == b"docs\r\na\r\nb\r\nreadme.txt\r\n"
    session("cd docs; dir /b \\ > ..\\c; cd \\")
    assert volume.read_bytes("c").split() == [b"docs", b"a", b"b", b"readme.txt"]
    assert session("type readme.txt > nul") == session("dir > NUL") == ""
    assert "nul" not in names(volume)


def test_a_file_that_is_read_and_written(session: Session, volume: Volume) -> None:
    """It is what it was, or twice that; also where it is larger than what waits in memory."""
    for data in (b"", b"no end", BIG):
        volume.write_bytes("a", data)
        session("type a > a")
        assert volume.read_bytes("a") == data
        session("type a >> a")
        assert volume.read_bytes("a") == data * 2
        session("type < a > a; find /v zz < a > a") if data == b"no end" else None
    assert names(volume) == ["a", "docs", "readme.txt"]


def test_bytes_go_as_they_are(session: Session, volume: Volume) -> None:
    """type into a file joins files; text of a listing is UTF-8."""
    data = bytes(range(256)) * 300
    volume.write_bytes("a", data)
    volume.write_bytes("Grüße \U0001f600", b"")
    session("type a readme.txt > joined; dir /b > list")
    assert volume.read_bytes("joined") == data + b"Hello\r\nworld\n"
    assert "Grüße \U0001f600\r\n".encode() in volume.read_bytes("list")


def test_no_such_file(session: Session, volume: Volume) -> None:
    """Said before the command is run."""
    for line, told in (
        ("md x > docs", "md: docs: is a directory"),
        ("md x > no\\a", "md: no/a: no such directory"),
        ("md x > q:\\a", "md: no volume is mounted on Q:; mount IMAGE mounts one"),
        ("type < nothing", "type: nothing: no such file or directory"),
        ("type < docs", "type: docs: is a directory"),
    ):
        assert session(line, 1) == told
    assert not volume.exists("x")
    session("attrib +r readme.txt")
    for sign in (">", ">>"):
        assert session(f"echo x {sign} readme.txt", 1).endswith("has the read-only attribute")
    assert volume.read_bytes("readme.txt") == b"Hello\r\nworld\n"


def test_a_command_that_fails(session: Session, volume: Volume) -> None:
    """What it has printed at its end is in the file, whatever its status; of one that ends before,
    nothing is, nor of a wrong call.
    """
    session("find nothing readme.txt > a", 1)
    assert volume.read_bytes("a") == b""
    session("find Hello readme.txt > a")
    assert session("type readme.txt nope > a", 1) == "type: nope: no such file or directory"
    session("dir /q > a", 2)
    assert volume.read_bytes("a") == b"Hello\r\n"
    session("type nope > b", 1)
    assert not volume.exists("b")


def test_what_is_open_or_gone(session: Session, volume: Volume) -> None:
    """The file of the output may be open; its volume may be unmounted by the command itself."""
    with volume.open("readme.txt") as file:
        session("echo new > readme.txt")
        assert file.read() == b"new\r\n"
    assert session("umount c: > a", 1).endswith("its volume was unmounted")


class Case:
    """A shell on a RAM disk that fails when told to, with the files old and big."""

    def __init__(self) -> None:
        self.system = octavo.boot("2M", seed=3)
        self.image = make_volume_once()
        self.disk = FaultyDevice(BufferDisk("faulty", memoryview(bytearray(self.image))))
        self.volume = self.system.attach_device(self.disk)
        self.told: list[str] = []
        self.shell = Shell(self.system, self.told.append)


_made: list[bytes] = []


@pytest.fixture(autouse=True, scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The bytes of the volume that all cases begin with."""
    image = make_volume(tmp_path_factory.mktemp("a") / "a.img", 8 << 20, 16, 512)
    with octavo.boot("4M", seed=3) as system:
        volume = system.attach_device(BufferDisk("a", image))
        volume.write_bytes("old", b"old contents")
        volume.write_bytes("big", BIG)
    _made[:] = [bytes(image)]


def make_volume_once() -> bytes:
    """A copy of them."""
    return _made[0]


@pytest.mark.parametrize("sign", [">", ">>"])
@pytest.mark.parametrize("target", ["old", "new"])
@pytest.mark.parametrize("verb", ["read", "write", "flush"])
def test_every_kth_request_fails(sign: str, target: str, verb: str) -> None:
    """The file is what it was, or all that it was to be; nothing else is left, and once more it
    works.
    """
    old = b"old contents" if target == "old" else None
    new = (old or b"" if sign == ">>" else b"") + BIG
    for k in range(1, 400, 1 if verb != "read" else 7):
        case = Case()
        at = case.disk.numbers[verb] + k
        case.disk.plan = lambda v, n, at=at: (v, n) == (verb, at)  # type: ignore[misc]
        status = case.shell.run(f"type big {sign} {target}; sync", keep_going=False)
        failed = bool(case.disk.failed)
        case.disk.plan = lambda v, n: False
        found = case.volume.read_bytes(target) if case.volume.exists(target) else None
        assert found in (old, new) and (failed or (status == 0 and found == new)), case.told
        assert {e.name for e in case.volume.entries()} <= {"old", "big", target}
        if failed and verb == "flush":  # the volume refuses everything from now on
            case.system.abandon()
            continue
        if status and found == old:
            assert case.shell.run(f"type big {sign} {target}; sync") == 0, case.told
            assert case.volume.read_bytes(target) == new
        assert case.volume.check() == []
        case.system.abandon()
        if not failed:
            assert k > 1
            return
    raise AssertionError("there are more requests than were thought of")


@pytest.mark.parametrize("line", ["type big > old", "type big >> old", "type big > new"])
def test_an_interrupt_at_any_line(line: str) -> None:
    """Ctrl-C leaves the file as it was, or as it was to be at the very end; and nothing beside
    it.
    """
    target = line.split()[-1]
    old = b"old contents" if target == "old" else None
    new = (old or b"" if ">>" in line else b"") + BIG
    for after in range(1, 300, 3):
        case = Case()
        count = 0
        run: Callable[..., object] = case.system.scheduler.run

        def counting(coroutine: object, *rest: object, after: int = after) -> object:
            nonlocal count
            count += 1
            found = run(coroutine, *rest)
            if count == after:
                Scheduler.interrupt(KeyboardInterrupt())
            return found

        case.system.scheduler.run = case.volume._run = counting  # type: ignore[method-assign, assignment]
        interrupted = False
        try:
            case.shell.execute(line)
        except KeyboardInterrupt:
            interrupted = True
        case.system.scheduler.run = case.volume._run = run  # type: ignore[method-assign, assignment]
        if interrupted:
            assert {e.name for e in case.volume.entries()} <= {"old", "big", target}, after
            there = case.volume.exists(target)
            assert (case.volume.read_bytes(target) if there else None) in (old, new)
        assert case.volume.check() == []
        case.system.abandon()
        if count < after:
            return
