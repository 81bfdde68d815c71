"""Paging profiles: how three systems page, chosen at boot.

    profile   replacement          cluster   clean pages that leave
    nt        ageing               16        stand by, until their frame is wanted
    mach      active, inactive     1         are free at once
    linux     two lists, refault   32        stand by (Linux keeps such pages on its inactive list)

Any other policy and cluster size can be set beside a profile.

Source: NT's and GNU Mach's defaults (GNU Mach asks for one page at a time); Linux's read-around of
128 KiB.
"""

from __future__ import annotations

from dataclasses import dataclass

from octavo.arguments import label, whole
from octavo.machine.abi import SEGMENT_PAGES
from octavo.memory.reclaim.policies import MODULES
from octavo.status import Status, StatusError


@dataclass(frozen=True)
class Profile:
    """A replacement policy, the most pages that a fault on a view brings in, and whether clean
    pages stand by.
    """

    policy: str
    cluster: int
    standby: bool


PROFILES = {
    "nt": Profile("ageing", 16, True),
    "mach": Profile("mach", 1, False),
    "linux": Profile("linux", 32, True),
}


def make_profile(
    name: str = "nt", policy: str | None = None, cluster: int | None = None
) -> Profile:
    """A profile, with another policy or cluster size if given. StatusError INVALID_PARAMETER names
    what there is.
    """
    if label(name, "a paging profile") not in PROFILES:
        raise StatusError(
            Status.INVALID_PARAMETER, f"there is no paging profile {name!r}: {', '.join(PROFILES)}"
        )
    if policy is not None and label(policy, "a replacement policy") not in MODULES:
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"there is no replacement policy {policy!r}: {', '.join(MODULES)}",
        )
    if cluster is not None:
        whole(cluster, "the pages of a cluster", 1, SEGMENT_PAGES)
    found = PROFILES[name]
    return Profile(policy or found.policy, cluster or found.cluster, found.standby)
