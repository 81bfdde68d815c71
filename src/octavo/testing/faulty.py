"""A device that fails when told to: it stands before another device and makes the failure paths
happen.

    FaultyDevice(device, plan)  plan(verb, n) -> True fails the n-th request of that verb (from 1),
                                verb being "read", "write" or "flush"
    cut_after(n)                power goes before write n + 1: it and all later requests fail,
                                nothing more is kept

For tests and experiments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from octavo.arguments import invalid, shown
from octavo.memory.pagers.medium import Request
from octavo.status import Status, StatusError
from octavo.storage.device import Device, given_device

Plan = Callable[[str, int], bool]


def never(verb: str, number: int) -> bool:
    """The plan of a device that works."""
    return False


class FaultPlan:
    """Counts requests to `name` by their verbs, and fails those that `plan` names."""

    def __init__(self, name: str, plan: Plan = never) -> None:
        if not callable(plan):
            raise invalid(
                f"{name}: {shown(plan)} is no plan: a function of a verb and a number is needed"
            )
        self.name = name
        self.plan = plan
        self.numbers = {"read": 0, "write": 0, "flush": 0}
        self.failed: list[tuple[str, int]] = []

    def step(self, verb: str, dark: bool = False) -> None:
        """Counts one; StatusError IO_DEVICE_ERROR when the plan, or the power that is gone, says
        so.
        """
        self.numbers[verb] += 1
        if dark or self.plan(verb, self.numbers[verb]):
            self.failed.append((verb, self.numbers[verb]))
            why = f"{self.name}: injected failure of {verb} {self.numbers[verb]}"
            raise StatusError(Status.IO_DEVICE_ERROR, why)


class FaultyDevice(FaultPlan, Device):
    """Passes requests on to `device` unless `plan` says that they fail."""

    def __init__(self, device: Device, plan: Plan = never) -> None:
        given_device(device, "a device to fail")
        Device.__init__(self, device.name, device.size, device.read_only, device.removable)
        FaultPlan.__init__(self, device.name, plan)
        self.device = device
        self.watchers = device.watchers
        self._last_write: int | None = None

    def cut_after(self, writes: int) -> None:
        """Lets `writes` more writes through, then the power is gone."""
        self._last_write = self.numbers["write"] + writes

    def _step(self, verb: str) -> None:
        dark = self._last_write is not None and self.numbers["write"] >= self._last_write
        self.step(verb, dark)

    async def _read(self, requests: Sequence[Request]) -> None:
        self._step("read")
        await self.device.submit(requests)

    async def _write(self, requests: Sequence[Request]) -> None:
        self._step("write")
        await self.device.submit(requests)

    def refresh(self) -> None:
        """As the device behind."""
        self.device.refresh()
        self.read_only = self.device.read_only

    async def _flush(self) -> None:
        self._step("flush")
        await self.device.flush()

    def close(self) -> None:
        """Closes the device behind."""
        super().close()
        self.device.close()
