"""What the open files of a volume share with it: the device, the cache, and the lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from octavo.cache.manager import CacheManager
from octavo.fs.vfs.node import E
from octavo.storage.device import Device
from octavo.threads.wait import Mutex

if TYPE_CHECKING:
    from octavo.fs.vfs.order import Writer


class Store(Generic[E]):
    """The bytes on `device`. Whoever looks at names, or changes anything, holds `mutex`; `writer`
    is None where nothing can be changed.
    """

    def __init__(self, device: Device, cache: CacheManager, writer: Writer[E] | None) -> None:
        self.device = device
        self.cache = cache
        self.writer = writer
        self.mutex = Mutex("volume")

    async def flush(self) -> None:
        """Writes all that is dirty, then the clean flag; returns when all of it is on stable
        storage.
        """
        if self.writer is not None:
            async with self.mutex:
                await self.writer.flush()
