"""Trees for ext images, and what debugfs says of an image."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.conftest import run

BACKSLASH = "\uf05c"


class Seen(NamedTuple):
    """What is known of a path: inode, mode, size, and seconds since 1970."""

    number: int
    mode: int
    size: int
    modified: int


SIZES = (
    0, 1, 59, 60, 1023, 1024, 1025, 4095, 4096, 4097, 12288, 12289, 49153, 300000, 5000000,
)  # fmt: skip
ODD = (
    b"UPPER", b"upper", b"with blank", "größe".encode(), "日本語".encode(), b"a" * 255, b" ",
    b"back\\slash", b"..\\up", b"\xff\xfe", b"new\nline", b"-dash", b"dot.",
)  # fmt: skip


def make_tree(root: Path, names: int = 50) -> Path:
    """Files of many sizes, names, modes and times; links, a deep path, and many names."""
    for size in SIZES:
        path = root / "sizes" / f"{size}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            bytes(i * size % 251 for i in range(256)) * (size // 256) + b"x" * (size % 256)
        )
    odd = root / "names"
    odd.mkdir()
    for plain in ODD:
        Path(odd, os.fsdecode(plain)).write_bytes(plain)
    deep = root
    for i in range(60):
        deep = deep / f"level{i}"
    deep.mkdir(parents=True)
    (deep / "bottom").write_text("bottom")
    many = root / "many"
    many.mkdir()
    for i in range(names):
        (many / f"a rather long name of file number {i}").write_text(str(i) if i % 10 == 0 else "")
    for mode in (0o000, 0o400, 0o644, 0o755, 0o4755, 0o2755, 0o1777):
        path = root / f"mode{mode:o}"
        path.write_text(oct(mode))
        path.chmod(mode)
    os.link(root / "mode644", root / "hard")
    for i, when in enumerate((0, 1, 1_000_000_000, (1 << 31) - 1, 1_700_000_000)):
        os.utime(root / "sizes" / f"{(0, 1, 59, 60, 1023)[i]}.bin", (when, when))
    os.utime(many, (1_600_000_000, 1_600_000_000))
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    return root


LINKS = {  # name: target
    "to file": "mode644",
    "absolute": "/sizes/4097.bin",
    "to directory": "sizes",
    "level0/up": "../sizes/60.bin",
    "level0/level1/through": "../../to directory/../many/./a rather long name of file number 10",
    "l59": "sizes/" + "./" * 23 + "/60.bin",
    "l60": "sizes/" + "./" * 23 + "//60.bin",
    "long": "/" + "./" * 500 + "mode644",
    "above the root": "../../../mode644",
    "nowhere": "sizes/none",
    "through a file": "mode644/x",
    "itself": "itself",
    "a": "b",
    "b": "a/x",
    "dots": "..",
}

LEADS = {  # and those that lead to a file
    "to file": "mode644",
    "absolute": "sizes/4097.bin",
    "level0/up": "sizes/60.bin",
    "level0/level1/through": "many/a rather long name of file number 10",
    "l59": "sizes/60.bin",
    "l60": "sizes/60.bin",
    "long": "mode644",
    "above the root": "mode644",
}


def make_ext(path: Path, size: str, tree: Path | None = None, *options: str) -> Path:
    """An image made by mke2fs."""
    path.unlink(missing_ok=True)
    fill = ["-d", str(tree)] if tree else []
    run("mke2fs", "-q", "-t", "ext2", *fill, *options, path, size)
    return path


def debugfs(image: Path, commands: list[str], write: bool = False) -> list[bytes]:
    """What debugfs prints for each of the commands."""
    script = image.with_suffix(".commands")
    script.write_text("".join(c + "\n" for c in commands))
    options = ["-w"] if write else []
    done = subprocess.run(
        ["debugfs", *options, "-f", script, image], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    parts = re.split(rb"^debugfs: [^\n]*\n", done.stdout, flags=re.M)[1:]
    assert len(parts) == len(commands), done.stderr
    return parts


def seen_by_debugfs(image: Path) -> dict[bytes, Seen]:
    """All paths of an image."""
    found: dict[bytes, tuple[int, int]] = {}
    level = [(b"", 2)]
    while level:
        below = []
        for (path, _), listing in zip(
            level, debugfs(image, [f"ls -p <{n}>" for _, n in level]), strict=True
        ):
            for row in re.findall(rb"^/(\d+)/(\d+)/\d+/\d+/(.+?)/\d*/$", listing, re.M | re.S):
                number, mode, name = int(row[0]), int(row[1], 8), row[2]
                if name not in (b".", b"..") and number:
                    found[path + b"/" + name] = number, mode
                    below += [(path + b"/" + name, number)] if mode >> 12 == 4 else []
        level = below
    told = debugfs(image, [f"stat <{number}>" for number, _ in found.values()])
    out = {}
    for (path, (number, mode)), text in zip(found.items(), told, strict=True):
        size = re.search(rb"Size: (\d+)", text)
        when = re.search(rb"mtime: 0x([0-9a-f]+)(?::([0-9a-f]+))?", text)
        assert size and when, text
        seconds = int(when[1], 16) - (int(when[1], 16) >> 31 << 32)
        seconds += (int(when[2] or b"0", 16) & 3) << 32
        out[path] = Seen(number, mode, int(size[1]), seconds)
    return out
