"""`make demo`: makes an image, fills it, boots on it with 16 MiB, and tours the shell. On a
terminal it leaves you at the prompt.

Everything here is what a user can do: the same verbs, the same shell.
"""

from __future__ import annotations

import random
import shutil
import sys
import sysconfig
from pathlib import Path

import octavo
from octavo.cli.main import run
from octavo.reports import Shell, cache_report, memory_report

HERE = Path(__file__).parent
DEMO = HERE / "demo"
IMAGE = DEMO / "disk.img"
FLOPPY = DEMO / "floppy.img"
TOUR = """
dir
cd docs
dir
type welcome.txt
memory
cd \\
md work
copy docs\\*.txt work
copy library work
move work\\welcome.txt hello.txt
del work\\note*.txt
dir work
type hello.txt
copy data\\large.bin work\\copy.bin
del data\\large.bin
mount {floppy}
copy docs a:\\
dir a:\\docs\\*9.txt
umount a:
ren work archive
vm map hello.txt
vm write 0x10000 WELCOME
type hello.txt
vm where 0x10000
vm alloc 6M
vm scan 0x20000 write
vm fork
vm write 0x20000 "the child's own"
memory spaces
memory paging
vm end
vm end
sync
"""


def fill(tree: Path) -> int:
    """A few hundred files: notes, modules of Python's library, and one file that is larger than the
    memory limit.
    """
    if tree.exists():
        shutil.rmtree(tree)
    (tree / "docs").mkdir(parents=True)
    (tree / "docs" / "welcome.txt").write_text(
        "Welcome to Octavo.\nThis file came from a FAT16 image, through a section, into "
        "frames of 16 MiB.\n"
    )
    for i in range(40):
        (tree / "docs" / f"note number {i:02}.txt").write_text(f"Note {i}\n" * (i * i + 1))
    library = Path(sysconfig.get_path("stdlib"))
    for name in (
        "email",
        "json",
        "http",
        "logging",
        "xml",
        "importlib",
        "unittest",
        "concurrent",
        "collections",
        "urllib",
        "wsgiref",
        "encodings",
    ):
        if (library / name).is_dir():
            shutil.copytree(
                library / name,
                tree / "library" / name,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
    (tree / "data").mkdir()
    (tree / "data" / "large.bin").write_bytes(random.Random(8).randbytes(20 << 20))
    return sum(1 for p in tree.rglob("*") if p.is_file())


def main() -> int:
    """The demo; returns the last status."""
    DEMO.mkdir(exist_ok=True)
    count = fill(DEMO / "tree")
    print(f"$ octavo mkfs --force --size 64M --type fat16 --label demo {IMAGE.relative_to(HERE)}")
    run(["mkfs", "--force", "--size", "64M", "--type", "fat16", "--label", "demo", str(IMAGE)])
    run(["mkfs", "--force", "--size", "1440K", str(FLOPPY)])
    sources = sorted(p for p in (DEMO / "tree").iterdir())
    print(
        f"$ octavo cp -r {' '.join(str(p.relative_to(HERE)) for p in sources)} "
        f"{IMAGE.relative_to(HERE)}:/    ({count} files)"
    )
    run(["cp", "-r", *map(str, sources), f"{IMAGE}:/"])
    print(f"$ octavo boot --memory 16M {IMAGE.relative_to(HERE)}")
    with octavo.boot(memory="16M", disks=[IMAGE], echo=print) as system:
        shell = Shell(system)
        failed = 0
        for line in TOUR.format(floppy=FLOPPY).strip().splitlines():
            print(f"{shell.prompt}{line}")
            failed += shell.execute(line) != 0
        print("\nWhat the memory manager did:")
        for line in (*memory_report(system), *cache_report(system)):
            print("  " + line)
        if sys.stdin.isatty() and sys.stdout.isatty():
            from octavo.shell.terminal import run_terminal

            print(
                "\nThe tour is over; the system runs on. Type help for the commands, exit to leave."
            )
            return run_terminal(shell)
        print(f"{shell.prompt}umount c:")
        failed += shell.execute("umount c:") != 0
    problems = run(["check", str(IMAGE)])
    print("The tour went well." if not failed and not problems else f"{failed} commands failed.")
    return int(bool(failed or problems))


if __name__ == "__main__":
    sys.exit(main())
