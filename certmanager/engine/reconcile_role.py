"""One ServiceAccount, once: its Role names the Secrets of its own enrolled pods, and nothing else.

Batched here: a key that comes again within `INTERVAL_SECONDS` of its last write goes back to the queue until then, so a
burst of 1,000 pods under one ServiceAccount writes its Role a few times, and a lone pod's is written at once.
"""

from __future__ import annotations

import threading

from certmanager.domain.names import secret_name
from certmanager.engine.clock import Clock
from certmanager.engine.keys import RoleKey
from certmanager.engine.outcome import Outcome
from certmanager.engine.ports import RoleStore
from certmanager.engine.store import Store

INTERVAL_SECONDS = 0.25


class RoleReconciler:
    """Thread-safe as long as no two threads reconcile the same key, which the queue guarantees."""

    def __init__(self, store: Store, roles: RoleStore, clock: Clock) -> None:
        self._store = store
        self._roles = roles
        self._clock = clock
        self._lock = threading.Lock()
        self._written: dict[RoleKey, float] = {}

    def reconcile(self, key: RoleKey) -> Outcome:
        """Writes the Role and its binding if they differ. Raises `NotYet`, `Refused`."""
        now = self._clock.monotonic()
        left = self._written.get(key, float("-inf")) + INTERVAL_SECONDS - now
        if left > 0:
            return Outcome("RoleBatched", left)
        writes = self._roles.reconcile(key.namespace, key.service_account, self.names(key))
        if writes == 0:
            return Outcome("RoleCurrent")
        with self._lock:
            self._written[key] = self._clock.monotonic()
            for old in [k for k, at in self._written.items() if now - at > INTERVAL_SECONDS]:
                del self._written[old]
        return Outcome("RoleWritten")

    def names(self, key: RoleKey) -> list[str]:
        """The Secrets that the ServiceAccount may read, sorted.

        These are Secrets under the name that carries the pod's uid, made by us for this very pod. A Secret whose name a
        user chose (`podcert.io/secret-name`) never gets here.
        """
        found = []
        for pod in self._store.pods_of(key.namespace, key.service_account):
            if pod.finished or pod.labels.get("podcert.io/enroll") != "true":
                continue
            secret = self._store.secret(pod.namespace, secret_name(pod.name, pod.uid))
            if secret is not None and secret.managed and secret.pod_uid == pod.uid:
                found.append(secret.name)
        return sorted(found)
