"""Replacement policies, live and over traces: `Policy`, and `NAMES` of those that there are. See
docs/memory.md.
"""

from octavo.memory.reclaim.policies import MODULES
from octavo.memory.reclaim.policies.policy import Policy

NAMES = tuple(MODULES)

__all__ = ["NAMES", "Policy"]
