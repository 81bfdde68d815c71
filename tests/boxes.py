"""Boxes in drawings and pictures."""

from __future__ import annotations


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    """True when two boxes (x, y, width, height) share a point."""
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
