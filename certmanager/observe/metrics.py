"""Prometheus metrics: what alerts and dashboards are made of.

Counters and histograms are moved by the reporter as things happen; everything that is a state (certificates, queue,
watches) is read from the engine's memory at the moment of a scrape, so that it cannot be wrong for longer than that.
Names and units follow https://prometheus.io/docs/practices/naming/; the expiration timestamp means what cert-manager's
`certmanager_certificate_expiration_timestamp_seconds` means, so that alerts port.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from certmanager.domain.rotation import CertificateFact

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of `Metrics.render` (Prometheus text format)."""

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PREFIX: Final = "podcert_certificate_"


def _no_certificates() -> Iterable[CertificateFact]:
    return ()


def _zero() -> float:
    return 0.0


def _nothing() -> Mapping[str, float]:
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
    """

    certificates: Callable[[], Iterable[CertificateFact]] = _no_certificates
    queue_depth: Callable[[], float] = _zero
    queue_oldest: Callable[[], float] = _zero
    watch_last_seen: Callable[[], Mapping[str, float]] = _nothing
    events_dropped: Callable[[], float] = _zero


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
        yield CounterMetricFamily(
            "podcert_events_dropped", "Normal Events that were not written.", value=sources.events_dropped()
        )

    def _certificates(self) -> Iterator[Metric]:
        labels = ["namespace", "pod", "workload"]
        end = GaugeMetricFamily(
            f"{_PREFIX}expiration_timestamp_seconds", "When the certificate that is served expires.", labels=labels
        )
        start = GaugeMetricFamily(f"{_PREFIX}not_before_timestamp_seconds", "When it becomes valid.", labels=labels)
        renewal = GaugeMetricFamily(f"{_PREFIX}renewal_timestamp_seconds", "When its renewal is due.", labels=labels)
        for fact in self.sources.certificates():
            values = [fact.namespace, fact.pod, fact.workload]
            end.add_metric(values, fact.not_after)
            start.add_metric(values, fact.not_before)
            if fact.renewal is not None:
                renewal.add_metric(values, fact.renewal)
        yield from (end, start, renewal)
