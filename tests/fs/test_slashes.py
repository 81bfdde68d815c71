"""A path that ends in a slash, or in "." or "..", is a directory's, as in POSIX: no file is found
or made by it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import octavo
from octavo.files import Volume
from octavo.fs.base import check_file_path
from octavo.shell.shell import Shell
from octavo.status import Status, StatusError
from tests.command import octavo as command
from tests.conftest import fsck

ENDS = ["/", "//", "\\", "/.", "/d/.."]


CALLS: dict[str, Callable[[Volume, str], object]] = {
    "open": lambda v, p: v.open(p),
    "open to write": lambda v, p: v.open(p, "wb"),
    "open to append": lambda v, p: v.open(p, "ab"),
    "open anew": lambda v, p: v.open(p, "xb"),
    "read_bytes": lambda v, p: v.read_bytes(p),
    "write_bytes": lambda v, p: v.write_bytes(p, b"x"),
    "write_bytes of nothing": lambda v, p: v.write_bytes(p, b""),
    "create_bytes": lambda v, p: v.create_bytes(p, b"x"),
    "open_beside": lambda v, p: v.open_beside(p),
    "stat": lambda v, p: v.stat(p),
    "entries": lambda v, p: v.entries(p),
    "walk": lambda v, p: list(v.walk(p)),
    "remove": lambda v, p: v.remove(p),
    "rmdir": lambda v, p: v.rmdir(p),
    "rmtree": lambda v, p: v.rmtree(p),
    "rename from": lambda v, p: v.rename(p, "other"),
    "rename to": lambda v, p: v.rename("file", p),
    "rename over": lambda v, p: v.rename("file", p, replace=True),
    "set_attributes": lambda v, p: v.set_attributes(p, "r"),
    "set_modified": lambda v, p: v.set_modified(p, 0),
}


@pytest.mark.parametrize("name", ["file", "new"])
def test_a_file_has_no_slash_at_its_end(name: str, image: Path) -> None:
    """Each call, each such end, of a file that is there and of one that is not."""
    with octavo.open_image(image) as volume:
        volume.write_bytes("file", b"abc")
        flags = volume.stat("file").flags
        for what, call in CALLS.items():
            for end in ENDS[:4]:
                with pytest.raises(StatusError) as error:
                    call(volume, name + end)
                assert error.value.status in (
                    Status.NOT_A_DIRECTORY,
                    Status.OBJECT_NAME_NOT_FOUND,
                    Status.OBJECT_PATH_NOT_FOUND,
                ), f"{what}: {error.value.text}"
                assert [(e.name, e.flags, e.size) for e in volume.entries()] == [
                    ("file", flags, 3)
                ], what
        assert [e.name for e in volume.entries()] == ["file"] and volume.read_bytes(
            "file"
        ) == b"abc"
        assert not volume.exists(name + "/") and not volume.is_dir(name + "/")


def test_a_directory_may_have_one(image: Path) -> None:
    """It is made, listed, moved and removed by such a path."""
    with octavo.open_image(image) as volume:
        volume.mkdir("d/")
        volume.mkdir("a/b/c/", parents=True)
        volume.mkdir("a/b/c/", parents=True)
        assert (
            volume.exists("d/")
            and volume.is_dir("d//")
            and volume.stat("a\\b\\").is_directory
            and volume.entries("d/") == []
        )
        volume.write_bytes("a/b/../f", b"x")
        volume.rename("d/", "e/")
        volume.rmdir("e/")
        volume.rmtree("a/")
        volume.write_bytes("file", b"x")
        with pytest.raises(StatusError) as error:
            volume.mkdir("file", parents=True)
        assert error.value.status == Status.OBJECT_NAME_COLLISION and [
            e.name for e in volume.entries()
        ] == ["file"]


def test_what_such_a_path_is() -> None:
    """The ends, and what only looks like one."""
    for path in ("", "/", "a/", "a\\", "a/.", "a/..", "."):
        with pytest.raises(StatusError, match="only a directory can have this path"):
            check_file_path(path)
    for path in ("a", "a/b", "a/.b", "a/b.", "a/..."):
        check_file_path(path)


def test_at_the_command_line(image: Path, tmp_path: Path) -> None:
    """Sources and targets of every verb, in the image and on the host."""
    host = tmp_path / "host"
    host.write_bytes(b"h")
    command("cp", host, f"{image}:/file")
    for call in (
        ["cat", "/file/"], ["ls", "/file/"], ["rm", "/file/"], ["rm", "-r", "/file/"],
        ["attrib", "/file/"], ["mkdir", "-p", "/file/"],
    ):  # fmt: skip
        command(*call[:-1], f"{image}:{call[-1]}", code=1)
    for source, target in (
        (host, "/new/"), (host, "/file/"), (host, "/new/."), (f"{image}:/file", "/new/"),
        (f"{image}:/file/", "/new"), (f"{host}/", "/new"),
    ):  # fmt: skip
        command("cp", source, f"{image}:{target}", code=1)
    for there in (tmp_path / "new", host):
        command("cp", f"{image}:/file", f"{there}/", code=1)
    command("mv", f"{image}:/file", f"{image}:/new/", code=1)
    command("mv", f"{image}:/file/", f"{image}:/new", code=1)
    assert command("ls", f"{image}:/") == "file\n" and sorted(
        p.name for p in tmp_path.iterdir()
    ) == ["disk.img", "host"]
    command("mkdir", f"{image}:/d/")
    command("cp", host, f"{image}:/d/")
    command("mv", f"{image}:/file", f"{image}:/d/")
    command("cp", "-r", f"{image}:/d/", f"{image}:/e/")
    assert command("ls", f"{image}:/e/") == "file\nhost\n"
    fsck(image)


def test_in_the_shell(image: Path) -> None:
    """The same commands with and without; wildcards with a slash behind them find directories
    only.
    """
    lines: list[str] = []
    with octavo.boot(memory="4M", disks=[image]) as system:
        system.volumes["C:"].write_bytes("file", b"abc")
        system.volumes["C:"].mkdir("d")
        shell = Shell(system, lines.append)
        for line in (
            "dir file/",
            "dir f*/",
            "type file/",
            "copy file/ x",
            "copy file x/",
            "copy file file\\",
            "move file/ x",
            "move file x/",
            "ren file/ x",
            "del file/",
            "cd file/",
        ):
            assert shell.run(line) == 1, line
            assert [e.name for e in system.volumes["C:"].entries()] == ["file", "d"], line
        for line in (
            "copy file d/",
            "dir d/",
            "dir *d/",
            "cd d/",
            "cd ..\\",
            "ren d/ e",
            "move e/ f/",
            "md g/",
            "copy f/ g/",
            "rd g/f/x",
            "del g/f/file",
            "rd g/f/",
            "rd g/",
        ):
            assert shell.run(line) == (line == "rd g/f/x"), f"{line}: {lines[-1]}"
        assert [e.name for e in system.volumes["C:"].entries()] == ["file", "f"]
