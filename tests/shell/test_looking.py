"""dir, tree, type, dump, find and fc at their edges."""

from __future__ import annotations

import os
import re
from itertools import product
from pathlib import Path
from random import Random

import pytest

import octavo
from octavo.files import Volume
from octavo.shell.branches import tree_lines
from octavo.shell.compare import MOST_APART
from octavo.shell.texts import MOST_BYTES, lines
from octavo.status import Status, StatusError
from tests.conftest import run
from tests.fs.fat.patches import patch
from tests.shell.conftest import Session

NAMES = ["a.txt", "b.c", "big.bin", "none"]


@pytest.fixture
def volume(session: Session) -> Volume:
    """A directory of files whose names, sizes, times and extensions have different orders."""
    volume = session.shell.system.volumes["C:"]
    volume.mkdir("d/inner", parents=True)
    for i, (name, size) in enumerate(zip(NAMES, (30, 20, 5000, 0), strict=True)):
        volume.write_bytes(f"d/{name}", b"x" * size, modified=1e9 - 86400 * i)
    volume.write_bytes("d/inner/a.txt", b"inner")
    volume.write_bytes("d/inner/z", b"")
    return volume


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("", "inner a.txt b.c big.bin none"),
        ("/o", "inner a.txt b.c big.bin none"),
        ("/on", "a.txt b.c big.bin inner none"),
        ("/o:-n", "none inner big.bin b.c a.txt"),
        ("/o:gs", "inner none b.c a.txt big.bin"),
        ("/o:g-s", "inner big.bin a.txt b.c none"),
        ("/o:gd", "inner none big.bin b.c a.txt"),
        ("/o:gen", "inner none big.bin b.c a.txt"),
        ("/o:-gn", "a.txt b.c big.bin none inner"),
    ],
)
def test_orders(session: Session, volume: Volume, order: str, names: str) -> None:
    """Each letter, turned round, and one after the other; directories in front without any."""
    assert session(f"dir /b {order} d").split() == names.split()


def test_dir_below(session: Session, volume: Volume) -> None:
    """/s goes down, with a pattern or a name too; /b has whole paths then; totals are of all."""
    out = session("dir /s d")
    assert out.index("Directory of C:\\d\n") < out.index("Directory of C:\\d\\inner\n")
    assert re.search(r"6 files +5055 bytes\n +1 directory", out)
    assert session("dir/s/b d\\*.txt") == "C:\\d\\a.txt\nC:\\d\\inner\\a.txt"
    assert session("dir /s /b a.txt") == session("dir/s/b d\\*.txt")
    assert session("cd d; dir /b /s z") == "C:\\d\\inner\\z"
    assert session("dir /s nothing", 1) == "dir: d/nothing: nothing matches"
    assert session("dir /s a.txt\\x", 1) == "dir: d/a.txt: is not a directory"
    assert "0 files" in session("md e; dir e") and session("dir /b e") == ""
    assert session("dir e\\*", 1) == "dir: d/e/*: nothing matches"
    assert session("dir *\\a.*", 1).endswith("* and ? are for the last name of a path only")


def test_dir_matches_short_names_and_nt_wildcards(session: Session, volume: Volume) -> None:
    """`*.` has no dot, ? may be none, and the 8.3 name counts."""
    volume.write_bytes("d/long name.html", b"")
    assert session("dir /b d\\*.htm") == "long name.html" == session("dir /b d\\long*~1.*")
    assert session("dir /b d\\*.").split() == ["inner", "none"]
    assert session("dir /b d\\??.?").split() == ["b.c"]


def test_dir_calls_without_sense(session: Session, volume: Volume) -> None:
    """A switch or an order that there is not."""
    assert session("dir /x", 2).startswith("dir: /x is none of its switches, which are /b, /o, /s;")
    assert session("dir /bx", 2).startswith("dir: /bx is none")
    assert session("dir /o:q", 2) == "dir: /o:q: an order has the letters n, e, s, d, g and -"
    assert session("dir d d", 2) == "dir: usage: dir [/s] [/b] [/o[:ORDER]] [PATH]"


def test_tree(session: Session, volume: Volume) -> None:
    """Directories, files with /f, ASCII with /a."""
    assert session("tree") == "C:\\\n├───d\n│   └───inner\n└───docs"
    volume.mkdir("d/inner/deep")
    assert session("tree /f /a d").splitlines() == [
        "C:\\d", "|   a.txt", "|   b.c", "|   big.bin", "|   none", "|", "\\---inner",
        "    |   a.txt", "    |   z", "    |", "    \\---deep",
    ]  # fmt: skip
    assert session("tree readme.txt", 1) == "C:\\readme.txt\ntree: readme.txt: is not a directory"
    assert session("tree docs") == "C:\\docs"


def test_a_tree_with_a_loop_ends(session: Session, volume: Volume, tmp_path: Path) -> None:
    """A directory in two places is drawn once, and told; dir /s does the same."""
    session("md one; md one\\two; md three; md three\\four")
    session.shell.system.volumes["C:"].write_bytes("one/two/x", b"x")
    session.shell.system.close()
    image = tmp_path / "disk.img"
    data = image.read_bytes()
    two, four = data.index(b"TWO        \x10"), data.index(b"FOUR       \x10")
    patch(image, four + 26, data[two + 26 : two + 28])
    with octavo.boot("4M", [image]) as system:
        errors: list[StatusError] = []
        found = list(tree_lines(system.volumes["C:"], "", True, False, errors.append))
        assert [e.status for e in errors] == [Status.FILE_CORRUPT_ERROR]
        names = [line.strip("\u2502\u251c\u2514\u2500 ") for line in found]
        assert names.count("four") == names.count("two") == names.count("x") == 1
        shell = Session(system)
        assert shell("dir /s /b one three", 2) and shell("dir /s/b", 1).count("\\x") == 1


def test_type_at_its_edges(session: Session, volume: Volume) -> None:
    """No bytes, no text, a line without an end, several files, a directory, nothing."""
    assert session("type d\\none") == ""
    volume.write_bytes("bin", bytes(range(256)))
    assert len(session("type bin").splitlines()) == 2 and "\x1b" not in session("type bin")
    volume.write_bytes("long", b"x" * (3 * MOST_BYTES + 5) + b"\nend")
    session("type long")
    assert [len(line) for line in session.lines] == [MOST_BYTES] * 3 + [5, 3]
    assert session("type d\\a.txt d\\b.c") == "x" * 30 + "\n" + "x" * 20
    assert session("type d\\*.txt") == "x" * 30
    assert session("type d", 1) == "type: d: is a directory"
    assert session("type d\\*.zip", 1) == "type: d/*.zip: nothing matches"
    assert session("type nothing", 1) == "type: nothing: no such file or directory"
    assert session("type < readme.txt") == "Hello\nworld"


def test_lines_of_pieces() -> None:
    """However the pieces are cut, the lines are the same; none is longer than its bound."""
    random = Random(5)
    whole = b"".join(
        random.randbytes(random.choice((0, 3, 70_000))).replace(b"\n", b"") + b"\n"
        for _ in range(20)
    )
    for size in (1000, 65536, 65537, len(whole)):
        found = list(lines(whole[i : i + size] for i in range(0, len(whole), size)))
        assert b"".join(found) == whole and max(map(len, found)) <= MOST_BYTES
        assert found == list(lines([whole]))


@pytest.mark.mtools
def test_dump(session: Session, volume: Volume, tmp_path: Path) -> None:
    """As od prints the same bytes; from an offset on; nothing of nothing."""
    data = os.urandom(70_001)
    volume.write_bytes("data", data)
    rows = session("dump data").splitlines()
    assert b"".join(bytes.fromhex(row[10:58]) for row in rows) == data
    assert rows[0].endswith("|") and len(rows[0]) == len(rows[100])
    session("sync")
    said = run("sh", "-c", f"mtype -i {tmp_path / 'disk.img'} ::data | od -A x -t x1 -v")
    theirs = [line.split(maxsplit=1) for line in said.splitlines()]
    assert [(int(row[:8], 16), row[10:58].split()) for row in rows] == [
        (int(at, 16), found.split()) for at, found in (line for line in theirs if len(line) > 1)
    ]
    row = f"00000006  {'0a 77 6f':<48} "
    assert session("dump readme.txt 0x6 3") == row + " |.wo|"
    assert session("dump readme.txt 13") == "" == session("dump d\\none")
    assert session("dump readme.txt -1", 2).startswith("dump: -1: is no number of bytes")
    assert session("dump readme.txt 4x", 2).startswith("dump: 4x: is no number of bytes")
    assert session("dump d", 1) == "dump: d: is a directory"


def test_find(session: Session, volume: Volume) -> None:
    """Lines with a text, without it, numbered, counted; in several files; status 1 for none."""
    volume.write_bytes("t", b"One two\r\nthree\r\n\r\nTWO\r\n")
    assert session("find two t") == "One two"
    assert session('find /i "TWO" t') == "One two\nTWO"
    assert session("find /v /n two t") == "[2]three\n[3]\n[4]TWO"
    assert session("find /c two t") == "1" and session("find /i/c two < t") == "2"
    assert session("find four t", 1) == "" and session("find /c four t", 1) == "0"
    out = session("find o t readme.txt")
    assert out == "---------- C:\\t\nOne two\n---------- C:\\readme.txt\nHello\nworld"
    assert session("find /c x d\\*.txt d\\none") == "C:\\d\\a.txt: 1\nC:\\d\\none: 0"
    assert session("find two", 2).startswith("find: usage: find")
    assert session("find two nothing", 1) == "find: nothing: no such file or directory"
    assert session("find two d", 1) == "find: d: is a directory"


def test_fc_of_texts(session: Session, volume: Volume) -> None:
    """The nearest lines that agree; nothing of equal files; an end that comes early."""
    texts = {
        "same": b"a\nb\nc\nd\ne\n", "less": b"a\nd\ne\n", "more": b"a\nb\nx\ny\nc\nd\ne\n",
        "cut": b"a\nb\nc\n", "none": b"", "crlf": b"a\r\nb\r\nc\r\nd\r\ne",
    }  # fmt: skip
    for name, text in texts.items():
        volume.write_bytes(name, text)
    for name in texts:
        other = "same" if name == "crlf" else name
        assert session(f"fc {name} {other}") == f"C:\\{name} and C:\\{other}: no differences"
    assert session("fc same less", 1) == "***** C:\\same\nb\nc\n***** C:\\less\n*****"
    assert session("fc same more", 1) == "***** C:\\same\n***** C:\\more\nx\ny\n*****"
    assert session("fc same cut", 1) == "***** C:\\same\nd\ne\n***** C:\\cut\n*****"
    assert session("fc none cut", 1) == "***** C:\\none\n***** C:\\cut\na\nb\nc\n*****"
    assert session("fc same d", 1) == "fc: d: is a directory"
    assert session("fc same nothing", 1) == "fc: nothing: no such file or directory"


def test_fc_looks_so_far_and_no_further(session: Session, volume: Volume) -> None:
    """Lines that agree within the bound are found; a line more, and the rest is left."""
    tail = [b"the end", b"of it", b"x", b"y"]
    for apart in (MOST_APART - 2, MOST_APART - 1):
        volume.write_bytes("one", b"\n".join([*(b"%d" % i for i in range(apart)), *tail]))
        volume.write_bytes("two", b"\n".join(tail))
        left = f"the files agree nowhere in the next {MOST_APART} lines: the rest is left"
        assert (left in session("fc one two", 1)) == (apart == MOST_APART - 1)


@pytest.mark.parametrize(("one", "two"), [*product(("", "abc", "abd", "abcd"), repeat=2)])
def test_fc_of_bytes(session: Session, one: str, two: str) -> None:
    """As cmp lists them."""
    volume = session.shell.system.volumes["C:"]
    volume.write_bytes("one", one.encode())
    volume.write_bytes("two", two.encode())
    out = session("fc /b one two", int(one != two)).splitlines()
    apart = [i for i, (x, y) in enumerate(zip(one, two, strict=False)) if x != y]
    assert [int(line[:8], 16) for line in out if line[:1].isdigit()] == apart
    assert any("longer" in line for line in out) == (len(one) != len(two))


def test_sysinfo(session: Session) -> None:
    """Machine, memory, cache, drives."""
    out = session("sysinfo")
    for word in (
        "[SYSTEM] Octavo",
        "[CPU]    x86-64",
        "[RAM]    4096 KiB",
        "[CACHE]",
        "[C:]     FAT16",
    ):
        assert word in out
