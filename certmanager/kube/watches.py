"""All the watches of the manager together: pods that are enrolled, all Services, the Secrets that are ours.

Made by the composition root with the engine's sinks. In a namespace-scoped install each resource is followed once per
namespace, and `Union` makes one list of the parts, so that a sink always hears of a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Final, Generic, Protocol, TypeVar

from certmanager.domain.model import ENROLL_LABEL, MANAGED_LABEL, Pod, Service, StoredSecret
from certmanager.kube import project
from certmanager.kube.client import KubeClient, namespaced
from certmanager.kube.watch import Pace, Reflector, Resource, Sink


class Named(Protocol):
    """A view of a namespaced object."""

    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)

PODS: Final = "pods"
SERVICES: Final = "services"
SECRETS: Final = "secrets"


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where the views go."""

    pods: Sink[Pod]
    services: Sink[Service]
    secrets: Sink[StoredSecret]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is followed: `namespaces` None for the whole cluster, and how Secrets are read."""

    namespaces: tuple[str, ...] | None = None
    reader: project.SecretReader = field(default_factory=project.SecretReader)
    pace: Pace = field(default_factory=Pace)


class Watches:
    """Starts, stops and tells of all reflectors.

    Args:
        client: the API server.
        sinks: the engine's.
        scope: namespaces and times.
    """

    def __init__(self, client: KubeClient, sinks: Sinks, scope: Scope) -> None:
        self.reflectors: list[Reflector[Any]] = [
            *_follow(client, Resource(PODS, PODS, project.pod, ENROLL_LABEL), sinks.pods, scope),
            *_follow(client, Resource(SERVICES, SERVICES, project.service), sinks.services, scope),
            *_follow(client, Resource(SECRETS, SECRETS, scope.reader, f"{MANAGED_LABEL}=true"), sinks.secrets, scope),
        ]

    def start(self) -> None:
        """Starts every thread."""
        for reflector in self.reflectors:
            reflector.start()

    def stop(self) -> None:
        """Ends every watch; the threads are gone soon after."""
        for reflector in self.reflectors:
            reflector.stop(0)
        for reflector in self.reflectors:
            reflector.stop()

    @property
    def synced(self) -> bool:
        """Every list is complete."""
        return all(reflector.synced.is_set() for reflector in self.reflectors)

    def problems(self) -> Mapping[str, str]:
        """Path of each collection without a list or without a watch, and why."""
        return {
            reflector.resource.path: reflector.problem or "the first list is not complete"
            for reflector in self.reflectors
            if reflector.problem or not reflector.synced.is_set()
        }

    def dead(self) -> tuple[str, ...]:
        """Paths of collections whose thread has ended: only a restart helps."""
        return tuple(reflector.resource.path for reflector in self.reflectors if not reflector.alive)

    def last_seen(self) -> Mapping[str, float]:
        """By resource, when its quietest watch last heard of anything (seconds since the epoch)."""
        seen: dict[str, float] = {}
        for reflector in self.reflectors:
            name = reflector.resource.name
            seen[name] = min(seen.get(name, reflector.last_seen), reflector.last_seen)
        return seen


class Union(Generic[N]):
    """One sink's view of several namespaces: hands the list on when all are complete, then only what changes.

    Args:
        sink: hears of the whole.
        namespaces: the parts.
    """

    def __init__(self, sink: Sink[N], namespaces: Sequence[str]) -> None:
        self._sink = sink
        self._missing = set(namespaces)
        self._version: int | None = None
        self._known: dict[tuple[str, str], N] = {}
        self._lock = RLock()

    def part(self, namespace: str) -> Sink[N]:
        """The sink of one namespace's reflector."""
        return _Part(self, namespace)

    def replace(self, namespace: str, items: Sequence[N], version: int) -> None:
        """One namespace was listed."""
        with self._lock:
            here = {(view.namespace, view.name): view for view in items}
            gone = [key for key in self._known if key[0] == namespace and key not in here]
            dropped = [self._known.pop(key) for key in gone]
            self._known |= here
            if self._missing:
                self._missing.discard(namespace)
                self._version = version if self._version is None else min(self._version, version)
                if not self._missing:
                    self._sink.replace(list(self._known.values()), self._version)
                return
            for view in dropped:
                self._sink.delete(view)
            for view in items:
                self._sink.upsert(view)

    def upsert(self, view: N) -> None:
        """An object is new or changed."""
        with self._lock:
            self._known[(view.namespace, view.name)] = view
            if not self._missing:
                self._sink.upsert(view)

    def delete(self, view: N) -> None:
        """An object is gone."""
        with self._lock:
            self._known.pop((view.namespace, view.name), None)
            if not self._missing:
                self._sink.delete(view)


class _Part(Generic[N]):
    """A namespace's place in a `Union`."""

    def __init__(self, union: Union[N], namespace: str) -> None:
        self._union = union
        self._namespace = namespace

    def replace(self, items: Sequence[N], version: int) -> None:
        self._union.replace(self._namespace, items, version)

    def upsert(self, view: N) -> None:
        self._union.upsert(view)

    def delete(self, view: N) -> None:
        self._union.delete(view)


def _follow(client: KubeClient, resource: Resource[N], sink: Sink[N], scope: Scope) -> list[Reflector[N]]:
    """The reflectors of one core/v1 resource; `resource.path` is its plural, and becomes a path here."""

    def at(namespace: str | None) -> Resource[N]:
        path = namespaced("api/v1", resource.path, namespace)
        return Resource(resource.name, path, resource.project, resource.selector)

    if scope.namespaces is None:
        return [Reflector(client, at(None), sink, scope.pace)]
    union = Union(sink, scope.namespaces)
    return [Reflector(client, at(name), union.part(name), scope.pace) for name in scope.namespaces]
