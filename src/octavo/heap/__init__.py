"""The kernel's own memory, `system.kernel`: what it raises when its users are at fault. See
docs/memory.md.
"""

from octavo.heap.kernelmemory import KernelMemory
from octavo.heap.pool import PoolError
from octavo.heap.slabguards import SlabError

__all__ = ["KernelMemory", "PoolError", "SlabError"]
