"""A mounted volume as a whole: what it is called, flushing, checking, locking, unmounting. Paths
and files are in `octavo.fs.vfs.volume`.

Source: statuses as NT's file systems give them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Generic

from octavo.arguments import called, whole
from octavo.cache.manager import CacheManager
from octavo.fs.base import Problem, Space
from octavo.fs.vfs.node import E, Node
from octavo.fs.vfs.nodes import Nodes
from octavo.fs.vfs.store import Store
from octavo.fs.vfs.watch import SpaceWatch
from octavo.printing import counted
from octavo.status import Status, StatusError
from octavo.storage.device import Device

if TYPE_CHECKING:
    from octavo.fs.vfs.format import Format, Packer
    from octavo.fs.vfs.names import Names
    from octavo.fs.vfs.order import Writer
    from octavo.fs.vfs.room import Room
    from octavo.statistics import VolumeStatistics

MOST_SERIAL = (1 << 32) - 1
MOST_BYTES = (1 << 63) - 1


class WholeVolume(Generic[E]):
    """The volume of a format on `device`. It can be changed by way of `writer`, which is None where
    it cannot; `packer` makes what batches need.
    """

    def __init__(
        self,
        device: Device,
        format: Format[E],
        cache: CacheManager,
        writer: Writer[E] | None = None,
        packer: Callable[[], Packer[E]] | None = None,
    ) -> None:
        assert writer is None or format.links is None, "links that change are not followed"
        self.device = device
        self.name = device.name
        self.format = format
        self.writer = writer
        self.packer = packer
        self.cache = cache
        self.store = Store(device, format.pager, cache, writer)
        self.nodes = Nodes(self.name, format, self.store)
        self.mutex = self.store.mutex
        self.room: Room[E] | None = None
        self.names: Names[E] | None = None
        if writer is not None:
            from octavo.fs.vfs.names import Names  # none of it where nothing can be changed
            from octavo.fs.vfs.room import Room

            self.room = Room(writer)
            self.names = Names(self.nodes, self.room, cache)
        self.kind, self.refusal = format.kind, format.refusal

    # -- what it is --------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        """The volume's own name."""
        return self.format.label

    @property
    def serial(self) -> int:
        """The volume's number, 32 bits; 0 for none."""
        return self.format.serial

    @property
    def read_only(self) -> bool:
        """True when nothing can be changed."""
        return self.writer is None

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells it apart from other volumes that might be in its drive."""
        return (self.kind, self.serial, self.label, self.format.layout)

    def writing(self, path: str) -> Names[E]:
        """Who changes names; StatusError MEDIA_WRITE_PROTECTED, or why the volume is shut."""
        if self.store.shut is not None:
            raise self.store.shut()
        if self.names is None:
            why = self.refusal or "opened for reading only"
            raise StatusError(
                Status.MEDIA_WRITE_PROTECTED,
                f"{self.name}: cannot change {path or '/'}: the volume is read-only ({why})",
            )
        return self.names

    async def space(self) -> Space:
        """Size and free space of what files can have."""
        async with self.mutex:
            if self.store.shut is not None:
                raise self.store.shut()
            return await self.format.space()

    async def watch_space(self, below: int, above: int) -> SpaceWatch:
        """Two events: `low` while fewer than `below` bytes are free, `high` while `above` or more
        are; until `unwatch`. StatusError INVALID_PARAMETER.
        """
        whole(below, f"{self.name}: free bytes", 0, MOST_BYTES)
        whole(above, f"{self.name}: free bytes", below, MOST_BYTES)
        watch = SpaceWatch(below, above)
        watch.look((await self.space()).free)
        if self.writer is not None:
            self.writer.watches.append(watch)
        return watch

    def unwatch(self, watch: SpaceWatch) -> None:
        """Ends a watch; its events stay as they are."""
        if self.writer is not None and watch in self.writer.watches:
            self.writer.watches.remove(watch)

    async def set_label(self, label: str) -> None:
        """Gives the volume another label, "" for none. StatusError OBJECT_NAME_INVALID, or
        DISK_FULL where the root directory has no room for it.
        """
        label = self.writing("the label").planner.clean_label(label)
        async with self.mutex:
            await self.writing("the label").relabel(label)
            self.format.label = label

    async def set_serial(self, serial: int) -> None:
        """Gives the volume another serial number, of 32 bits. StatusError INVALID_PARAMETER,
        NOT_SUPPORTED where its boot sector has none.
        """
        whole(serial, f"{self.name}: the serial number", 0, MOST_SERIAL)
        async with self.mutex:
            names = self.writing("the serial number")
            await names.writer.begin()
            with names.planner.change() as change:
                await names.planner.renumber(change, serial)
                await names.writer.apply(change)
            self.format.serial = serial

    # -- flushing and checking ---------------------------------------------------------------------

    async def flush(self) -> None:
        """Writes all that is dirty, then the clean flag; returns when all of it is on stable
        storage.
        """
        if self.writer is not None and self.writer.gone and self.store.shut is None:
            await self._bury(only_closed=True)  # what an error has left
        await self.store.flush()

    async def finish(self) -> None:
        """As `flush`, for the last time: files without names end, though somebody has them open."""
        if self.writer is not None and self.store.shut is None:
            await self._bury(only_closed=False)
        await self.store.flush()

    async def _bury(self, only_closed: bool) -> None:
        """Gives back what files without names have."""
        async with self.mutex:
            assert self.writer is not None and self.room is not None
            for node in list(self.writer.gone):
                if not (only_closed and node.opens):
                    await self.room.bury(node)
            for node in () if only_closed else list(self.writer.ahead):
                await self._fit(node)

    async def _fit(self, node: Node[E]) -> None:
        """Takes back what a file has beyond its bytes."""
        assert self.room is not None and node.section is not None
        await self.room.fit(node, node.section.size)

    @property
    def _nameless(self) -> list[Node[E]]:
        """Files without names."""
        return [] if self.writer is None else list(self.writer.gone)

    async def check(
        self, progress: Callable[[int, int], None] | None = None, repair: bool = False
    ) -> list[Problem]:
        """What is wrong with the volume. With `repair` it is mended as far as that goes, and
        written; SHARING_VIOLATION while files are open.
        """
        called(progress, "progress")
        await self.flush()
        async with self.mutex:
            self.format.kept = [node.regions for node in self._nameless]
            ahead = () if self.writer is None else self.writer.ahead
            self.format.ahead = {node.entry.number for node in ahead}
            if not repair:
                return await self.format.check(progress, None)
            writer = self.writing("").writer
            self._refuse_open("repaired")
            await self.nodes.forget()
            problems = await self.format.check(progress, writer)
            await self.nodes.forget()
            if all(problem.mended for problem in problems):
                writer.mended()
            await writer.flush()
            return problems

    def _refuse_open(self, verb: str, status: Status = Status.SHARING_VIOLATION) -> None:
        """StatusError while files are open."""
        if opened := sum(node.opens for node in (*self.nodes.used, *self._nameless)):
            why = f"{self.name}: cannot be {verb}: {counted(opened, 'file is', 'files are')} open"
            raise StatusError(status, why)

    # -- locking and unmounting --------------------------------------------------------------------

    @property
    def locked(self) -> bool:
        """Whether somebody has locked it."""
        return self.store.holder is not None and self.store.gone is None

    async def lock(self) -> object:
        """Has everything on the medium and nothing in memory, and refuses all paths until `unlock`
        is given what is returned: another program may look at the device meanwhile.

        StatusError ACCESS_DENIED while files are open, or when somebody has locked it.
        """
        await self.flush()
        async with self.mutex:
            if self.store.holder is not None:
                raise StatusError(Status.ACCESS_DENIED, f"{self.name}: is locked already")
            self._refuse_open("locked", Status.ACCESS_DENIED)
            if self.writer is not None:
                await self.writer.flush()  # what came in between
            await self._forget()
            holder = object()
            self.store.hold(holder)
            return holder

    async def unlock(self, holder: object) -> None:
        """Ends a lock; what is on the medium is read anew. StatusError NOT_LOCKED when the volume
        is not locked by this holder.
        """
        async with self.mutex:
            if self.store.shut is not None:
                raise self.store.shut()
            if holder is None or self.store.holder is not holder:
                raise StatusError(Status.NOT_LOCKED, f"{self.name}: is not locked by this holder")
            if self.writer is not None:
                await self.writer.flush()
            await self._forget()
            self.store.hold(None)
            await self._tell_space()

    async def unmount(self, discard: bool = False, force: bool = False) -> None:
        """Writes everything, and lets go of every page; StatusError SHARING_VIOLATION while files
        are open, but with `force`: then what is open says VOLUME_DISMOUNTED from now on.

        With `discard` unwritten data and open files are given up: they say FILE_FORCED_CLOSED. An
        error of a write leaves the volume mounted, and all as it was.
        """
        if self.store.gone is not None:
            raise self.store.given_up(self.name)
        async with self.mutex:
            if not (discard or force):
                self._refuse_open("unmounted")
            self.store.leave(Status.FILE_FORCED_CLOSED if discard else Status.VOLUME_DISMOUNTED)
            try:
                if not discard and self.writer is not None and self.room is not None:
                    for node in self._nameless:
                        await self.room.bury(node)
                    for node in list(self.writer.ahead):
                        await self._fit(node)
                    await self.writer.flush()
            except BaseException:
                self.store.leave(None)
                raise
            for node in self._nameless:
                await self.nodes.drop(node)
            await self.nodes.forget()
            for section in self.format.sections:
                await self.cache.drop(section)
            self.store.end()

    async def _forget(self) -> None:
        """Lets go of every page, and of what is known of the volume beside its geometry: all is
        read anew.
        """
        await self.nodes.forget()
        for section in self.format.sections:
            size = section.size
            await self.cache.purge(section, 0)
            section.size = size
        self.format.forget()

    async def _tell_space(self) -> None:
        """Whoever watches free space learns what another has taken or given back meanwhile; where
        that cannot be read, with the first change after somebody has asked for the space.
        """
        if self.writer is not None and self.writer.watches:
            with suppress(StatusError):
                await self.format.space()
                self.writer.tell_space()

    # -- another medium ----------------------------------------------------------------------------

    @property
    def changed(self) -> bool:
        """Whether there was another medium in the drive, and nobody has verified the volume yet."""
        return self.store.changed

    async def resume(self) -> None:
        """The medium in the drive is the volume's own: it can be used on. Where nothing waits to be
        written and no file is open, all of it is read anew.
        """
        async with self.mutex:
            self.store.verified()
            errors, pager = self.cache.memory.writeback.errors, self.format.pager
            left = errors.take_all(pager)
            if left is not None and left.status != Status.VERIFY_REQUIRED:
                errors.note(self.format.sections[0], left)
            opened = any(node.opens for node in (*self.nodes.used, *self._nameless))
            if not opened and (self.writer is None or self.writer.idle):
                await self._forget()
                await self._tell_space()

    def statistics(self) -> VolumeStatistics:
        """Nodes, contention for the mutex, and what the device did."""
        from octavo.statistics import VolumeStatistics

        return VolumeStatistics(
            nodes=len(self.nodes.used),
            names=self.nodes.known.statistics(),
            contended=self.mutex.contended,
            device=self.device.statistics(),
        )
