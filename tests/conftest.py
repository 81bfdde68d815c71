"""Fixtures: images made by the tools that judge us, and booted systems that check their ledger at
the end.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import octavo

os.environ["PATH"] += os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"

settings.register_profile(
    "octavo",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
        HealthCheck.filter_too_much,
    ],
)
settings.load_profile("octavo")

TOOLS = {"mtools": "mcopy", "dosfstools": "mkfs.fat", "e2fsprogs": "mke2fs", "fdisk": "sfdisk"}
MODULES = ("unicorn",)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test whose tool is missing; with OCTAVO_NO_SKIPS that is a failure."""
    missing = [tool for tool, command in TOOLS.items() if not shutil.which(command)] + [
        m for m in MODULES if not importlib.util.find_spec(m)
    ]
    for tool in missing:
        if item.get_closest_marker(tool):
            if os.environ.get("OCTAVO_NO_SKIPS"):
                pytest.fail(f"{tool} is not installed")
            pytest.skip(f"{tool} is not installed")


def run(*command: str | Path) -> str:
    """Runs a tool and returns what it printed; fails the test when it fails."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def fsck(image: Path) -> None:
    """Fails unless fsck.fat finds the image clean."""
    run("fsck.fat", "-n", image)


def blank_image(path: Path, size: int) -> Path:
    """A sparse file of zeros."""
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def make_image(path: Path, size: int, bits: int, cluster: int = 0) -> Path:
    """An empty volume made by mkfs.fat."""
    blank_image(path, size)
    extra = ["-s", str(cluster // 512)] if cluster else []
    run("mkfs.fat", "-F", str(bits), *extra, path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A 16 MiB FAT16 volume made by Octavo."""
    from octavo.cli.main import run as octavo_run

    path = tmp_path / "disk.img"
    assert octavo_run(["mkfs", "--size", "16M", str(path)]) == 0
    return path


@pytest.fixture
def system(image: Path) -> Iterator[octavo.System]:
    """A system of 4 MiB with the image at C:."""
    with octavo.boot(memory="4M", disks=[image]) as booted:
        yield booted
        booted.check()
