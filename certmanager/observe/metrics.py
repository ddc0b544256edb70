"""Prometheus metrics: what alerts and dashboards are made of.

Counters and histograms are moved by the reporter as things happen; everything that is a state (certificates, queue,
watches) is read from the engine's memory at the moment of a scrape, so that it cannot be wrong for longer than that.
Names and units follow https://prometheus.io/docs/practices/naming/; the expiration timestamp means what cert-manager's
`certmanager_certificate_expiration_timestamp_seconds` means, so that alerts port.
"""

from __future__ import annotations

from collections import Counter as TallyOf
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from certmanager.domain.model import Rotation
from certmanager.domain.rotation import CertificateFact, HeldRoll
from certmanager.domain.trust import short

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of `Metrics.render` (Prometheus text format)."""

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PREFIX: Final = "podcert_certificate_"

RENEWALS: Final = ("renewed", "failed", "refused")
"""Results of a renewal in place. All results are there from the start: `increase` does not see a series' first value."""
RESTARTS: Final = ("started", "completed", "stuck", "blocked")
"""Results of a replacement of a workload's pods."""
REVOCATIONS: Final = ("revoked", "failed", "refused", "skipped", "unproven", "dropped")
"""Results of a revocation."""
_STRATEGIES: Final = (Rotation.RESTART, Rotation.EVICT)


def _no_certificates() -> Iterable[CertificateFact]:
    return ()


def _zero() -> float:
    return 0.0


def _nothing() -> Mapping[str, float]:
    return {}


def _no_reloads() -> Iterable[tuple[str, str, bool]]:
    return ()


def _no_rolls() -> Iterable[HeldRoll]:
    return ()


def _yes() -> bool:
    return True


def _no_keys() -> Mapping[tuple[str, str], int]:
    return {}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where states are read from at a scrape; each is called from the scrape's thread and must not block.

    Attributes:
        certificates: all that are served.
        queue_depth: keys that wait.
        queue_oldest: seconds for which the oldest of them has waited, 0 without one.
        watch_last_seen: seconds since the epoch of each resource's last event.
        events_dropped: Normal Events that were not written, since the start.
        reloads: namespace and name of each pod with a sidecar, and whether its reload fails.
        held_rolls: workloads whose pods should be replaced and are not.
        rolling: workloads that are being rolled.
        policy_valid: False while the policy file is wrong and the last good policy stays in force.
        failing: number of keys whose last try failed, by kind of key and by what follows (`retried`, `refused`).
    """

    certificates: Callable[[], Iterable[CertificateFact]] = _no_certificates
    queue_depth: Callable[[], float] = _zero
    queue_oldest: Callable[[], float] = _zero
    watch_last_seen: Callable[[], Mapping[str, float]] = _nothing
    events_dropped: Callable[[], float] = _zero
    reloads: Callable[[], Iterable[tuple[str, str, bool]]] = _no_reloads
    held_rolls: Callable[[], Iterable[HeldRoll]] = _no_rolls
    rolling: Callable[[], float] = _zero
    failing: Callable[[], Mapping[tuple[str, str], int]] = _no_keys
    policy_valid: Callable[[], bool] = _yes


class Metrics:
    """All metrics, in a registry of their own.

    Args:
        version: of Podcert, for `podcert_build_info`.
        sources: states; more may be set later with `read_from`, when the engine exists.
    """

    def __init__(self, version: str, sources: Sources | None = None) -> None:
        self.registry = CollectorRegistry()
        self._states = _States(sources or Sources())
        self.registry.register(self._states)
        self._reconciles = self._counter("podcert_reconcile_total", "Reconciles that ended.", ("kind", "reason"))
        self._reconcile_seconds = self._histogram(
            "podcert_reconcile_duration_seconds", "Duration of one reconcile.", ("kind",)
        )
        self._issuance_seconds = self._histogram(
            "podcert_issuance_duration_seconds", "From a pod's creation to its Secret, for new pods.", ()
        )
        self._vault = self._counter("podcert_vault_requests_total", "Requests to Vault.", ("operation", "status"))
        self._renewals = self._counter(
            "podcert_renewals_total", "Renewals of a certificate in its Secret.", ("result",)
        )
        self._restarts = self._counter(
            "podcert_restarts_total", "Replacements of a workload's pods.", ("strategy", "result")
        )
        self._revocations = self._counter("podcert_revocations_total", "Certificates to be revoked.", ("result",))
        for result in RENEWALS:
            self._renewals.labels(result)
        for result in REVOCATIONS:
            self._revocations.labels(result)
        for strategy in _STRATEGIES:
            for result in RESTARTS:
                self._restarts.labels(strategy.value, result)
        self._bugs = self._counter("podcert_bugs_total", "Unexpected errors; each has a line in the log.", ("type",))
        build = Gauge("podcert_build_info", "Always 1.", ("version",), registry=self.registry)
        build.labels(version).set(1)

    def read_from(self, sources: Sources) -> None:
        """Sets where states are read from."""
        self._states.sources = sources

    def reconciled(self, kind: str, reason: str, seconds: float) -> None:
        """One reconcile ended."""
        self._reconciles.labels(kind, reason).inc()
        self._reconcile_seconds.labels(kind).observe(seconds)

    def issued(self, seconds: float) -> None:
        """A new pod has its Secret, so many seconds after its creation."""
        self._issuance_seconds.observe(seconds)

    def vault_request(self, operation: str, status: str) -> None:
        """One request to Vault: `sign`, `issue`, `login`, …, and its HTTP status, or `unreachable`."""
        self._vault.labels(operation, status).inc()

    def renewed(self, result: str) -> None:
        """A certificate was to be replaced in its Secret; one of `RENEWALS`."""
        self._renewals.labels(result).inc()

    def restarted(self, strategy: str, result: str) -> None:
        """A workload's pods are to be replaced, by `restart` or `evict`; one of `RESTARTS`."""
        self._restarts.labels(strategy, result).inc()

    def revoked(self, result: str) -> None:
        """A certificate was to be revoked; one of `REVOCATIONS`."""
        self._revocations.labels(result).inc()

    def bug(self, kind: str) -> None:
        """An unexpected error of this type."""
        self._bugs.labels(kind).inc()

    def render(self) -> bytes:
        """The Prometheus text format, for `/metrics`."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...]) -> Histogram:
        return Histogram(name, text, labels, buckets=_SECONDS, registry=self.registry)


@dataclass(eq=False)
class _States(Collector):
    """Reads the states when a scrape asks."""

    sources: Sources = field(default_factory=Sources)

    def collect(self) -> Iterator[Metric]:
        yield from self._certificates()
        yield from self._rotation()
        sources = self.sources
        yield GaugeMetricFamily("podcert_queue_depth", "Keys that wait for a worker.", value=sources.queue_depth())
        yield GaugeMetricFamily(
            "podcert_queue_oldest_seconds", "How long the oldest of them has waited.", value=sources.queue_oldest()
        )
        seen = GaugeMetricFamily(
            "podcert_watch_last_event_timestamp_seconds",
            "When the watch last heard anything; bookmarks come about every minute.",
            labels=["resource"],
        )
        for resource, moment in sources.watch_last_seen().items():
            seen.add_metric([resource], moment)
        yield seen
        yield GaugeMetricFamily(
            "podcert_policy_valid",
            "0: the policy file is wrong, and the last good policy stays in force.",
            value=float(sources.policy_valid()),
        )
        yield CounterMetricFamily(
            "podcert_events_dropped", "Normal Events that were not written.", value=sources.events_dropped()
        )

    def _certificates(self) -> Iterator[Metric]:
        labels = ["namespace", "pod", "workload"]
        end = GaugeMetricFamily(
            f"{_PREFIX}expiration_timestamp_seconds", "When the certificate that is served expires.", labels=labels
        )
        start = GaugeMetricFamily(f"{_PREFIX}not_before_timestamp_seconds", "When it becomes valid.", labels=labels)
        renewal = GaugeMetricFamily(
            f"{_PREFIX}renewal_timestamp_seconds", "When it is, or was, to be replaced.", labels=labels
        )
        outdated = GaugeMetricFamily(
            f"{_PREFIX}files_outdated", "1: the pod's files hold an older certificate than its Secret.", labels=labels
        )
        by_issuer: TallyOf[tuple[str, str]] = TallyOf()
        for fact in self.sources.certificates():
            by_issuer[fact.mount, "" if fact.issuer is None else short(fact.issuer)] += 1
            values = [fact.namespace, fact.pod, fact.workload]
            end.add_metric(values, fact.not_after)
            if fact.not_before is not None:
                start.add_metric(values, fact.not_before)
            if fact.renewal is not None:
                renewal.add_metric(values, fact.renewal)
            if fact.outdated:
                outdated.add_metric(values, 1.0)
        count = GaugeMetricFamily("podcert_certificates", "Certificates that are served.", labels=["mount", "issuer"])
        for found, number in sorted(by_issuer.items()):
            count.add_metric(list(found), number)
        yield from (end, start, renewal, outdated, count)

    def _rotation(self) -> Iterator[Metric]:
        sources = self.sources
        reload = GaugeMetricFamily(
            "podcert_reload_failing", "1: the sidecar cannot make the application reload.", labels=["namespace", "pod"]
        )
        for namespace, pod, fails in sources.reloads():
            reload.add_metric([namespace, pod], float(fails))
        held = GaugeMetricFamily(
            "podcert_roll_held", "1: pods should be replaced and are not.", labels=["namespace", "workload", "reason"]
        )
        for roll in sources.held_rolls():
            held.add_metric([roll.namespace, roll.workload, roll.reason], 1.0)
        failing = GaugeMetricFamily("podcert_failing_keys", "Keys whose last try failed.", labels=["kind", "state"])
        for (kind, state), count in sources.failing().items():
            failing.add_metric([kind, state], count)
        rolling = GaugeMetricFamily(
            "podcert_rolling_workloads", "Workloads whose pods are being replaced.", value=sources.rolling()
        )
        yield from (reload, held, failing, rolling)
