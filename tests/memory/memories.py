"""Physical memory, and machines of so many frames."""

from __future__ import annotations

from octavo.cache.manager import CacheManager
from octavo.machine.abi import PAGE_SIZE, State
from octavo.machine.clock import VirtualClock
from octavo.machine.ram import Ram
from octavo.memory.frames.pfn import PfnDatabase
from octavo.memory.frames.physical import PhysicalMemory
from octavo.memory.manager import MemoryManager
from octavo.threads.scheduler import Scheduler


def make_memory(frames: int = 64) -> PhysicalMemory:
    """Physical memory of so many free frames behind a PFN database of its own."""
    database = -(-(frames + 8) * 32 // PAGE_SIZE)
    ram = Ram(frames + database + 1)
    pfns = PfnDatabase(ram, ram.frames, frames + 1)
    pfns.claim(frames + 1, database, State.ACTIVE)
    physical = PhysicalMemory(ram, pfns)
    physical.buddy.add(1, frames)
    return physical


FRAMES = 320


def make_machine(
    frames: int = FRAMES, seed: int = 0, pageout: bool = True
) -> tuple[Scheduler, MemoryManager, CacheManager]:
    """A machine of `frames` usable frames in virtual time."""
    scheduler = Scheduler(VirtualClock(), seed)
    database = -(-(frames + 8) * 32 // PAGE_SIZE)
    memory = MemoryManager(
        Ram(frames + 8),
        frames + 8,
        [(1, frames + 7 - database)],
        (frames + 8 - database, database),
        scheduler,
        pageout,
    )
    return scheduler, memory, CacheManager(memory)
