"""Commands that look inside: memory and cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from octavo.printing import counted
from octavo.shell import report, spaces
from octavo.shell.command import Command, Place, command
from octavo.shell.line import UsageError
from octavo.shell.session import Session
from octavo.transfer.host import write_file

if TYPE_CHECKING:
    from octavo.system import System

COMMANDS: dict[str, Command] = {}
_VIEWS: dict[str, Callable[[System], list[str]]] = {
    "buddy": report.buddy_report,
    "slab": report.slab_report,
    "pool": report.pool_report,
    "spaces": spaces.spaces_report,
    "sections": spaces.sections_report,
    "paging": spaces.paging_report,
    "stat": report.stat_report,
}


def _complete(shell: Session, words: list[str]) -> Iterable[str] | Place:
    return [*_VIEWS, "picture"] if not words else Place.HOST if words == ["picture"] else []


@command(COMMANDS, "memory", 0, 2, _complete)
def memory(shell: Session, arguments: list[str]) -> None:
    """memory [buddy | slab | pool | spaces | sections | paging | stat | PFN | picture FILE.png]

    Shows what the memory manager has done and holds.
      buddy     free blocks of each zone by order, watermarks, how much of the free memory each
                order can use
      slab      slab caches
      pool      pools by tag, system PTEs, stacks
      stat      counters, one a line
      spaces    address spaces, their working sets, allocations, and where their pages are
      sections  what can be mapped into them
      paging    page lists by priority, the replacement policy, evictions, low and high memory
      PFN       why that frame is here, such as 0x1234
      picture   writes a PNG to the host: a cell for each frame, coloured by state and owner, with
                addresses, zones and a legend

    Example: memory buddy
    """
    if len(arguments) == 2:
        if arguments[0].lower() != "picture":
            raise UsageError(f"memory {arguments[0]} takes nothing after it; see help memory")
        _picture(shell, arguments[1])
        return
    what = arguments[0].lower() if arguments else ""
    if what == "picture":
        raise UsageError(
            "memory picture needs the name of a file to write, such as memory picture FILE.png"
        )
    if what and what not in _VIEWS:
        shell.out(shell.system.explain(_frame(arguments[0])))
        return
    for line in _VIEWS.get(what, report.memory_report)(shell.system):
        shell.out(line)


def _frame(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise UsageError(
            f"{text!r} is neither a frame number, such as 0x1234 or 4660, nor "
            f"one of {', '.join(_VIEWS)}"
        ) from None


def _picture(shell: Session, path: str) -> None:
    from octavo.shell.picture import PALETTE, picture

    raster, grid = picture(shell.system.memory.pfns, shell.system.plan.zones)
    write_file(path, raster.png(PALETTE))
    height, width = raster.pixels.shape
    shell.out(
        f"{path}: {width} x {height} pixels, {counted(grid.share, 'frame')} a cell, "
        f"{counted(grid.width, 'cell')} a row"
    )


@command(COMMANDS, "cache", 0, 0)
def cache(shell: Session, arguments: list[str]) -> None:
    """cache

    Shows what the cache manager has done and holds.

    Example: cache
    """
    for line in report.cache_report(shell.system):
        shell.out(line)


@command(COMMANDS, "sysinfo", 0, 0)
def sysinfo(shell: Session, arguments: list[str]) -> None:
    """sysinfo

    Shows what machine this is: processors and their page tables, memory, the cache, drives.

    Example: sysinfo
    """
    for line in report.system_report(shell.system):
        shell.out(line)
