"""The command vm: address spaces to try things in."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from octavo.arguments import parse_size
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.machine.mmu import reference
from octavo.machine.mmukernels import READ, WRITE
from octavo.memory.spaces.addressspace import AddressSpace, Allocate, Free
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.protect import Protect
from octavo.printing import counted
from octavo.shell import spaces
from octavo.shell.command import Command, Place, command
from octavo.shell.line import UsageError
from octavo.shell.session import Session
from octavo.status import Status, StatusError

COMMANDS: dict[str, Command] = {}
MOST_SHOWN = 4096  # bytes


def _complete(shell: Session, words: list[str]) -> Iterable[str] | Place:
    match words:
        case []:
            return [verb for verb in _VERBS if verb]
        case ["map"]:
            return Place.VOLUME
        case ["use"]:
            return [space.name for space in shell.system.virtual.spaces]
        case ["advise", _]:
            return [advice.name.lower() for advice in Advice]
    return []


@command(COMMANDS, "vm", 0, 4, _complete)
def vm(shell: Session, arguments: list[str]) -> None:
    """vm [VERB ...]

    Works in an address space of the shell's own, which the first verb makes; without a verb it
    shows all spaces.
      vm alloc SIZE             private memory, such as 1M
      vm map FILE [copy]        a file; copy: copied when it is written
      vm read ADDRESS [BYTES]   as hexadecimal and text
      vm write ADDRESS TEXT
      vm scan ADDRESS [write]   touches each page of the allocation there, on a virtual CPU; tells
                                the faults
      vm advise ADDRESS ADVICE  normal, random, sequential, reverse, willneed, dontneed
      vm where ADDRESS          why that address is as it is
      vm free ADDRESS           ends the allocation or view there
      vm fork                   the space once more, shared until written; the copy is the one you
                                work in then
      vm end                    ends the space you work in
      vm use NAME               works in another one
      vm sections               sections and their pages
      vm paging                 page lists, replacement, working sets

    Example: vm map readme.txt
    """
    verb, rest = (arguments[0].lower(), arguments[1:]) if arguments else ("", [])
    if verb not in _VERBS:
        raise UsageError(f"{verb!r} is none of {', '.join(v for v in _VERBS if v)}; see help vm")
    action, least, most = _VERBS[verb]
    if not least <= len(rest) <= most:
        number = counted(least, "argument") if least == most else f"{least} or {most} arguments"
        raise UsageError(f"vm {verb} takes {number}; see help vm")
    for line in action(shell, rest):
        shell.out(line)


def _space(shell: Session) -> AddressSpace:
    """The space that the shell works in."""
    machine = shell.system.virtual
    found = next((s for s in machine.spaces if s.name == shell.space), None)
    return found or machine.create(shell.space)


def _address(text: str) -> int:
    try:
        address = int(text, 0)
    except ValueError:
        address = -1
    if not 0 <= address < 1 << 64:
        raise UsageError(f"{text!r} is no address, such as 0x10000")
    return address


def _show(shell: Session, rest: list[str]) -> list[str]:
    return spaces.spaces_report(shell.system)


def _allocate(shell: Session, rest: list[str]) -> list[str]:
    base, size = _space(shell).allocate(0, parse_size(rest[0]), Allocate.COMMIT)
    return [f"{base:#x}: {counted(size >> PAGE_SHIFT, 'page')} committed, none in a frame yet"]


def _map(shell: Session, rest: list[str]) -> list[str]:
    if rest[1:] not in ([], ["copy"]):
        raise UsageError("vm map FILE, or vm map FILE copy")
    _, volume, path = shell.resolve(rest[0])
    system, writable = shell.system, not volume.read_only and not rest[1:]
    with volume.open(path, "r+b" if writable else "rb") as file:
        protect = Protect.READWRITE if writable else Protect.READONLY
        section = system.scheduler.run(system.virtual.sections.create(0, protect, file=file.core))
    try:
        base, size = _space(shell).map(section, protect=protect if writable else Protect.WRITECOPY)
    finally:
        system.virtual.sections.close(section)
    pages = size >> PAGE_SHIFT
    return [
        f"{base:#x}: {counted(pages, 'page')} of {section.name}"
        + ("" if writable else ", copied when they are written")
    ]


def _read(shell: Session, rest: list[str]) -> list[str]:
    address, count = _address(rest[0]), parse_size(rest[1]) if rest[1:] else 64
    if count > MOST_SHOWN:
        raise UsageError(f"at most {MOST_SHOWN} bytes at once")
    data = shell.system.scheduler.run(_space(shell).read(address, count))
    rows = [(at, data[at : at + 16]) for at in range(0, len(data), 16)]
    return [
        f"{address + at:#014x}  {row.hex(' '):<47}  "
        f"{''.join(chr(b) if 32 <= b < 127 else '.' for b in row)}"
        for at, row in rows
    ]


def _write(shell: Session, rest: list[str]) -> list[str]:
    data = rest[1].encode()
    shell.system.scheduler.run(_space(shell).write(_address(rest[0]), data))
    return [f"{counted(len(data), 'byte')} written"]


def _scan(shell: Session, rest: list[str]) -> list[str]:
    space, page = _space(shell), _address(rest[0]) >> PAGE_SHIFT
    vad = space.vads.find(page)
    if rest[1:] not in ([], ["write"]):
        raise UsageError("vm scan ADDRESS, or vm scan ADDRESS write")
    if vad is None:
        raise StatusError(Status.MEMORY_NOT_ALLOCATED, f"nothing is allocated at {rest[0]}")
    kind = WRITE if rest[1:] else READ
    refs = np.array([reference(p << PAGE_SHIFT, kind) for p in range(vad.start, vad.end)], np.int64)
    before, bulk = space.faults, shell.system.virtual.bulk
    in_bulk = bulk.filled
    faults = shell.system.scheduler.run(shell.system.virtual.run(space, refs))
    return [
        f"{counted(len(refs), 'reference')}, {counted(faults, 'fault')}: "
        f"{bulk.filled - in_bulk} by a kernel, {space.faults - before} by the executive; "
        f"{counted(space.pages.resident, 'page')} in frames"
    ]


def _advise(shell: Session, rest: list[str]) -> list[str]:
    space, page = _space(shell), _address(rest[0]) >> PAGE_SHIFT
    vad = space.vads.find(page)
    if rest[1].upper() not in Advice.__members__:
        raise UsageError(f"{rest[1]!r} is none of {', '.join(a.name.lower() for a in Advice)}")
    size = (vad.end - vad.start if vad is not None else 1) * PAGE_SIZE
    shell.system.scheduler.run(
        space.advise(
            (vad.start if vad is not None else page) << PAGE_SHIFT, size, Advice[rest[1].upper()]
        )
    )
    return []


def _where(shell: Session, rest: list[str]) -> list[str]:
    return spaces.explain_address(shell.system, _space(shell), _address(rest[0]))


def _free(shell: Session, rest: list[str]) -> list[str]:
    space, address = _space(shell), _address(rest[0])
    vad = space.vads.find(address >> PAGE_SHIFT)
    if vad is not None and vad.view is not None:
        space.unmap(address)
    else:
        space.free(vad.start << PAGE_SHIFT if vad is not None else address, 0, Free.RELEASE)
    return []


def _fork(shell: Session, rest: list[str]) -> list[str]:
    machine, names = shell.system.virtual, {s.name for s in shell.system.virtual.spaces}
    name = next(f"shell-{i}" for i in range(2, len(names) + 3) if f"shell-{i}" not in names)
    machine.fork(_space(shell), name)
    shell.space = name
    return [f"{name} shares all pages until one side writes them"]


def _end(shell: Session, rest: list[str]) -> list[str]:
    machine = shell.system.virtual
    machine.destroy(_space(shell))
    shell.space = machine.spaces[-1].name if machine.spaces else "shell"
    return []


def _use(shell: Session, rest: list[str]) -> list[str]:
    names = [s.name for s in shell.system.virtual.spaces]
    if rest[0] not in names:
        raise StatusError(
            Status.OBJECT_NAME_NOT_FOUND,
            f"there is no space {rest[0]}: {', '.join(names) or 'none at all'}",
        )
    shell.space = rest[0]
    return []


_VERBS = {
    "": (_show, 0, 0),
    "alloc": (_allocate, 1, 1),
    "map": (_map, 1, 2),
    "read": (_read, 1, 2),
    "write": (_write, 2, 2),
    "scan": (_scan, 1, 2),
    "advise": (_advise, 2, 2),
    "where": (_where, 1, 1),
    "free": (_free, 1, 1),
    "fork": (_fork, 0, 0),
    "end": (_end, 0, 0),
    "use": (_use, 1, 1),
    "sections": (lambda shell, rest: spaces.sections_report(shell.system), 0, 0),
    "paging": (lambda shell, rest: spaces.paging_report(shell.system), 0, 0),
}
