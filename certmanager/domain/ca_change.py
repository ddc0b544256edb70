"""How far a change of the CA is: from what Vault says of a mount's issuers, and what pods hold, to the phase and what comes next.

In the flow: Vault's issuers, Secrets' metadata → *phase* → `ca_pods` (who has followed) → `podcert ca status|rotate`. The manager
itself knows no phases: it brings every Secret to what the issuers say (`supersede`), and the phases are what people see of
that. Nothing is remembered anywhere: a command that is begun again finds the phase that it left. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from certmanager.domain import trust
from certmanager.domain.problems import VALUE_LIMIT
from certmanager.domain.trust import State

USAGE: Final = {
    State.ISSUING: "read-only,issuing-certificates,crl-signing,ocsp-signing",
    State.CLOSING: "read-only,crl-signing,ocsp-signing",
    State.RETIRED: "read-only",
}
"""The field `usage` by which Vault is told a state."""


class Phase(StrEnum):
    """Where a change of the CA stands; each ends when every pod that can follow has followed."""

    SINGLE = "single"
    DISTRIBUTING = "distributing"
    ISSUING = "issuing"
    RETIRING = "retiring"


MEANING: Final = {
    Phase.SINGLE: "no change of the CA is under way",
    Phase.DISTRIBUTING: "the new anchor goes into every ca-cert.pem; certificates still come from the old CA",
    Phase.ISSUING: "certificates come from the new CA; those of the old one are being replaced, and its anchor is still trusted",
    Phase.RETIRING: "the old anchor leaves every ca-cert.pem",
}


@dataclass(frozen=True, slots=True)
class Issuer:
    """A CA certificate of a mount. Fingerprints are SHA-256 of the DER in lower-case hex, times seconds since the epoch.

    Attributes:
        subject, common_name: the whole subject (RFC 4514), and its common name ("" without one).
        key_type: in the words of `KeyType`, also for types that it lacks.
        strict: it refuses certificates that would end after it, as Vault's default is, instead of making them shorter.
        anchors: fingerprints of the roots that its chain ends at.
        chain: of all certificates in its chain, its own included.
        has_key: Vault can sign with it; a root that came along with an intermediate has none.
        default: the mount's default issuer.
    """

    id: str
    name: str
    subject: str
    not_before: float
    not_after: float
    state: State
    fingerprint: str
    anchors: frozenset[str]
    chain: frozenset[str]
    has_key: bool = True
    default: bool = False
    common_name: str = ""
    key_type: str = "ec-256"
    strict: bool = True

    @property
    def label(self) -> str:
        """How people name it: by its name when it has one that fits a line. Vault finds it by either."""
        return self.name if 0 < len(self.name) <= VALUE_LIMIT else self.id

    @property
    def signs(self) -> bool:
        """It can make certificates now."""
        return self.has_key and self.state is State.ISSUING

    def serves(self, lifetime: float, now: float) -> bool:
        """Whether it can make certificates that live so many seconds, or, where it is not strict, any."""
        return self.not_after > now + (lifetime if self.strict else 0.0)

    @property
    def root(self) -> bool:
        """It is its own anchor."""
        return self.fingerprint in self.anchors


@dataclass(frozen=True, slots=True)
class Authorities:
    """A mount, as Vault describes it.

    Attributes:
        follows_latest: a new issuer would become the default at once (`default_follows_latest_issuer`).
        role_issuers: name of a role to its `issuer_ref`.
    """

    mount: str
    issuers: tuple[Issuer, ...]
    follows_latest: bool = False
    role_issuers: Mapping[str, str] = field(default_factory=dict)

    @property
    def default(self) -> Issuer | None:
        """The issuer that signs for roles that name none."""
        return next((issuer for issuer in self.issuers if issuer.default), None)

    @property
    def trusted(self) -> frozenset[str]:
        """The anchors that belong into every `ca-cert.pem`: the manager's own rule."""
        return trust.trust_of(
            trust.Issuer(one.id, one.name, one.state, one.fingerprint, dict.fromkeys(one.anchors, ""))
            for one in self.issuers
        ).fingerprints

    def find(self, reference: str) -> Issuer | None:
        """The issuer of that id or name."""
        return next((issuer for issuer in self.issuers if reference in (issuer.id, issuer.name) and reference), None)

    def roles_of(self, issuer: Issuer) -> tuple[str, ...]:
        """The roles that name this issuer, and would fail when it may not issue any more."""
        return tuple(sorted(role for role, ref in self.role_issuers.items() if ref and ref in (issuer.id, issuer.name)))


@dataclass(frozen=True, slots=True)
class Goal:
    """What a pod's files have to be like for a phase to be over for it."""

    phase: Phase
    anchors: frozenset[str] = frozenset()
    issuers: frozenset[str] = frozenset()

    def reached(self, anchors: frozenset[str] | None, issuer: str | None) -> bool:
        """Whether files with these anchors and a leaf of that issuer are. None where the Secret does not say it: it was made
        before Podcert wrote it down, and every change of the anchors makes it anew."""
        if self.phase is Phase.DISTRIBUTING:
            return anchors is not None and self.anchors <= anchors
        if self.phase is Phase.ISSUING:
            return issuer is not None and issuer not in self.issuers
        return anchors is None or anchors <= self.anchors


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the CA, as far as Vault tells it.

    Attributes:
        phase: never RETIRING: whether anchors are still to leave only the pods can tell.
        next: the issuer that is going to be, or has become, the default.
        choice: issuers that could be the next one, when there are several.
        doubtful: issuers that may issue, are not the default, and have signed for pods: either a change was begun by hand, or
            they have a task of their own. Annotations tell it, which others may write: it is asked about, never acted on.
        old: the issuers whose leaves are to go.
        goal: of the phase; of RETIRING when it is SINGLE.
    """

    phase: Phase
    next: Issuer | None
    goal: Goal
    choice: tuple[Issuer, ...] = ()
    doubtful: tuple[Issuer, ...] = ()
    old: tuple[Issuer, ...] = ()


def union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    """All elements."""
    return frozenset().union(*sets)


def change_of(authorities: Authorities, used: Collection[str], to: str | None = None) -> Change:
    """The phase, as Vault's issuers tell it.

    Args:
        authorities: the mount.
        used: fingerprints of the issuers of pods' certificates.
        to: id or name of the next issuer, where that is not plain.
    """
    default = authorities.default
    old = tuple(issuer for issuer in authorities.issuers if issuer.has_key and issuer.state is State.CLOSING)
    if old:
        goal = Goal(Phase.ISSUING, issuers=frozenset(issuer.fingerprint for issuer in old))
        return Change(Phase.ISSUING, default, goal, old=old)
    others = [
        issuer
        for issuer in authorities.issuers
        if issuer.signs and not issuer.default and not authorities.roles_of(issuer)
    ]
    doubtful = tuple(issuer for issuer in others if issuer.fingerprint in used)
    coming = [issuer for issuer in others if _comes(issuer, default, used, to)]
    if len(coming) == 1 and default is not None:
        goal = Goal(Phase.DISTRIBUTING, anchors=coming[0].anchors & authorities.trusted)
        return Change(Phase.DISTRIBUTING, coming[0], goal, old=(default,))
    goal = Goal(Phase.RETIRING, anchors=authorities.trusted)
    return Change(Phase.SINGLE, default, goal, choice=tuple(coming), doubtful=doubtful)


def _comes(issuer: Issuer, default: Issuer | None, used: Collection[str], to: str | None) -> bool:
    """Whether it may become the default: it is named, or it is new and nobody has used it."""
    if to is not None:
        return to in (issuer.id, issuer.name)
    return default is not None and issuer.not_before >= default.not_before and issuer.fingerprint not in used


def leaving(authorities: Authorities, old: Collection[Issuer]) -> tuple[Issuer, ...]:
    """What is retired when the leaves of `old` are gone: they, and the roots without a key that only they needed."""
    gone = {issuer.id for issuer in old}
    kept = union(
        issuer.chain
        for issuer in authorities.issuers
        if issuer.has_key and issuer.id not in gone and issuer.state is not State.RETIRED
    )
    above = union(issuer.chain for issuer in old) - kept
    return tuple(
        issuer
        for issuer in authorities.issuers
        if issuer.state is not State.RETIRED
        and (issuer.id in gone or (not issuer.has_key and issuer.fingerprint in above))
    )
