"""One look at everything: Vault's issuers, the pods, and from both where the change of the CA stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from certmanager.ca.cluster import Cluster
from certmanager.domain.ca_change import USAGE, Authorities, Change, Issuer, Phase, change_of
from certmanager.domain.ca_pods import Member, Standing, Verdict, asked_issuers, judge, used_issuers, usual_lifetime
from certmanager.domain.rotation import rotatable
from certmanager.domain.times import rfc3339
from certmanager.domain.trust import State


@dataclass(frozen=True, slots=True)
class Picture:
    """What was seen.

    Attributes:
        verdicts: of each pod, sorted by namespace and name.
        without: pods that have no certificate yet.
        notes: what could not be looked at.
        asked: names of issuers that pods ask for, and how many pods do.
        now: when, seconds since the epoch.
        lifetime: of pods' certificates, seconds.
    """

    authorities: Authorities
    change: Change
    phase: Phase
    verdicts: tuple[Verdict, ...]
    without: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    asked: Mapping[str, int] = field(default_factory=dict)
    now: float = 0.0
    lifetime: float = 0.0

    def of(self, standing: Standing) -> tuple[Verdict, ...]:
        """The pods that stand there."""
        return tuple(verdict for verdict in self.verdicts if verdict.standing is standing)

    @property
    def problems(self) -> tuple[str, ...]:
        """What would break a change of the CA, with the command that mends it."""
        found = _problems(self.authorities, self.change, self.asked)
        return (*found, *_incapable(self.authorities, self.change, self.now, self.lifetime))

    @property
    def doubts(self) -> tuple[str, ...]:
        """What nobody can tell but the person who asks, before a change is begun without `--to`."""
        return tuple(_doubt(self.authorities, issuer) for issuer in self.change.doubtful)


@dataclass(frozen=True, slots=True)
class Eyes:
    """How to look. `now` gives seconds since the epoch. `namespace` None is all of them."""

    authorities: Callable[[], Authorities]
    cluster: Cluster
    now: Callable[[], float]
    namespace: str | None = None

    def look(self, to: str | None = None) -> Picture:
        """Everything anew. Raises `NotYet`, `Refused`."""
        authorities = self.authorities()
        pods = self.cluster.pods(authorities.mount, self.namespace)
        change = change_of(authorities, used_issuers(pods.members), to)
        workloads, verdicts = self.cluster.workloads(), []
        for member in pods.members:
            verdict = judge(member, change.goal, self.now())
            if _depends_on_workload(member, verdict):
                verdict = judge(workloads.of(member), change.goal, self.now())
            verdicts.append(verdict)
        verdicts.sort(key=lambda verdict: (verdict.namespace, verdict.pod))
        behind = any(verdict.standing in (Standing.WAITING, Standing.STUCK) for verdict in verdicts)
        phase = Phase.RETIRING if change.phase is Phase.SINGLE and behind else change.phase
        notes = (*pods.notes, *workloads.notes)
        now, lifetime = self.now(), usual_lifetime(pods.members, self.now())
        without, asked = tuple(sorted(pods.without)), asked_issuers(pods.members)
        return Picture(authorities, change, phase, tuple(verdicts), without, notes, asked, now, lifetime)


def _depends_on_workload(member: Member, verdict: Verdict) -> bool:
    return verdict.standing in (Standing.WAITING, Standing.STUCK) and rotatable(member.pod) and not member.pod.deleting


def _doubt(authorities: Authorities, issuer: Issuer) -> str:
    mount, default = authorities.mount, authorities.default
    name = default.label if default else "no other"
    return (
        f"issuer {issuer.label} may issue and has signed for pods, though {name} is the default. Was it replaced by that one: "
        f"close it (vault patch {mount}/issuer/{issuer.id} usage={USAGE[State.CLOSING]}) and go on. Is it the next one: name it "
        "by --to. Has it a task of its own (PODCERT_ISSUER): name the next one by --to (a new root is made by "
        f"vault write {mount}/root/rotate/internal common_name=…)"
    )


def _problems(authorities: Authorities, change: Change, asked: Mapping[str, int]) -> list[str]:
    mount, default = authorities.mount, authorities.default
    found = []
    if default is None:
        found.append(f"no issuer is the default: vault write {mount}/config/issuers default=ISSUER")
    elif authorities.follows_latest:
        found.append(
            "a new issuer would sign at once, before its anchor is in any ca-cert.pem (default_follows_latest_issuer): "
            f"vault write {mount}/config/issuers default={default.id} default_follows_latest_issuer=false"
        )
    for issuer in change.old or ((default,) if default else ()):
        found += [
            f"role {role} names the issuer {issuer.label}, which a change of the CA closes: vault patch {mount}/roles/{role} "
            "issuer_ref=default"
            for role in authorities.roles_of(issuer)
        ]
        pods = sum(count for name, count in asked.items() if name in (issuer.id, issuer.name))
        if pods:
            found.append(
                f"{pods} pods ask for the issuer {issuer.label} by name, and a change of the CA closes it: name another in "
                "PODCERT_ISSUER or in the policy's rule, or none"
            )
    if change.phase is Phase.DISTRIBUTING and change.next is not None and not change.next.anchors:
        found.append(
            f"the chain of {change.next.label} ends in no root that Vault knows, so nobody could verify it: import its root "
            f"(vault write {mount}/issuers/import/cert pem_bundle=@root.pem)"
        )
    if len(change.choice) > 1:
        names = ", ".join(issuer.label for issuer in change.choice)
        found.append(f"several issuers could be the next one ({names}): name it by --to")
    return found


def _incapable(authorities: Authorities, change: Change, now: float, lifetime: float) -> list[str]:
    """Why nobody would get a certificate: of the default issuer now, or of the next one after the switch."""
    mount, default, coming = authorities.mount, authorities.default, change.next
    found = []
    if default is not None and not default.signs:
        found.append(
            f"the default issuer {default.label} may not issue, so no pod gets a certificate: "
            f"vault patch {mount}/issuer/{default.id} usage={USAGE[State.ISSUING]}, or make another one the default "
            f"(vault write {mount}/config/issuers default=ISSUER)"
        )
    if change.phase is Phase.DISTRIBUTING and coming is not None and not coming.serves(lifetime, now):
        found.append(f"{too_short(coming, now)}: take the change back (podcert ca abort)")
    if change.phase is Phase.ISSUING and coming is not None and coming.not_after <= now:
        remedy = f"make another one the default (vault write {mount}/config/issuers default=ISSUER)"
        found.append(f"{too_short(coming, now)}: {remedy}")
    return found


def too_short(issuer: Issuer, now: float) -> str:
    """What is wrong with an issuer that has ended, or ends before certificates that it should make."""
    if issuer.not_after <= now:
        return f"the issuer {issuer.label} ended at {rfc3339(issuer.not_after)}, nothing comes from it"
    return (
        f"the issuer {issuer.label} ends at {rfc3339(issuer.not_after)}, before certificates that it would make, and Vault "
        "refuses such ones"
    )
