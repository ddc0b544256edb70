"""What Vault says of a mount's certificate authorities: whom to trust, and who may not issue any more.

In the flow: Vault's issuers → *trust* → `ca.crt` of every Secret, and `supersede`. A change of the CA is nothing but a change of
this view: its phases are states of Vault's issuers, kept there and nowhere else (docs/decisions/ca-rotation.md). Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

ISSUES: Final = "issuing-certificates"
SIGNS_LISTS: Final = frozenset({"crl-signing", "ocsp-signing"})


class State(StrEnum):
    """What an issuer may do, by its field `usage` (https://developer.hashicorp.com/vault/api-docs/secret/pki#update-issuer).

    `issuing`: its anchor is trusted, and it may sign. `closing`: its anchor is trusted, and the certificates under it are being
    replaced. `retired`: its anchor is given to nobody any more.
    """

    ISSUING = "issuing"
    CLOSING = "closing"
    RETIRED = "retired"


def state_of(usage: Collection[str]) -> State:
    """The state that the words of an issuer's `usage` mean."""
    if ISSUES in usage:
        return State.ISSUING
    return State.CLOSING if SIGNS_LISTS & set(usage) else State.RETIRED


def short(fingerprint: str) -> str:
    """As many digits as tell CAs apart, for messages and metrics."""
    return fingerprint[:12]


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


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer of a mount.

    Attributes:
        id, name: Vault's; the name may be empty.
        state: what it may do.
        fingerprint: SHA-256 of its certificate's DER, lower-case hex.
        roots: the self-signed certificates in its chain (PEM), by their fingerprints.
    """

    id: str
    name: str
    state: State
    fingerprint: str
    roots: Mapping[str, str] = field(repr=False)


def trust_of(issuers: Iterable[Issuer]) -> Trust:
    """The trust in a mount's issuers.

    A root that was retired is no anchor because it stands in the chain of another issuer (one that it cross-signed): only an
    issuer that would have no anchor at all keeps it, as an intermediate below an offline root does whose certificate was
    imported without its key.
    """
    found = tuple(issuers)
    retired = {issuer.fingerprint for issuer in found if issuer.state is State.RETIRED}
    anchors: dict[str, str] = {}
    for issuer in found:
        if issuer.state is not State.RETIRED:
            kept = {fingerprint: pem for fingerprint, pem in issuer.roots.items() if fingerprint not in retired}
            anchors |= kept or issuer.roots
    closing = frozenset(issuer.fingerprint for issuer in found if issuer.state is not State.ISSUING)
    return trust_in(anchors, closing)


def trust_in(anchors: Mapping[str, str], closing: frozenset[str] = frozenset()) -> Trust:
    """The trust in `anchors` (PEM, by their fingerprints)."""
    return Trust(tuple(pem for _fingerprint, pem in sorted(anchors.items())), frozenset(anchors), closing)
