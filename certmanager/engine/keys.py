"""The keys that travel through the queue: everything that happens in Podcert is one of these being put there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class PodKey:
    """Look at one pod: does it have the certificate that it should have?"""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class RoleKey:
    """Look at one ServiceAccount: may it read the Secrets of its own pods, and no others?"""

    namespace: str
    service_account: str


@dataclass(frozen=True, slots=True)
class WorkloadKey:
    """Look at one workload: is it to be rolled, or a pod of it to be evicted, for its certificates' sake?"""

    namespace: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class RevocationKey:
    """Look at one of our Secrets: is a certificate of it to be revoked?"""

    namespace: str
    name: str


Key: TypeAlias = PodKey | RoleKey | WorkloadKey | RevocationKey
