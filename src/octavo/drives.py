"""Drives: devices by their letters, and the volumes that are mounted on them.

    A: B:    floppies first          C: to Z:    disks; then whatever is free

A system has one of these, and passes its calls on; see `octavo.system.System`.
"""

from __future__ import annotations

from contextlib import suppress

from octavo.arguments import invalid, named, shown
from octavo.cache.manager import CacheManager
from octavo.files import Volume
from octavo.fs.mount import mount
from octavo.status import Status, StatusError
from octavo.storage.device import SECTOR, Device
from octavo.storage.image import ImageDisk
from octavo.threads.scheduler import Scheduler

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Drives:
    """`volumes` maps letters with their colon to what is mounted there, `unmounted` to devices
    whose volumes are not.
    """

    def __init__(self, scheduler: Scheduler, cache: CacheManager, codepage: str) -> None:
        self.volumes: dict[str, Volume] = {}
        self.unmounted: dict[str, Device] = {}
        self._scheduler = scheduler
        self._cache = cache
        self._codepage = codepage

    def devices(self) -> list[Device]:
        """What volumes are on, mounted or not."""
        return [*(v.core.device for v in self.volumes.values()), *self.unmounted.values()]

    def attach(self, device: Device, partition: int | None, letter: str) -> Volume:
        """Mounts the volume on a device, or in one of its partitions, under a letter ("": a free
        one); the device is closed when that fails, unless it is attached already
        (SHARING_VIOLATION).
        """
        if any(device is other for other in self.devices()):
            raise StatusError(Status.SHARING_VIOLATION, f"{device.name}: is attached already")
        try:
            return self._mount(device, self._free_letter(device, letter), partition)
        except BaseException:
            device.close()
            raise

    def mount(self, letter: str, partition: int | None = None) -> Volume:
        """Mounts the volume of a device that is under a letter, or in one of its partitions."""
        name = named(letter, "a drive letter").upper()
        if name in self.volumes:
            raise StatusError(Status.SHARING_VIOLATION, f"{name}: is mounted already")
        if name not in self.unmounted:
            raise StatusError(Status.NO_SUCH_DEVICE, f"{shown(letter)}: there is no such drive")
        self.unmounted[name].refresh()
        device = self.unmounted.pop(name)
        try:
            return self._mount(device, name, partition)
        except BaseException:
            self.unmounted[name] = device
            raise

    def _mount(self, device: Device, letter: str, partition: int | None = None) -> Volume:
        core = self._scheduler.run(mount(device, self._cache, self._codepage, partition))
        if others := self.devices():
            from octavo.storage.opening import check_apart

            try:
                check_apart(core.device, others)
            except StatusError:
                self._scheduler.run(core.unmount(discard=True))
                raise
        volume = self.volumes[letter] = Volume(core, self._scheduler, letter)
        return volume

    def _free_letter(self, device: Device, wanted: str) -> str:
        """A letter with its colon that nobody has."""
        letters = ("AB" if device.removable else "") + LETTERS[2:]
        if wanted:
            letters = named(wanted, "a drive letter").upper()
            if len(letters) != 2 or letters[0] not in LETTERS or letters[1] != ":":
                raise invalid(f"{shown(wanted)} is no drive letter, such as A: or C:")
            letters = letters[0]
        for letter in letters:
            if f"{letter}:" not in self.volumes and f"{letter}:" not in self.unmounted:
                return f"{letter}:"
        if wanted:
            why = f"{device.name}: the drive letter {letters}: is taken"
            raise StatusError(Status.OBJECT_NAME_COLLISION, why)
        raise StatusError(Status.NO_SUCH_DEVICE, f"{device.name}: every drive letter is taken")

    def mounted(self, letter: str) -> Volume:
        """The volume under a letter; StatusError NO_SUCH_DEVICE when there is none."""
        volume = self.volumes.get(named(letter, "a drive letter").upper())
        if volume is None:
            raise StatusError(Status.NO_SUCH_DEVICE, f"{shown(letter)}: no volume is mounted there")
        return volume

    def unmount(self, letter: str, discard: bool, force: bool, keep: bool) -> None:
        """Ends the use of a volume; its device stays under its letter, or is closed."""
        volume = self.mounted(letter)
        self._scheduler.run(volume.core.unmount(discard, force))
        del self.volumes[volume.letter]
        if keep:
            self.unmounted[volume.letter] = volume.core.device
        else:
            volume.core.device.close()

    def resize(self, letter: str, size: int) -> Volume:
        """Gives a FAT volume, of which no file is open, another size; an image with it."""
        volume = self.mounted(letter)
        device, name = volume.core.device, volume.letter
        if not volume.kind.startswith("FAT"):
            why = f"{device.name}: only FAT volumes get another size"
            raise StatusError(Status.NOT_SUPPORTED, why)
        self.unmount(name, False, False, keep=True)
        try:
            self._resize(device, size // SECTOR * SECTOR)
        finally:
            volume = self.mount(name, 0)  # of the device itself, whatever table it has
        return volume

    def _resize(self, device: Device, size: int) -> None:
        from octavo.fs.fat.resize import resize_fat, volume_bytes  # volumes mostly keep their size

        image = device if isinstance(device, ImageDisk) else None
        before, run = device.size, self._scheduler.run
        said = run(volume_bytes(device, self._cache))
        if image is not None and size > before:
            image.resize(size)
        try:
            run(resize_fat(device, self._cache, size))
        except StatusError:
            with suppress(StatusError):  # it keeps its bytes where nobody can say what it has
                if image is not None and run(volume_bytes(device, self._cache)) == said:
                    image.resize(before)
            raise
        if image is not None and size < before:
            image.resize(size)

    def verify(self, letter: str) -> None:
        """Looks whether a volume's own medium is in its drive."""
        from octavo.fs.verify import verify  # most media stay where they are

        self._scheduler.run(verify(self.mounted(letter).core, self._cache, self._codepage))

    def flush(self) -> None:
        """Writes all volumes, and lets go of those that could be written; the first error is
        raised after all have been tried.
        """
        error: StatusError | None = None
        for letter, volume in list(self.volumes.items()):
            try:
                self._scheduler.run(volume.core.finish())
            except StatusError as failure:
                error = error or failure
            else:
                del self.volumes[letter]
                volume.core.device.close()
        if error is not None:
            raise error

    def close(self) -> None:
        """Closes every device, whatever is on it."""
        for volume in self.volumes.values():
            volume.core.device.close()
        for device in self.unmounted.values():
            device.close()
        self.volumes.clear()
        self.unmounted.clear()
