"""Memory of a booted system: what the kernel, spaces and files have gives way to one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo.machine.paging import FORMATS
from octavo.memory.spaces.addressspace import Allocate
from octavo.shell.shell import Shell
from octavo.storage.image import ImageDisk


@pytest.mark.parametrize("arch", FORMATS)
def test_kernel_memory_gives_way(arch: str, image: Path) -> None:
    """Slabs without objects, cached stacks and kept pool pages go when files need the memory; what
    is in use stays.
    """
    with octavo.boot(memory="8M", disks=[image], arch=arch) as system:
        kernel = system.kernel
        cache = kernel.caches.create("thing", 1000)
        objects = [cache.allocate() for _ in range(1200)]
        stacks = [kernel.stacks.allocate(8192) for _ in range(4)]
        for stack in stacks:
            kernel.stacks.free(stack)
        for address in objects[100:]:
            cache.free(address)
        cache.object(objects[0])[:] = b"k" * 1000
        before = cache.statistics().slabs
        volume = system.volumes["C:"]
        data = bytes(range(256)) * 4096
        for i in range(8):
            volume.write_bytes(f"f{i}.bin", data)
        assert all(volume.read_bytes(f"f{i}.bin") == data for i in range(8))
        assert cache.statistics().slabs < before
        assert bytes(cache.object(objects[0])) == b"k" * 1000
        system.check()


def test_spaces_on_a_booted_system(image: Path, tmp_path: Path) -> None:
    """A space, files and a page file share 4 MiB: the files' pages go first, then the space's; the
    shell tells of both.
    """
    page_file = tmp_path / "page.file"
    page_file.write_bytes(bytes(8 << 20))
    with octavo.boot(memory="4M", disks=[image]) as system:
        disk = ImageDisk(page_file, system.scheduler)
        system.virtual.add_page_file(disk)
        space = system.virtual.create("init")
        base, _ = space.allocate(0, 8 << 20, Allocate.COMMIT)
        data = bytes(range(256)) * 4096
        for i in range(4):
            system.volumes["C:"].write_bytes(f"f{i}.bin", data)
            for page in range(i * 512, (i + 1) * 512):
                system.scheduler.run(space.write(base + page * 4096, b"%d" % page))
        assert all(system.volumes["C:"].read_bytes(f"f{i}.bin") == data for i in range(4))
        assert all(
            system.scheduler.run(space.read(base + p * 4096, 4)).rstrip(b"\0") == b"%d" % p
            for p in range(2048)
        )
        assert system.memory.frames_in_use <= 1024
        system.check()
        out: list[str] = []
        Shell(system, out.append).execute("memory spaces")
        assert (
            "init: 2048 pages committed" in out[2] and "paged" in out[3] and "READWRITE" in out[4]
        )
        system.virtual.destroy(space)
        system.check()
        disk.close()


def test_since_when(image: Path) -> None:
    """In debug, a frame tells when it last changed hands."""
    with octavo.boot(memory="8M", disks=[image]) as system:
        system.memory.pfns.debug()
        system.volumes["C:"].write_bytes("a.txt", b"x")
        since = system.memory.pfns.since
        assert since is not None
        claimed = int(np.argmax(since))
        assert f"since claim {system.memory.pfns.claims} of" in system.memory.explain(claimed)
