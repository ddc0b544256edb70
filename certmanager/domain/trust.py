"""What Vault says of a mount's certificate authorities: whom to trust, and who may not issue any more.

In the flow: Vault's issuers → *trust* → `ca.crt` of every Secret, and `supersede`. A change of the CA is nothing but a change of
this view: the phases of docs/decisions/ca-rotation.md are states of Vault's issuers, kept there and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Trust:
    """A mount's trust anchors, and its closed issuers. Equal when Vault says the same, in whatever order.

    Attributes:
        anchors: self-signed certificates (PEM), in the order of their fingerprints: `ca.crt` is made of them alone. Empty when
            Vault tells no root: then nothing can be judged by them.
        fingerprints: SHA-256 of their DER, lower-case hex.
        closing: the same of the CA certificates in the mount that may not issue any more.
    """

    anchors: tuple[str, ...] = field(default=(), repr=False)
    fingerprints: frozenset[str] = frozenset()
    closing: frozenset[str] = frozenset()
