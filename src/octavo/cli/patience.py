"""Waiting for an image that somebody else has open."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TypeVar

from octavo.machine.clock import Clock
from octavo.status import Status, StatusError

T = TypeVar("T")
PAUSE = 0.05  # seconds between two attempts


def patiently(attempt: Callable[[], T], seconds: float, clock: Clock) -> T:
    """What `attempt` returns, which is called again while the image is in use, for so long. Its
    StatusError.
    """
    end = clock.now() + seconds
    nobody = Event()
    while True:
        try:
            return attempt()
        except StatusError as error:
            left = end - clock.now()
            if error.status != Status.SHARING_VIOLATION or left <= 0:
                raise
        nobody.wait(min(PAUSE, left))
