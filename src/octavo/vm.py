"""Address spaces, for programs that use `system.virtual`: NT's flags, references, external pagers.
See docs/memory.md.
"""

from octavo.machine.mmu import reference
from octavo.machine.mmukernels import EXECUTE, READ, WRITE
from octavo.memory.pagers.external.messages import Access, CopyStrategy, Return
from octavo.memory.pagers.external.pager import ExternalPager
from octavo.memory.reclaim.balance import OutOfMemory
from octavo.memory.reclaim.profiles import Profile, make_profile
from octavo.memory.spaces.addressspace import AddressSpace, Allocate, Free
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.locks import Lock
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.query import MemoryInformation, MemoryType, PageState
from octavo.memory.spaces.view import Attribute, Inherit

__all__ = [
    "EXECUTE",
    "READ",
    "WRITE",
    "Access",
    "AddressSpace",
    "Advice",
    "Allocate",
    "Attribute",
    "CopyStrategy",
    "ExternalPager",
    "Free",
    "Inherit",
    "Lock",
    "MemoryInformation",
    "MemoryType",
    "OutOfMemory",
    "PageState",
    "Profile",
    "Protect",
    "Return",
    "make_profile",
    "reference",
]
