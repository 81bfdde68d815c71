"""A plain model, and a trace of references."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np


def arc(keys: list[int], capacity: int) -> list[int]:
    """The paper's figure 4, with a target of whole pages."""
    c, p = capacity, 0
    t1, t2, b1, b2 = (OrderedDict[int, None]() for _ in range(4))
    out = []

    def replace(in_b2: bool) -> int:
        if t1 and (len(t1) > p or (in_b2 and len(t1) == p) or not t2):
            gone = t1.popitem(last=False)[0]
            b1[gone] = None
        else:
            gone = t2.popitem(last=False)[0]
            b2[gone] = None
        return gone

    for key in keys:
        if key in t1 or key in t2:
            t1.pop(key, None)
            t2.pop(key, None)
            t2[key] = None
            continue
        full, gone = len(t1) + len(t2) == c, -1
        if key in b1:
            p = min(c, p + max(1, len(b2) // len(b1)))
            gone = replace(False) if full else -1
            del b1[key]
            t2[key] = None
        elif key in b2:
            p = max(0, p - max(1, len(b1) // len(b2)))
            gone = replace(True) if full else -1
            del b2[key]
            t2[key] = None
        else:
            if full:
                gone = t1.popitem(last=False)[0] if len(t1) == c else replace(False)
            t1[key] = None
            while len(t1) + len(b1) > c and b1:
                b1.popitem(last=False)
            while len(t1) + len(t2) + len(b1) + len(b2) > 2 * c and b2:
                b2.popitem(last=False)
        out.append(gone)
    return out


def trace(seed: int, pages: int, length: int) -> np.ndarray:
    """Zipf-like references with a scan and a loop in them."""
    choose = np.random.default_rng(seed)
    keys = choose.zipf(1.2, length) % pages
    keys[length // 3 : length // 3 + pages] = (
        np.arange(pages)[: max(0, len(keys[length // 3 : length // 3 + pages]))] + pages
    )
    keys[length // 2 : length // 2 + length // 8] = np.arange(length // 8) % (pages // 2 + 1)
    return keys.astype(np.int64)
