"""What lies at an address, as NT's NtQueryVirtualMemory tells it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from octavo.machine.abi import PAGE_SHIFT
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.space import Space
from octavo.memory.spaces.vad import Vad
from octavo.memory.spaces.view import Attribute


class MemoryType(enum.IntEnum):
    """What lies at an address, by NT's values."""

    PRIVATE = 0x20000
    MAPPED = 0x40000
    IMAGE = 0x1000000


class PageState(enum.IntEnum):
    """What `query` finds, by NT's values."""

    COMMIT = 0x1000
    RESERVE = 0x2000
    FREE = 0x10000


@dataclass(frozen=True)
class MemoryInformation:
    """Bytes [base, base + size) around an address that are alike.

    `protect` is NOACCESS where nothing is allocated, and None where nothing is committed.
    """

    base: int
    size: int
    state: PageState
    allocation_base: int = 0
    allocation_protect: Protect | None = None
    protect: Protect | None = None
    type: MemoryType | None = None


def describe(space: Space, page: int) -> MemoryInformation:
    """What lies at a page, and how far on it is alike."""
    vad = space.vads.find(page)
    if vad is None:
        high = space.vads.high
        end = min((other.start for other in space.vads.all if other.start > page), default=high)
        base, size = page << PAGE_SHIFT, end - page << PAGE_SHIFT
        return MemoryInformation(base, size, PageState.FREE, protect=Protect.NOACCESS)
    _, end, protect = vad.span_at(page)
    return MemoryInformation(
        page << PAGE_SHIFT,
        end - page << PAGE_SHIFT,
        PageState.RESERVE if protect is None else PageState.COMMIT,
        vad.start << PAGE_SHIFT,
        vad.protect,
        protect,
        _type(vad),
    )


def _type(vad: Vad) -> MemoryType:
    if vad.view is None:
        return MemoryType.PRIVATE
    image = vad.view.object.attributes & Attribute.IMAGE
    return MemoryType.IMAGE if image else MemoryType.MAPPED
