"""Page protections by NT's names and values, what is allowed of them, and what the hardware makes of them.

    one of     NOACCESS 1   READONLY 2   READWRITE 4   WRITECOPY 8
               EXECUTE 0x10   EXECUTE_READ 0x20   EXECUTE_READWRITE 0x40   EXECUTE_WRITECOPY 0x80
    and maybe  GUARD 0x100   NOCACHE 0x200   WRITECOMBINE 0x400      (not with NOACCESS; the last two exclude each other)

Source: NT (reference: `PAGE_*`). Departure: memory that may be executed may be read, as on the processors.
"""

from __future__ import annotations

import enum

from octavo.machine.pagetables import NO_CACHE, NO_EXECUTE, USER, WRITE, WRITE_THROUGH
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


_ONE = 0xFF
_COPIES = Protect.WRITECOPY | Protect.EXECUTE_WRITECOPY
_WRITES = Protect.READWRITE | Protect.EXECUTE_READWRITE
_EXECUTES = Protect.EXECUTE | Protect.EXECUTE_READ | Protect.EXECUTE_READWRITE | Protect.EXECUTE_WRITECOPY


def check_protect(value: int, copies: bool) -> Protect:
    """A protection that a caller gave. StatusError INVALID_PAGE_PROTECTION; the WRITECOPY ones only where `copies`."""
    one, more = value & _ONE, value & ~_ONE
    wrong = value < 0 or more & ~0x700 or one.bit_count() != 1 or (one & _COPIES and not copies)
    if wrong or (one == Protect.NOACCESS and more) or more & 0x600 == 0x600:
        raise StatusError(Status.INVALID_PAGE_PROTECTION, f"{value:#x} is no page protection{'' if copies else ' for private memory'}")
    return Protect(value)


def permits(protect: Protect, kind: int) -> bool:
    """True when a reference of `kind` (0 read, 1 write, 2 execute) is allowed; a write to copy-on-write memory is."""
    if protect & Protect.NOACCESS:
        return False
    if kind == 1:
        return bool(protect & (_WRITES | _COPIES))
    return kind == 0 or bool(protect & _EXECUTES)


def may_write(protect: Protect) -> bool:
    """True for a protection that lets the memory itself be written, not a copy of it."""
    return bool(protect & _WRITES)


def read_only(protect: Protect) -> Protect:
    """The same without writing."""
    if not protect & (_WRITES | _COPIES):
        return protect
    one = Protect.EXECUTE_READ if protect & _EXECUTES else Protect.READONLY
    return protect & ~Protect(_ONE) | one


def is_copy(protect: Protect) -> bool:
    """True for a protection under which a write makes a copy first."""
    return bool(protect & _COPIES)


def entry_bits(protect: Protect, writable: bool) -> int:
    """The bits of a present entry for user memory; write only where `writable` (the page is nobody else's)."""
    bits = USER | (WRITE if writable and protect & (_WRITES | _COPIES) else 0)
    bits |= 0 if protect & _EXECUTES else NO_EXECUTE
    return bits | (NO_CACHE if protect & Protect.NOCACHE else 0) | (WRITE_THROUGH if protect & Protect.WRITECOMBINE else 0)
