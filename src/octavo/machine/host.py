"""What the host has: asked before memory is taken in earnest, so that the user is told in a
sentence what would not fit.
"""

from __future__ import annotations

_SOURCES = ("/proc/meminfo", "/sys/fs/cgroup/memory.max")


def available_bytes() -> int | None:
    """Bytes of memory that the host could give now, within the limit of the control group; None
    where it does not say (not Linux).
    """
    found: list[int] = []
    for path in _SOURCES:
        try:
            with open(path) as file:
                text = file.read()
        except OSError:
            continue
        if path.endswith("meminfo"):
            found += [
                int(line.split()[1]) << 10
                for line in text.splitlines()
                if line.startswith("MemAvailable:")
            ]
        elif text.strip().isdigit():
            found.append(int(text))
    return min(found, default=None)
