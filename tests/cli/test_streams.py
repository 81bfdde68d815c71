"""What is printed, wherever it goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from octavo import open_image
from tests.command import OCTAVO, octavo


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
