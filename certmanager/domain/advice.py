"""What a pod's owner should know although the certificate was made: Warnings that hold nothing back."""

from __future__ import annotations

from typing import Final

from certmanager.domain.model import FETCHER_CONTAINER, Pod, Request, StoredSecret
from certmanager.domain.problems import cut
from certmanager.domain.reasons import Reason
from certmanager.domain.renewal import renew_before
from certmanager.domain.rotation import renewals, replaces_pods, rotatable, secret_times, served
from certmanager.domain.times import rfc3339

Advice = tuple[Reason, str]

MOUNT_SECONDS: Final = 120.0
"""How late the kubelet may bring a Secret's new files into a pod that mounts it: it syncs a pod every 60 to 90 s by default
(`syncFrequency`, and a jitter of half of it, in k8s.io/kubernetes/pkg/kubelet), and a busy node takes longer."""


def advice(pod: Pod, request: Request, secret: StoredSecret) -> list[Advice]:
    """Warnings about how the certificate in `secret` reaches the pod, in no case a reason not to make it."""
    late = _seen_too_late(pod, request, secret) if request.secret_name in pod.delivery.mounts else []
    return [*_outdated(pod, request, secret), *delivery_advice(pod, request), *late]


def delivery_advice(pod: Pod, request: Request) -> list[Advice]:
    """What can be said before there is a certificate: whether anything brings it into the pod, and who can read it."""
    found: list[Advice] = []
    mounted = request.secret_name in pod.delivery.mounts
    if not mounted and not pod.delivery.fetcher:
        found.append((Reason.NO_DELIVERY, cut(_nothing_brings_it(request))))
    elif not mounted and request.fixed_name:
        message = (
            f"the Secret has the chosen name {request.secret_name}, and such a Secret is never given to a fetcher to read; "
            "mount it as a volume, or remove the annotation podcert.io/secret-name"
        )
        found.append((Reason.NO_DELIVERY, cut(message)))
    if pod.service_account == "default" and not request.fixed_name:
        message = (
            "the pod runs under the ServiceAccount `default`: every pod that does can read this certificate's key; "
            "give the application a ServiceAccount of its own"
        )
        found.append((Reason.SHARED_SERVICE_ACCOUNT, message))
    return found


def _outdated(pod: Pod, request: Request, secret: StoredSecret) -> list[Advice]:
    """A renewal in place does not reach files that a fetcher wrote once."""
    found: list[Advice] = []
    asked = replaces_pods(request.rotation)
    if renewals(secret) and asked and not rotatable(pod):
        kind = "no owner" if pod.owner is None else f"the owner {pod.owner.kind} {pod.owner.name}"
        message = (
            f"the pod has {kind}, which cannot be rolled: its Secret is renewed in place; "
            "choose podcert.io/rotation=none or refresh"
        )
        found.append((Reason.CANNOT_RESTART, cut(message)))
    current = served(pod, secret)
    if current is not None and not current.current:
        if asked and rotatable(pod):
            remedy = "a new pod was to take its place and has not come: see the pod's other Events for what holds it up"
        else:
            remedy = "replace the pod before that, or have the fetcher stay as a sidecar (podcert.io/rotation=refresh)"
        message = (
            "the Secret was renewed, and the pod's files still hold the certificate that ends at "
            f"{rfc3339(current.not_after)}; {remedy}"
        )
        found.append((Reason.FILES_OUTDATED, cut(message)))
    return found


def _seen_too_late(pod: Pod, request: Request, secret: StoredSecret) -> list[Advice]:
    """From the renewal on, the kubelet needs its time to bring the new files into the mount."""
    times = secret_times(pod, secret, renew_before(request))
    if times is None or times.end - times.due >= MOUNT_SECONDS:
        return []
    message = (
        f"the certificate is renewed {times.end - times.due:.0f} s before its end, and the kubelet may need "
        f"{MOUNT_SECONDS:.0f} s to bring the new files into the mount: ask for a longer podcert.io/ttl, renew earlier "
        "(podcert.io/renew-before), or use a certificate-fetcher that stays as a sidecar"
    )
    return [(Reason.MOUNT_TOO_SLOW, cut(message))]


def _nothing_brings_it(request: Request) -> str:
    way = (
        f"mount the Secret {request.secret_name} as a volume"
        if request.fixed_name
        else f"add an init container named {FETCHER_CONTAINER}, or choose a name by podcert.io/secret-name and mount that Secret"
    )
    return f"the certificate is in Secret {request.secret_name}, and nothing brings it into the pod: {way}"
