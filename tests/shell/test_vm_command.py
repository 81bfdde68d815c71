"""The shell's vm command, and what memory shows of spaces: as a newcomer would use them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import octavo
from octavo.shell.shell import Shell
from tests.command import octavo as octavo_command
from tests.conftest import fsck, make_image


def run(shell: Shell, *lines: str) -> list[str]:
    """What the commands print."""
    output: list[str] = []
    shell.print_line = shell.print_error = output.append
    for line in lines:
        shell.execute(line)
    return output


@pytest.mark.dosfstools
def test_a_tour(tmp_path: Path) -> None:
    """Map a file, read and write it through the view, see it in the file; private memory beyond the
    frames; a fork; why an address is as it is.
    """
    image = make_image(tmp_path / "a.img", 16 << 20, 16)
    page_file = tmp_path / "page.bin"
    page_file.write_bytes(bytes(8 << 20))
    with octavo.boot(memory="4M", disks=[image]) as system:
        system.add_page_file(page_file)
        system.volumes["C:"].write_bytes("a.txt", b"hello, view\n" * 1000)
        shell = Shell(system)
        limit = system.virtual.limit
        assert run(shell, "vm") == [
            f"Commit: 0 of {limit} pages; page files: 0 of 2048 pages used, "
            "0 written, 0 read in 0 requests",
            "Working sets: 0 pages, shared ones counted in each space; 0 frames",
        ]
        assert run(shell, "vm map a.txt") == [
            "0x10000: 3 pages of " + next(iter(system.virtual.sections.all)).name
        ]
        text = run(shell, "vm read 0x10000 12")
        assert text == [
            "0x000000010000  68 65 6c 6c 6f 2c 20 76 69 65 77 0a              hello, view."
        ]
        run(shell, "vm write 0x10007 VIEW", "vm advise 0x10000 sequential")
        assert system.volumes["C:"].read_bytes("a.txt")[:11] == b"hello, VIEW"
        where = run(shell, "vm where 0x10007")
        assert (
            "READWRITE" in where[0]
            and "page 0 of" in where[1]
            and "writable, accessed, dirty" in where[2]
            and "active, page 0 of" in where[3]
        )
        assert where[3].split("; ")[1] == "seen by shell at 0x10000"
        assert run(shell, "vm alloc 5M")[0] == "0x20000: 1280 pages committed, none in a frame yet"
        assert "never touched" in run(shell, "vm where 0x20000")[-1]
        scan = run(shell, "vm scan 0x20000 write")[0]
        assert scan.startswith("1280 references, 1280 faults") and shell.status == 0
        assert any(
            "in page file" in run(shell, f"vm where {0x20000 + page * 4096:#x}")[-1]
            for page in range(0, 600, 50)
        )
        run(shell, "vm read 0x21000 1", "vm fork", "vm write 0x20000 mine")
        assert "seen by shell at 0x21000, shell-2 at 0x21000" in run(shell, "vm where 0x21000")[-1]
        assert shell.space == "shell-2"
        lines = run(shell, "memory spaces")
        assert (
            sum("READWRITE" in line and "private" in line for line in lines) == 2
            and sum("a.txt, sequential" in line for line in lines) == 2
        )
        assert run(shell, "vm read 0x20000 4", "vm use shell", "vm read 0x20000 4")[1].endswith(
            "...."
        )
        assert "a.txt" in "\n".join(run(shell, "memory sections"))
        paging = "\n".join(run(shell, "memory paging"))
        assert (
            "Replacement: ageing over" in paging
            and "standby by priority" in paging
            and "written to page files" in paging
        )
        assert any(
            line.startswith("pswpout ") and int(line.split()[1]) > 100
            for line in run(shell, "memory stat")
        )
        run(shell, "vm free 0x20000", "vm free 0x10000")
        assert "nothing is allocated" in run(shell, "vm where 0x10000")[0]
        run(shell, "vm end", "vm end")
        assert not system.virtual.spaces and not system.virtual.charged
        system.check()
    fsck(image)


@pytest.mark.dosfstools
def test_a_file_that_is_mapped_when_the_machine_is_turned_off(tmp_path: Path) -> None:
    """It is closed and written."""
    image = make_image(tmp_path / "a.img", 4 << 20, 12)
    with octavo.boot(memory="4M", disks=[image]) as system:
        system.volumes["C:"].write_bytes("a.txt", b"before")
        run(Shell(system), "vm map a.txt", "vm write 0x10000 after!")
    fsck(image)
    with octavo.open_image(image) as volume:
        assert volume.read_bytes("a.txt") == b"after!"


@pytest.mark.dosfstools
def test_the_commit_limit_does_not_depend_on_what_the_cache_has(tmp_path: Path) -> None:
    """Spaces that are first asked for when the cache is full of file data may commit as much as at
    boot.
    """
    image = make_image(tmp_path / "a.img", 16 << 20, 16)
    limits = []
    for size in (0, 6 << 20):
        with octavo.boot(memory="4M", disks=[image]) as system:
            system.volumes["C:"].write_bytes("a.bin", bytes(size))
            assert system.volumes["C:"].read_bytes("a.bin") == bytes(size)
            limits.append(system.virtual.limit)
    assert abs(limits[0] - limits[1]) < 10


def test_wrong_calls() -> None:
    """Each says what is wrong in one line, with the status of a wrong call or of failed work."""
    with octavo.boot(memory="4M") as system:
        system.attach_ram_disk()
        shell = Shell(system)
        for line, status in (
            ("vm dance", 2),
            ("vm alloc", 2),
            ("vm read here", 2),
            ("vm read 0x10000 1M", 2),
            ("vm alloc 1 2", 2),
            ("vm advise 0x10000 maybe", 2),
            ("vm alloc lots", 2),
            ("vm alloc 1G", 1),
            ("vm read 0x10000", 1),
            ("vm map nothing.txt", 1),
            ("vm free 0x50000", 1),
            ("vm use other", 1),
            ("vm scan 0x10000", 1),
            ("vm scan 0x10000 wildly", 2),
            ("vm map a b", 2),
            ("vm advise 0x10000 random", 1),
        ):
            assert len(run(shell, line)) == 1 and shell.status == status, line
        system.check()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "vm alloc 100T",
            r"vm: shell asks for 26843545600 pages, and 0 of the limit of [1-9]\d* are committed",
        ),
        ("vm alloc 0", "vm: a size of 0 bytes cannot be: 1 or more are needed"),
        (
            "vm alloc 16777215T",
            "vm: 18446742974197923840 bytes from 0x0 on do not lie in user space, which "
            "ends at 0x7fffffff0000",
        ),
        *[
            (f"vm {verb}", f"vm: '{verb.split()[1]}' is no address, such as 0x10000")
            for verb in (
                "where -1",
                "read -1",
                "scan -4096",
                "free -1",
                f"where {1 << 64}",
                "where ten",
            )
        ],
        (
            "vm where 0xffff800000000000",
            "0xffff800000000000: lies above user space, which ends at 0x7fffffff0000",
        ),
        ("vm where 0x10000", "0x10000: nothing is allocated there in shell"),
    ],
)
def test_what_cannot_be_is_said_in_plain_figures(line: str, said: str) -> None:
    """What is asked for and what there is, not what was computed on the way."""
    with octavo.boot(memory="4M", seed=1) as system:
        output = run(Shell(system), line)
    assert len(output) == 1 and re.fullmatch(said, output[0]), output


def test_boot_options(tmp_path: Path) -> None:
    """Profile, policy, cluster and page file from the command line."""
    page_file = tmp_path / "page.bin"
    page_file.write_bytes(bytes(1 << 20))
    boot = "boot", "--memory", "4M"
    output = octavo_command(
        *boot,
        "--profile",
        "mach",
        "--policy",
        "sieve",
        "--page-file",
        page_file,
        "-c",
        "vm alloc 64K; vm paging",
    )
    assert "Page file" in output and "Replacement: sieve over" in output
    assert (
        "the pages of a cluster cannot be 1000: a whole number from 1 to 128 is needed"
        in octavo_command(*boot, "--cluster", 1000, "-c", "vm", code=2)
    )
    assert "none: cannot open the image" in octavo_command(
        *boot, "--page-file", tmp_path / "none", "-c", "vm", code=1
    )
