"""The command line as a user calls it: what is printed, exit codes, one sentence an error."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from octavo import open_image
from octavo.cli.target import Target, parse_target
from tests.command import OCTAVO, octavo
from tests.conftest import fsck


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files and directories, one of them empty, and some that FAT cannot take."""
    root = tmp_path / "tree"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a.txt").write_bytes(b"a" * 100)
    (root / "sub" / "Größe.txt").write_bytes(b"b" * 70_000)
    (root / "sub" / "deep" / "big.bin").write_bytes(os.urandom(3 << 20))
    (root / "none").write_bytes(b"")
    return root


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
        (["ls", "/etc"], "is a directory of the host, not IMAGE:PATH", 1),
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
            1,
        ),
        (["boot", "--memory", "9" * 400, "-c", "exit"], "is not a size", 2),
        (["mkfs", "--size", "1M", "--type", "ntfs", "new.img"], "invalid choice: 'ntfs'", 2),
        (
            ["mkfs", "--size", "1M", "--type", "fat32", "new.img"],
            "cannot make 1048576 bytes as FAT32",
            1,
        ),
        (
            ["mkfs", "--size", "1M", "--label", "twelve chars", "new.img"],
            "cannot be a volume label",
            1,
        ),
        (["mkfs", "--size", "1M", "IMAGE"], "exists already: --force overwrites it", 1),
        (["boot", "--memory", "10K", "-c", "dir"], "below the minimum of 256", 1),
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
    assert "Traceback" not in said and (code == 2 or said.count("\n") == 1)
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


def test_boot(image: Path) -> None:
    """The log, the commands, the last status; JSON has it all."""
    out = octavo("boot", image, "--memory", "4M", "-c", "md new; cd new; dir")
    for line in (
        "Firmware memory map:",
        "Segments:",
        "PFN database:",
        "Memory: 4.0 MiB managed",
        "Volume C: FAT16",
        "Directory of C:\\new",
    ):
        assert line in out
    octavo("boot", image, "-c", "dir; type nothing", code=1)
    octavo("boot", image, "-c", "nonsense", code=2)
    data = json.loads(
        octavo("boot", image, "--json", "-c", "dir", "--arch", "pae", "--firmware-map", "ovmf-128m")
    )
    assert data["status"] == 0 and " Directory of C:\\" in data["output"]
    assert data["statistics"]["memory"]["limit"] == 16384
    assert any("pae, 3 levels" in line for line in data["log"])
    assert "new" in octavo("boot", image, stdin="dir\nexit\nnonsense\n")


def test_boot_without_an_image_makes_a_ram_disk() -> None:
    """2 MiB at C:, in frames of the memory limit."""
    out = octavo("boot", "--memory", "8M", "-c", "md a; copy a b; mount; memory")
    assert "C: FAT12" in out and "RAMDISK" in out


def test_boot_twice_from_one_seed(image: Path, tmp_path: Path) -> None:
    """The traces are equal, and another seed's is not."""
    copy = tmp_path / "copy" / image.name
    copy.parent.mkdir()
    copy.write_bytes(image.read_bytes())
    traces = []
    for path, seed in ((image, 4), (copy, 4), (image, 5)):
        out = octavo(
            "boot",
            path,
            "--seed",
            seed,
            "--memory",
            "2M",
            "-c",
            "md d; copy d e; del *; sync; rd d; rd e",
        )
        traces.append(out.splitlines()[-1])
    assert traces[0].startswith("Event trace: ") and traces[0] == traces[1] != traces[2]


def test_floppies_get_a(tmp_path: Path, image: Path) -> None:
    """By the size of the image."""
    floppy = tmp_path / "floppy.img"
    octavo("mkfs", "--size", "720K", floppy)
    out = octavo("boot", image, floppy, "-c", "mount")
    assert "A: FAT12" in out and "C: FAT16" in out


def test_read_only_boot(image: Path) -> None:
    """Nothing can be changed, and nothing is."""
    before = image.read_bytes()
    octavo("boot", image, "--read-only", "-c", "dir; md x", code=1)
    assert image.read_bytes() == before


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


def test_version_and_help() -> None:
    """Every verb explains itself, with an example."""
    assert octavo("--version").startswith("octavo 0.")
    out = octavo("--help")
    for verb in ("boot", "ls", "cat", "cp", "mv", "rm", "mkdir", "df", "mkfs", "check"):
        assert f"    {verb}" in out
        assert f"examples:\n  octavo {verb}" in octavo(verb, "--help")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("call", [["--help"], ["--version"], ["ls", "--help"]])
def test_help_that_cannot_be_written(call: list[str], unbuffered: str) -> None:
    """It is output as any other is, whether Python keeps it for a while or writes it at once."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*OCTAVO, *call],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "octavo: standard output: No space left on device\n",
    )


def test_ls_does_not_import_what_it_does_not_need(image: Path) -> None:
    """`octavo ls` starts at once: no Numba, no rich, no prompt_toolkit, no other verb."""
    script = (
        f"import sys; from octavo.cli.main import run; run(['ls', {str(image) + ':'!r}]); "
        "print(sorted(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    for module in (
        "numba",
        "rich",
        "prompt_toolkit",
        "typer",
        "asyncio",
        "concurrent",
        "octavo.cli.boot",
        "octavo.shell",
        "octavo.fs.fat.mkfs",
    ):
        assert f"'{module}'" not in out


@pytest.mark.dosfstools
def test_an_interrupt_leaves_a_clean_image(tmp_path: Path) -> None:
    """Ctrl-C during a copy: exit code 130, no traceback, no half file, a clean volume."""
    image, source = tmp_path / "disk.img", tmp_path / "source"
    source.mkdir()
    for i in range(40):
        (source / f"file {i}").write_bytes(os.urandom(4 << 20))
    octavo("mkfs", "--size", "400M", image)
    process = subprocess.Popen(
        [*OCTAVO, "cp", "-r", str(source), f"{image}:"], stderr=subprocess.PIPE
    )
    while image.stat().st_blocks < 20 << 11:  # some of it is there
        assert process.poll() is None, "it was done before it could be interrupted"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said == b""
    fsck(image)
    names = octavo("ls", "-l", f"{image}:source").splitlines()
    assert 0 < len(names) < 40 and all(f" {4 << 20} " in name for name in names)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_at_any_moment(number: signal.Signals, image: Path) -> None:
    """Also while it imports, and when it has done its work: the exit code says so, or that the work
    was done, and no traceback comes.
    """
    codes = set()
    for delay in (0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.18, 0.22, 0.26):
        process = subprocess.Popen(
            [*OCTAVO, "ls", f"{image}:"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        await_handlers(process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay)
        process.send_signal(number)
        assert process.communicate(timeout=60) == (b"", b"")
        codes.add(process.returncode)
    assert (
        codes <= {0, 128 + number, -number} and 128 + number in codes
    )  # -number: when Python has put its own handlers back, at its end


def await_handlers(process: subprocess.Popen[bytes]) -> None:
    """Returns when a process has begun to take SIGTERM, which Python itself does not."""
    bit = 1 << (signal.SIGTERM - 1)
    while (
        not int(
            re.findall(r"SigCgt:\s(\w+)", Path(f"/proc/{process.pid}/status").read_text())[0], 16
        )
        & bit
    ):
        assert process.poll() is None, process.communicate()


def test_signals_that_are_ignored_stay_so(image: Path) -> None:
    """As nohup leaves SIGHUP."""
    process = subprocess.Popen(
        ["nohup", *OCTAVO, "ls", f"{image}:"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    await_handlers(process)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_the_public_names_are_there_when_they_are_asked_for() -> None:
    """Importing the package imports nothing else; `octavo.boot` is the function, whatever else was
    imported before.
    """
    script = (
        "import sys, octavo; print([m for m in sys.modules if m in ('numpy', "
        "'octavo.system', 'argparse')], set(octavo.__all__) <= set(dir(octavo)));"
    )
    script += (
        "import octavo.boot.plan; print(octavo.boot is octavo.system.boot, "
        "octavo.Status.SUCCESS.name, hasattr(octavo, 'nothing'))"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert out.split("\n") == ["[] True", "True SUCCESS False", ""]


@pytest.mark.parametrize("call", [["ls", "IMAGE:"], ["cat", "IMAGE:f"], ["boot", "IMAGE"]])
def test_streams_that_are_full_or_closed(call: list[str], image: Path, tmp_path: Path) -> None:
    """One sentence and 1 where the output is lost; the image is never written to instead, and is
    clean.
    """
    (tmp_path / "f").write_bytes(b"x" * 5000)
    octavo("cp", tmp_path / "f", f"{image}:/")
    before = image.read_bytes()
    command = " ".join(f"'{a}'" for a in [*OCTAVO, *call]).replace("IMAGE", str(image))
    for streams, code, said in [
        (">/dev/full", 1, "octavo: standard output: No space left on device\n"),
        (">&-", 1, "octavo: standard output: Bad file descriptor\n"),
        (">/dev/full 2>/dev/full", 1, ""),
        (">&- 2>&-", 1, ""),
        ("<&- >/dev/null", 0, ""),
        ("<&- >&- 2>&-", 1, ""),
    ]:
        done = subprocess.run(
            f"{command} {streams}",
            shell=True,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        assert (done.returncode, done.stderr) == (code, said), streams
    octavo("cp", tmp_path / "f", f"{image}:/f")  # writes nothing, so that nothing is lost
    assert octavo("check", image).endswith("clean\n") and len(image.read_bytes()) == len(before)


def test_names_that_a_terminal_cannot_show(image: Path, tmp_path: Path) -> None:
    """Escaped in listings and in JSON, which stays JSON; bytes that are no text on standard input
    are a wrong command, no more.
    """
    (tmp_path / "日本 😀.txt").touch()
    octavo("cp", tmp_path / "日本 😀.txt", f"{image}:/")
    for encoding in ("ascii", "latin-1"):
        for arguments in (
            ["ls", f"{image}:"],
            ["ls", "--json", f"{image}:"],
            ["boot", str(image), "-c", "dir"],
        ):
            done = subprocess.run(
                [*OCTAVO, *arguments],
                capture_output=True,
                check=True,
                env={**os.environ, "PYTHONIOENCODING": encoding},
                timeout=60,
            )
            assert b"\\u65e5\\u672c" in done.stdout and done.stderr == b""
            if "--json" in arguments:
                assert json.loads(done.stdout)[0]["path"] == "/日本 😀.txt"
    done = subprocess.run(
        [*OCTAVO, "boot", str(image)],
        input=b"dir \xff\nexit\n",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (
        done.returncode == 1 and b"no such file" in done.stderr and b"Traceback" not in done.stderr
    )


def test_control_characters_reach_no_terminal(image: Path) -> None:
    """From the label, short names and long ones, by every verb and by the shell; in JSON they are
    escaped.
    """
    with open_image(image) as volume:
        volume.write_bytes("a long name one.txt", b"y\x1b[2J\tz")
        volume.mkdir("c1 \x9b31m \x7f \u202egnp.exe")
        volume.write_bytes("c1 \x9b31m \x7f \u202egnp.exe/\u2066x", b"z")
    data = bytearray(image.read_bytes())
    data[43:54] = b"\x1b[31mEVIL\n!"
    at = data.index(b"ALONGN~1TXT")
    data[at : at + 11] = b"\x1b]0;PWN\x07TXT"
    data[data.index(b"a\0 \0l\0o\0n\0") + 12] ^= 1  # its long name makes no sense now
    image.write_bytes(data)
    calls: list[list[object]] = [
        ["df", image],
        ["check", image],
        ["ls", "-lr", f"{image}:"],
        ["ls", "-r", "--json", f"{image}:"],
        ["df", "--json", image],
        ["cp", f"{image}:/c1 \x9b31m \x7f \u202egnp.exe", image.parent],
        ["rm", f"{image}:/\x1b[2J"],
        ["boot", image, "-c", "mount; dir; cd c*; type ]0*; del \x1b[2J", "-k"],
    ]
    for call in calls:
        done = subprocess.run(
            [*OCTAVO, *map(str, call)], capture_output=True, text=True, check=False, timeout=60
        )
        text = done.stdout + done.stderr
        assert (
            not [c for c in text if c not in "\n\t" and not c.isprintable()]
            and "EVIL\n" not in text
        ), call
        assert "--json" not in call or "\\u" in text
    assert any(
        "gnp.exe" in r["path"] and "\x9b31m" in r["path"]
        for r in json.loads(octavo("ls", "--json", f"{image}:"))
    )


def test_boot_c_stops_at_the_first_error(image: Path) -> None:
    """Errors are on stderr; -k goes on; -q prints no log; a script on standard input goes on, as
    before.
    """
    for options, made in ((["-q"], False), (["-q", "-k"], True)):
        done = subprocess.run(
            [*OCTAVO, "boot", str(image), *options, "-c", "type nothing; md made; cd"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == "type: nothing: no such file or directory\n" and done.stdout == (
            "C:\\\n" if made else ""
        )
        assert done.returncode == (0 if made else 1)
        assert octavo("ls", f"{image}:") == ("made/\n" if made else "")
    assert octavo("boot", image, "-q", "-c", "cd", "-c", "cd made; cd") == "C:\\\nC:\\made\n"
    assert octavo("boot", image, "-q", "-c", "copy made b; sync") == "       0 files copied\n"
    assert "no such file" in octavo("boot", image, "-q", "-c", "copy a b; sync", code=1)
    assert octavo("boot", image, "-q", stdin="rd made\nrd b\nrd b\ncd") == "C:\\\n"


def test_a_cause_is_told_once(tmp_path: Path) -> None:
    """An error of the image that is met at a file, and again when its volume is unmounted."""
    code = """
import os, sys
from octavo.cli import main
write, full_now = os.pwritev, False
def full(fd, buffers, offset):
    global full_now
    full_now = full_now or offset > 1 << 20
    if full_now:
        raise OSError(28, "No space left on device")
    return write(fd, buffers, offset)
os.pwritev = full
main.main()
"""
    octavo("mkfs", "--size", "256M", tmp_path / "a.img")
    with open(tmp_path / "big", "wb") as file:
        file.truncate(150 << 20)
    done = subprocess.run(
        [sys.executable, "-c", code, "cp", str(tmp_path / "big"), f"{tmp_path}/a.img:/"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1 and done.stderr.count("No space left on device") == 1 == len(
        done.stderr.splitlines()
    )


def test_sigterm_at_the_prompt(image: Path, tmp_path: Path) -> None:
    """The shell ends, its volumes are unmounted; Ctrl-C only takes the line away; lines that are
    pasted are a command each.
    """
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "XDG_STATE_HOME": str(tmp_path)}
    process = subprocess.Popen(
        [*OCTAVO, "boot", "-q", str(image)],
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment,
        start_new_session=True,
    )
    os.close(child)

    seen = b""

    def await_text(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            assert select.select([parent], [], [], 60)[0], seen
            seen += os.read(parent, 4096)
        seen = seen.partition(text)[2]

    await_text(b"C:\\>")
    os.write(parent, b"md before\rhelp cls\r")
    await_text(b"Empties the screen")
    await_text(b"C:\\>")
    process.send_signal(signal.SIGINT)
    await_text(b"C:\\>")
    os.write(parent, b"md after\rhelp cls\r")
    await_text(b"Empties the screen")
    await_text(b"C:\\>")
    os.write(parent, b"\x1b[200~md pasted1\nmd pasted2\nhelp cls\n\x1b[201~\r")
    await_text(b"Empties the screen")
    await_text(b"C:\\>")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    os.close(parent)
    assert octavo("ls", f"{image}:").split() == [
        "after/",
        "before/",
        "pasted1/",
        "pasted2/",
    ] and octavo("check", image).endswith("clean\n")


def test_a_reader_that_goes_away(tree: Path, image: Path) -> None:
    """octavo cat | head: no traceback."""
    octavo("cp", tree / "sub" / "deep" / "big.bin", f"{image}:big")
    done = subprocess.run(
        f"{' '.join(OCTAVO)} cat {image}:big | head -c 10 >/dev/null",
        shell=True,
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""


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


def test_a_directory_instead_of_an_image(tmp_path: Path) -> None:
    """Where an image is meant it is none; where a path in one is meant, it is one of the host."""
    for verb in ("df", "check"):
        assert (
            octavo(verb, tmp_path, code=1)
            == f"octavo: {tmp_path}: is a directory, not a file or a block device\n"
        )
    assert "is a directory of the host, not IMAGE:PATH" in octavo("ls", tmp_path, code=1)
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


def test_a_script_with_byte_order_marks(image: Path) -> None:
    """Its first command is found, also that of a second file behind the first."""
    octavo("boot", "-q", image, stdin="\ufeffmd one\n\ufeffmd two\n")
    assert octavo("ls", f"{image}:").split() == ["one/", "two/"]


def test_an_image_that_is_given_twice(image: Path) -> None:
    """It is in use by this program itself."""
    said = octavo("boot", image, image, "-q", "-c", "dir", code=1)
    assert (
        said
        == f"octavo: {image}: the image is in use: it is open already, in this program or another\n"
    )


def test_names_that_the_locale_cannot_write(image: Path, tmp_path: Path) -> None:
    """The sentence names the encoding; what can be written is."""
    with open_image(image) as volume:
        volume.write_bytes("é.txt", b"1")
        volume.write_bytes("e.txt", b"2")
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    call = [*OCTAVO, "cp", "-r", f"{image}:/", str(tmp_path / "out")]
    done = subprocess.run(
        call, capture_output=True, text=True, check=False, timeout=60, env=ascii_only
    )
    assert (
        done.returncode == 1
        and "cannot be a name on the host: its locale writes names in ascii, which has not all "
        "of these characters"
        in done.stderr
    )
    assert os.listdir(tmp_path / "out") == ["e.txt"]
