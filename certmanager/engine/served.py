"""The certificates that are served, one for each pod: what the metrics and the alerts go by."""

from __future__ import annotations

from collections.abc import Iterator

from certmanager.domain.model import Pod, StoredSecret
from certmanager.domain.names import secret_name
from certmanager.domain.rotation import CertificateFact, served
from certmanager.domain.workload import workload
from certmanager.engine.keys import PodKey
from certmanager.engine.store import Store
from certmanager.engine.timers import Timers


def secret_of(store: Store, pod: Pod) -> StoredSecret | None:
    """The Secret that a pod has its certificate from, under the name that it chose or the one that carries its uid."""
    chosen = pod.annotations.get("secret-name") or secret_name(pod.name, pod.uid)
    secret = store.secret(pod.namespace, chosen)
    return secret if secret is not None and secret.pod_uid == pod.uid else None


def served_certificates(store: Store, timers: Timers) -> Iterator[CertificateFact]:
    """One fact per pod that has a certificate; of files that are outdated, no more than their end is known."""
    for pod in store.pods():
        secret = secret_of(store, pod)
        current = None if secret is None else served(pod, secret)
        if current is None:
            continue
        due = timers.due(PodKey(pod.namespace, pod.name))
        yield CertificateFact(pod.namespace, pod.name, workload(pod), current.not_before, current.not_after, due)
