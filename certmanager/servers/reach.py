"""Which servers there are and how they are spoken to: the one at VAULT_ADDR, or every pod of a StatefulSet.

In the flow: below `initialise` and `unseal`, which ask for the servers again in every round: a pod that is replaced is another
server, sealed again.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from certmanager.domain.errors import NotYet, Refused
from certmanager.kube.client import Json, KubeClient, namespaced
from certmanager.kube.fields import mapping, mappings, metadata, number, text
from certmanager.kube.forward import Forward, Forwarder
from certmanager.vault import seal
from certmanager.vault.config import VaultConfig
from certmanager.vault.seal import SealStatus, State
from certmanager.vault.transport import Transport

PORT: Final = 8200
_ADDRESSES: Final = ("VAULT_API_ADDR", "BAO_API_ADDR")
_TRUST: Final = re.compile(r"its certificate is not trusted \(.*?\)|the TLS handshake failed")
_REFERENCE: Final = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


class Server(Protocol):
    """One server."""

    @property
    def name(self) -> str:
        """A pod's name, or an address."""

    @property
    def transport(self) -> Transport:
        """The way to it."""

    def why(self, error: NotYet) -> str:
        """Why it does not answer; empty where it will in a moment. `error` is what the transport says."""


class Reach(Protocol):
    """All servers of one Vault."""

    def servers(self) -> Sequence[Server]:
        """Those that there are now, the first one first. Raises `NotYet`, `Refused`."""

    def wanted(self) -> int:
        """How many there should be."""

    def close(self) -> None:
        """Ends all connections."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A server and what it says of itself; `problem` when it does not answer."""

    server: Server
    status: SealStatus
    problem: str = ""

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.status.state


def look(servers: Sequence[Server]) -> list[Seen]:
    """Asks each server."""
    return [_look(server) for server in servers]


def _look(server: Server) -> Seen:
    try:
        return Seen(server, seal.seal_status(server.transport))
    except NotYet as error:
        return Seen(server, SealStatus(State.UNREACHABLE, 0, 0, 0, False, ""), server.why(error))


@dataclass(frozen=True, slots=True)
class OneServer:
    """The server at VAULT_ADDR; it is its own `Reach`."""

    transport: Transport

    @property
    def name(self) -> str:
        """See `Server`."""
        return self.transport.address

    def why(self, error: NotYet) -> str:
        """See `Server`."""
        return error.message

    def servers(self) -> Sequence[Server]:
        """See `Reach`."""
        return [self]

    def wanted(self) -> int:
        """See `Reach`."""
        return 1

    def close(self) -> None:
        """See `Reach`."""
        self.transport.close()


@dataclass(frozen=True, slots=True)
class PodServer:
    """A pod, through a port-forward."""

    name: str
    forward: Forward
    transport: Transport

    def why(self, error: NotYet) -> str:
        """See `Server`. The address in the transport's words is of this machine, and helps nobody.

        Raises `Refused` when there will never be a way.
        """
        problem = self.forward.problem
        if isinstance(problem, Refused):
            raise problem
        if problem is not None:
            return problem.message
        found = _TRUST.search(error.message)
        return found[0] if found else ""

    def close(self) -> None:
        """Ends the way to it."""
        self.transport.close()
        self.forward.close()


class Pods:
    """The pods of a namespace that a label selects.

    Args:
        client, forwarder: of one kubeconfig.
        config: `VAULT_CACERT` and so on of the person; address and name come from each pod.
    """

    def __init__(self, client: KubeClient, forwarder: Forwarder, where: tuple[str, str], config: VaultConfig) -> None:
        self._client = client
        self._forwarder = forwarder
        self._namespace, self._selector = where
        self._config = config
        self._open: dict[str, PodServer] = {}

    def servers(self) -> Sequence[Server]:
        """The pods whose containers run, in the order of their numbers."""
        running = {}
        for pod in self._list("api/v1", "pods"):
            if mapping(pod, "status").get("phase") == "Running" and "deletionTimestamp" not in metadata(pod):
                running[text(metadata(pod), "uid")] = pod
        for uid in set(self._open) - set(running):
            self._open.pop(uid).close()
        for uid, pod in running.items():
            if uid not in self._open:
                self._open[uid] = self._server(pod)
        return sorted(self._open.values(), key=lambda server: (len(server.name), server.name))

    def wanted(self) -> int:
        """The replicas of the StatefulSets of that label; where there is none, as many as there are pods, and one at least."""
        sets = self._list("apis/apps/v1", "statefulsets")
        replicas = sum(number(mapping(each, "spec"), "replicas", 1) for each in sets)
        return replicas if sets else max(1, len(self._list("api/v1", "pods")))

    def close(self) -> None:
        """See `Reach`."""
        for server in self._open.values():
            server.close()
        self._open.clear()
        self._client.close()

    def _server(self, pod: Json) -> PodServer:
        name = text(metadata(pod), "name")
        scheme, host, port = address(pod)
        forward = self._forwarder.open(self._namespace, name, port)
        config = replace(
            self._config,
            address=f"{scheme}://127.0.0.1:{forward.port}",
            server_name=self._config.server_name or host or None,
        )
        return PodServer(name, forward, Transport(config))

    def _list(self, group: str, resource: str) -> Sequence[Any]:
        query = {"labelSelector": self._selector}
        return mappings(self._client.request("GET", namespaced(group, resource, self._namespace), query), "items")


def address(pod: Json) -> tuple[str, str, int]:
    """Scheme, host and port that a server tells its clients: VAULT_API_ADDR of its container (OpenBao: also BAO_API_ADDR).

    Without it: https, no host, port 8200. The host is the name that its certificate has to have.
    """
    values = {"POD_IP": text(mapping(pod, "status"), "podIP")}
    for container in mappings(mapping(pod, "spec"), "containers"):
        values |= _environment(container, pod)
    given = next((values[name] for name in _ADDRESSES if values.get(name)), "")
    with contextlib.suppress(ValueError):
        parts = urlsplit(_REFERENCE.sub(lambda found: values.get(found[1], ""), given))
        if parts.scheme in {"http", "https"}:
            return parts.scheme, parts.hostname or "", parts.port or PORT
    return "https", "", PORT


def _environment(container: Mapping[str, Any], pod: Json) -> dict[str, str]:
    """The container's variables as far as the pod tells them: values, and the fields that name it."""
    fields = {
        "metadata.name": text(metadata(pod), "name"),
        "metadata.namespace": text(metadata(pod), "namespace"),
        "status.podIP": text(mapping(pod, "status"), "podIP"),
    }
    found = {}
    for each in mappings(container, "env"):
        path = text(mapping(mapping(each, "valueFrom"), "fieldRef"), "fieldPath")
        found[text(each, "name")] = text(each, "value") or fields.get(path, "")
    return found
