"""The verbs on images, as programs: what they do, say and return."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from octavo.cli.target import Target, parse_target
from tests.command import OCTAVO, octavo
from tests.conftest import fsck


@pytest.mark.dosfstools
def test_a_tree_goes_in_and_comes_out(tree: Path, tmp_path: Path) -> None:
    """mkfs, cp -r, ls, cat, df, check, cp -r back: the same tree, with its times."""
    image = tmp_path / "disk.img"
    assert "FAT16, 65536 KiB" in octavo("mkfs", "--size", "64M", image)
    octavo("cp", "-r", tree, f"{image}:/")
    fsck(image)
    assert octavo("ls", f"{image}:") == "tree/\n"
    assert octavo("ls", f"{image}:/tree").splitlines() == ["a.txt", "empty/", "none", "sub/"]
    assert octavo("cat", f"{image}:TREE/A.TXT") == "a" * 100
    listing = octavo("ls", "-l", f"{image}:/tree")
    assert "----a          100 " in listing and "---d-            0 " in listing
    assert "disk.img:/tree/sub/deep:" in octavo("ls", "-r", f"{image}:/tree")
    records = {r["path"]: r for r in json.loads(octavo("ls", "-r", "--json", f"{image}:"))}
    assert (
        records["/tree/sub/Größe.txt"]["size"] == 70_000
        and records["/tree/empty"]["type"] == "directory"
    )
    assert json.loads(octavo("df", "--json", image))[0]["used"] >= 3 << 20
    assert "FAT16" in octavo("df", image)
    assert octavo("check", image) == f"{image}: FAT16, clean\n"
    assert json.loads(octavo("check", "--json", image))["problems"] == []
    (tmp_path / "out").mkdir()
    octavo("cp", "-r", f"{image}:/", tmp_path / "out")
    assert (
        subprocess.run(["diff", "-r", tree, tmp_path / "out" / "tree"], check=False).returncode == 0
    )
    assert (
        abs(
            (tmp_path / "out" / "tree" / "a.txt").stat().st_mtime - (tree / "a.txt").stat().st_mtime
        )
        < 2
    )


@pytest.mark.dosfstools
def test_cp_onto_what_is_there(tree: Path, image: Path, tmp_path: Path) -> None:
    """A new name, into a directory, over a file, several at once, image to image."""
    octavo("cp", tree / "a.txt", f"{image}:b.txt")
    octavo("mkdir", "-p", f"{image}:/x/y")
    octavo("cp", tree / "a.txt", tree / "none", f"{image}:/x")
    octavo("cp", tree / "none", f"{image}:/b.txt")
    assert octavo("cat", f"{image}:b.txt") == ""
    assert octavo("ls", f"{image}:x").split() == ["a.txt", "none", "y/"]
    octavo("cp", "-r", f"{image}:x", f"{image}:/z")
    assert octavo("ls", f"{image}:z").split() == ["a.txt", "none", "y/"]
    other = tmp_path / "other.img"
    octavo("mkfs", "--size", "2M", other)
    octavo("cp", "-r", f"{image}:x", f"{other}:")
    assert octavo("cat", f"{other}:x/a.txt") == "a" * 100
    fsck(image)
    fsck(other)


def test_mv_rm_mkdir(tree: Path, image: Path) -> None:
    """Moving, renaming and removing."""
    octavo("cp", "-r", tree, f"{image}:")
    octavo("mv", f"{image}:tree/a.txt", f"{image}:tree/none", f"{image}:tree/sub")
    octavo("mv", f"{image}:tree/sub", f"{image}:moved")
    assert octavo("ls", f"{image}:moved").split() == ["Größe.txt", "a.txt", "deep/", "none"]
    octavo("mv", f"{image}:moved", f"{image}:Moved")
    assert "is a directory: use -r" in octavo("rm", f"{image}:moved", code=1)
    octavo("rm", "-r", f"{image}:moved", f"{image}:tree")
    assert octavo("ls", f"{image}:") == ""
    assert octavo("check", image).endswith("clean\n")


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (["ls", "IMAGE:missing"], "missing: no such file or directory", 1),
        (["cat", "IMAGE:"], "the root directory cannot be opened as a file", 1),
        (
            ["ls", "nowhere.img:/"],
            "nowhere.img: cannot open the image: No such file or directory",
            1,
        ),
        (["ls", "/etc/passwd"], "/etc/passwd: is text, not the image of a disk", 1),
        (["ls", "/etc"], "is a directory of the host, not IMAGE:PATH", 2),
        (["cp", "a", "b"], "neither side is in an image", 2),
        (["cp", "/no/such", "IMAGE:"], "/no/such: No such file or directory", 1),
        (["cp", "/etc", "IMAGE:"], "use -r", 1),
        (["cp", "-r", "IMAGE:", "IMAGE:sub"], "onto or into itself", 1),
        (["mkfs", "new.img"], "needs a size", 2),
        (["mkfs", "--size", "many", "new.img"], "'many' is not a size", 2),
        (["mkfs", "--size", "9" * 400, "new.img"], "is not a size: write 16M", 2),
        (["mkfs", "--size", "16iB", "new.img"], "'16iB' is not a size", 2),
        (["mkfs", "--size", "٣M", "new.img"], "'٣M' is not a size", 2),
        (
            ["mkfs", "--size", "3T", "new.img"],
            "cannot make 3298534883328 bytes: FAT's limit is 2 TiB",
            2,
        ),
        (["boot", "--memory", "9" * 400, "-c", "exit"], "is not a size", 2),
        (["mkfs", "--size", "1M", "--type", "ntfs", "new.img"], "invalid choice: 'ntfs'", 2),
        (
            ["mkfs", "--size", "1M", "--type", "fat32", "new.img"],
            "cannot make 1048576 bytes as FAT32",
            2,
        ),
        (
            ["mkfs", "--size", "1M", "--label", "twelve chars", "new.img"],
            "cannot be a volume label",
            2,
        ),
        (["mkfs", "--size", "1M", "IMAGE"], "exists already: --force overwrites it", 1),
        (["boot", "--memory", "1048575", "-c", "dir"], "at least 1024K are needed", 2),
        (["boot", "--cluster", "0", "-c", "dir"], "the pages of a cluster cannot be 0", 2),
        (["boot", "--codepage", "zzz", "-c", "dir"], "'zzz' is no code page", 2),
        (["ls", "--codepage", "zzz", "IMAGE:"], "'zzz' is no code page", 2),
        (["boot", "--cluster", "many"], "invalid int value: 'many' (octavo boot --help", 2),
        (["boot", "--memory", "some"], "'some' is not a size", 2),
        (["boot", "--arch", "vax"], "invalid choice: 'vax'", 2),
        (
            ["boot", "--firmware-map", "missing"],
            "missing: No such file or directory; give a file",
            1,
        ),
        (["fly"], "invalid choice: 'fly'", 2),
        ([], "the following arguments are required: VERB", 2),
    ],
)
def test_errors(arguments: list[str], says: str, code: int, image: Path, tmp_path: Path) -> None:
    """One sentence on stderr; 1 for work that failed, 2 for a wrong call; nothing is left
    behind.
    """
    said = octavo(*(a.replace("IMAGE", str(image)) for a in arguments), code=code)
    assert says in said
    assert "Traceback" not in said and said.count("\n") == 1
    assert not Path("new.img").exists()


@pytest.mark.dosfstools
def test_what_cannot_be_copied_is_said_and_the_rest_is_copied(tree: Path, image: Path) -> None:
    """A name that FAT cannot store, and a link to a directory."""
    (tree / "what?").write_bytes(b"x")
    (tree / "loop").symlink_to(tree)
    said = octavo("cp", "-r", tree, f"{image}:", code=1)
    assert "'what?' cannot be a name on FAT: it contains '?'" in said
    assert "loop: is a link to a directory" in said
    assert octavo("ls", f"{image}:tree").splitlines() == ["a.txt", "empty/", "none", "sub/"]
    fsck(image)


@pytest.mark.dosfstools
def test_a_refusal_is_one_line(image: Path, tmp_path: Path) -> None:
    """Also what Python says while it ends: threads of the system that wait for ever are dropped in
    silence.
    """
    (tmp_path / "a").write_bytes(b"a")
    octavo("cp", tmp_path / "a", f"{image}:/")
    for _ in range(3):
        said = octavo("cp", f"{image}:/a", image, code=1)
        assert said.splitlines() == [
            f"octavo: {image}: is an image that this copy reads or writes: it cannot be "
            "copied or replaced meanwhile"
        ]


def test_a_full_target_stops_the_copy(tree: Path, tmp_path: Path) -> None:
    """Disk full: told once, the file is not left half, the image is clean."""
    image = tmp_path / "small.img"
    octavo("mkfs", "--size", "1440K", image)
    said = octavo("cp", "-r", tree, f"{image}:", code=1)
    assert said.count("the volume is full") == 1
    assert "big.bin" not in octavo("ls", "-r", f"{image}:")
    fsck(image)


def test_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the image ends and the path begins."""
    monkeypatch.chdir(tmp_path)
    Path("disk.img").touch()
    Path("odd:name.img").touch()
    Path("dir").mkdir()
    for text, image, path in [
        ("disk.img:/a:b", "disk.img", "/a:b"),
        ("disk.img:a", "disk.img", "a"),
        (f"{tmp_path}/disk.img:x", f"{tmp_path}/disk.img", "x"),
        ("odd:name.img:/x", "odd:name.img", "/x"),
        ("missing.img:/x", "missing.img", "/x"),
        ("disk.img", "", "disk.img"),
        ("./dir/a:b", "", "./dir/a:b"),
        ("dir", "", "dir"),
    ]:
        assert parse_target(text) == Target(image, path, text), text


@pytest.mark.parametrize("verb", ["df", "check", "ls", "cat", "mkdir", "rm", "attrib"])
@pytest.mark.parametrize(
    "missing", ["nope.img", "/nonexist:", "/nonexist/nope.img:/a", "./nope.img"]
)
def test_an_image_that_is_missing(verb: str, missing: str) -> None:
    """Each verb says that it is not there, whatever form the argument has."""
    image = missing.partition(":")[0]
    assert (
        octavo(verb, missing, code=1)
        == f"octavo: {image}: cannot open the image: No such file or directory\n"
    )


@pytest.mark.parametrize(("verb", "code"), [("df", 1), ("check", 2)])
def test_a_path_where_a_whole_image_is_needed(verb: str, code: int, image: Path) -> None:
    """It is not taken for the image; df has others to go on with."""
    octavo("mkdir", f"{image}:/d")
    said = octavo(verb, f"{image}:/d", code=code)
    assert said == f"octavo: {image}:/d: names /d in an image, and the whole image is needed\n"
    octavo(verb, f"{image}:/")


def test_a_directory_instead_of_an_image(tmp_path: Path) -> None:
    """Where an image is meant it is none; where a path in one is meant, it is one of the host."""
    for verb in ("df", "check"):
        assert (
            octavo(verb, tmp_path, code=1)
            == f"octavo: {tmp_path}: is a directory, not a file or a block device\n"
        )
    assert "is a directory of the host, not IMAGE:PATH" in octavo("ls", tmp_path, code=2)
    assert (
        octavo("ls", f"{tmp_path}:", code=1)
        == f"octavo: {tmp_path}: is a directory, not a file or a block device\n"
    )


@pytest.mark.parametrize("bad_first", [True, False])
def test_one_bad_image_does_not_hide_the_others(
    bad_first: bool, image: Path, tmp_path: Path
) -> None:
    """What can be read is printed, also as JSON; the other is told, and the exit code is 1."""
    (tmp_path / "f").write_text("text")
    octavo("cp", tmp_path / "f", f"{image}:/f")

    def call(verb: str, *options: str, path: str = "") -> str:
        where = [f"{image}{path}", f"{tmp_path}/nope.img{path}"]
        done = subprocess.run(
            [*OCTAVO, verb, *options, *sorted(where, reverse=bad_first)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (
            1,
            f"octavo: {tmp_path}/nope.img: cannot open the image: No such file or directory\n",
        )
        return done.stdout

    assert str(image) in call("df") and call("df").count("\n") == 2
    assert [record["image"] for record in json.loads(call("df", "--json"))] == [str(image)]
    assert "f\n" in call("ls", path=":") and [
        r["path"] for r in json.loads(call("ls", "--json", path=":"))
    ] == ["/f"]
    assert call("cat", path=":/f") == "text"
    call("mkdir", path=":/d")
    call("rm", path=":/f")
    assert octavo("ls", f"{image}:") == "d/\n"
    assert octavo("df", f"{tmp_path}/nope.img", code=1).count("\n") == 1


def test_rm_of_a_whole_volume(image: Path) -> None:
    """Only by force."""
    octavo("mkdir", "-p", f"{image}:/a/b")
    for path in ("", "/", "/a/.."):
        assert (
            octavo("rm", "-r", f"{image}:{path}", code=1)
            == f"octavo: {image}:{path}: is the whole volume: rm -rf empties it\n"
        )
    assert octavo("ls", f"{image}:") == "a/\n"
    octavo("rm", "-rf", f"{image}:/")
    assert octavo("ls", f"{image}:") == ""
