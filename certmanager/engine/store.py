"""What the API server has, as the watches told it: the memory that a reconcile gathers from.

Indexed so that the cost of one pod does not grow with the number of pods: Services by one pair of their selector, pods by
ServiceAccount, workload and label pair, Secrets by name. Own writes enter at once (`put_secret`), so that a reconcile
never acts on a state older than its own last act; an older watch event cannot overwrite them (resourceVersions are ordered
integers, KEP-5504, guaranteed since Kubernetes 1.35 and true of etcd before).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeVar

from certmanager.domain.model import Pod, Service, StoredSecret
from certmanager.domain.workload import workload

K = TypeVar("K")
Name = tuple[str, str]
Pair = tuple[str, str, str]
GRAVES = 4096
"""How many deleted Secrets are remembered, so that a late watch event does not bring one back."""


class Store:
    """Thread-safe mirror of labelled pods, Services and our Secrets."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pods: dict[Name, Pod] = {}
        self._services: dict[Name, Service] = {}
        self._secrets: dict[Name, StoredSecret] = {}
        self._graves: dict[Name, str] = {}
        self._pods_by_account: defaultdict[Name, set[str]] = defaultdict(set)
        self._pods_by_workload: defaultdict[Name, set[str]] = defaultdict(set)
        self._pods_by_pair: defaultdict[Pair, set[str]] = defaultdict(set)
        self._services_by_pair: defaultdict[Pair, set[str]] = defaultdict(set)
        self._secrets_by_pod: defaultdict[Name, set[str]] = defaultdict(set)

    # Pods

    def put_pod(self, pod: Pod) -> Pod | None:
        """Takes a new or changed pod; returns what was there before."""
        with self._lock:
            old = self._pods.get(pod.key)
            if old is not None:
                self._unindex_pod(old)
            self._pods[pod.key] = pod
            self._pods_by_account[(pod.namespace, pod.service_account)].add(pod.name)
            if pod.owner is not None:
                self._pods_by_workload[(pod.namespace, workload(pod))].add(pod.name)
            for label, value in pod.labels.items():
                self._pods_by_pair[(pod.namespace, label, value)].add(pod.name)
            return old

    def drop_pod(self, namespace: str, name: str) -> Pod | None:
        """Forgets a pod; returns it, or None when it was not there."""
        with self._lock:
            old = self._pods.pop((namespace, name), None)
            if old is not None:
                self._unindex_pod(old)
            return old

    def pod(self, namespace: str, name: str) -> Pod | None:
        """The pod of that name."""
        return self._pods.get((namespace, name))

    def pods(self) -> list[Pod]:
        """All pods, in no order."""
        with self._lock:
            return list(self._pods.values())

    def pods_of(self, namespace: str, service_account: str) -> list[Pod]:
        """The pods that run under one ServiceAccount."""
        with self._lock:
            names = self._pods_by_account.get((namespace, service_account), ())
            return [self._pods[(namespace, name)] for name in names]

    def pods_of_workload(self, namespace: str, name: str) -> list[Pod]:
        """The pods of one workload, `name` as `domain.workload` gives it (`Deployment/web`); sorted by name."""
        with self._lock:
            names = sorted(self._pods_by_workload.get((namespace, name), ()))
            return [self._pods[(namespace, one)] for one in names]

    def pods_selected_by(self, service: Service) -> list[Pod]:
        """The pods whose labels a Service's selector matches."""
        if not service.selector:
            return []
        with self._lock:
            sets = [self._pods_by_pair.get((service.namespace, k, v), set()) for k, v in service.selector.items()]
            return [self._pods[(service.namespace, name)] for name in set.intersection(*sets)]

    def _unindex_pod(self, pod: Pod) -> None:
        _discard(self._pods_by_account, (pod.namespace, pod.service_account), pod.name)
        if pod.owner is not None:
            _discard(self._pods_by_workload, (pod.namespace, workload(pod)), pod.name)
        for label, value in pod.labels.items():
            _discard(self._pods_by_pair, (pod.namespace, label, value), pod.name)

    # Services

    def put_service(self, service: Service) -> Service | None:
        """Takes a new or changed Service; returns what was there before."""
        with self._lock:
            old = self.drop_service(service.namespace, service.name)
            self._services[(service.namespace, service.name)] = service
            pair = _first_pair(service)
            if pair is not None:
                self._services_by_pair[pair].add(service.name)
            return old

    def drop_service(self, namespace: str, name: str) -> Service | None:
        """Forgets a Service; returns it, or None when it was not there."""
        with self._lock:
            old = self._services.pop((namespace, name), None)
            pair = None if old is None else _first_pair(old)
            if pair is not None:
                _discard(self._services_by_pair, pair, name)
            return old

    def services_for(self, pod: Pod) -> list[Service]:
        """The Services that can matter to a pod's names.

        These are the ones whose selector may match it, the one that has the pod's own name, and the one that its
        `subdomain` names; sorted by name.
        """
        with self._lock:
            names = {name for name in (pod.name, pod.subdomain) if name and (pod.namespace, name) in self._services}
            for label, value in pod.labels.items():
                names |= self._services_by_pair.get((pod.namespace, label, value), set())
            return [self._services[(pod.namespace, name)] for name in sorted(names)]

    # Secrets

    def put_secret(self, secret: StoredSecret) -> bool:
        """Takes a Secret as a write or the watch told it; returns False when a newer one is known already."""
        with self._lock:
            old = self._secrets.get(secret.key)
            if old is not None and old.resource_version >= secret.resource_version:
                return False
            if self._graves.get(secret.key) == secret.uid:
                return False
            if old is not None:
                _discard(self._secrets_by_pod, (old.namespace, old.pod_name), old.name)
            self._secrets[secret.key] = secret
            self._secrets_by_pod[(secret.namespace, secret.pod_name)].add(secret.name)
            return True

    def drop_secret(self, namespace: str, name: str, uid: str) -> StoredSecret | None:
        """Forgets a Secret that was deleted, if it is the one with that uid; returns it, or None."""
        with self._lock:
            self._graves[(namespace, name)] = uid
            if len(self._graves) > GRAVES:
                del self._graves[next(iter(self._graves))]
            old = self._secrets.get((namespace, name))
            if old is None or old.uid != uid:
                return None
            del self._secrets[(namespace, name)]
            _discard(self._secrets_by_pod, (old.namespace, old.pod_name), old.name)
            return old

    def secret(self, namespace: str, name: str) -> StoredSecret | None:
        """Our Secret of that name."""
        return self._secrets.get((namespace, name))

    def secrets(self) -> list[StoredSecret]:
        """All our Secrets, in no order."""
        with self._lock:
            return list(self._secrets.values())

    def secrets_of(self, namespace: str, pod_name: str) -> list[StoredSecret]:
        """Our Secrets that were made for a pod of that name, whichever its uid."""
        with self._lock:
            names: Iterable[str] = sorted(self._secrets_by_pod.get((namespace, pod_name), ()))
            return [self._secrets[(namespace, name)] for name in names]


def _first_pair(service: Service) -> Pair | None:
    if not service.selector:
        return None
    label, value = min(service.selector.items())
    return (service.namespace, label, value)


def _discard(index: dict[K, set[str]], key: K, name: str) -> None:
    members = index.get(key)
    if members is None:
        return
    members.discard(name)
    if not members:
        del index[key]
