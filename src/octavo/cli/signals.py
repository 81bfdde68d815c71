"""Signals that ask the command to end. Nothing that takes time is imported here: `octavo.__main__`
begins with it.
"""

import signal
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def handle_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """Has `handler` called for each of SIGNALS, but for those that are ignored, as after nohup."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)
