"""`podcert renew` and `podcert revoke`: ask the manager for another certificate, or for the revocation of the one that there is.

All that is written is an annotation that names the serial number: asked twice, or asked about a certificate that has been
replaced meanwhile, nothing happens twice. How the new certificate gets into the pod is its own rotation strategy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from certmanager.commands.cluster import Cluster, told
from certmanager.console import Console, Target, UsageError
from certmanager.domain.errors import Conflict, PodcertError
from certmanager.domain.model import ENROLL_LABEL, PREFIX, Pod, StoredSecret
from certmanager.domain.pod_status import serial_served
from certmanager.domain.problems import shown
from certmanager.domain.revocation_notes import FINALIZER, RENEW_NOTE, REVOKE_NOTE
from certmanager.domain.rotation import same_serial
from certmanager.kube.kubeconfig import client

POLL_SECONDS: Final = 1.0
TRIES: Final = 5
"""The manager may write the Secret at the same moment."""


@dataclass(frozen=True, slots=True)
class Options:
    """As given on the command line.

    Attributes:
        pods: their names, or none with `everyone`.
        revoke: the certificate is to be revoked as well; `at_once`: before its successor is in use.
        wait: seconds to wait until no named pod serves the certificate any more; None: do not wait.
    """

    pods: tuple[str, ...] = ()
    everyone: bool = False
    namespace: str = "default"
    revoke: bool = False
    at_once: bool = False
    wait: float | None = None
    target: Target = field(default_factory=Target)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that was made: for which pod, about which certificate."""

    pod: Pod
    serial: str


class _NothingToAsk(Exception):
    """There is no certificate that could be replaced; the text says why, and what to do."""


def main(options: Options, console: Console) -> int:
    """Exit status 0: asked, and with `wait` done; 1: not for every pod; 2: wrong usage."""
    try:
        if bool(options.pods) == options.everyone:
            raise UsageError("name pods, or all of them by --all" if not options.revoke else "name the pods")
        there = Cluster(client(options.target, console))
        pods, failed = _pods(there, options, console)
        made: list[_Asked] = []
        for pod in pods:
            try:
                made.append(_ask(there, pod, options))
                console.out(_said(made[-1], options))
            except (_NothingToAsk, PodcertError) as error:
                failed += 1
                console.err(f"podcert: pod {pod.name}: {told(error) if isinstance(error, PodcertError) else error}")
        late = [] if options.wait is None else _wait(there, made, options.wait, console)
    except UsageError as error:
        console.err(f"podcert: {error}")
        return 2
    except PodcertError as error:
        console.err(f"podcert: {told(error)}")
        return 1
    return 1 if failed or late else 0


def _pods(there: Cluster, options: Options, console: Console) -> tuple[list[Pod], int]:
    """The pods that are meant, and how many of those that were named are not there."""
    if options.everyone:
        found = [pod for pod in there.pods(options.namespace) if pod.labels.get(ENROLL_LABEL) == "true"]
        return [pod for pod in found if not pod.finished and not pod.deleting], 0
    named = [(name, there.pod(options.namespace, name)) for name in dict.fromkeys(options.pods)]
    for name, pod in named:
        if pod is None:
            console.err(f"podcert: there is no pod {name} in namespace {options.namespace}; name another by -n")
    return [pod for _, pod in named if pod is not None], sum(pod is None for _, pod in named)


def _ask(there: Cluster, pod: Pod, options: Options) -> _Asked:
    for left in reversed(range(TRIES)):
        secret = there.secret(pod)
        serial = _serial(pod, secret)
        assert secret is not None  # noqa: S101 - `_serial` has said so
        note = {REVOKE_NOTE: f"{serial},now" if options.at_once else serial} if options.revoke else {RENEW_NOTE: serial}
        try:
            there.annotate(secret, note, FINALIZER if options.revoke else None)
        except Conflict:
            if left == 0:
                raise
        else:
            return _Asked(pod, serial)
    raise _NothingToAsk("it changes all the time; try again")


def _serial(pod: Pod, secret: StoredSecret | None) -> str:
    """The serial of the certificate in the pod's Secret. Raises `_NothingToAsk`."""
    if pod.labels.get(ENROLL_LABEL) != "true":
        raise _NothingToAsk(f'it is not enrolled: it lacks the label {ENROLL_LABEL}: "true"')
    if secret is None or not secret.managed or secret.pod_uid != pod.uid:
        raise _NothingToAsk(f"it has no certificate yet; `podcert explain {pod.name} -n {pod.namespace}` may say why")
    serial = secret.annotations.get("serial", "")
    if not serial:
        raise _NothingToAsk(f"its Secret {secret.name} does not say which certificate it holds ({PREFIX}serial)")
    if secret.deleting_since is not None:
        raise _NothingToAsk(f"its Secret {secret.name} is being deleted; try again in a few seconds")
    return serial


def _said(asked: _Asked, options: Options) -> str:
    what = "is to be replaced"
    if options.revoke:
        what = "is to be revoked at once, and replaced" if options.at_once else "is to be replaced, and then revoked"
    return f"pod {asked.pod.name}: certificate {shown(asked.serial)} {what}"


def _wait(there: Cluster, made: Sequence[_Asked], seconds: float, console: Console) -> list[_Asked]:
    """Waits until no pod serves the certificate that was asked about; returns those that still do."""
    end = console.now() + seconds
    left = list(made)
    while left:
        for each in list(left):
            if _over(there, each):
                left.remove(each)
                console.out(f"pod {each.pod.name}: certificate {shown(each.serial)} is out of use")
        if not left or console.now() >= end:
            break
        console.sleep(POLL_SECONDS)
    for each in left:
        console.err(
            f"podcert: pod {each.pod.name} still serves certificate {each.serial} after {seconds:.0f} s; "
            f"`podcert status {each.pod.name} -n {each.pod.namespace}` says how it stands"
        )
    return left


def _over(there: Cluster, asked: _Asked) -> bool:
    """The pod is gone (another has taken its place), or serves another certificate."""
    pod = there.pod(asked.pod.namespace, asked.pod.name)
    if pod is None or pod.uid != asked.pod.uid:
        return True
    secret = there.secret(pod)
    return secret is not None and not same_serial(serial_served(pod, secret), asked.serial)
