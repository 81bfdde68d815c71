"""Page protections by NT's names and values, what is allowed of them, and what the hardware makes
of them.

    one of     NOACCESS 1   READONLY 2   READWRITE 4   WRITECOPY 8
               EXECUTE 0x10   EXECUTE_READ 0x20   EXECUTE_READWRITE 0x40   EXECUTE_WRITECOPY 0x80
    and maybe  GUARD 0x100   NOCACHE 0x200   WRITECOMBINE 0x400
               (not with NOACCESS; the last two exclude each other)

Source: NT (reference: `PAGE_*`). Departure: memory that may be executed may be read, as on the
processors.
"""

from __future__ import annotations

import enum

from octavo.machine.abi import NO_CACHE, NO_EXECUTE, USER, WRITABLE, WRITE_THROUGH
from octavo.status import Status, StatusError


class Protect(enum.IntFlag):
    """A page's protection."""

    NOACCESS = 1
    READONLY = 2
    READWRITE = 4
    WRITECOPY = 8
    EXECUTE = 0x10
    EXECUTE_READ = 0x20
    EXECUTE_READWRITE = 0x40
    EXECUTE_WRITECOPY = 0x80
    GUARD = 0x100
    NOCACHE = 0x200
    WRITECOMBINE = 0x400


# Plain integers: `&` of two flags is a call of half a microsecond, and a fault asks ten times.
_ONE = 0xFF
_NOACCESS, _GUARD, _NOCACHE, _WRITECOMBINE = 1, 0x100, 0x200, 0x400
_COPIES, _WRITES, _EXECUTES = 0x88, 0x44, 0xF0
_NEEDS = (_ONE, _WRITES | _COPIES, _EXECUTES)  # one of these, by the kind of a reference
_READ, _WRITE, _COPY, _EXECUTE = 1, 2, 4, 8  # what a view may be used for
_RIGHTS = {
    1: 0,
    2: _READ,
    4: _READ | _WRITE,
    8: _READ | _COPY,
}  # by protection; those with execution:
_RIGHTS |= {
    0x10: _EXECUTE,
    **{bits << 4: rights | _EXECUTE for bits, rights in _RIGHTS.items() if bits > 1},
}


def check_protect(value: int, copies: bool) -> Protect:
    """A protection that a caller gave. StatusError INVALID_PAGE_PROTECTION; the WRITECOPY ones only
    where `copies`.
    """
    one, more = value & _ONE, value & ~_ONE
    wrong = value < 0 or more & ~0x700 or one.bit_count() != 1 or (one & _COPIES and not copies)
    if wrong or (one == Protect.NOACCESS and more) or more & 0x600 == 0x600:
        raise StatusError(
            Status.INVALID_PAGE_PROTECTION,
            f"{value:#x} is no page protection{'' if copies else ' for private memory'}",
        )
    return Protect(value)


def is_within(protect: Protect, bounds: Protect) -> bool:
    """True when a section made with `bounds` may be seen with `protect`.

    There may be no access that it does not have, but what may be read may be copied.
    """
    has = _RIGHTS[int(bounds) & _ONE]
    return not _RIGHTS[int(protect) & _ONE] & ~(has | (_COPY if has & _READ else 0))


def copied(protect: Protect) -> Protect:
    """The same with writes that make a copy first."""
    bits = int(protect)
    return Protect(bits & ~_WRITES | (bits & _WRITES) << 1)


def permits(protect: Protect, kind: int) -> bool:
    """True when a reference of `kind` (0 read, 1 write, 2 execute) is allowed; a write to
    copy-on-write memory is.
    """
    bits = int(protect)
    if bits & _NOACCESS:
        return False
    if kind == 1:
        return bits & (_WRITES | _COPIES) != 0
    return kind == 0 or bits & _EXECUTES != 0


def admits(protect: Protect, kind: int) -> bool:
    """True when such a reference is permitted, and the page is no guard page."""
    bits = int(protect)
    if bits & (_NOACCESS | _GUARD):
        return False
    return bits & _NEEDS[kind] != 0


def is_guard(protect: Protect) -> bool:
    """True for a guard page's."""
    return int(protect) & _GUARD != 0


def is_held(protect: Protect) -> bool:
    """True for a protection under which the page tables may not show the page."""
    return int(protect) & (_NOACCESS | _GUARD) != 0


def may_write(protect: Protect) -> bool:
    """True for a protection that lets the memory itself be written, not a copy of it."""
    return int(protect) & _WRITES != 0


def read_only(protect: Protect) -> Protect:
    """The same without writing."""
    bits = int(protect)
    if not bits & (_WRITES | _COPIES):
        return protect
    return Protect(bits & ~_ONE | (Protect.EXECUTE_READ if bits & _EXECUTES else Protect.READONLY))


def is_copy(protect: Protect) -> bool:
    """True for a protection under which a write makes a copy first."""
    return int(protect) & _COPIES != 0


def entry_bits(protect: Protect, writable: bool) -> int:
    """The bits of a present entry for user memory; write only where `writable` (the page is nobody
    else's).
    """
    value = int(protect)
    bits = USER | (WRITABLE if writable and value & (_WRITES | _COPIES) else 0)
    bits |= 0 if value & _EXECUTES else NO_EXECUTE
    return (
        bits
        | (NO_CACHE if value & _NOCACHE else 0)
        | (WRITE_THROUGH if value & _WRITECOMBINE else 0)
    )
