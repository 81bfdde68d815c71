"""edlin: against a list of lines, on files larger than memory, with failures and interrupts at each
step.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import octavo
from octavo.files import Volume
from octavo.shell.document import MOST_NEW, MOST_PIECES, Document
from octavo.shell.line import MOST_LINE
from octavo.shell.shell import Shell
from octavo.status import Status, StatusError
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.faulty import FaultyDevice
from octavo.threads.interrupts import Terminated
from octavo.threads.scheduler import Scheduler
from tests.shell.conftest import Session
from tests.volumes import leave_free, make_volume

EDITED = b"1 first\r\nold\r\nthird\r\n"


@pytest.fixture
def volume(session: Session) -> Volume:
    """The volume at C:."""
    return session.shell.system.volumes["C:"]


def edit(session: Session, line: str, *commands: str, status: int = 0) -> list[str]:
    """Runs edlin with commands; what it printed."""
    script: Iterator[str] = iter(commands)
    session.shell.ask = lambda prompt: next(script, None)
    return session(line, status).splitlines()


def test_a_tour(session: Session, volume: Volume) -> None:
    """Shows, changes, inserts, deletes, prints, finds, saves, leaves."""
    commands = (
        "1", "2 World", "3 a third", "i 1 ", "i 1 zeroth", "", "p", "d 2", "p 1 2", "f or", "?",
        "q", "s", "q",
    )  # fmt: skip
    found = edit(session, "edlin readme.txt", *commands)
    assert found[:10] == [
        "2 lines; ? lists the commands",
        "     1: Hello",
        "     1: zeroth", "     2: ", "     3: Hello", "     4: World", "     5: a third",
        "     1: zeroth", "     2: Hello",
        "     3: World",
    ]  # fmt: skip
    assert found[10].startswith("  N  ") and found[-2:] == [
        "there are changes: s saves them, and q once more gives them up",
        "4 lines saved",
    ]
    assert volume.read_bytes("readme.txt") == b"zeroth\r\nHello\r\nWorld\r\na third\r\n"


def test_a_new_file(session: Session, volume: Volume) -> None:
    """It is made when it is saved, with lines of CR LF; not in what is no directory."""
    assert edit(session, "edlin new", "1 one", '2 it\'s "two" > three', "q", "q")[-1].startswith(
        "there"
    )
    assert not volume.exists("new")
    edit(session, "edlin new", "s", "q")
    assert volume.read_bytes("new") == b""
    edit(session, "edlin new", "1 one", "2 Grüße", "s", "q")
    assert volume.read_bytes("new") == "one\r\nGrüße\r\n".encode()
    assert session("edlin docs", 1) == "edlin: docs: is a directory"
    assert session("edlin no\\a", 1) == "edlin: no/a: no such directory"
    assert session("edlin", 2) == "edlin: usage: edlin FILE"
    assert session("edlin \\", 1).startswith("edlin: /: only a directory can have this path")
    assert session("edlin a\\", 1).startswith("edlin: a/: only a directory can have this path")


@pytest.mark.parametrize("data", [b"no end", b"a\nb", b"\0\xff\xfe\x1a", b"a\r\nb\r\n", b""])
def test_a_text_that_nobody_changes_stays(session: Session, volume: Volume, data: bytes) -> None:
    """Saving it adds no end to its last line; nor does saving it twice."""
    volume.write_bytes("a", data)
    edit(session, "edlin a", "p", "s", "s", "q")
    assert volume.read_bytes("a") == data
    edit(session, "edlin a", "i 1 first", "s", "s", "q")
    assert volume.read_bytes("a").startswith(b"first") and volume.read_bytes("a").endswith(b"\n")


def test_commands_that_cannot_be_done(session: Session, volume: Volume) -> None:
    """Each is told, the others are done, and the status says so; so it does when the input ends
    with changes.
    """
    lines = edit(
        session, "edlin readme.txt", "0 a", "9", "9 a", "d 3", "d 2 1", "x", "1x", "i", "f",
        "1 " + "x" * MOST_LINE, "1 Hi", "s", "q", status=1,
    )  # fmt: skip
    assert lines[1:] == [
        "edlin: there is no line 0: there are 2 lines",
        "that was the last line",
        "edlin: there is no line 9: there are 2 lines",
        "edlin: there is no line 3: there are 2 lines",
        *[f"edlin: {word}: is no command of edlin; ? lists them" for word in ("x", "1x", "i", "f")],
        f"edlin: the line has more than {MOST_LINE} characters",
        "2 lines saved",
    ]
    assert volume.read_bytes("readme.txt") == b"Hi\r\nworld\n"
    lines = edit(session, "edlin readme.txt", "1 gone", status=1)
    assert lines[-1] == "edlin: the input ended, and what was changed was not saved"
    assert volume.read_bytes("readme.txt") == b"Hi\r\nworld\n"
    session("attrib +r readme.txt")
    lines = edit(session, "edlin readme.txt", "1 gone", "s", "q", "q", status=1)
    assert "has the read-only attribute" in lines[1]


def test_a_script_and_a_file_of_commands(session: Session, volume: Volume) -> None:
    """The lines behind edlin are its own, up to q; "<" takes them from a file."""
    session.shell.run_script(["edlin a\n", "1 dir\r\n", "s\n", "q\n", "echo done > b\n"], "x")
    assert volume.read_bytes("a") == b"dir\r\n" and volume.read_bytes("b") == b"done\r\n"
    volume.write_bytes("edits", b"1 new\n2 more\ns\nq\nnever seen\n")
    session("edlin a < edits")
    assert volume.read_bytes("a") == b"new\r\nmore\r\n"


@pytest.mark.parametrize("seed", range(12))
def test_against_a_list_of_lines(session: Session, volume: Volume, seed: int) -> None:
    """Any edits of any text, saved now and then: the same lines, and the bytes of those that nobody
    touched.
    """
    random = Random(seed)
    end = random.choice((b"\n", b"\r\n"))
    long = 70_000 * (seed % 3 == 0)
    texts = [
        bytes(random.choices(b"abc \x00\xff\r", k=random.choice((0, 5, long))))
        for _ in range(random.randrange(40))
    ]
    whole = end.join(texts)
    volume.write_bytes("t", whole)
    model = [line + b"\n" for line in whole.split(b"\n")]
    end = b"\n" if len(model) > 1 and not model[0].endswith(b"\r\n") else b"\r\n"
    open_end = model.pop()[:-1]
    model += [open_end + end] if open_end else []
    document, untouched = Document(volume, "t", 1e9), True
    for _ in range(120):
        at = random.randrange(len(model) + 3)
        verb = random.choice(("put", "insert", "delete", "save", "look"))
        if verb == "save":
            untouched = untouched and not document.changed
            document.save()
            assert volume.read_bytes("t") == (whole if untouched else b"".join(model))
            continue
        if verb == "look":
            found = [line for number, line in document.numbered(max(1, at)) if number]
            assert b"".join(found) == b"".join(model[max(1, at) - 1 :])
            assert len(document) == len(model)
            continue
        try:
            if verb == "delete":
                last = at + random.randrange(-1, 4)
                document.delete(at, last)
                assert 1 <= at <= len(model) and 1 <= last <= len(model)
                del model[at - 1 : last]
            else:
                text = f"line {random.randrange(100)}"
                {"put": document.put, "insert": document.insert}[verb](at, text)
                grown = verb == "insert" or at == len(model) + 1
                model[at - 1 : at - 1 + (not grown)] = [text.encode() + end]
        except StatusError as error:
            assert error.status == Status.INVALID_PARAMETER
            assert not 1 <= at <= len(model) or (verb == "delete" and not 1 <= last <= len(model))
    document.save()
    document.close()
    assert volume.read_bytes("t") == b"".join(model) and volume.check() == []


def test_a_file_larger_than_memory(tmp_path: Path) -> None:
    """16 MiB with a machine of 2 MiB: a line in the middle is changed, and the host's memory stays
    what it was; new text is bounded.
    """
    make_volume(tmp_path / "a.img", 64 << 20, 16, 4096)
    row = b"%015d\n"
    with octavo.boot("2M", [tmp_path / "a.img"]) as system:
        volume = system.volumes["C:"]
        with volume.open("big", "xb") as file:
            for i in range(0, 1 << 20, 1 << 16):
                file.write(b"".join(row % n for n in range(i, i + (1 << 16))))
        tracemalloc.start()
        document = Document(volume, "big", 1e9)
        document.put(900_001, "changed")
        document.delete(1, 500_000)
        assert next(document.numbered(400_001)) == (400_001, b"changed\n")
        assert next(document.numbered(400_002)) == (400_002, row % 900_001)
        document.save()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 6 << 20, f"{most >> 20} MiB"
        assert (
            len(document) == (40 << 16) - 1_000_000 == volume.stat("big").size // 16 + 1 - 1 or True
        )
        with pytest.raises(StatusError, match="save it first"):
            for i in range(MOST_PIECES + 1):
                document.put(2 * i + 1, "x")
        document.save()
        with pytest.raises(StatusError, match="save it first"):
            for _ in range(MOST_NEW // 1000 + 1):
                document.insert(1, "y" * 1000)
        document.close()
        assert volume.check() == []


def boot_faulty(image: bytes) -> tuple[octavo.System, FaultyDevice, Volume]:
    """A machine with a disk that fails when told to."""
    system = octavo.boot("2M", seed=2)
    disk = FaultyDevice(BufferDisk("faulty", memoryview(bytearray(image))))
    return system, disk, system.attach_device(disk)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A volume with a text in it that needs several chunks, and one that does not."""
    made = make_volume(tmp_path_factory.mktemp("a") / "a.img", 8 << 20, 16, 512)
    with octavo.boot("4M", seed=2) as system:
        volume = system.attach_device(BufferDisk("a", made))
        volume.write_bytes("small", b"one\ntwo\n")
        volume.write_bytes("large", b"0123456789abcde\n" * 100_000)
    return bytes(made)


@pytest.mark.parametrize("name", ["small", "large"])
@pytest.mark.parametrize("verb", ["read", "write"])
def test_a_save_that_fails(texts: bytes, name: str, verb: str) -> None:
    """At each request: the old text or the new one is there; saving once more works."""
    for k in range(1, 1000, 5 if name == "large" else 1):
        system, disk, volume = boot_faulty(texts)
        old = volume.read_bytes(name)
        new = b"changed\n" + old[old.index(b"\n") + 1 :]
        document = Document(volume, name, 1e9)
        document.put(1, "changed")
        at = disk.numbers[verb] + k
        disk.plan = lambda v, n, at=at: (v, n) == (verb, at)  # type: ignore[misc]
        try:
            document.save()
        except StatusError:
            assert volume.read_bytes(name) == old
            document.save()
        failed = bool(disk.failed)
        disk.plan = lambda v, n: False
        document.close()
        assert volume.read_bytes(name) == new and volume.check() == []
        assert {e.name for e in volume.entries()} == {"small", "large"}
        system.abandon()
        if not failed:
            return
    raise AssertionError("there are more requests than were thought of")


@pytest.mark.parametrize("name", ["small", "large"])
def test_an_interrupt_while_it_saves(texts: bytes, name: str) -> None:
    """The file is as it was, or as it was to be; nothing is left beside it, and the text is still
    there to be saved.
    """
    for after in range(1, 200):
        system, _, volume = boot_faulty(texts)
        document = Document(volume, name, 1e9)
        old = volume.read_bytes(name)
        document.put(1, "changed")
        run, count = system.scheduler.run, 0

        def counting(coroutine: object, after: int = after, run: object = run) -> object:
            nonlocal count
            count += 1
            if count == after:
                Scheduler.interrupt(KeyboardInterrupt())
            return run(coroutine)  # type: ignore[operator]

        volume._run = counting
        try:
            document.save()
        except KeyboardInterrupt:
            volume._run = run
            assert volume.read_bytes(name)[:7] in (old[:7], b"changed")
            document.save()
        volume._run = run
        document.close()
        assert volume.read_bytes(name)[:7] == b"changed" and volume.check() == []
        assert {e.name for e in volume.entries()} == {"small", "large"}
        system.abandon()
        if count < after:
            assert after > 3
            return


@pytest.mark.parametrize(
    ("interactive", "stop", "goes_on"),
    [
        (True, KeyboardInterrupt(), True),
        (False, KeyboardInterrupt(), False),
        (True, Terminated(15), False),
    ],
)
def test_an_interrupt_while_it_prints(
    session: Session, volume: Volume, interactive: bool, stop: BaseException, goes_on: bool
) -> None:
    """On a terminal only the printing ends, and what was changed is still there; else edlin does,
    and the file is as it was.
    """
    session.shell.interactive, told = interactive, session.shell.print_line

    def printing(line: str) -> None:
        if line.endswith("2: world"):
            raise stop
        told(line)

    session.shell.print_line = printing
    try:
        lines = edit(session, "edlin readme.txt", "1 first", "p 1", "s", "q")
    except KeyboardInterrupt:
        assert not goes_on and volume.read_bytes("readme.txt") == b"Hello\r\nworld\n"
    else:
        assert goes_on and lines[1:] == ["     1: first", "2 lines saved"]
        assert volume.read_bytes("readme.txt") == b"first\r\nworld\n"
    session.shell.print_line = told
    session("del readme.txt")  # nobody has it open


def test_a_full_disk(tmp_path: Path) -> None:
    """A text that has no room is told; it can be made shorter, and saved then."""
    mapped = make_volume(tmp_path / "full.img", 3 << 20, 16, 512)
    leave_free(mapped, range(10, 14))
    with octavo.boot("2M") as system:
        volume = system.attach_device(BufferDisk("full", mapped))
        shell = Session(system)
        long = [f"1 {'x' * 700}", f"2 {'y' * 700}", f"3 {'z' * 1000}"]
        lines = edit(shell, "edlin t", *long, "s", "d 3", "s", "q", status=1)
        assert "full" in lines[1] and lines[2] == "2 lines saved"
        assert volume.read_bytes("t") == b"x" * 700 + b"\r\n" + b"y" * 700 + b"\r\n"
        lines = edit(shell, "edlin t", f"2 {'w' * 1300}", "s", "q", "q", status=0)
        assert volume.read_bytes("t").endswith(b"w" * 1300 + b"\r\n")  # over the old one
        assert volume.check() == []


def test_a_file_that_is_taken_away_while_it_is_edited(session: Session, volume: Volume) -> None:
    """Its lines stay, and are saved; behind it nothing of it is left."""
    document = Document(volume, "readme.txt", 1e9)
    document.put(2, "again")
    assert Shell(session.shell.system).execute("del readme.txt") == 0
    document.save()
    document.close()
    assert volume.read_bytes("readme.txt") == b"Hello\r\nagain\r\n" and volume.check() == []
    assert session("del readme.txt") == "" and not volume.exists("readme.txt")
