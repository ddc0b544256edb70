"""From the watches to the queue: each sink takes views of one resource, keeps the store right and puts keys on the queue.

A sink decides nothing. It only knows which keys an object can matter to; whether anything follows is the reconciler's business.
No key goes to the queue before every list is complete (`Intake.synced`): a pod and its Service applied together arrive on
two watches, and half a picture would give half the names.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from certmanager.domain.model import Pod, RevokeWhen, Service, StoredSecret
from certmanager.domain.revocation import concerns
from certmanager.engine.clock import Clock
from certmanager.engine.keys import Key, PodKey, RevocationKey, RoleKey
from certmanager.engine.queue import WorkQueue
from certmanager.engine.store import Store

SETTLE_SECONDS = 0.25
"""How long a new pod without a matching Service waits for one that was applied beside it."""


Revokes = Callable[[str], frozenset[RevokeWhen]]
"""What is to be revoked in a namespace, as far as it is known without a call."""


def _nothing(_namespace: str) -> frozenset[RevokeWhen]:
    return frozenset()


class Intake:
    """The three sinks and what they share.

    Args:
        store: where the views go.
        queue: where the keys go.
        clock: when a pod was first seen.
        revokes: what is to be revoked in a namespace.
    """

    def __init__(self, store: Store, queue: WorkQueue[Key], clock: Clock, revokes: Revokes = _nothing) -> None:
        self.store = store
        self.queue = queue
        self.revokes = revokes
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting_for = {"pods", "services", "secrets"}
        self._first_seen: dict[str, float] = {}
        self.pods = PodSink(self)
        self.services = ServiceSink(self)
        self.secrets = SecretSink(self)

    @property
    def synced(self) -> bool:
        """Every list has been read in full once."""
        return not self._waiting_for

    def missing(self) -> tuple[str, ...]:
        """The resources whose list has not been read yet, sorted."""
        return tuple(sorted(self._waiting_for))

    def settles_in(self, pod: Pod) -> float:
        """Seconds for which a Service that was applied beside this pod may still arrive; 0 when none is waited for."""
        first = self._first_seen.get(pod.uid)
        if first is None:
            return 0.0
        left = first + SETTLE_SECONDS - self._clock.monotonic()
        if left <= 0:
            self._first_seen.pop(pod.uid, None)
            return 0.0
        return left

    def add(self, keys: Iterable[Key]) -> None:
        """Puts keys on the queue, if the picture is whole."""
        if self.synced:
            for key in keys:
                self.queue.add(key)

    def listed(self, resource: str) -> None:
        """A list is complete; with the last of them everything is looked at once."""
        with self._lock:
            if resource not in self._waiting_for:
                return
            # Removed only after the keys are known to be added by somebody: `synced` turns True here, under the lock.
            self._waiting_for.discard(resource)
            if self._waiting_for:
                return
        self.resync()

    def resync(self) -> None:
        """Looks at every pod, every Secret and every ServiceAccount again."""
        keys: dict[Key, None] = {}
        for pod in self.store.pods():
            keys[PodKey(pod.namespace, pod.name)] = None
        for secret in self.store.secrets():
            if secret.pod_name:
                keys[PodKey(secret.namespace, secret.pod_name)] = None
            keys |= dict.fromkeys(self.revocations(secret))
        for pod in self.store.pods():
            keys[RoleKey(pod.namespace, pod.service_account)] = None
        self.add(keys)

    def revocations(self, secret: StoredSecret) -> list[Key]:
        """The Secret's key, if a certificate of it may have to be revoked."""
        found = concerns(secret, self.revokes(secret.namespace))
        return [RevocationKey(secret.namespace, secret.name)] if found else []

    def revocations_of(self, namespace: str, pod_name: str) -> list[Key]:
        """The same of all Secrets that were made for a pod of that name."""
        return [key for secret in self.store.secrets_of(namespace, pod_name) for key in self.revocations(secret)]

    def saw(self, pod: Pod) -> None:
        """Remembers when a pod came that was not in the first list."""
        if self.synced:
            self._first_seen[pod.uid] = self._clock.monotonic()

    def forget(self, pod: Pod) -> None:
        """The pod is gone."""
        self._first_seen.pop(pod.uid, None)


class PodSink:
    """Pods that carry the label `podcert.io/enroll`."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def replace(self, items: Sequence[Pod], version: int) -> None:
        """The whole list as of `version`: what is not in it has gone."""
        here = {pod.key for pod in items}
        for pod in self._intake.store.pods():
            if pod.key not in here and pod.resource_version <= version:
                self.delete(pod)
        for pod in items:
            self.upsert(pod)
        self._intake.listed("pods")

    def upsert(self, view: Pod) -> None:
        """A pod is new or changed."""
        old = self._intake.store.put_pod(view)
        keys: list[Key] = [PodKey(view.namespace, view.name)]
        if old is None:
            self._intake.saw(view)
        elif old.uid != view.uid or old.finished != view.finished:
            # Recreated under the same name within one relist, or finished: its Secret leaves the Role.
            if old.uid != view.uid:
                self._intake.forget(old)
                self._intake.saw(view)
            keys.append(RoleKey(old.namespace, old.service_account))
        self._intake.add(keys + self._intake.revocations_of(view.namespace, view.name))

    def delete(self, view: Pod) -> None:
        """A pod is gone, or lost its label."""
        if self._intake.store.drop_pod(view.namespace, view.name) is not None:
            self._intake.forget(view)
            self._intake.add([PodKey(view.namespace, view.name), RoleKey(view.namespace, view.service_account)])
            self._intake.add(self._intake.revocations_of(view.namespace, view.name))


class ServiceSink:
    """All Services."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._names: set[tuple[str, str]] = set()

    def replace(self, items: Sequence[Service], version: int) -> None:  # noqa: ARG002 - Services are only read
        """The whole list as of `version`: what is not in it has gone."""
        here = {(service.namespace, service.name) for service in items}
        for namespace, name in self._names - here:
            self._drop(namespace, name)
        for service in items:
            self.upsert(service)
        self._intake.listed("services")

    def upsert(self, view: Service) -> None:
        """A Service is new or changed: the pods that it selects, or did, may have other names now."""
        store = self._intake.store
        self._names.add((view.namespace, view.name))
        old = store.put_service(view)
        if old is not None and (old.selector, old.external, old.headless) == (
            view.selector,
            view.external,
            view.headless,
        ):
            return
        self._touch(view)
        if old is not None:
            self._touch(old)

    def delete(self, view: Service) -> None:
        """A Service is gone."""
        self._drop(view.namespace, view.name)

    def _drop(self, namespace: str, name: str) -> None:
        self._names.discard((namespace, name))
        old = self._intake.store.drop_service(namespace, name)
        if old is not None:
            self._touch(old)

    def _touch(self, service: Service) -> None:
        self._intake.add(PodKey(pod.namespace, pod.name) for pod in self._intake.store.pods_selected_by(service))


class SecretSink:
    """Secrets that carry our label."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def replace(self, items: Sequence[StoredSecret], version: int) -> None:
        """The whole list as of `version`: what is not in it has gone."""
        here = {secret.key: secret.uid for secret in items}
        for secret in self._intake.store.secrets():
            # One that a worker wrote after the list was made is not in it; the watch from `version` on will show it.
            if here.get(secret.key) != secret.uid and secret.resource_version <= version:
                self.delete(secret)
        for secret in items:
            self.upsert(secret)
        self._intake.listed("secrets")

    def upsert(self, view: StoredSecret) -> None:
        """A Secret is new or changed; our own write coming back changes nothing and costs no reconcile."""
        old = self._intake.store.secret(view.namespace, view.name)
        if self._intake.store.put_secret(view):
            self._touch(view)
            if old is not None and old.pod_name != view.pod_name:
                # Somebody wrote another pod's name on it: the pod that it was made for has to hear of it.
                self._touch(old)

    def delete(self, view: StoredSecret) -> None:
        """A Secret is gone."""
        if self._intake.store.drop_secret(view.namespace, view.name, view.uid) is not None:
            self._touch(view)

    def _touch(self, secret: StoredSecret) -> None:
        self._intake.add(self._intake.revocations(secret))
        if not secret.pod_name:
            return
        keys: list[Key] = [PodKey(secret.namespace, secret.pod_name)]
        pod = self._intake.store.pod(secret.namespace, secret.pod_name)
        if pod is not None:
            keys.append(RoleKey(pod.namespace, pod.service_account))
        self._intake.add(keys)
