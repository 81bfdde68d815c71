"""A scheduler in real time, and what ends at its sources."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from octavo.machine.clock import RealClock
from octavo.status import StatusError
from octavo.threads.scheduler import Scheduler
from octavo.threads.sources import Descriptor
from tests.machines import within_seconds


@pytest.fixture(params=["eventfd", "pipe"])
def scheduler(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scheduler]:
    """In real time, on hosts with and without an eventfd; nothing stays open."""
    if request.param == "pipe":
        monkeypatch.delattr(os, "eventfd")
    before = descriptors()
    made = Scheduler(RealClock())
    with within_seconds(60):
        yield made
    made.close()
    assert descriptors() <= before


def descriptors() -> int:
    """Open descriptors of this process, without those of machines that other tests have dropped."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def pair(scheduler: Scheduler, name: str = "ours") -> tuple[socket.socket, Descriptor]:
    """The other end of a socket, and this one as a source."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    source = Descriptor(ours, name)
    scheduler.add(source)
    return theirs, source


async def receive(source: Descriptor) -> bytes:
    """What was sent to a source."""
    await source.readable()
    return os.read(source.fd, 100)


def refused(call: Callable[[], object]) -> StatusError:
    """The error of a call."""
    with pytest.raises(StatusError) as caught:
        call()
    return caught.value
