"""copy, move, ren, del, md, rd, attrib at their edges, judged by mtools afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import octavo
from octavo.files import Volume
from octavo.testing.bufferdisk import BufferDisk
from tests.conftest import fsck, run
from tests.shell.conftest import Session
from tests.volumes import clusters_of, leave_free, make_volume


@pytest.fixture
def volume(session: Session) -> Volume:
    """The volume at C:."""
    return session.shell.system.volumes["C:"]


def names(volume: Volume, path: str = "") -> list[str]:
    """What is in a directory."""
    return sorted(e.name for e in volume.entries(path))


def test_copy_with_masks(session: Session, volume: Volume) -> None:
    """* and ? of the new name stand for those of the old one; two that would be one are told."""
    assert session('copy "docs\\note ?.txt" *.bak').split() == ["5", "files", "copied"]
    assert names(volume) == ["docs", *(f"note {i}.bak" for i in range(5)), "readme.txt"]
    session("copy readme.txt docs\\??x*.*")
    assert volume.read_bytes("docs/rexdme.txt") == b"Hello\r\nworld\n"
    assert session("copy docs\\*.txt x.*", 1).endswith("in the target: nothing was copied")
    session("cd docs; copy \\readme.txt; cd \\")
    assert volume.read_bytes("docs/readme.txt") == b"Hello\r\nworld\n"
    assert session("copy \\readme.txt", 1).endswith("cannot be copied onto or into itself")
    assert session("copy *.txt *.*", 1).endswith("cannot be copied onto or into itself")
    assert volume.read_bytes("readme.txt") == b"Hello\r\nworld\n"


def test_copy_at_its_edges(session: Session, volume: Volume) -> None:
    """Onto a directory's file, onto what is read-only, into what is not there, no bytes."""
    session("attrib +r readme.txt")
    assert session('copy "docs\\note 1.txt" readme.txt', 1).endswith(
        "readme.txt: has the read-only attribute"
    )
    assert volume.read_bytes("readme.txt") == b"Hello\r\nworld\n"
    assert "no such directory" in session("copy readme.txt nowhere\\x", 1)
    session('copy "docs\\note 0.txt" empty')
    assert volume.read_bytes("empty") == b""
    assert session("copy nothing x", 1) == "copy: nothing: no such file or directory"
    assert session("copy *.zip x", 1) == "copy: *.zip: nothing matches"
    assert session("copy docs empty", 1).startswith("copy: C:\\empty: is a file")
    assert session("copy readme.txt a?b\\c", 1).count("copy: ") == 1


def test_ren_and_move_with_several(session: Session, volume: Volume) -> None:
    """One that cannot be renamed is told, and the others are."""
    volume.write_bytes("docs/note 3.bak", b"there")
    assert session("ren docs\\*.txt *.bak", 1) == "ren: docs/note 3.bak: exists already"
    assert names(volume, "docs") == [
        "note 0.bak", "note 1.bak", "note 2.bak", "note 3.bak", "note 3.txt", "note 4.bak"
    ]  # fmt: skip
    session("md old; copy docs\\*2.bak old")
    assert session("move docs\\*.bak old", 1) == "move: old/note 2.bak: exists already"
    assert names(volume, "docs") == ["note 2.bak", "note 3.txt"]
    session("ren readme.txt README.TXT; move readme.txt ReadMe.txt")
    assert "ReadMe.txt" in names(volume)


def test_del_of_several(session: Session, volume: Volume) -> None:
    """A pattern means no directories; what is read-only stays, but with /f."""
    session("md docs\\inner; attrib +r 'docs\\note 1.txt'")
    assert (
        session("del docs\\* readme.txt", 1) == "del: docs/note 1.txt: has the read-only attribute"
    )
    assert names(volume, "docs") == ["inner", "note 1.txt"] and names(volume) == ["docs"]
    session("del /f 'docs\\note 1.txt'")
    assert names(volume, "docs") == ["inner"]
    assert session("del a b docs", 1).splitlines() == [
        "del: a: no such file or directory",
        "del: b: no such file or directory",
        "del: docs: is a directory",
    ]


def test_rd_of_trees(session: Session, volume: Volume) -> None:
    """With /s all of it, but what is read-only, and the way to it; never the root."""
    session("md docs\\a docs\\b; copy docs\\*.txt docs\\a; attrib +r 'docs\\a\\note 1.txt'")
    assert session("rd /s docs", 1) == "rd: docs/a/note 1.txt: has the read-only attribute"
    assert names(volume, "docs") == ["a"] and names(volume, "docs/a") == ["note 1.txt"]
    session("attrib -r docs\\a\\*; rd /s docs")
    assert names(volume) == ["readme.txt"]
    assert session("rd /s \\", 1) == "rd: C:\\: the root directory stays"
    assert session("rd /s readme.txt", 1) == "rd: readme.txt: is not a directory"
    assert session("rd nothing", 1) == "rd: nothing: no such file or directory"


def test_the_current_directory_stays(session: Session, volume: Volume) -> None:
    """It, and those above it, by any of their names; of each drive."""
    session('md "a long name"; cd "a long name"; md inner; cd inner; md x; cd \\')
    session("cd ALONGN~1\\inner")
    for line in ('rd /s "\\a long name"', 'move "\\a long name" \\y', "ren \\ALONGN~1 y", "rd ."):
        assert "the current directory of C: is there" in session(line, 1), line
    session("rd x; cd \\; rd alongn~1\\inner; rd alongn~1")
    assert names(volume) == ["docs", "readme.txt"]


def test_attrib(session: Session, volume: Volume) -> None:
    """Shows, sets and clears; several files; what is no change."""
    assert session("attrib readme.txt") == "----a  C:\\readme.txt"
    session("attrib +rh -a readme.txt")
    assert session("attrib") == "---d-  C:\\docs\nrh---  C:\\readme.txt"
    assert volume.stat("readme.txt").flags.startswith("rh")
    assert session("attrib +x readme.txt", 2).endswith(
        "is no change of attributes, such as +r or -ha"
    )
    assert session("attrib +r nothing", 1) == "attrib: nothing: no such file or directory"
    session("attrib +s 'docs\\note 2.txt' 'docs\\note 3.txt'")
    assert session("attrib docs\\*").count("--s-a") == 2


@pytest.mark.mtools
@pytest.mark.dosfstools
def test_what_mtools_sees(session: Session, tmp_path: Path) -> None:
    """Names, contents, attributes of all that was done."""
    for line in (
        "md new 'with blank'", "copy docs\\*.txt new\\*.bak", "ren new\\*.bak *.old",
        "del 'docs\\note 1.txt'", "move 'docs\\note 2.txt' 'with blank'",
        "attrib +rhs 'docs\\note 3.txt'", "rd /s new", 'echo one two > "with blank\\echoed.txt"',
        "type readme.txt >> 'with blank\\echoed.txt'", "sync",
    ):  # fmt: skip
        session(line)
    image = tmp_path / "disk.img"
    session.shell.system.close()
    fsck(image)
    assert run("mdir", "-i", image, "-/", "-a", "-b", "::").split("\n") == [
        "::/docs/", "::/readme.txt", "::/with blank/", "::/docs/note 0.txt", "::/docs/note 3.txt",
        "::/docs/note 4.txt", "::/with blank/note 2.txt", "::/with blank/echoed.txt", "",
    ]  # fmt: skip
    done = subprocess.run(
        ["mtype", "-i", image, "::/with blank/echoed.txt"], capture_output=True, check=True
    )
    assert done.stdout == b"one two\r\nHello\r\nworld\n"
    assert " SHR" in run("mattrib", "-i", image, "::/docs/note 3.txt")


def test_a_full_volume(tmp_path: Path) -> None:
    """copy, md, > and >> without room take nothing, and what was there stays."""
    image = make_volume(tmp_path / "full.img", 3 << 20, 16, 512)
    leave_free(image, range(10, 20))
    assert clusters_of(image) > 20
    with octavo.boot("2M") as system:
        volume = system.attach_device(BufferDisk("full", image))
        volume.write_bytes("old", b"o" * 1000)
        volume.write_bytes("most", b"m" * 512 * 7)
        session = Session(system)
        for line, word in (
            ("copy most more", "the volume is full"),
            ("type most > new", "full"),
            ("type most >> old", "full"),
            ("type most > old", "full"),
            ("md a b", "full"),
        ):
            free = volume.space().free
            out = session(line, 1)
            assert word in out, out
            assert names(volume) == ["a", "most", "old"][line[0] != "m" :]
            assert volume.read_bytes("old") == b"o" * 1000
            assert volume.space().free == free - 512 * (line[0] == "m")
        assert volume.check() == []


def test_a_read_only_volume(image: Path) -> None:
    """Each command that changes something says so, and nothing is changed."""
    with octavo.open_image(image) as volume:
        volume.write_bytes("a.txt", b"a")
        volume.mkdir("d")
    before = image.read_bytes()
    with octavo.boot("4M", [image], read_only=True) as system:
        session = Session(system)
        for line in (
            "copy a.txt b", "move a.txt d", "ren a.txt b", "del a.txt", "md e", "rd d", "rd /s d",
            "attrib +r a.txt", "echo x > b", "echo x >> a.txt", "type a.txt > a.txt",
        ):  # fmt: skip
            assert "the volume is read-only" in session(line, 1), line
        assert session("type a.txt") == "a"
    assert image.read_bytes() == before
