"""What barriers cover, and what goes out of pages that others change meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.clock import VirtualClock
from octavo.machine.frames import Frames
from octavo.machine.ram import Ram
from octavo.memory.pagers.medium import Op, Request
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

    async def submit(self, requests: Sequence[Request]) -> None:
        """Writes in the end."""
        if requests[0].op == Op.FLUSH:
            self.log.append("flushed")
            return
        await self.scheduler.sleep(1)
        self.log.append("written")


def test_a_write_that_ends_after_a_barrier_needs_another() -> None:
    """A barrier that comes while a page is being written does not cover it: the next one does."""
    scheduler = Scheduler(VirtualClock(), 1)
    medium = SlowMedium(scheduler)
    pager = RegionPager(medium)
    section = Section("all", pager, whole_device(medium), PAGE_SIZE)
    run = DirtyRun(section, 0, Frames.of(Ram(2), [1]))

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


def test_pages_that_are_led_are_not_changed_while_they_are_written() -> None:
    """What is put into such a page may point to what is not on the medium yet: it comes after the
    write, and goes out with the next one, after what leads it.
    """
    machine = Machine()
    scheduler, data = machine.scheduler, bytearray(PAGE_SIZE)
    section = Section("directory", BytesPager(scheduler, data), None, PAGE_SIZE)

    async def lead() -> None:
        """There is nothing before it."""

    async def main() -> None:
        await machine.cache.copy_write(section, 0, b"one")
        assert machine.cache.put([(section, 0, b"two")])  # nobody leads it, and nobody writes it
        section.leads = lead
        thread = scheduler.spawn(machine.cache.flush(section), "flush")
        while not section.writes:
            await scheduler.sleep(1e-6)
        assert not machine.cache.put([(section, 0, b"six")])
        await thread.join()
        assert data[:3] == b"two" and machine.cache.put([(section, 0, b"six")])
        await machine.cache.flush(section)

    machine.run(main())
    assert data[:3] == b"six"
    machine.run(machine.cache.drop(section))
    machine.check()
    scheduler.close()
