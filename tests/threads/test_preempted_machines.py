"""The state machines of memory and files, and crash histories, on virtual CPUs that pre-empt each
other at marked points. `make test` runs each some seconds, `make preempt` by more seeds.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

import octavo
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice
from tests.cache.test_cache_machine import CacheInterfaces
from tests.crashes.explorer import explore
from tests.fs.fat.test_fat_machine import FatMachine
from tests.memory.spaces.test_paged_spaces import BulkMachine, PagedMachine
from tests.memory.spaces.test_view_machine import SmallViewMachine, ViewMachine
from tests.preempted import SEEDS, preempted, schedules


def machine_in_the_mode(machine: type[RuleBasedStateMachine], seed: int, cpus: int) -> None:
    """A state machine on virtual CPUs, by examples that the seed draws."""
    random.seed(seed)
    with preempted(cpus):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=10,
                stateful_step_count=25,
                deadline=None,
                database=None,
                derandomize=SEEDS == 1,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )


@pytest.mark.parametrize(("seed", "cpus"), schedules())
@pytest.mark.parametrize(
    "machine", [ViewMachine, SmallViewMachine, PagedMachine, BulkMachine, CacheInterfaces]
)
def test_memory_machines(machine: type[RuleBasedStateMachine], seed: int, cpus: int) -> None:
    """Spaces, views, forks, page files, pagers and the cache against their models; the books
    balance at marked points, too.
    """
    machine_in_the_mode(machine, seed, cpus)


class PreemptedFatMachine(FatMachine):
    """The machine of FAT volumes in virtual time: the writers come between."""

    def boot(self) -> None:
        """Mounts the image on a device that can fail."""
        self.system = octavo.boot(memory=self.memory, seed=random.randrange(1 << 30))
        self.device = FaultyDevice(ImageDisk(self.image, self.system.scheduler))
        self.system.attach_device(self.device)

    @rule()
    def flush(self) -> None:
        """What a writer could not write while the device failed is told once."""
        try:
            self.volume.flush()
        except StatusError as error:
            assert error.status == Status.IO_DEVICE_ERROR and self.device.failed
        super().flush()


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize(("seed", "cpus"), schedules())
def test_the_machine_of_fat_volumes(seed: int, cpus: int) -> None:
    """Random operations against a dict, judged by fsck.fat and mtools."""
    machine_in_the_mode(PreemptedFatMachine, seed, cpus)


@pytest.mark.dosfstools
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize(("bits", "cpus"), [(12, 1), (12, 4), (16, 2), (32, 2)])
def test_crash_histories(bits: int, cpus: int, seed: int) -> None:
    """What a power cut leaves while flushes, writers and users come between each other is as
    docs/crash.md says.
    """
    with preempted(cpus):
        tally = explore(bits, 150 if SEEDS == 1 else 600, seed * 8 + 3)
    assert not tally.broken, tally.smallest()
