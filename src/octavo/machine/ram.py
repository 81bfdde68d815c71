"""Physical memory: one shared mapping that holds every byte the system pages, caches or lends to a
device.

`Ram` is the only owner of bytes (rule 1). A frame is 4096 bytes; frame number n (its PFN) is bytes
[n << 12, (n + 1) << 12).

    bytes   memoryview of unsigned bytes   bytes[address]
    half    memoryview of uint16           half[address >> 1]
    word    memoryview of uint32           word[address >> 2]
    link    memoryview of int32            link[address >> 2], for tables of frame numbers
    array   ndarray, uint8, shape (frames * 4096,)

All five show the same bytes, in the host's (little-endian) order. Memoryviews are there because one
element costs a third of what a NumPy scalar costs; the array is there for work on many elements,
and made when it is first asked for, since NumPy may not be imported until then.

A *shared* mapping is backed by a memory file, `fd`, that another process (a driver's, an
emulator's) maps as well; nobody can change the file's size. Any other mapping is private and in
large pages where the host has them, which makes the first touch of a frame 5 to 20 times as cheap
(docs/decisions/0007): a boot plan asks for the one that is needed. Host memory is taken when a
frame is first touched, never at creation, and given back when nobody maps it any more.

A *paper* machine has frame numbers and no bytes: plans and replays of terabytes run on it, sections
do not.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import sys
from functools import cached_property
from typing import TYPE_CHECKING

from octavo.machine.abi import PAGE_SHIFT as PAGE_SHIFT  # here, too: programs ask for it
from octavo.machine.abi import PAGE_SIZE as PAGE_SIZE
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_NORESERVE = getattr(
    mmap, "MAP_NORESERVE", 0x4000
)  # frames cost the host nothing before they are used
MAX_FRAMES = 1 << 30  # frame numbers are int32 in every table

if sys.byteorder != "little":  # the tables in RAM are shared with little-endian devices
    raise ImportError("octavo needs a little-endian host")


class Ram:
    """`frames` frames of memory, all zero at the start; with `paper`, frame numbers without bytes;
    `shared` as above. `fd` is the memory file, -1 where there is none.

    StatusError INVALID_PARAMETER for a number of frames that cannot be, NO_MEMORY when the host has
    not so much, NOT_SUPPORTED when it has no memory files.
    """

    def __init__(self, frames: int, paper: bool = False, shared: bool = False) -> None:
        self.fd = -1
        if not 0 < frames <= MAX_FRAMES:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"cannot make RAM of {frames} frames: 1 to {MAX_FRAMES} are possible",
            )
        self.frames = frames
        self.paper = paper
        if paper:
            return
        size = frames << PAGE_SHIFT
        try:
            if shared:
                self.fd = _memory_file(size)
                mapping = mmap.mmap(self.fd, size)
            else:
                flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
                mapping = mmap.mmap(-1, size, flags=flags)
        except OSError as error:
            self.close()
            text = (
                f"the host cannot give {size >> 20} MiB for RAM ({error.strerror}): set a "
                "smaller memory limit"
            )
            raise StatusError(Status.NO_MEMORY, text) from None
        if not shared:
            with contextlib.suppress(AttributeError, OSError):  # a host without large pages
                mapping.madvise(mmap.MADV_HUGEPAGE)
        self._show(mapping)

    @classmethod
    def attach(cls, fd: int) -> Ram:
        """The shared RAM of another process, by its memory file, which is taken over; OSError."""
        ram = cls.__new__(cls)
        ram.fd, ram.paper = fd, False
        ram.frames = os.fstat(fd).st_size >> PAGE_SHIFT
        ram._show(mmap.mmap(fd, ram.frames << PAGE_SHIFT))
        return ram

    def _show(self, mapping: mmap.mmap) -> None:
        self.bytes = memoryview(mapping)
        self.half = self.bytes.cast("H")
        self.word = self.bytes.cast("I")
        self.link = self.bytes.cast("i")

    @cached_property
    def array(self) -> npt.NDArray[np.uint8]:
        """See above."""
        import numpy as np

        return np.frombuffer(self.bytes, np.uint8)

    def frame(self, pfn: int, count: int = 1) -> memoryview:
        """The bytes of `count` frames from `pfn` on."""
        return self.bytes[pfn << PAGE_SHIFT : (pfn + count) << PAGE_SHIFT]

    def close(self) -> None:
        """Gives the memory file back; the mapping goes with its last reference."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close()


def _memory_file(size: int) -> int:
    """A memory file of `size` bytes that keeps its size: who shares it cannot cut the frames off.

    OSError, StatusError NOT_SUPPORTED.
    """
    if not hasattr(os, "memfd_create"):
        raise StatusError(
            Status.NOT_SUPPORTED,
            "this host has no memory files (memfd_create of Linux), and a driver outside of the "
            "process needs one: run it inside",
        )
    fd = os.memfd_create("octavo-ram", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except BaseException:
        os.close(fd)
        raise
    return fd
