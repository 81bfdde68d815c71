"""What a volume and its open files share: the device, the cache, the lock, and whether the volume
may be used now.

    open       everybody may use it
    locked     by one holder: paths are refused, ACCESS_DENIED; no file is open
    changed    there is another medium in the drive, or none: MEDIA_CHANGED once, VERIFY_REQUIRED
               until the volume is verified; no page of the old medium reaches the new one
    gone       unmounted: VOLUME_DISMOUNTED, and FILE_FORCED_CLOSED for what was given up with it

Source: NT's volume locks, dismounts and verification (FSCTL_LOCK_VOLUME and its like). Departure:
who holds a lock is not asked by what is done to the volume as a whole (check, label, unmount).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic

from octavo.cache.manager import CacheManager
from octavo.fs.vfs.node import E
from octavo.memory.pagers.region import RegionPager
from octavo.status import Status, StatusError
from octavo.storage.device import Device
from octavo.threads.wait import Mutex

if TYPE_CHECKING:
    from octavo.fs.vfs.order import Writer

Why = Callable[[], StatusError]


class Store(Generic[E]):
    """The bytes on `device`. Whoever looks at names, or changes anything, holds `mutex`; `writer`
    is None where nothing can be changed.

    `bar` says why paths and files may not be used, `shut` why the volume as a whole may not; None
    when they may. A volume looks at them first in whatever it does.
    """

    def __init__(
        self, device: Device, pager: RegionPager, cache: CacheManager, writer: Writer[E] | None
    ) -> None:
        self.device = device
        self.cache = cache
        self.writer = writer
        self.mutex = Mutex("volume")
        self.bar: Why | None = None
        self.shut: Why | None = None
        self.holder: object | None = None  # of the lock
        self.gone: Status | None = None  # what files that were open say when it is unmounted
        self.changed = self._told = False
        self._pager = pager
        device.watchers.append(self.medium_changed)

    # -- states ------------------------------------------------------------------------------------

    def medium_changed(self) -> None:
        """There is another medium in the drive, or none."""
        self.changed, self._told = True, False
        self._settle()

    def verified(self) -> None:
        """The medium in the drive is the volume's own."""
        self.changed = False
        self._settle()

    def hold(self, holder: object | None) -> None:
        """Locks the volume for a holder, or ends that (None)."""
        self.holder = holder
        self._settle()

    def leave(self, status: Status | None) -> None:
        """The volume is unmounted, or (None) is not after all: it could not be written."""
        self.gone = status
        self._settle()

    def end(self) -> None:
        """All that was to be written is: the device is not touched any more."""
        assert self.gone is not None
        self._pager.bar = self._dismounted
        self.device.watchers.remove(self.medium_changed)

    def _settle(self) -> None:
        self.shut = self._dismounted if self.gone else self._another if self.changed else None
        self.bar = self.shut or (self._locked if self.holder is not None else None)
        self._pager.bar = self._unverified if self.changed else None

    # -- sentences ---------------------------------------------------------------------------------

    def _locked(self) -> StatusError:
        return StatusError(Status.ACCESS_DENIED, f"{self.device.name}: the volume is locked")

    def _dismounted(self) -> StatusError:
        return StatusError(
            Status.VOLUME_DISMOUNTED, f"{self.device.name}: its volume was unmounted"
        )

    def given_up(self, path: str) -> StatusError:
        """What an open file says of a volume that is gone."""
        assert self.gone is not None
        text = f"{path}: its volume was unmounted"
        if self.gone == Status.FILE_FORCED_CLOSED:
            text += ", and the file given up"
        return StatusError(self.gone, text)

    def _another(self) -> StatusError:
        if self._told:
            return self._unverified()
        self._told = True
        why = f"{self.device.name}: the medium was changed: verify the volume, or unmount it"
        return StatusError(Status.MEDIA_CHANGED, why)

    def _unverified(self) -> StatusError:
        why = (
            f"{self.device.name}: the medium was changed, and nobody has verified that it is the "
            "volume's own"
        )
        return StatusError(Status.VERIFY_REQUIRED, why)

    # -- flushing ----------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Writes all that is dirty, then the clean flag; returns when all of it is on stable
        storage.
        """
        if self.shut is not None:
            raise self.shut()
        if self.writer is not None:
            async with self.mutex:
                await self.writer.flush()
