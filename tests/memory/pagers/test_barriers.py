"""What barriers cover, and what goes out of pages that others change meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.clock import VirtualClock
from octavo.memory.pagers.medium import Extent
from octavo.memory.pagers.region import RegionPager, whole_device
from octavo.memory.pages.section import DirtyRun, Section
from octavo.testing.bytespager import BytesPager
from octavo.threads.scheduler import Scheduler
from tests.machines import Machine


class SlowMedium:
    """Writes take a second, flushes nothing; `log` has what was done, in order."""

    name, size = "medium", PAGE_SIZE

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler, self.log = scheduler, list[str]()

    async def read(self, extents: Sequence[Extent]) -> None:
        """Reads zeros."""

    async def write(self, extents: Sequence[Extent]) -> None:
        """Writes in the end."""
        await self.scheduler.sleep(1)
        self.log.append("written")

    async def flush(self) -> None:
        """Flushes."""
        self.log.append("flushed")


def test_a_write_that_ends_after_a_barrier_needs_another() -> None:
    """A barrier that comes while a page is being written does not cover it: the next one does."""
    scheduler = Scheduler(VirtualClock(), 1)
    medium = SlowMedium(scheduler)
    pager = RegionPager(medium)
    section = Section("all", pager, whole_device(medium), PAGE_SIZE)
    run = DirtyRun(section, 0, [memoryview(bytearray(PAGE_SIZE))])

    async def main() -> None:
        await pager.data_return([run])
        await pager.barrier()
        thread = scheduler.spawn(pager.data_return([run]), "writer")
        await scheduler.sleep(0.5)
        await pager.barrier()
        await thread.join()
        assert section in pager.loose
        await pager.barrier()
        assert section not in pager.loose
        await pager.barrier()

    scheduler.run(main())
    assert medium.log == ["written", "flushed", "written", "flushed"]


def test_pages_that_are_led_go_out_as_they_were() -> None:
    """What is put into such a page while it is written may point to what is not on the medium yet:
    it goes out with the next write, after what leads it.
    """
    machine = Machine()
    scheduler, data = machine.scheduler, bytearray(PAGE_SIZE)
    pager = BytesPager(scheduler, data)
    section = Section("directory", pager, None, PAGE_SIZE)
    led: list[bytes] = []

    async def lead() -> None:
        led.append(bytes(data[:3]))

    section.leads = lead

    async def main() -> None:
        await machine.cache.copy_write(section, 0, b"one")
        thread = scheduler.spawn(machine.cache.flush(section), "flush")
        await scheduler.sleep(0.0005)
        await machine.cache.copy_write(section, 0, b"two")
        await scheduler.sleep(0.0007)
        assert data[:3] == b"one"
        await thread.join()
        await machine.cache.flush(section)

    machine.run(main())
    assert data[:3] == b"two" and led[-1] == b"one"
    machine.run(machine.cache.drop(section))
    machine.check()
    scheduler.close()
