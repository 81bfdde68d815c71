"""Images that are open in this process for fsspec: one system an image, whoever asks for it.

    octavo://a.txt::file://disk.img  --Mounted--> System --> Volume, one a partition

fsspec makes a filesystem a thread, and any thread may use any of them; an executive is for one host
thread at a time. So all that use an image share one `Mounted`, and hold its lock while they do.

- An image is opened for reading, with a lock that readers share, until somebody changes it: then
  it is opened once more for writing. What is open for reading goes on, by `generation`.
- What was changed is on the medium when the outermost `settled` block of a thread ends.
- Who closes an image ends files of its own alone. While there are others that are written, the
  image stays open, and the end of the last of them lets go of it.
- A process that was forked opens its images itself: what the parent has open is the parent's.
- What the garbage collector finds open is closed at once, or by the next that uses the image:
  the collector may come in the middle of the executive, or on one of its workers.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Protocol
from weakref import WeakSet, WeakValueDictionary

from octavo.adapters.sources import Part, Source
from octavo.files import Volume
from octavo.fs.mount import mount
from octavo.status import Status, StatusError
from octavo.storage.device import SECTOR, Device
from octavo.storage.partition import Entry, Partition, place_of
from octavo.system import IMAGE_MAP, System, boot
from octavo.threads.interrupts import give_back, take, uninterrupted

EXIT_SECONDS = 1.0


class Unfinished(Protocol):
    """A file that is open, or waits for the end of a transaction."""

    owner: object  # the filesystem that opened it

    @property
    def beside(self) -> str: ...
    @property
    def ended(self) -> bool: ...
    @property
    def waits(self) -> bool: ...  # for the end of a transaction, which ends the file
    def finish(self, discard: bool) -> None: ...


class Lent(Partition):
    """An image from byte `start` on, as a device that can be closed while the image stays open:
    volumes come and go on it.
    """

    def __init__(self, device: Device, start: int) -> None:
        if start % SECTOR or not start < device.size:
            text = f"{device.name}: nothing begins at byte {start}: it has {device.size}"
            raise StatusError(Status.NO_SUCH_DEVICE, f"{text}, in sectors of {SECTOR}")
        name = f"{device.name}, from byte {start}" if start else device.name
        super().__init__(device, Entry(0, "", start, device.size - start), name)

    def close(self) -> None:
        """Closes this one alone."""
        Device.close(self)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A `with` block behind which Ctrl-C comes, also where there is no system yet or any more."""
    take()
    try:
        with uninterrupted():
            yield
    finally:
        give_back()


class _Local(threading.local):
    """Of a thread: whether it is in a `settled` block, and has changed something since."""

    settling = changed = False


class Mounted:
    """An image and its volumes. `memory` and `codepage` are those of `octavo.boot`."""

    def __init__(self, source: Source, memory: str | int, codepage: str | int) -> None:
        self.source = source
        self.options = memory, codepage
        self.generation = 0  # changes whenever what was open is open no longer
        self.unfinished: WeakSet[Unfinished] = WeakSet()
        self.dropped: deque[Unfinished] = deque()  # that the collector found open
        self._lock = threading.RLock()
        self._local = _Local()
        self._writable = False
        self._leaving = False  # closed, while there were files that others write
        self._shared_file = False  # with the process that this one was forked from
        self._system: System | None = None
        self._device: Device | None = None
        self._volumes: dict[Part, Volume] = {}

    @property
    def is_open(self) -> bool:
        """Whether the image is open."""
        return self._system is not None

    @contextmanager
    def use(self, part: Part, write: bool = False) -> Iterator[Volume]:
        """A `with` block in which this thread alone has the volume; with `write` to change it.

        StatusError, or what the source's filesystem raises, when the image cannot be opened so.
        """
        with self._lock:
            self._end_dropped()
            if write:
                self._open_for_writing()
                self._local.changed = True
            yield self._volume(part)

    @contextmanager
    def settled(self) -> Iterator[None]:
        """A `with` block behind which all that was changed is on the medium."""
        local = self._local
        if local.settling:
            yield
            return
        local.settling, local.changed = True, False
        try:
            yield
        finally:
            local.settling = False
            if local.changed:
                self._settle()
            if self._leaving:
                with self._lock:
                    self._leave()

    @uninterrupted()
    def _settle(self) -> None:
        with self._lock:
            for volume in self._volumes.values():
                volume.flush()

    def drop(self, file: Unfinished) -> None:
        """Closes a file that nobody has any more: now, where that cannot be in anybody's way."""
        if self._lock.acquire(blocking=False):
            try:
                if self._system is None or not self._system.scheduler.is_running:
                    _end_dropped(file)
                    return
            finally:
                self._lock.release()
        self.dropped.append(file)

    def close(self, owner: object, discard: bool = False) -> None:
        """Closes the files that `owner` writes, or with `discard` leaves what was there before
        them, and lets go of the image, or has the end of the last file that others write, or that
        waits for the end of a transaction, do that; the first error is raised after that. The next
        use opens the image again.
        """
        errors: list[Exception] = []
        with self.settled():
            with self._lock:
                files = list(self.unfinished)
            # without the lock: a thread that writes has the buffer's, and wants ours
            for file in files:
                if file.owner is owner and not file.waits:
                    try:
                        file.finish(discard)
                    except (OSError, ValueError) as error:
                        errors.append(error)
            with self._lock:
                self._leaving = True
                self._leave()
        if errors:
            raise errors[0]

    def _leave(self) -> None:
        """Lets go of an image that was closed, unless somebody writes a file: the lock is held."""
        self._end_dropped()
        if self._leaving and all(file.ended for file in self.unfinished):
            self._let_go()

    def _end_dropped(self) -> None:
        while self.dropped:
            _end_dropped(self.dropped.popleft())

    def end(self) -> None:
        """At the end of the program: what nobody has finished stays as it was. What a daemon thread
        is doing meanwhile is waited for EXIT_SECONDS.
        """
        if self._lock.acquire(timeout=EXIT_SECONDS):
            try:
                self._end_dropped()
                for file in list(self.unfinished):
                    with suppress(OSError, ValueError):
                        file.finish(discard=True)
                self._let_go()
            finally:
                self._lock.release()

    def forked(self) -> None:
        """In a new process: forgets what is the parent's. Its machine is this process's copy, which
        ends without a write; the parent's lock on the image is not given up by that.
        """
        system, device = self._system, self._device
        self.unfinished = WeakSet()
        self.dropped = deque()
        self._lock, self._local = threading.RLock(), _Local()
        self._shared_file = self.source.file is not None
        self._forget()
        if system is not None and device is not None:
            system.abandon()
            device.close()

    def _forget(self) -> None:
        self._system = self._device = None
        self._volumes = {}
        self._writable = self._leaving = False
        self.generation += 1

    @_undisturbed()
    def _let_go(self) -> None:
        system, device = self._system, self._device
        self._forget()
        if system is None or device is None:
            return
        try:
            system.close()
        except BaseException:
            system.abandon()
            raise
        finally:
            self.source.close(device)

    @_undisturbed()
    def _open(self, write: bool) -> System:
        if self._shared_file:
            text = "its file object is another process's, too, and has one position: open it again"
            raise StatusError(Status.SHARING_VIOLATION, f"{self.source.name}: {text}")
        memory, codepage = self.options
        system = boot(memory, firmware_map=IMAGE_MAP, codepage=codepage)
        try:
            self._device = self.source.open(system.scheduler, write)
        except BaseException:
            system.abandon()
            raise
        self._system, self._writable = system, write
        _end_first()
        return system

    def _open_for_writing(self) -> None:
        if self._writable:
            return
        if self.source.refusal:
            text = f"{self.source.name}: can only be read: {self.source.refusal}"
            raise StatusError(Status.MEDIA_WRITE_PROTECTED, text)
        self._let_go()
        self._open(True)

    def _volume(self, part: Part) -> Volume:
        system = self._system or self._open(False)
        if part not in self._volumes:
            try:
                self._volumes[part] = self._attached(system, part)
            finally:
                if not self._volumes:  # nobody has anything of it
                    self._let_go()
        return self._volumes[part]

    def _attached(self, system: System, part: Part) -> Volume:
        device = self._device
        assert device is not None, "a system has its device"
        volume = self._twin(system, device, part)
        return volume or system.attach_device(Lent(device, part.start), part.number)

    def _twin(self, system: System, device: Device, part: Part) -> Volume | None:
        """The volume that a part has, when it is open under another name."""
        if not self._volumes:
            return None
        work = mount(Lent(device, part.start), system.cache, system.codepage, part.number)
        core = system.scheduler.run(work)
        system.scheduler.run(core.unmount(discard=True))
        place = place_of(core.device)
        for other in self._volumes.values():
            if place_of(other.core.device) == place:
                return other
        return None


def _end_dropped(file: Unfinished) -> None:
    """As Python closes what is dropped: there is nobody to tell of an error. A transaction that is
    dropped, too, has not ended, and leaves what was there.
    """
    with suppress(OSError, ValueError):
        file.finish(discard=file.waits)


def mounted(source: Source, memory: str | int, codepage: str | int) -> Mounted:
    """The image of a source, as this process has it open or will.

    StatusError SHARING_VIOLATION when it is open with other options.
    """
    with _looking:
        found = _images.get(source.key)
        if found is None:
            found = _images[source.key] = Mounted(source, memory, codepage)
        elif found.options != (memory, codepage):
            if found.is_open:
                text = "is open already, with memory={!r} and codepage={!r}: close that first"
                why = f"{source.name}: {text.format(*found.options)}"
                raise StatusError(Status.SHARING_VIOLATION, why)
            found.options = memory, codepage
        return found


_images: WeakValueDictionary[object, Mounted] = WeakValueDictionary()
_looking = threading.Lock()


def _after_fork() -> None:
    global _looking
    _looking = threading.Lock()
    for image in list(_images.values()):
        image.forked()


def _at_exit() -> None:
    for image in list(_images.values()):
        with suppress(StatusError, OSError):
            image.end()


@cache
def _end_first() -> None:
    """Has `_at_exit` called before weakref closes the descriptors of images: what is registered
    last is called first, and a system has just registered something of its own.
    """
    atexit.register(_at_exit)


os.register_at_fork(after_in_child=_after_fork)
