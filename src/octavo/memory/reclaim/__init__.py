"""Reclaim: which pages leave memory, when and where to: policies, working sets, pageout."""
