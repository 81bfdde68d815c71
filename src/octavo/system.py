"""A booted system: memory, cache, devices and volumes, made in the order in which a kernel makes
them.

    with octavo.boot(memory="16M", disks=["disk.img"]) as system:
        print(system.volumes["C:"].read_bytes("docs/a.txt"))

Leaving the `with` block unmounts: everything is written to the images, in full, or an error is
raised.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING

from octavo.arguments import LARGEST, called, invalid, named, parse_size, shown, whole
from octavo.boot.plan import plan_boot
from octavo.cache.manager import CacheManager
from octavo.drives import Drives
from octavo.files import Volume
from octavo.fs.fat.names import check_code_page
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.machine.clock import LAST_WALL, Clock, RealClock, SetClock, VirtualClock
from octavo.machine.firmware import FirmwareRange, MemoryKind
from octavo.machine.host import available_bytes
from octavo.machine.ram import Ram
from octavo.memory.manager import MemoryManager
from octavo.memory.reclaim.profiles import make_profile
from octavo.printing import counted, keep
from octavo.status import StatusError
from octavo.storage.device import Device, given_device
from octavo.storage.image import ImageDisk
from octavo.storage.imagename import parse_image_name
from octavo.threads import interrupts
from octavo.threads.scheduler import Scheduler
from octavo.version import VERSION

if TYPE_CHECKING:
    from octavo.heap.kernelmemory import KernelMemory
    from octavo.memory.spaces.virtual import VirtualMemory

DEFAULT_MEMORY = "64M"
IMAGE_MEMORY = "64M"  # for work on one image; streaming uses a few MiB of it, copying trees all
DEFAULT_MAP = "server-24g"
IMAGE_MAP = (FirmwareRange(0, 24 << 30, MemoryKind.USABLE),)  # as much, without reading a map
DEFAULT_ARCH = "x86-64"
RAM_DISK_BYTES = 2 << 20


def _read_map(source: str) -> Sequence[FirmwareRange]:
    from octavo.machine.mapsources import load_firmware_map  # whoever gives ranges needs no reader

    return load_firmware_map(source)


class System:
    """A running executive. `volumes` maps "A:", "C:" and so on to volumes; `log` has the last 1,000
    lines of the boot log.

    Arguments are those of `boot`, and `wall`: the seconds since 1970 at which the wall clock
    stands, in UTC, so that what is made is the same whenever and wherever. StatusError
    INVALID_PARAMETER for what one of them cannot be, INSUFFICIENT_RESOURCES when the map, or the
    host, has not so much memory.
    """

    def __init__(
        self,
        memory: str | int | None = DEFAULT_MEMORY,
        arch: str = DEFAULT_ARCH,
        firmware_map: str | Sequence[FirmwareRange] = DEFAULT_MAP,
        seed: int | None = None,
        pageout: bool = True,
        echo: Callable[[str], None] | None = None,
        profile: str = "nt",
        policy: str | None = None,
        cluster: int | None = None,
        codepage: str | int = 437,
        shared: bool = False,
        wall: int | None = None,
    ) -> None:
        self.log: list[str] = []
        self.codepage = check_code_page(codepage)
        called(echo, "echo")
        self._echo = echo
        self._kernel: KernelMemory | None = None
        self._virtual: VirtualMemory | None = None
        self._page_files: list[Device] = []
        limit = None if memory is None else parse_size(memory)
        self._profile = make_profile(profile, policy, cluster)
        clock: Clock = VirtualClock() if seed is not None else RealClock()
        if wall is not None:
            whole(wall, "the time of the wall clock", 0, LAST_WALL)
        if wall is not None and seed is None:
            clock = SetClock(wall)
        seed = 0 if seed is None else whole(seed, "a seed", -LARGEST, LARGEST)
        self.say(f"Octavo {VERSION}" + (f", virtual time, seed {seed}" if clock.virtual else ""))
        ranges = _read_map(firmware_map) if isinstance(firmware_map, str) else firmware_map
        self.plan = plan_boot(ranges, arch, limit, shared)
        for line in self.plan.log():
            self.say(line)
        self.plan.check_host(available_bytes())
        self.scheduler = Scheduler(clock, seed)
        self.ram = Ram(self.plan.frames, shared=self.plan.shared)
        self.memory = self._make_memory(pageout)
        self.cache = CacheManager(self.memory)
        self.drives = Drives(self.scheduler, self.cache, self.codepage)
        self.volumes = self.drives.volumes
        self._say_what_there_is(pageout)
        interrupts.take()
        self._let_interrupts = weakref.finalize(self, interrupts.give_back)  # dropped or ended

    def _make_memory(self, pageout: bool) -> MemoryManager:
        plan = self.plan
        bounds = [(z.name, z.first, z.end) for z in plan.zones]
        return MemoryManager(
            self.ram, plan.frames, plan.usable, plan.database, self.scheduler, pageout, bounds
        )

    def _say_what_there_is(self, pageout: bool) -> None:
        available = self.memory.physical.available
        self.say(
            f"Memory manager: {counted(available, 'frame')} available "
            f"({available * PAGE_SIZE >> 10} KiB), pageout {'on' if pageout else 'off'}"
        )
        self.say(
            f"Cache manager: up to {counted(self.cache.views.most, 'view')} of 512 KiB, "
            f"{counted(self.cache.writers.most_dirty, 'dirty page')}"
        )

    @property
    def kernel(self) -> KernelMemory:
        """The kernel's pools, slab caches, system PTEs and stacks, in regions that the layout gives
        them; made when first asked for.
        """
        if self._kernel is None:
            self.scheduler.check_open()
            from octavo.boot.layout import compute_layout, minimum_pages
            from octavo.heap.kernelmemory import KernelMemory

            arch = self.plan.arch
            regions = compute_layout(
                arch, max(self.plan.managed, minimum_pages(arch)), self.plan.frames - 1
            )
            self._kernel = KernelMemory(
                self.memory, arch, {r.name: (r.start, r.pages) for r in regions}
            )
        return self._kernel

    @property
    def kernel_made(self) -> bool:
        """True once `kernel` was used: looking at it makes it."""
        return self._kernel is not None

    @property
    def virtual_made(self) -> bool:
        """True once `virtual` was used: looking at it makes it."""
        return self._virtual is not None

    @property
    def virtual(self) -> VirtualMemory:
        """Address spaces, the soft MMU and page files; made when first asked for."""
        if self._virtual is None:
            self.scheduler.check_open()
            from octavo.memory.spaces.virtual import VirtualMemory

            self._virtual = VirtualMemory(self.memory, self.plan.arch, profile=self._profile)
        return self._virtual

    def say(self, line: str) -> None:
        """Adds a line to the boot log."""
        keep(self.log, named(line, "a line of the boot log"))
        if self._echo is not None:
            self._echo(line)

    def attach(
        self, path: str | PathLike[str], read_only: bool = False, letter: str = ""
    ) -> Volume:
        """Opens an image and mounts its volume under a letter, or the next free one: A: and B: for
        floppies, C: on for disks. A text may name a part of an image: `octavo.storage.imagename`.

        StatusError as `attach_device`, FILE_CLOSED when the system was ended.
        """
        self.scheduler.check_open()
        name = parse_image_name(path) if isinstance(path, str) else None
        devices = self.drives.devices()
        if name is None or (name.whole and not devices):
            disk = ImageDisk(path, self.scheduler, read_only)
            return self.attach_device(disk, letter=letter)
        from octavo.storage.opening import open_part

        device = open_part(name, self.scheduler, read_only, devices)
        return self.attach_device(device, name.number, letter)

    def attach_device(
        self, device: Device, partition: int | None = None, letter: str = ""
    ) -> Volume:
        """Mounts the volume on a device, or in the partition of a number; the device is closed when
        that fails. StatusError INVALID_PARAMETER for what is none, SHARING_VIOLATION for what is in
        use, OBJECT_NAME_COLLISION for a letter that is taken, NO_SUCH_DEVICE when all are.
        """
        given_device(device, "a device")
        if partition is not None:
            whole(partition, "the number of a partition", 0)
        self.scheduler.check_open()
        return self._tell(self.drives.attach(device, partition, letter))

    def _tell(self, volume: Volume) -> Volume:
        """Has the boot log say what was mounted."""
        core = volume.core
        how = ", read-only" if core.read_only else ""
        if core.refusal:
            how += f": {core.refusal}"
        self.say(f"Device {core.device.name}: {core.device.size >> 10} KiB{how}")
        label = f", label {core.label}" if core.label else ""
        self.say(
            f"Volume {volume.letter} {core.kind}{label}, serial "
            f"{core.serial >> 16:04X}-{core.serial & 0xFFFF:04X}"
        )
        return volume

    def mount(self, letter: str) -> Volume:
        """Mounts the volume of a drive that was left by `unmount` with `keep`. StatusError
        NO_SUCH_DEVICE, SHARING_VIOLATION when it is mounted, or why there is no volume.
        """
        self.scheduler.check_open()
        return self._tell(self.drives.mount(letter))

    def attach_ram_disk(self, size: int = RAM_DISK_BYTES) -> Volume:
        """Makes a RAM disk of `size` bytes with an empty volume and mounts it.

        StatusError INVALID_PARAMETER, INSUFFICIENT_RESOURCES.
        """
        self.scheduler.check_open()
        from octavo.fs.fat.mkfs import make_fat, plan_volume
        from octavo.storage.ramdisk import RamDisk  # not needed by most starts of the command line

        device = RamDisk("ramdisk", size, self.memory)
        try:
            plan = plan_volume(device.size)
            self.scheduler.run(make_fat(device, self.cache, plan, "RAMDISK", blank=True))
        except BaseException:
            device.close()
            raise
        return self.attach_device(device)

    def add_page_file(self, path: str | PathLike[str]) -> None:
        """Makes a host file or device a page file for address spaces; what is in it is lost.

        A sparse file gets its room on the host at once: StatusError DISK_FULL where there is not so
        much. StatusError where the file can be none.
        """
        self.scheduler.check_open()
        device = ImageDisk(path, self.scheduler)
        try:
            device.reserve()
            self.virtual.add_page_file(device)
        except StatusError:
            device.close()
            raise
        self._page_files.append(device)
        self.say(
            f"Page file {device.name}: {device.size >> 10} KiB; commit limit "
            f"{counted(self.virtual.limit, 'page')}"
        )

    def unmount(
        self, letter: str, discard: bool = False, force: bool = False, keep: bool = False
    ) -> None:
        """Writes everything to a volume's device and lets go of both; with `keep` the device stays
        under its letter, to be mounted again by `mount`.

        Open files are refused, but with `force`: they end in VOLUME_DISMOUNTED from then on. With
        `discard` unwritten data is given up, and open files end in FILE_FORCED_CLOSED. StatusError
        NO_SUCH_DEVICE, INVALID_PARAMETER, FILE_CLOSED, or that of a write: then it stays mounted.
        """
        self.scheduler.check_open()
        self.drives.unmount(letter, discard, force, keep)

    def resize(self, letter: str, size: str | int) -> Volume:
        """Gives a FAT volume another size in place ("64M", or bytes), and a plain image with it; it
        is mounted anew. `octavo.fs.fat.resize` says how, and what StatusError there may be;
        SHARING_VIOLATION while files are open.
        """
        self.scheduler.check_open()
        return self._tell(self.drives.resize(letter, parse_size(size)))

    def verify(self, letter: str) -> None:
        """Looks whether the medium in a volume's drive, which was changed, is the volume's own:
        then the volume can be used on, and what was not written yet will be.

        StatusError WRONG_VOLUME when it is another, NO_MEDIA_IN_DEVICE, MEDIA_WRITE_PROTECTED when
        it can only be read by now.
        """
        self.scheduler.check_open()
        self.drives.verify(letter)

    def explain(self, pfn: int) -> str:
        """Why a frame is here: its state, who has it, which spaces see it where, and which firmware
        range and zone it lies in.

        StatusError INVALID_PARAMETER for what can be no frame's number.
        """
        whole(pfn, "a frame's number", 0, LARGEST >> PAGE_SHIFT)
        text = self.memory.explain(pfn)
        if self._virtual is not None and 0 < pfn < self.memory.pfns.frames:
            text += self._virtual.explain(pfn)
        address = pfn * PAGE_SIZE
        found = next((r for r in self.plan.ranges if r.start <= address < r.end), None)
        text += (
            f"; firmware range {found.start:#x}-{found.end - 1:#x} {found.kind.name.lower()}"
            if found
            else "; in no firmware range"
        )
        zone = next((z for z in self.plan.zones if z.first <= pfn < z.end), None)
        return text + (f", zone {zone.name}" if zone else "")

    def statistics(self) -> dict[str, object]:
        """What every part of the system has done, as nested dictionaries."""
        from octavo.statistics import of

        return {
            "memory": of(self.memory.statistics()),
            "cache": of(self.cache.statistics()),
            "kernel": of(self._kernel.statistics()) if self._kernel is not None else None,
            "virtual": of(self._virtual.statistics()) if self._virtual is not None else None,
            "scheduler": of(self.scheduler.statistics()),
            "volumes": {letter: volume.statistics() for letter, volume in self.volumes.items()},
        }

    def check(self) -> None:
        """The whole ledger balances."""
        self.memory.check()
        self.cache.check()
        if self._kernel is not None:
            self._kernel.check()
        if self._virtual is not None:
            self._virtual.check()

    def close(self) -> None:
        """Ends all address spaces and unmounts all volumes; the first error is raised after all
        have been tried, and volumes with unwritten data are kept.

        What belonged to a system that was ended says FILE_CLOSED; ending it once more does nothing.
        """
        if self.scheduler.closed:
            return
        if self._virtual is not None:
            self.scheduler.run(self._virtual.close())
        self.drives.flush()
        self._power_off()

    def abandon(self) -> None:
        """Ends the system without writing anything: what was not flushed is lost, as when the power
        goes.
        """
        self._power_off()

    def _power_off(self) -> None:
        self._let_interrupts()
        self.drives.close()
        for device in self._page_files:
            device.close()
        self.scheduler.close()
        self.ram.close()

    def __enter__(self) -> System:
        self.scheduler.check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except StatusError:
            self.abandon()
            if error is None:
                raise


def boot(
    memory: str | int | None = DEFAULT_MEMORY,
    disks: Sequence[str | PathLike[str]] = (),
    arch: str = DEFAULT_ARCH,
    firmware_map: str | Sequence[FirmwareRange] = DEFAULT_MAP,
    read_only: bool = False,
    seed: int | None = None,
    pageout: bool = True,
    echo: Callable[[str], None] | None = None,
    profile: str = "nt",
    policy: str | None = None,
    cluster: int | None = None,
    codepage: str | int = 437,
    shared: bool = False,
) -> System:
    """Boots a system with at most `memory` ("16M", or bytes; None: all of the map) and mounts the
    images in `disks`.

    `firmware_map` is "host", the name of a recorded map, a file, or a list of ranges. With `seed`
    the system runs in virtual time. With `pageout=False` memory only fills up. `echo` is called
    with each line of the boot log. `profile` is how address spaces page ("nt", "mach", "linux":
    `octavo.memory.reclaim.profiles`), `policy` and `cluster` change its replacement policy and its
    pages a fault. `codepage` is that of FAT's short names: 437, 850, 932 or Python's name.
    With `shared`, memory is a file, `ram.fd`, that a driver in another process can map.
    StatusError as `System` and `System.attach`.
    """
    if not isinstance(disks, Sequence) or isinstance(disks, str | bytes):
        raise invalid(f"{shown(disks)} are no disks: give a list of paths")
    system = System(
        memory, arch, firmware_map, seed, pageout, echo, profile, policy, cluster, codepage, shared
    )
    try:
        for path in disks:
            system.attach(path, read_only)
    except BaseException:
        system.abandon()
        raise
    return system


@contextmanager
def open_image(
    path: str | PathLike[str],
    read_only: bool = False,
    memory: str | int = IMAGE_MEMORY,
    codepage: str | int = 437,
) -> Iterator[Volume]:
    """The volume in an image, on a system of its own that is closed at the end of the `with` block;
    `codepage` as in `boot`.
    """
    with boot(
        memory, [path], firmware_map=IMAGE_MAP, read_only=read_only, codepage=codepage
    ) as system:
        yield next(iter(system.volumes.values()))
