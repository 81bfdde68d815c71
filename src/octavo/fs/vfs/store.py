"""What open files and their volume share: the lock, the cache, and the device."""

from __future__ import annotations

from typing import Generic

from octavo.cache.manager import CacheManager
from octavo.fs.vfs.format import Format
from octavo.fs.vfs.node import E
from octavo.storage.device import Device
from octavo.threads.wait import Mutex


class Store(Generic[E]):
    """The bytes of a volume on `device`. Whoever looks at names, or changes anything, holds
    `mutex`.
    """

    def __init__(self, device: Device, format: Format[E], cache: CacheManager) -> None:
        self.device = device
        self.format = format
        self.cache = cache
        self.mutex = Mutex()
