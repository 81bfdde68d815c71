"""Replacement policies: which page leaves. Kernels over one array a policy, for live memory and for
replay.
"""

# name -> module of this package
MODULES = {
    "fifo": "fifo",
    "lru": "lru",
    "clock": "clock",
    "second-chance": "secondchance",
    "2q": "twoq",
    "arc": "arc",
    "sieve": "sieve",
    "s3-fifo": "s3fifo",
    "ageing": "ageing",
    "mach": "mach",
    "linux": "linux",
}
