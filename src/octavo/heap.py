"""The kernel's own memory, `system.kernel`: what it raises when its users are at fault. See
docs/memory.md.
"""

from octavo.memory.kernel import KernelMemory
from octavo.memory.pool import PoolError
from octavo.memory.slabguards import SlabError

__all__ = ["KernelMemory", "PoolError", "SlabError"]
