"""What lists, copies and makes files starts without NumPy, whose import takes longer than all the
rest of a start.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.places import ROOT

VERBS = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numpy", "numba"):
            raise AssertionError(f"{name} is imported")

sys.meta_path.insert(0, Blocker())
from octavo.cli.main import run

for line in sys.stdin:
    try:
        code = run(line.split())
    except SystemExit as error:
        code = error.code
    print(line.split()[0], code, file=sys.stderr)
"""
LINES = """--help
mkfs --size {size} disk.img
cp -r tree disk.img:/
ls -l disk.img:/tree
ls -R disk.img:/
cat disk.img:/tree/big
mkdir disk.img:/new
mv disk.img:/tree/big disk.img:/new/big
attrib disk.img:/new/big
df disk.img
cp -r disk.img:/ out
rm -r disk.img:/tree
"""


def start(directory: Path, size: str) -> None:
    """Every verb but those that look through memory in one process, which has no NumPy."""
    done = subprocess.run(
        [sys.executable, "-c", VERBS],
        cwd=directory,
        input=LINES.format(size=size).encode(),
        capture_output=True,
    )
    codes = [line.split() for line in done.stderr.decode().splitlines()]
    assert codes == [[line.split()[0], "0"] for line in LINES.splitlines()], codes[-20:]


def test_no_verb_that_works_on_files_imports_numpy(tmp_path: Path) -> None:
    """On each type of FAT: files longer than any run that is handled number by number."""
    for at, size in enumerate(("4M", "64M", "600M")):
        directory = tmp_path / str(at)
        (directory / "tree").mkdir(parents=True)
        (directory / "tree" / "big").write_bytes(bytes(range(256)) * 4096)
        for i in range(40):
            (directory / "tree" / f"a longer name {i}.txt").write_bytes(b"x" * i * 100)
        start(directory, size)
        assert (directory / "out" / "new" / "big").read_bytes() == bytes(range(256)) * 4096


def test_the_root_of_the_package_needs_no_numpy() -> None:
    """`import octavo` takes what its first use needs, and no more."""
    code = "import sys, octavo; assert 'numpy' not in sys.modules; octavo.open_image"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
