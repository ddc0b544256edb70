"""Rotation in real pods: the examples with certificates of a minute, a client that connects all the time, and what is seen of it.

Shared by the end-to-end tests and `make prove-rotation`. Nothing here judges with the manager's own code.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import yaml

from tests.cluster.paths import ClusterError
from tests.e2e.scenario import MANIFESTS, Scenario

EXAMPLES = MANIFESTS / "examples"
PREFIX = "podcert.io/"
MANAGER = "app.kubernetes.io/name=certificate-manager"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
IMAGES = ("certificate-manager", "certificate-fetcher", "podcert-example", "podcert-nginx", "openbao")


@dataclass(frozen=True)
class Change:
    """What is changed in an example before it is applied.

    Attributes:
        ttl: of the certificates, as the annotation takes it.
        replicas: empty: as the example has it.
        arguments: words that take the place of the application's last ones, behind its program.
        annotations: of the template, without the prefix.
    """

    ttl: str = "60s"
    replicas: int | None = None
    arguments: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)

    def apply(self, item: dict[str, Any]) -> dict[str, Any]:
        """The workload with these changes."""
        template = item["spec"]["template"]
        notes = {"ttl": self.ttl, **self.annotations}
        kept = template["metadata"].setdefault("annotations", {})
        kept.update({PREFIX + name: value for name, value in notes.items()})
        if self.replicas is not None:
            item["spec"]["replicas"] = self.replicas
        if self.arguments:
            container = template["spec"]["containers"][0]
            program = next(at for at, word in enumerate(container["command"]) if word.endswith(".py"))
            container["command"] = [*container["command"][: program + 1], *self.arguments]
        return item


@dataclass(frozen=True)
class Seen:
    """What the client says of one server: connections, and for each serial first sight, last sight, end (epoch)."""

    ok: int
    failed: int
    expired: int
    serials: Mapping[str, tuple[float, float, float]]
    errors: tuple[str, ...]


class Place:
    """A namespace that enforces `restricted`, for one test or proof: made and removed by a `with` block.

    Args:
        scenario: Podcert, installed.
        namespace: its name.
    """

    def __init__(self, scenario: Scenario, namespace: str) -> None:
        self.scenario = scenario
        self.namespace = namespace

    def __enter__(self) -> Place:
        self.scenario.kubectl("create", "namespace", self.namespace)
        self.scenario.restrict(self.namespace)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.scenario.kubectl("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found")

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        """Output of kubectl in the namespace."""
        return self.scenario.kubectl("-n", self.namespace, *arguments, stdin=stdin, timeout=timeout)

    def get(self, what: str, *more: str) -> list[dict[str, Any]]:
        """Objects of a kind."""
        return list(json.loads(self.kubectl("get", what, *more, "-o", "json"))["items"])

    def example(self, file: str, change: Change, only: Iterable[str] = ()) -> None:
        """Applies an example with `change`; `only` the objects of these names (and of course all without it)."""
        wanted = set(only)
        items = [item for item in yaml.safe_load_all((EXAMPLES / file).read_text()) if item]
        items = [item for item in items if not wanted or item["metadata"]["name"] in wanted]
        changed = [change.apply(item) if item["kind"] in WORKLOADS else item for item in items]
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(changed))

    def rolled_out(self, *workloads: str, seconds: int = 120) -> None:
        """Waits until `kubectl rollout status` is content with each (`deployment/web`)."""
        for one in workloads:
            self.kubectl("rollout", "status", one, f"--timeout={seconds}s", timeout=seconds + 10)

    def client(self, *targets: str, rate: int) -> None:
        """A client with a sidecar that connects to each `service:port`, `rate` times a second."""
        hosts = [f"{name}.{self.namespace}.svc.cluster.local:{port}" for name, port in (t.split(":") for t in targets)]
        change = Change("24h", 1, (*hosts, "--rate", str(rate)))
        self.example("mutual-tls.yaml", change, only=["caller"])
        self.rolled_out("deployment/caller")

    def seen(self) -> dict[str, Seen]:
        """What the client has seen of each server so far, by the Service's name."""
        text = self.kubectl("logs", "deployment/caller", "-c", "caller", "--tail=-1")
        return parse_seen(text)

    def events(self, reason: str) -> list[str]:
        """The messages of the namespace's Events of a reason, with the object's name before each."""
        found = self.get("events", f"--field-selector=reason={reason}")
        return [f"{one['involvedObject']['name']}: {one['message']}" for one in found]


def parse_seen(text: str) -> dict[str, Seen]:
    """From the client's log."""
    last: dict[str, dict[str, Any]] = {}
    errors: dict[str, list[str]] = {}
    for line in text.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        name = str(said["target"]).partition(".")[0]
        if "error" in said:
            errors.setdefault(name, []).append(f"{said['time']:.1f} {said['error']}")
        last.setdefault(name, {}).update(said)
    return {
        name: Seen(
            said["ok"],
            said["failed"],
            said["expired"],
            {serial: (first, until, end) for serial, (first, until, end) in said.get("serials", {}).items()},
            tuple(errors.get(name, ())),
        )
        for name, said in last.items()
    }


def manager_metrics(scenario: Scenario) -> str:
    """The metrics of the manager's pod, ready or not: while Vault is away its Service has no endpoint."""
    pods = json.loads(scenario.kubectl("get", "pods", "-n", "podcert", "-l", MANAGER, "-o", "json"))["items"]
    names = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return scenario.kubectl("get", "--raw", f"/api/v1/namespaces/podcert/pods/{names[0]}:8080/proxy/metrics")


def until(what: str, fact: Callable[[], object], seconds: float, pause: float = 0.5) -> float:
    """Polls until `fact()` is true; returns how long that took. Raises ClusterError when `seconds` are over."""
    began = time.monotonic()
    while not fact():
        if time.monotonic() - began > seconds:
            raise ClusterError(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)
    return time.monotonic() - began
