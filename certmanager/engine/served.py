"""What the pods serve now, one fact for each: what the metrics and the alerts go by. Read at a scrape, from memory alone."""

from __future__ import annotations

from collections.abc import Iterator

from certmanager.domain.annotations import parse_annotations
from certmanager.domain.model import Pod, StoredSecret
from certmanager.domain.names import secret_name
from certmanager.domain.renewal import asked_before
from certmanager.domain.request import Defaults
from certmanager.domain.rotation import CertificateFact, planned, served
from certmanager.domain.supersede import issuer_of
from certmanager.domain.workload import workload
from certmanager.engine.store import Store

RENEW_BEFORE = "renew-before"


def secret_of(store: Store, pod: Pod) -> StoredSecret | None:
    """The Secret that a pod has its certificate from, under the name that it chose or the one that carries its uid."""
    chosen = pod.annotations.get("secret-name") or secret_name(pod.name, pod.uid)
    secret = store.secret(pod.namespace, chosen)
    return secret if secret is not None and secret.pod_uid == pod.uid else None


def served_certificates(store: Store, defaults: Defaults) -> Iterator[CertificateFact]:
    """One fact per pod that has a certificate; of files that are outdated, no more than their end is known.

    The time of the renewal comes from the certificate, not from the timers: those move on when a renewal does not come,
    and there are none for a pod that is refused meanwhile.
    """
    for pod in store.pods():
        secret = secret_of(store, pod)
        current = None if secret is None else served(pod, secret)
        if secret is None or current is None:
            continue
        yield CertificateFact(
            namespace=pod.namespace,
            pod=pod.name,
            workload=workload(pod),
            not_before=current.not_before if current.current else None,
            not_after=current.not_after,
            renewal=planned(pod, secret, _renew_before(pod, defaults)),
            outdated=not current.current,
            mount=secret.annotations.get("mount", ""),
            issuer=issuer_of(secret) if current.current else None,
        )


def reloads(store: Store) -> Iterator[tuple[str, str, bool]]:
    """Namespace and name of each pod whose fetcher stays as a sidecar; whether it fails to make the application reload."""
    for pod in store.pods():
        if pod.delivery.sidecar:
            yield pod.namespace, pod.name, pod.delivery.reload_problem is not None


def _renew_before(pod: Pod, defaults: Defaults) -> float:
    text = pod.annotations.get(RENEW_BEFORE)
    if text is None:
        return defaults.renew_before_fraction
    asked, _problems = parse_annotations({RENEW_BEFORE: text})
    return asked_before(asked, defaults.renew_before_fraction)
