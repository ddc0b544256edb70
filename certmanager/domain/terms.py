"""What holds for pods that do not say it themselves: the settings, as the policy makes them for a namespace.

In the flow: settings → policy → *terms* → request.
"""

from __future__ import annotations

from dataclasses import dataclass

from certmanager.domain.limits import UNLIMITED, Limits
from certmanager.domain.model import KeyType, Mode, RevokeWhen, Rotation


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the configuration says for pods that do not say it themselves, and what pods may choose from.

    The administrator's policy (`policy`) makes one of these for each namespace from the settings' own.

    Attributes:
        sign_role, issue_role: Vault roles of the two modes.
        ttl: seconds, or None for the role's own default.
        renew_before_fraction: part of the lifetime that is left when the renewal is due, such as 1/3.
        cluster_domain: such as `cluster.local`.
        trust_domain: of SPIFFE IDs, or None when there is none.
        roles: every Vault role that a pod may name.
        issuer: name or id of the mount's issuer that signs; None: as the Vault role says.
        limits: what the policy allows beside; without a policy everything but foreign names.
        revoke: which certificates are to be revoked before their end.
    """

    mode: Mode
    key_type: KeyType
    mount: str
    sign_role: str
    issue_role: str
    ttl: int | None
    rotation: Rotation
    renew_before_fraction: float
    cluster_domain: str
    trust_domain: str | None
    roles: frozenset[str]
    limits: Limits = UNLIMITED
    issuer: str | None = None
    revoke: frozenset[RevokeWhen] = frozenset()

    @property
    def further_roles(self) -> frozenset[str]:
        """The roles beside those of the two modes."""
        return self.roles - {self.sign_role, self.issue_role}
