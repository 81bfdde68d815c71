"""A line taken apart: names, words, text, redirections, and lines that make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.shell.line import (
    MOST_LINE,
    Line,
    UsageError,
    read_line,
    split_commands,
    split_name,
    split_words,
)
from tests.shell.conftest import Session
from tests.volumes import make_volume


@pytest.mark.parametrize(
    ("line", "name", "rest"),
    [
        ("dir docs", "dir", " docs"),
        ("  @DIR", "dir", ""),
        ("@ dir", "dir", ""),
        ("dir/s", "dir", "/s"),
        ("cd..", "cd", ".."),
        ("cd\\docs", "cd", "\\docs"),
        ("echo.", "echo", "."),
        ("type<a", "type", "<a"),
        ("c:", "c:", ""),
        ("C: ", "c:", " "),
        ("c:x", "c:x", ""),
        ("c: x", "c:", " x"),
        ("4711", "4711", ""),
        ("> a", "", "> a"),
        ("", "", ""),
    ],
)
def test_names(line: str, name: str, rest: str) -> None:
    """They end at a blank, or at what can be in none."""
    assert split_name(line) == (name, rest)


def test_words_and_files() -> None:
    """Quotes are taken off; files may stand anywhere, with a blank before them or not."""
    line = read_line(' "a b" c\'d\'e >out <"in put"', False)
    assert (line.words, line.output, line.append, line.input) == (
        ["a b", "cde"], "out", False, "in put"
    )  # fmt: skip
    line = read_line(">> log x", False)
    assert (line.words, line.output, line.append) == (["x"], "log", True)
    assert split_words('type "docs\\"a.txt > x') == ["type", "docs\\a.txt", "x"]


def test_text() -> None:
    """As it stands, with its quotes and blanks; ' is a letter, and a " need not end."""
    assert read_line(' it\'s  "a > b" c > d', True) == Line(
        ["it's", "a > b", "c"], ' it\'s  "a > b" c ', "d"
    )
    assert read_line(' say "hi > a', True).output is None


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        (
            " a | b",
            "| is not had here: send output to a file with >, and read it from there with <",
        ),
        (" a >", "> needs the name of a file behind it"),
        (" > > a", "> needs the name of a file behind it"),
        (" >> ", ">> needs the name of a file behind it"),
        (" > a > b", "> b: there is one > in the line already"),
        (" > a >> b", ">> b: there is one > in the line already"),
        (" < a < b", "< b: there is one < in the line already"),
        (" it's", "the quote ' has no end"),
    ],
)
def test_lines_without_sense(rest: str, told: str) -> None:
    """Each has a sentence."""
    with pytest.raises(UsageError) as error:
        read_line(rest, False)
    assert str(error.value) == told


@given(st.text("ab \"'<>|@/\\.:;\n", max_size=30), st.booleans())
def test_any_line(line: str, text: bool) -> None:
    """It is taken apart, or makes no sense; nothing else."""
    name, rest = split_name(line)
    assert not set(name) & set(" <>|") and len(name) + len(rest) <= len(line)
    try:
        read_line(rest, text)
    except UsageError:
        pass
    assert all(command.strip() for command in split_commands(line))


def test_a_drive_stands_alone(session: Session) -> None:
    """Nothing is behind it."""
    assert session("C:") == "" and session("c: x", 2) == "c:: no such command; try help"
    assert session("> x", 2) == "a command is missing in front of it"


def test_a_line_has_an_end(session: Session) -> None:
    """8191 characters are a line, and more are none; nothing of it is done."""
    longest = "md x & ".ljust(MOST_LINE, "y")
    assert "characters" not in session("rem ".ljust(MOST_LINE, "x"))
    assert session(longest + "y", 2) == "md: the line has more than 8191 characters"
    assert not session.shell.system.volumes["C:"].exists("x")


def test_help_of_each_command(session: Session, tmp_path: Path) -> None:
    """By help and by /?, with an example, which can be done as it stands."""
    from octavo.shell.shell import COMMANDS

    system = session.shell.system
    make_volume(tmp_path / "floppy.img", 1440 << 10, 12, 512)
    system.attach(tmp_path / "floppy.img")
    volume = system.volumes["C:"]
    for name in ("part1.txt", "part2.txt", "a.txt"):
        volume.write_bytes(name, b"wor\n")
    for name in ("old", "new"):
        volume.mkdir(name)
    volume.write_bytes("docs/edits.txt", b"1 x\r\ns\r\nq\r\n")
    volume.rmdir("new")
    last = ["move", "rd", "ren", "del", "umount", "shutdown", "exit"]  # they take something away
    for name in sorted(COMMANDS, key=lambda n: (last.index(n) + 1 if n in last else 0, n)):
        usage, _, *about = session(f"help {name}").splitlines()
        assert usage.split()[0] == name and about[-2] == ""
        assert session(f"{name} /?").splitlines() == [usage, "", *about]
        example = about[-1].removeprefix("Example: ")
        assert example != about[-1] and example.split()[0] == name
        session("cd \\")
        session(example, 3 if name == "exit" else 0)
        session("vm end") if name == "vm" else None
