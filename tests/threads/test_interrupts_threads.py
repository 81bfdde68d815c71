"""Ctrl-C beside other host threads, and where all kernel threads wait."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

import octavo
from octavo.status import StatusError
from octavo.threads.interrupts import uninterrupted
from octavo.threads.sources import Descriptor
from octavo.threads.wait import Event


def ctrl_c(ready: Callable[[], object], times: int = 1) -> threading.Thread:
    """Signals, a tenth of a second between them, once somebody is ready for them."""

    def send() -> None:
        while not ready():
            time.sleep(0.01)
        for _ in range(times):
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_the_main_host_thread_gets_it() -> None:
    """While another one works in a system of its own, and in blocks that are not interrupted."""
    mine, other = octavo.boot(memory="4M"), octavo.boot(memory="4M")
    volume, its = mine.attach_ram_disk(1 << 20), other.attach_ram_disk(1 << 20)
    ended, errors = threading.Event(), []

    def work() -> None:
        try:
            while not ended.is_set():
                with uninterrupted():
                    its.write_bytes("a", b"x" * 30_000)
        except (KeyboardInterrupt, StatusError) as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(3):
            begun = threading.Event()
            sender = ctrl_c(begun.is_set)
            until = time.monotonic() + 20
            with pytest.raises(KeyboardInterrupt):
                while time.monotonic() < until:
                    begun.set()
                    volume.write_bytes("a", b"y" * 30_000)
            sender.join()
    finally:
        ended.set()
        thread.join()
    assert not errors and its.read_bytes("a") == b"x" * 30_000
    mine.close()
    other.close()


def test_a_second_one_ends_a_wait_and_not_what_waits() -> None:
    """For a descriptor to which nobody writes, and for a time; the thread goes on in the next run,
    in which a first Ctrl-C waits again.
    """
    with octavo.boot(memory="4M") as system:
        scheduler, done, go = system.scheduler, Event(), Event()

        async def wait() -> None:
            await go.wait()
            done.signal()

        reader, writer = os.pipe()
        source = Descriptor(os.fdopen(reader, "rb", 0), "a pipe")
        scheduler.add(source)
        for coroutine in (source.readable, lambda: scheduler.sleep(50), wait):
            sender = ctrl_c(lambda: scheduler.is_running, 2)
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                scheduler.run(coroutine())
            assert 0.2 <= time.monotonic() - began < 20
            sender.join()
        go.signal()
        sender = ctrl_c(lambda: scheduler.is_running)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            scheduler.run(scheduler.sleep(1))
        sender.join()
        assert done.signalled and time.monotonic() - began >= 1
        os.close(writer)


def test_a_block_that_is_uninterrupted_stays_so() -> None:
    """Also when somebody insists while all threads wait: the interrupt comes at its end."""
    with octavo.boot(memory="4M") as system:
        scheduler, done = system.scheduler, False
        sender = ctrl_c(lambda: scheduler.is_running, 3)
        with pytest.raises(KeyboardInterrupt), uninterrupted():
            scheduler.run(scheduler.sleep(1))
            done = True
        sender.join()
        assert done
        scheduler.run(scheduler.sleep(0.01))  # nothing is left of it
