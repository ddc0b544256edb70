"""Which pods have followed a change of the CA, which are about to, and which cannot: by what each *serves*.

In the flow: `ca_change` → *standing of each pod* → `podcert ca status|rotate`. A Secret that has been renewed is not enough:
files that an init container wrote stay as they are, and a mounted Secret's come late. Of a Secret its metadata is enough. Pure.
"""

from __future__ import annotations

import shlex
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from certmanager.domain.advice import MOUNT_SECONDS
from certmanager.domain.ca_change import Goal
from certmanager.domain.model import ENROLL_LABEL, PREFIX, Pod, Rotation, StoredSecret, Workload
from certmanager.domain.rotation import one_shot, renewals, replaces_pods, rotatable, same_serial
from certmanager.domain.secret_notes import ROLE_DEFAULT
from certmanager.domain.times import parse_rfc3339, rfc3339
from certmanager.domain.workload import workload as workload_name

SIDECAR_SECONDS: Final = 5.0
"""In which a sidecar brings a renewed Secret's files into the pod and makes the application reload."""


SKEW_SECONDS: Final = 60.0
"""By which the manager's clock may be ahead of this machine's."""


class Standing(StrEnum):
    """Where a pod stands in the phase. `ended`: what it serves has expired already, nobody trusts it for long."""

    FOLLOWED = "followed"
    WAITING = "waiting"
    STUCK = "cannot follow"
    ENDED = "expired"


@dataclass(frozen=True, slots=True)
class Member:
    """An enrolled pod, its Secret's metadata, and its workload when that was looked at.

    `orphan`: what the pod says of its owner is no live workload that Podcert rolls.
    """

    pod: Pod
    secret: StoredSecret
    workload: Workload | None = None
    orphan: bool = False

    @property
    def anchors(self) -> frozenset[str] | None:
        """Fingerprints of the anchors in `ca.crt`; None when the Secret does not say them."""
        noted = self.secret.annotations.get("anchors")
        return None if noted is None else frozenset(part.strip() for part in noted.split(",") if part.strip())

    @property
    def issuer(self) -> str | None:
        """Fingerprint of the CA certificate that signed the leaf; None when the Secret does not say it."""
        return self.secret.annotations.get("issuer") or None

    @property
    def asked_issuer(self) -> str | None:
        """The issuer that was asked for by name or id; None where it was the default's or the role's choice."""
        asked = self.secret.annotations.get("issuer-ref", "")
        return None if asked in ("", "default", ROLE_DEFAULT) else asked

    @property
    def current(self) -> bool:
        """The pod's files are those of the Secret, or are going to be: not what a fetcher wrote from an older one."""
        serial = self.pod.delivery.served_serial
        return (
            not one_shot(self.pod) or serial is None or same_serial(serial, self.secret.annotations.get("serial", ""))
        )

    @property
    def end(self) -> float | None:
        """When the certificate that is served ends."""
        return self.noted_end if self.current else self.pod.delivery.served_not_after

    @property
    def noted_end(self) -> float | None:
        """When the Secret's certificate ends."""
        return self._noted("not-after")

    def made_at(self, now: float) -> float | None:
        """When the Secret's certificate was issued; None for a time that cannot be: who may write Secrets may write anything."""
        made = self._noted("issued-at")
        return made if made is not None and made <= now + SKEW_SECONDS else None

    def _noted(self, name: str) -> float | None:
        seconds = parse_rfc3339(self.secret.annotations.get(name, ""))
        return seconds if seconds is not None and seconds >= 0 else None

    @property
    def strategy(self) -> Rotation:
        """As its workload's template says it, else the pod; a sidecar follows by itself."""
        said = (self.workload.template_annotations if self.workload else self.pod.annotations).get("rotation", "")
        if said in set(Rotation):
            return Rotation(said)
        return Rotation.REFRESH if self.pod.delivery.sidecar else Rotation.RESTART


@dataclass(frozen=True, slots=True)
class Verdict:
    """A pod's standing; `why` and `remedy` for people, empty where there is nothing to say."""

    namespace: str
    pod: str
    workload: str
    strategy: str
    standing: Standing
    why: str = ""
    remedy: str = ""


def used_issuers(members: Sequence[Member]) -> frozenset[str]:
    """Fingerprints of the issuers that pods' certificates are of."""
    return frozenset(member.issuer for member in members if member.issuer is not None)


def asked_issuers(members: Sequence[Member]) -> dict[str, int]:
    """Names or ids of the issuers that pods' certificates were asked of, and of how many pods."""
    return Counter(member.asked_issuer for member in members if member.asked_issuer is not None)


def usual_lifetime(members: Sequence[Member], now: float) -> float:
    """Seconds that pods' certificates live, from their issue on; 0 without any.

    The median: those who may write Secrets can say anything, but not for most pods.
    """
    times = [(member.made_at(now), member.noted_end) for member in members]
    return statistics.median_high([end - made for made, end in times if made is not None and end is not None] or [0.0])


def judge(member: Member, goal: Goal, now: float) -> Verdict:
    """Where a pod stands; `now` in seconds since the epoch. It is not judged when its Secret's files are not in question."""
    pod = member.pod
    reached = goal.reached(member.anchors, member.issuer)
    verdict = Verdict(
        pod.namespace,
        pod.name,
        workload_name(pod),
        str(member.strategy),
        Standing.FOLLOWED if reached else Standing.WAITING,
    )
    if reached and member.current:
        return _arrived(member, verdict, now)
    if member.end is not None and member.end <= now:
        return replace(verdict, standing=Standing.ENDED, why=f"its certificate ended at {rfc3339(member.end)}")
    if pod.deleting:
        return replace(verdict, standing=Standing.WAITING, why="it is ending")
    if one_shot(pod) and (pod.delivery.served_serial is not None or rotatable(pod)):
        return _replaced(member, verdict)
    if pod.delivery.reload_problem is not None:
        return _reloading(pod, verdict)
    return replace(verdict, why="its Secret is about to be renewed in place")


def _arrived(member: Member, verdict: Verdict, now: float) -> Verdict:
    """The Secret is as it should be: whether the application has it."""
    pod, made = member.pod, member.made_at(now)
    if pod.delivery.reload_problem is not None:
        return _reloading(pod, verdict)
    if pod.delivery.sidecar and made is not None and now < made + SIDECAR_SECONDS:
        return replace(verdict, standing=Standing.WAITING, why="its sidecar is bringing the new files in")
    mounted = not pod.delivery.fetcher and member.secret.name in pod.delivery.mounts
    if not mounted or not renewals(member.secret):
        return verdict
    if replaces_pods(member.strategy) and rotatable(pod):
        return _replaced(member, verdict)
    if made is not None and now < made + MOUNT_SECONDS:
        why = f"the kubelet brings the mounted Secret's new files in by {rfc3339(made + MOUNT_SECONDS)}"
        return replace(verdict, standing=Standing.WAITING, why=why)
    return verdict


def _reloading(pod: Pod, verdict: Verdict) -> Verdict:
    return replace(
        verdict,
        standing=Standing.STUCK,
        why=f"its sidecar cannot make the application reload: {pod.delivery.reload_problem}",
        remedy="mend what the sidecar's log says, or replace the pod",
    )


def _replaced(member: Member, verdict: Verdict) -> Verdict:
    """Only a new pod brings the new files in."""
    obstacle = _obstacle(member, verdict)
    if obstacle is not None:
        return replace(verdict, standing=Standing.STUCK, why=obstacle[0], remedy=obstacle[1])
    way = "an eviction" if member.strategy is Rotation.EVICT else "a roll"
    why = f"{way} of {verdict.workload} is to replace it; its Events say what holds that up"
    return replace(verdict, standing=Standing.WAITING, why=why)


def _obstacle(member: Member, verdict: Verdict) -> tuple[str, str] | None:
    """Why no new pod will come by itself, and what to do."""
    pod, workload, name = member.pod, member.workload, verdict.workload
    again = _again(member, name)
    if member.strategy is Rotation.REFRESH:
        return (
            "its files were written once, by a fetcher that has ended",
            f"{again}, or have the fetcher stay as a sidecar",
        )
    if member.strategy is Rotation.NONE:
        return f"{PREFIX}rotation=none: nothing replaces the pod", again
    if member.orphan or not rotatable(pod):
        what = "it has no owner" if pod.owner is None else f"its owner {name} cannot be rolled"
        return f"{what}: nothing replaces the pod", f"{again}, or have the fetcher stay as a sidecar"
    return None if workload is None else _held(member, workload, name)


def _held(member: Member, workload: Workload, name: str) -> tuple[str, str] | None:
    """What keeps a workload from being rolled by Podcert."""
    pod = member.pod
    if workload.template_labels.get(ENROLL_LABEL) != "true":
        return f"the template of {name} lacks the label {ENROLL_LABEL}, so Podcert does not roll it", _again(
            member, name
        )
    if workload.paused and workload.template_annotations.get("rotation") != Rotation.EVICT:
        return f"{name} is paused", f"kubectl -n {pod.namespace} rollout resume {_argument(name)}"
    ordinal = pod.name.rpartition("-")[2]
    if workload.partition and not workload.on_delete and ordinal.isdecimal() and int(ordinal) < workload.partition:
        return (
            f"the partition {workload.partition} of {name} keeps it as it is",
            "lower the partition, or delete the pod",
        )
    return None


def _again(member: Member, name: str) -> str:
    pod = member.pod
    if rotatable(pod) and not member.orphan:
        return f"kubectl -n {pod.namespace} rollout restart {_argument(name)}"
    return f"replace it: kubectl -n {pod.namespace} delete pod {pod.name}"


def _argument(name: str) -> str:
    """For a command that people copy into a shell: the name is what the pod says, and the API server takes any text for it."""
    return shlex.quote(name.lower())


def counts(verdicts: Sequence[Verdict]) -> Mapping[Standing, int]:
    """How many pods stand where."""
    return {standing: sum(verdict.standing is standing for verdict in verdicts) for standing in Standing}
