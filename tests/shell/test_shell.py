"""The shell: every command, its errors, paths and quoting."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from prompt_toolkit.history import InMemoryHistory

import octavo
from octavo.printing import counted
from octavo.shell.completion import completions
from octavo.shell.line import split_commands, split_words
from octavo.shell.shell import COMMANDS, Shell
from octavo.shell.terminal import open_history
from tests.shell.conftest import Session
from tests.volumes import make_volume


def test_dir(session: Session) -> None:
    """Header, times, sizes, totals; wildcards; a single file."""
    out = session("dir")
    assert (
        out.startswith(" Directory of C:\\\n\n")
        and "<DIR>  docs" in out
        and "13  readme.txt" in out
    )
    assert "       1 file           13 bytes" in out
    out = session("dir docs")
    assert "Directory of C:\\docs" in out and out.count("note ") == 5
    assert session('dir "docs\\note ?.txt"').count("note ") == 5
    assert session("dir README.TXT").count("readme.txt") == 1
    assert session("dir nothing", 1) == "dir: nothing: no such file or directory"
    assert session("dir *.zip", 1) == "dir: *.zip: nothing matches"


def test_cd_and_prompt(session: Session) -> None:
    """Directories of their own for each drive, .. and absolute paths."""
    session("cd DOCS")
    assert session.shell.prompt == "C:\\DOCS>"
    assert "note 1.txt" in session("dir")
    session("md inner; cd inner; cd ..\\..")
    assert session.shell.prompt == "C:\\>"
    session("cd docs/inner")
    assert session("cd") == "C:\\docs\\inner"
    assert session("cd \\readme.txt", 1) == "cd: C:\\readme.txt: is not a directory"
    assert session("d:", 1) == "no volume is mounted on D:; mount IMAGE mounts one"


def test_type(session: Session) -> None:
    """Lines, without carriage returns."""
    assert session("type readme.txt") == "Hello\nworld"
    assert session("type docs", 1) == "type: docs: is a directory"
    assert session("type", 2).startswith("type: usage: type FILE")


def test_copy(session: Session) -> None:
    """A file to a name, several into a directory, a tree, and what makes no sense."""
    assert "1 file copied" in session("copy readme.txt second.txt")
    assert session("type second.txt") == "Hello\nworld"
    session("md copies")
    assert "5 files copied" in session("copy docs\\*.txt copies")
    assert "6 files copied" in session(
        "copy docs copies; copy second.txt copies\\docs; dir copies\\docs"
    ).replace("5 files copied", "6 files copied")
    assert (
        session("copy readme.txt readme.txt", 1)
        == "copy: C:\\readme.txt: cannot be copied onto or into itself"
    )
    assert (
        session("copy docs docs\\inside", 1)
        == "copy: C:\\docs: cannot be copied onto or into itself"
    )
    assert session("copy docs\\*.txt readme.txt", 1) == "copy: C:\\readme.txt: is not a directory"


def test_move_and_ren(session: Session) -> None:
    """Into a directory, to a name, several at once, a directory."""
    session("move readme.txt docs")
    assert session("type docs\\readme.txt") == "Hello\nworld"
    session("ren docs\\readme.txt liesmich.txt; md old; move docs\\*.txt old; move old docs")
    assert session("dir docs\\old").count(".txt") == 6
    assert session("ren docs a/b", 2) == "ren: the new name is a name, not a path; move moves"
    assert session("move docs docs\\old", 1) == "move: docs: cannot be moved into itself"


def test_del_md_rd(session: Session) -> None:
    """Files, patterns, empty and full directories."""
    assert session("rd docs", 1) == "rd: docs: the directory is not empty"
    assert session("del docs", 1) == "del: docs: is a directory"
    session("del docs\\*; rd docs")
    assert session("rd docs", 1) == "rd: docs: no such file or directory"
    session("md a; md a\\b")
    assert session("md a", 1) == "md: a: exists already"
    assert session("md x\\y", 1) == "md: x/y: no such directory"


def test_volumes(session: Session, tmp_path: Path) -> None:
    """mount, copying between drives, sync, umount."""
    from octavo.cli.main import run

    floppy = tmp_path / "floppy.img"
    run(["mkfs", "--size", "1440K", str(floppy)])
    assert session(f"mount {floppy}") == f"{floppy} is mounted on A:"
    assert "A: FAT12" in session("mount") and "C: FAT16" in session("mount")
    session("copy docs A:\\; sync A:; sync")
    assert "note 4.txt" in session("dir A:\\docs")
    assert session("move readme.txt A:\\", 1).startswith("move: cannot move from C: to A:")
    session("a:; cd docs")
    assert session.shell.prompt == "A:\\docs>"
    assert session("umount a:") == "A: is unmounted"
    assert "no volume is mounted" in session("dir", 1)
    assert session("umount c: really", 2).startswith("umount: usage")
    with octavo.open_image(floppy, read_only=True) as volume:
        assert volume.read_bytes("docs/note 4.txt") == b"n" * 400


def test_label(session: Session) -> None:
    """Shows and sets it, of the drive that is named or the current one; what is no label."""
    serial = f"{session.shell.system.volumes['C:'].serial:08X}"
    shown = f"serial {serial[:4]}-{serial[4:]}"
    assert session("label") == f"C: has no label, {shown}"
    session('label c: "my disk"')
    assert session("label C:") == session("label") == f"C: MY DISK, {shown}"
    session("label other")
    assert session("label c:") == f"C: OTHER, {shown}"
    session('label ""')
    assert session("label") == f"C: has no label, {shown}"
    assert session("label a*b", 1).startswith("label: ")
    assert session("label a b", 2) == "label: usage: label [DRIVE] [LABEL]"
    assert session("label q:", 1) == "label: no volume is mounted on Q:; mount IMAGE mounts one"


def test_drives_that_are_left_and_mounted_again(session: Session, tmp_path: Path) -> None:
    """/k keeps the device, /f ends open files; a letter may be wished; a medium that was not
    changed is the volume's own.
    """
    system = session.shell.system
    make_volume(tmp_path / "b.img", 1 << 20, 12, 512)
    assert session(f"mount {tmp_path / 'b.img'} x:").endswith("is mounted on X:")
    assert session(f"mount {tmp_path / 'b.img'} y:", 1).startswith("mount: ")
    session("x:; md d; cd d; c:")
    with system.volumes["X:"].open("a", "wb") as file:
        file.write(b"a")
        assert session("umount /k x:", 1).startswith("umount: ")
        assert session("mount x:") == "X: is mounted"
        assert session("umount /f /k x:") == "X: is unmounted"
    assert f"X: not mounted  {tmp_path / 'b.img'}" in session("mount")
    assert session("mount X:") == "X: is mounted" and session("dir /b x:").split() == ["d", "a"]
    session("umount x:")
    assert session("mount x:", 1) == "mount: 'x:': there is no such drive"


def test_memory_and_cache(session: Session) -> None:
    """What was done and what is held, and why a frame is here."""
    out = session("memory")
    for word in ("Memory:", "standby", "Faults:", "Page-ins:", "Page-outs:", "Free blocks"):
        assert word in out
    head, *lines = session("memory buddy").splitlines()
    assert head.startswith("Zone") and len(lines) == 2 * len(
        session.shell.system.memory.physical.buddy.zones
    )
    for part, name, usable in zip(
        session.shell.system.memory.physical.buddy.zones, lines[::2], lines[1::2], strict=True
    ):
        assert (
            name.startswith(part.name)
            and usable.split()[0] == "usable"
            and len(name) == len(usable) == len(head)
        )
    assert "Read-ahead:" in session("cache") and "Device of C:" in session("cache")
    assert "0 pages kept by 0 blocks and 0 lists" in session("cache")
    system = session.shell.system
    assert "PFN database" in session(f"memory {system.plan.database[0]}")
    segment = next(s for s in system.memory.residency.segments.all() if s.used)
    pfn = abs(next(e for e in system.ram.link[segment.base : segment.base + 64] if e))
    assert f"of {segment.section.name}" in session(f"memory {pfn:#x}")
    assert "absent" in session("memory 0")
    assert (
        session("memory x", 2)
        == "memory: 'x' is neither a frame number, such as 0x1234 or 4660, nor one of buddy, "
        "slab, pool, spaces, sections, paging, stat"
    )


def test_help_and_exit(session: Session) -> None:
    """Every command has help; exit ends the line."""
    out = session("help")
    for name, command in COMMANDS.items():
        assert f"  {name}" in out and len(command.help) >= 3
        assert session(f"help {name}").startswith(name)
    assert session("help nothing", 2) == "help: nothing: no such command; try help"
    session("cd; exit; dir")
    assert session.shell.done and session.lines == ["C:\\"]


def test_names_of_commands(session: Session) -> None:
    """Any case, any unambiguous beginning."""
    assert "Memory:" in session("MEM")
    assert session("m", 2) == "m: could be move, md, mount, memory"
    assert session("format c:", 2) == "format: no such command; try help"


def test_words() -> None:
    """Quotes around blanks and separators."""
    assert split_words("copy \"a b\\c.txt\" 'd e'") == ["copy", "a b\\c.txt", "d e"]
    assert split_words('type "docs\\"a.txt') == ["type", "docs\\a.txt"]
    assert split_commands("dir; type 'a;b'\ncd x;;") == ["dir", " type 'a;b'", "cd x"]


def offers(session: Session, line: str) -> list[str]:
    """What TAB makes of a line."""
    return [
        line[: len(line) - found.replaces] + found.text
        for found in completions(session.shell, line)
    ]


def test_completion(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands, subcommands, paths of volumes with blanks in them, and host files where those
    belong.
    """
    session("md 'my dir'; copy readme.txt 'my dir'; vm end")
    assert offers(session, "mo") == ["mount", "move"]
    assert offers(session, "memory s") == [
        "memory sections",
        "memory slab",
        "memory spaces",
        "memory stat",
    ]
    assert offers(session, "vm wh") == ["vm where"] and "vm alloc" in offers(session, "vm ")
    assert offers(session, "vm advise 0x10000 seq") == ["vm advise 0x10000 sequential"]
    assert offers(session, "vm map rea") == ["vm map readme.txt"]
    session("vm alloc 4K")
    assert offers(session, "vm use ") == ["vm use shell"]
    assert offers(session, "help vm") == ["help vm"] and offers(session, "sync ") == [
        "sync C:"
    ] == offers(session, "sync c")
    assert offers(session, "umount C: d") == ["umount C: discard"]
    assert offers(session, "type m") == ['type "my dir\\'] == offers(session, 'type "my')
    assert (
        offers(session, 'type "my dir\\')
        == ['type "my dir\\readme.txt"']
        == offers(session, "type 'my dir'\\")
    )
    assert offers(session, 'copy "my dir\\readme.txt" do') == ['copy "my dir\\readme.txt" docs\\']
    assert offers(session, "dir docs\\note") == [f'dir "docs\\note {i}.txt"' for i in range(5)]
    assert (
        offers(session, "dir z:\\")
        == offers(session, "exit ")
        == offers(session, "nothing ")
        == offers(session, "vm end ")
        == []
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disks").mkdir()
    (tmp_path / "disks" / "b c.img").touch()
    (tmp_path / ".hidden").touch()
    assert offers(session, "mount ") == ["mount disk.img", "mount disks/"]
    assert offers(session, "mount disks/") == ['mount "disks/b c.img"'] and offers(
        session, "mount .h"
    ) == ["mount .hidden"]
    assert (
        offers(session, "memory picture disks") == ["memory picture disks/"]
        and offers(session, "mount nowhere/") == []
    )


def test_completion_shows_no_control_characters(session: Session) -> None:
    """The menu is for people; the word is the name."""
    session.shell.system.volumes["C:"].write_bytes("x\x9b31m", b"")
    [found] = completions(session.shell, "type x")
    assert (found.text, found.shown) == ("x\x9b31m", "x?31m")


def test_history_between_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept below XDG_STATE_HOME, for nobody else to read; a place that cannot be written to is no
    error.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = open_history()
    first.append_string("dir")
    first.append_string("type a.txt")
    assert list(open_history().load_history_strings()) == ["type a.txt", "dir"]
    assert (tmp_path / "octavo" / "history").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/nowhere")
    open_history().append_string("dir")


def test_cls(session: Session) -> None:
    """Empties the screen where there is one."""
    assert session("cls") == ""
    cleared = []
    session.shell.clear = lambda: cleared.append(True)
    session("cls")
    assert cleared == [True]


def test_errors_have_a_way_of_their_own(system: octavo.System) -> None:
    """And lines of both have no control characters."""
    out: list[str] = []
    err: list[str] = []
    shell = Shell(system, out.append, err.append)
    assert (
        shell.run("cd; type \x1b[2J; cd", keep_going=False) == 1
        and shell.run("vm where; vm alloc 1 2 3; vm read") == 2
    )
    assert out == ["C:\\"] and err[0] == "type: ?[2J: no such file or directory"
    assert err[1:] == [
        f"vm: vm {what}; see help vm"
        for what in (
            "where takes 1 argument",
            "alloc takes 1 argument",
            "read takes 1 or 2 arguments",
        )
    ]


def test_numbers_and_what_they_count(session: Session) -> None:
    """None, one and two of everything that a command counts."""
    assert [counted(n, "file") for n in range(3)] == ["0 files", "1 file", "2 files"]
    assert [counted(n, "batch", "batches", 3) for n in range(3)] == [
        "  0 batches",
        "  1 batch",
        "  2 batches",
    ]
    session("md none")
    session("md one")
    session("md one/below")
    session.shell.system.volumes["C:"].write_bytes("one/a", b"x")
    for path, files, size, directories in (
        ("none", "0 files", "0 bytes", "0 directories"),
        ("one", "1 file", "1 byte", "1 directory"),
        ("", "1 file", "13 bytes", "3 directories"),
    ):
        out = " ".join(session(f"dir {path}").split())
        assert f" {files} {size} {directories} " in out, out
    assert session("copy one/a none").split() == ["1", "file", "copied"]
    assert session("copy none/a one/below").split() == ["1", "file", "copied"]
    assert session('copy "docs/note 1.txt" none').split() == ["1", "file", "copied"]
    assert session("copy none two").split() == ["2", "files", "copied"]
    said = "\n".join(
        session(line)
        for line in (
            "memory",
            "memory pool",
            "memory stat",
            "cache",
            "memory spaces",
            "memory paging",
            "vm alloc 4K",
            "vm write 0x10000 x",
            "vm",
        )
    )
    assert not re.search(r"(?<![\d.,x])1 (?!\w*(?:us|ss)\b)[a-z]+s\b", said), said


def test_a_history_that_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory, a device without an end, a FIFO, a file that cannot be read: a history of this
    session only, no error.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    where = tmp_path / "octavo" / "history"
    where.mkdir(parents=True)
    assert isinstance(open_history(), InMemoryHistory)
    where.rmdir()
    for device in ("/dev/full", "/dev/zero"):
        where.symlink_to(device)
        assert isinstance(open_history(), InMemoryHistory)
        where.unlink()
    os.mkfifo(where)
    assert isinstance(open_history(), InMemoryHistory)
    where.unlink()
    opened = open_history()
    where.unlink()
    where.mkdir()  # stands for whatever cannot be read
    assert list(opened.load_history_strings()) == []
    opened.append_string("dir")


def test_lines_that_were_pasted(session: Session) -> None:
    """One command a line, and none after exit; ";" separates nothing there."""
    session.shell.run_lines("md pasted1\nmd pasted2\n\nmd a;b\nexit\nmd pasted3\n")
    names = [e.name for e in session.shell.system.volumes["C:"].entries()]
    assert (
        {"pasted1", "pasted2", "a;b"} <= set(names)
        and "pasted3" not in names
        and session.shell.done
    )


def test_drives_by_their_letters(session: Session) -> None:
    """umount and sync take a letter with or without a colon; what is not there is named in a
    sentence.
    """
    for word in ("c", "C:", "c:\\"):
        assert session(f"sync {word}") == ""
    assert session("umount d", 1) == "umount: no volume is mounted on D:; mount IMAGE mounts one"
    assert session("sync nope", 1) == "sync: no volume is mounted on NOPE:; mount IMAGE mounts one"
    assert session("dir q:x", 1) == "dir: no volume is mounted on Q:; mount IMAGE mounts one"
    assert session("umount c") == "C: is unmounted"


def test_several_files_into_what_is_not_there(session: Session) -> None:
    """A directory that is missing is not called something else than a directory."""
    session("cd docs")
    assert session("copy * nodir", 1) == "copy: C:\\docs\\nodir: no such directory"
    assert session("move * nodir", 1) == "move: docs/nodir: no such file or directory"
    assert (
        session("copy * \\readme.txt", 1)
        == "copy: C:\\readme.txt: is not a directory"
        == session("move * \\readme.txt", 1).replace("move", "copy")
    )


def test_a_quote_without_an_end(session: Session) -> None:
    """It is told, and nothing is done."""
    assert session('type "c d', 2) == 'type: the quote " has no end'
    assert session("md it's", 2) == "md: the quote ' has no end"
    assert session('md "a\'b"') == "" and session.shell.system.volumes["C:"].exists("a'b")


def test_help_of_commands_with_a_long_usage(session: Session) -> None:
    """What a command does stands apart from how it is called."""
    lines = session("help").splitlines()
    assert max(map(len, lines)) < 100 and not any(line.endswith((" and", ",")) for line in lines)
    at = next(i for i, line in enumerate(lines) if line.startswith("  memory ["))
    assert (
        lines[at].endswith("FILE.png]")
        and lines[at + 1].strip() + "." == COMMANDS["memory"].help[2]
    )
    assert (
        session("memory picture", 2)
        == "memory: memory picture needs the name of a file to write, such as memory picture "
        "FILE.png"
    )


def test_directories_where_only_they_belong(session: Session) -> None:
    """TAB behind cd, md and rd offers no files."""
    for name in ("cd", "md", "rd"):
        assert (
            offers(session, f"{name} ") == [f"{name} docs\\"]
            and offers(session, f"{name} docs\\") == []
        )
    assert offers(session, "type r") == ["type readme.txt"]
