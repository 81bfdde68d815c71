"""Copying files and trees between the host and volumes, in any direction: trees, the plan, and
doing it.
"""
