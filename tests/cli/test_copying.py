"""cp's options: what is replaced, what is left out, attributes, standard input and output, and
wildcards on the side of the image.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import octavo
from tests.command import OCTAVO, call
from tests.conftest import fsck

NOON = 1_600_000_000  # even, as FAT's times are


def dated(path: Path, text: str, moment: float) -> Path:
    """A file of the host, last changed at a moment."""
    path.write_text(text)
    os.utime(path, (moment, moment))
    return path


def test_no_clobber_by_names_in_any_case(tmp_path: Path, image: Path) -> None:
    """What is there stays, also under a name in another case, and is not told; what is new is
    copied.
    """
    source = tmp_path / "s"
    source.mkdir()
    for name in ("readme.txt", "LONGER NAME.TXT", "new"):
        (source / name).write_text("new")
    with octavo.open_image(image) as volume:
        volume.write_bytes("README.TXT", b"old")
        volume.write_bytes("longer name.txt", b"old")
    out = call("cp", "-nv", *sorted(source.iterdir()), f"{image}:/")
    assert out == f"{source}/new -> {image}:/new\n"
    assert call("cat", f"{image}:readme.txt", f"{image}:Longer Name.txt", f"{image}:new") == (
        "oldoldnew"
    )
    call("cp", "-rn", source, f"{image}:/")
    call("cp", "-r", f"{image}:/", source)
    assert (source / "readme.txt").read_text() == "new"
    (source / "readme.txt").write_text("host")
    call("cp", "-n", f"{image}:/s/readme.txt", source)
    assert (source / "readme.txt").read_text() == "host"


@pytest.mark.parametrize(
    ("difference", "copied"), [(-5, False), (0, False), (1, False), (1.99, False), (2, True)]
)
def test_update_by_times_that_fat_can_tell_apart(
    difference: float, copied: bool, tmp_path: Path, image: Path
) -> None:
    """A file is newer from 2 seconds on, in both directions."""
    source = dated(tmp_path / "f", "old", NOON)
    call("cp", source, f"{image}:/f")
    dated(source, "new", NOON + difference)
    call("cp", "-u", source, f"{image}:/F")
    assert call("cat", f"{image}:f") == ("new" if copied else "old")
    call("cp", "-u", source, f"{image}:/other")
    assert call("cat", f"{image}:other") == "new"
    dated(source, "older", NOON - difference)
    with octavo.open_image(image) as volume:
        volume.write_bytes("f", b"image", NOON)
    call("cp", "-u", f"{image}:/f", source)
    assert source.read_text() == ("image" if copied else "older")


def test_update_after_the_last_time_of_fat(tmp_path: Path, image: Path) -> None:
    """A file from 2109 is as old as its copy, which has FAT's last moment."""
    source = dated(tmp_path / "f", "old", 4.4e9)
    call("cp", source, f"{image}:/f")
    assert call("cp", "-uv", source, f"{image}:/f") == ""
    with octavo.open_image(image) as volume:
        volume.set_modified("f", 4.3e9)
    assert call("cp", "-uv", source, f"{image}:/f") == f"{source} -> {image}:/f\n"


def test_times_before_1980_and_attributes(tmp_path: Path, image: Path) -> None:
    """FAT's first moment stands for what is before it; attributes go from side to side."""
    source = dated(tmp_path / "f", "x", -86400 * 365)
    source.chmod(0o444)
    call("cp", "-p", source, f"{image}:/f")
    call("cp", source, f"{image}:/plain")
    with octavo.open_image(image) as volume:
        assert str(volume.stat("f").modified) == "1980-01-01 00:00:00"
        assert (volume.stat("f").flags, volume.stat("plain").flags) == ("r---a", "----a")
        volume.set_attributes("f", "hs", "a")
        volume.mkdir("d")
        volume.write_bytes("d/g", b"")
        volume.set_attributes("d", "h")
    call("cp", "-rp", f"{image}:/d", f"{image}:/f", tmp_path)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o444
    call("mkdir", f"{image}:/to")
    call("cp", "-rp", f"{image}:/d", f"{image}:/f", f"{image}:/to")
    with octavo.open_image(image) as volume:
        flags = {e.name: e.flags for e in volume.entries("to")}
        assert flags == {"d": "-h-d-", "f": "rhs--"}


def test_force_replaces_what_is_read_only(tmp_path: Path, image: Path) -> None:
    """Without it that is refused; when the copy fails, the attribute is there again."""
    source = dated(tmp_path / "f", "new", NOON)
    call("cp", source, f"{image}:/f")
    call("attrib", f"{image}:/f", "+r")
    dated(source, "newer", NOON)
    assert "has the read-only attribute" in call("cp", source, f"{image}:/f", code=1)
    call("cp", "-f", source, f"{image}:/f")
    assert call("cat", f"{image}:f") == "newer"
    assert call("attrib", f"{image}:/f").startswith("----a")
    call("attrib", f"{image}:/f", "+r")
    before = image.read_bytes()
    source.chmod(0)
    if os.geteuid():
        assert "Permission denied" in call("cp", "-f", source, f"{image}:/f", code=1)
    done = subprocess.run([*OCTAVO, "cp", "-f", "-", f"{image}:/f"], stdin=subprocess.DEVNULL,
                          check=False)  # fmt: skip
    assert done.returncode == 0 and call("cat", f"{image}:f") == ""
    image.write_bytes(before)
    big = tmp_path / "big"
    with open(big, "wb") as file:
        file.truncate(17 << 20)
    with open(big, "rb") as file:
        done = subprocess.run([*OCTAVO, "cp", "-f", "-", f"{image}:/f"], stdin=file, check=False,
                              capture_output=True)  # fmt: skip
    assert done.returncode == 1 and b"the volume is full" in done.stderr
    assert call("cat", f"{image}:f") == "newer"
    assert call("attrib", f"{image}:/f").startswith("r---a")
    host = dated(tmp_path / "host", "old", NOON)
    host.chmod(0o444)
    call("cp", "-f", f"{image}:/f", host)
    assert host.read_text() == "newer"


EXCLUDED = [
    (["*.o"], ["[x]", "a.c", "build/", "build/a.c", "build/o/", "build/o/x"]),
    (["build"], ["a.c", "a.o", "[x]"]),
    (["build/"], ["a.c", "a.o", "[x]"]),
    (["a.c/"], ["[x]", "a.c", "a.o", "build/", "build/a.c", "build/a.o", "build/o/", "build/o/x"]),
    (["build/a.?"], ["[x]", "a.c", "a.o", "build/", "build/o/", "build/o/x"]),
    (["/a.c"], ["[x]", "a.o", "build/", "build/a.c", "build/a.o", "build/o/", "build/o/x"]),
    (["*/o"], ["[x]", "a.c", "a.o", "build/", "build/a.c", "build/a.o"]),
    (["[[]x]"], ["a.c", "a.o", "build/", "build/a.c", "build/a.o", "build/o/", "build/o/x"]),
    (["A.C"], ["[x]", "a.c", "a.o", "build/", "build/a.c", "build/a.o", "build/o/", "build/o/x"]),
    (["*"], []),
]


@pytest.mark.parametrize(("patterns", "left"), EXCLUDED, ids=lambda v: "_".join(v)[:20])
def test_exclude(patterns: list[str], left: list[str], tmp_path: Path, image: Path) -> None:
    """By names, by paths, directories only; with all that is below, in both directions."""
    tree = tmp_path / "tree"
    (tree / "build" / "o").mkdir(parents=True)
    for name in ("a.c", "a.o", "[x]", "build/a.c", "build/a.o", "build/o/x"):
        (tree / name).touch()
    options = [word for pattern in patterns for word in ("--exclude", pattern)]
    call("cp", "-r", *options, f"{tree}/.", f"{image}:/")
    with octavo.open_image(image) as volume:
        found = [f"{d}/{e.name}".lstrip("/") + "/" * e.is_directory
                 for d, entries in volume.walk() for e in entries]  # fmt: skip
    assert sorted(found) == sorted(left)
    call("rm", "-rf", f"{image}:/")
    call("cp", "-r", tree, f"{image}:/")
    (tmp_path / "out").mkdir()
    call("cp", "-r", *options, f"{image}:/tree/.", tmp_path / "out")
    out = sorted(str(p.relative_to(tmp_path / "out")) + "/" * p.is_dir()
                 for p in (tmp_path / "out").rglob("*"))  # fmt: skip
    if patterns != ["A.C"]:
        assert out == sorted(left)
    else:
        assert "a.c" not in out and "build/a.c" not in out, "on FAT case does not count"


def piped(*arguments: object, data: bytes = b"") -> tuple[int, bytes, str]:
    """Exit code, output and errors of a command with something on its standard input."""
    done = subprocess.run([*OCTAVO, *map(str, arguments)], input=data, capture_output=True,
                          check=False, timeout=60)  # fmt: skip
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.mark.dosfstools
def test_standard_input_and_output(tmp_path: Path) -> None:
    """Of any length, over what is there, onto a full volume, twice, and without a name."""
    image = tmp_path / "small.img"
    call("mkfs", "--size", "3M", image)
    for size in (0, 1 << 20, (1 << 20) + 7):
        data = os.urandom(size)
        assert piped("cp", "-", f"{image}:/f", data=data) == (0, b"", "")
        assert piped("cp", f"{image}:/f", "-") == (0, data, "")
    assert piped("cp", "-v", f"{image}:/f", "-")[2] == f"{image}:/f -> /dev/stdout\n"
    for target in ("full", "f"):
        code, _, said = piped("cp", "-", f"{image}:/{target}", data=bytes(4 << 20))
        assert code == 1 and said.count("\n") == 1 and "the volume is full" in said
        assert call("ls", f"{image}:") == "f\n"
        assert piped("cat", f"{image}:/f")[1] == data
    fsck(image)
    assert "can be read once only" in piped("cp", "-", "-", f"{image}:/", data=b"")[2]
    assert piped("cp", "-", "-", f"{image}:/")[0] == 2
    assert piped("cp", "-", "-")[0] == 2
    closed = subprocess.run(["sh", "-c", '"$@" <&-', "sh", *OCTAVO, "cp", "-", f"{image}:/closed"],
                            capture_output=True, check=False)  # fmt: skip
    assert closed.returncode == 1 and closed.stderr == (
        b"octavo: standard input: Bad file descriptor\n"
    )
    assert call("ls", f"{image}:") == "f\n"
    code, _, said = piped("cp", "-", f"{image}:/", data=b"x")
    assert code == 1 and "standard input has no name: add one" in said
    (tmp_path / "f").write_text("file")
    assert piped("cp", tmp_path / "f", "-", f"{image}:/", data=b"x")[0] == 1
    assert call("cat", f"{image}:/f") == "file"
    call("mkdir", f"{image}:/d")
    assert piped("cp", "-r", f"{image}:/d", "-")[0] == 1
    assert piped("cp", f"{image}:/f", f"{image}:/f", "-")[0] == 1
    (tmp_path / "-").write_text("a file of this name")
    assert run_in(tmp_path, "cp", "./-", f"{image}:/-") == 0
    assert call("cat", f"{image}:/-") == "a file of this name"


def run_in(directory: Path, *arguments: str) -> int:
    """The exit code of a command in a directory."""
    return subprocess.run([*OCTAVO, *arguments], cwd=directory, check=False).returncode


def test_wildcards(tmp_path: Path, image: Path) -> None:
    """In ls, cat, cp, mv, rm: those that match, in order; nothing, in one sentence; thousands."""
    with octavo.open_image(image) as volume:
        for name in ("b.txt", "a.txt", "C.TXT", "a.dat"):
            volume.write_bytes(f"docs/{name}" if volume.exists("docs") else name, name.encode())
        volume.mkdir("many")
        for i in range(3000):
            volume.create_bytes(f"many/f{i}", b"")
    assert call("ls", f"{image}:/*.txt").split() == ["C.TXT", "a.txt", "b.txt"]
    assert call("cat", f"{image}:A.*", f"{image}:b*") == "a.data.txtb.txt"
    (tmp_path / "out").mkdir()
    call("cp", f"{image}:?.txt", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["C.TXT", "a.txt", "b.txt"]
    call("mkdir", f"{image}:/txt")
    call("mv", f"{image}:/*.txt", f"{image}:/txt")
    assert call("ls", f"{image}:/txt").split() == ["C.TXT", "a.txt", "b.txt"]
    for verb in ("ls", "cat", "rm"):
        said = call(verb, f"{image}:/txt/*.png", code=1)
        assert said == "octavo: /txt/*.png: nothing matches\n"
    assert "nothing matches" in call("cp", f"{image}:*.png", tmp_path / "out", code=1)
    assert "nothing matches" in call("mv", f"{image}:*.png", f"{image}:/txt", code=1)
    call("rm", "-f", f"{image}:/txt/*.png", f"{image}:/none", f"{image}:/none/below")
    assert "no such file" in call("rm", f"{image}:/none", code=1)
    assert "for the last name of a path only" in call("rm", "-f", f"{image}:/*/x*", code=1)
    call("rm", f"{image}:/many/*")
    assert call("ls", f"{image}:/many") == ""
    assert "is a directory: use -r" in call("rm", f"{image}:/tx*", code=1)
    call("rm", "-r", f"{image}:/tx*")
    assert call("ls", f"{image}:").split() == ["a.dat", "many/"]


def test_stop_at_the_first_error(tmp_path: Path, image: Path) -> None:
    """With -e what comes behind it is not done; without it is."""
    (tmp_path / "ok").touch()
    for verb in (["mkdir"], ["cp"], ["rm"], ["cat"], ["ls"]):
        for options, done in ((["-e"], False), ([], True)):
            call("rm", "-rf", f"{image}:/")
            call("cp", tmp_path / "ok", f"{image}:/was")
            targets: list[object] = [f"{image}:/no/way", f"{image}:/was"]
            if verb == ["cp"]:
                targets = [tmp_path / "none", tmp_path / "ok", f"{image}:/"]
            if verb == ["mkdir"]:
                targets = [f"{image}:/no/way", f"{image}:/ok"]
            said = call(*verb, *options, *targets, code=1)
            assert said.count("octavo: ") == 1
            names = call("ls", f"{image}:").split()
            if verb == ["rm"]:
                assert ("was" in names) is not done
            elif verb in (["cp"], ["mkdir"]):
                assert (len(names) == 2) is done


def test_move_over_what_is_there(image: Path) -> None:
    """mv -f replaces files, read-only ones too; a directory stays; one name in another case."""
    with octavo.open_image(image) as volume:
        for name in ("a", "b", "d/x"):
            volume.mkdir("d", parents=True)
            volume.write_bytes(name, name.encode())
        volume.set_attributes("b", "r")
    assert "exists already" in call("mv", f"{image}:a", f"{image}:b", code=1)
    call("mv", "-f", f"{image}:a", f"{image}:b")
    assert call("cat", f"{image}:b") == "a"
    call("mv", "-f", f"{image}:b", f"{image}:B")
    assert call("ls", f"{image}:").split() == ["B", "d/"]
    call("attrib", f"{image}:B", "+r")
    call("mkdir", f"{image}:d/B")
    call("mv", "-f", f"{image}:B", f"{image}:d", code=1)
    assert call("attrib", f"{image}:B").startswith("r") and call("cat", f"{image}:d/x") == "d/x"


def test_the_time_of_day_is_set(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With SOURCE_DATE_EPOCH nothing that is copied or made is later, and older times stay."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1500000000")
    dated(tmp_path / "late", "x", NOON)
    dated(tmp_path / "early", "x", 1_400_000_000)
    call("cp", tmp_path / "late", tmp_path / "early", f"{image}:/")
    call("mkdir", f"{image}:/made")
    with octavo.open_image(image) as volume:
        times = {e.name: str(e.modified) for e in volume.entries()}
    assert times == {"late": "2017-07-14 02:40:00", "early": "2014-05-13 16:53:20",
                     "made": "2017-07-14 02:40:00"}  # fmt: skip
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert piped("cp", f"{image}:/early", tmp_path / "out")[0] == 0
    assert (tmp_path / "out").stat().st_mtime == 1_400_000_000, "FAT's times are in UTC then"
    assert piped("cp", "-u", tmp_path / "early", f"{image}:/early")[0] == 0
