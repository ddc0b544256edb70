"""What a pod's owner should know although the certificate was made: Warnings that hold nothing back."""

from __future__ import annotations

from certmanager.domain.model import FETCHER_CONTAINER, Pod, Request
from certmanager.domain.problems import cut
from certmanager.domain.reasons import Reason

Advice = tuple[Reason, str]


def advice(pod: Pod, request: Request) -> list[Advice]:
    """Warnings about how the certificate reaches the pod, in no case a reason not to make it."""
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


def _nothing_brings_it(request: Request) -> str:
    way = (
        f"mount the Secret {request.secret_name} as a volume"
        if request.fixed_name
        else f"add an init container named {FETCHER_CONTAINER}, or choose a name by podcert.io/secret-name and mount that Secret"
    )
    return f"the certificate is in Secret {request.secret_name}, and nothing brings it into the pod: {way}"
