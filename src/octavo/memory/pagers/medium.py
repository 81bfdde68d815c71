"""What a pager asks of the place where bytes are kept: requests. `octavo.storage.device` has
devices that serve them.

    Request    op       READ, WRITE or FLUSH
               place    byte on the medium where it begins
               frames   the bytes of RAM that lie there, as numbers (octavo.machine.frames)

A request says what is to be done and to which frames, and has nothing that only this process could
use: who has the RAM can serve it, a driver in another process as well as one here. Nothing is
copied on the way, and no bytes are read or written that are in no frame.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

from octavo.machine.frames import Frames, joined
from octavo.machine.ram import Ram
from octavo.threads.wait import Waiters


class Op(IntEnum):
    """What a request asks for."""

    READ = 0  # fills the frames from the medium
    WRITE = 1  # writes the frames to the medium
    FLUSH = 2  # ends when all that was written before is on stable storage


class Request(NamedTuple):
    """One transfer between a place of the medium, in bytes, and frames; a flush has neither."""

    op: Op
    place: int
    frames: Frames


FLUSH = Request(Op.FLUSH, 0, Frames(Ram(1, paper=True), [], 0))


class Medium(Protocol):
    """`size` bytes that are read and written by requests."""

    name: str
    size: int

    def submit(self, requests: Sequence[Request]) -> Coroutine[Waiters, None, None]:
        """Serves requests of one operation, in any order; returns when all are done. StatusError as
        a whole: what was done of them is not known.
        """


def merge(requests: Iterable[Request], most_bytes: int, most_runs: int) -> list[Request]:
    """Sorts requests of one operation by place and joins those that touch, up to `most_bytes` and
    `most_runs` in one.
    """
    groups: list[list[Request]] = []
    end = size = runs = -1
    for request in sorted(requests, key=lambda r: r.place):
        _, place, frames = request
        size += frames.length
        runs += len(frames.runs)
        if place == end and size <= most_bytes and runs <= most_runs:
            groups[-1].append(request)
        else:
            groups.append([request])
            size, runs = frames.length, len(frames.runs)
        end = place + frames.length
    return [group[0] if len(group) == 1 else _one(group) for group in groups]


def _one(group: list[Request]) -> Request:
    """Requests that touch as one."""
    op, place, frames = group[0]
    runs = joined(run for request in group for run in request.frames.runs)
    return Request(op, place, Frames(frames.ram, runs, sum(r.frames.length for r in group)))
