"""The arithmetic of the benchmark and the shape of its results; nothing here measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `share` (0 < share <= 1) of all do not exceed.

    Raises:
        ValueError: no values, or a share that is none.
    """
    if not values or not 0 < share <= 1:
        raise ValueError(f"a percentile needs values and a share in (0, 1]: {len(values)} values, {share}")
    return sorted(values)[math.ceil(share * len(values)) - 1]


@dataclass(frozen=True)
class Round:
    """One burst and the two measurements of the ceiling around it; rates in enrolments a second.

    Attributes:
        ceiling_before, ceiling_after: of the plain load generator.
        enrollments: pods of the burst.
        seconds: from the first pod's POST to the last Secret.
        posting_seconds: until the last pod's POST was answered.
        delivery_writes: on Secrets, Roles and RoleBindings.
        signs: `pki/sign` calls that OpenBao counted.
        cpu_seconds: of the manager.
        readable_seconds: until the Roles named every Secret.
    """

    ceiling_before: float
    ceiling_after: float
    enrollments: int
    seconds: float
    posting_seconds: float
    delivery_writes: float
    signs: float
    cpu_seconds: float
    readable_seconds: float

    @property
    def rate(self) -> float:
        """Enrolments a second."""
        return self.enrollments / self.seconds

    @property
    def ceiling(self) -> float:
        """The mean of before and after: the machine may have changed meanwhile."""
        return (self.ceiling_before + self.ceiling_after) / 2

    @property
    def ratio(self) -> float:
        """Of the ceiling."""
        return self.rate / self.ceiling


@dataclass(frozen=True)
class Lone:
    """One pod that came alone; seconds from the moment before its POST."""

    secret: float
    readable: float


@dataclass(frozen=True)
class Fetch:
    """One run of the fetcher: seconds from its start to its end, and of CPU."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Measured:
    """Everything that was measured in one run."""

    rounds: Sequence[Round]
    lone: Sequence[Lone]
    fetches: Sequence[Fetch]
    rss_mib: float
    events: float
    """Event writes of the whole run."""
    enrollments: int
    """Enrolments of the whole run."""
    load: tuple[float, float]
    """The machine's load average over a minute, at the start and at the end of the run: who else was using it."""


@dataclass(frozen=True)
class Results:
    """What bench-results.json holds. Rates a second, times in milliseconds, memory in MiB."""

    ratio_to_ceiling: float
    enrollments_per_second: float
    ceiling_per_second: float
    api_writes_per_enrollment: float
    event_writes_per_enrollment: float
    vault_sign_per_enrollment: float
    latency_p50_ms: float
    latency_p99_ms: float
    readable_p99_ms: float
    rss_mib: float
    cpu_ms_per_enrollment: float
    fetcher_ms: float
    details: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Rounded to what means something."""
        fields = asdict(self)
        details = fields.pop("details")
        return {name: round(value, 3) for name, value in fields.items()} | {"details": details}


def results(measured: Measured) -> Results:
    """The median over the rounds of each ratio; the rates are those of the round with the median ratio."""
    middle = sorted(measured.rounds, key=lambda one: one.ratio)[(len(measured.rounds) - 1) // 2]
    secrets = [one.secret * 1000 for one in measured.lone]
    readable = [one.readable * 1000 for one in measured.lone]
    return Results(
        ratio_to_ceiling=middle.ratio,
        enrollments_per_second=middle.rate,
        ceiling_per_second=middle.ceiling,
        api_writes_per_enrollment=median(one.delivery_writes / one.enrollments for one in measured.rounds),
        event_writes_per_enrollment=measured.events / measured.enrollments,
        vault_sign_per_enrollment=median(one.signs / one.enrollments for one in measured.rounds),
        latency_p50_ms=percentile(secrets, 0.5),
        latency_p99_ms=percentile(secrets, 0.99),
        readable_p99_ms=percentile(readable, 0.99),
        rss_mib=measured.rss_mib,
        cpu_ms_per_enrollment=median(one.cpu_seconds * 1000 / one.enrollments for one in measured.rounds),
        fetcher_ms=median(one.seconds for one in measured.fetches) * 1000,
        details={
            "rounds": [asdict(one) | {"ratio": round(one.ratio, 3)} for one in measured.rounds],
            "fetcher_cpu_ms": round(median(one.cpu_seconds for one in measured.fetches) * 1000, 3),
            "load_average": [round(value, 1) for value in measured.load],
            "latency_max_ms": round(max(secrets), 3),
            "readable_p50_ms": round(percentile(readable, 0.5), 3),
        },
    )


@dataclass(frozen=True)
class Row:
    """One line of the table: `limit` is what design.md asks for, at most or at least; None when it asks for nothing."""

    label: str
    field: str
    unit: str
    limit: float | None = None
    at_least: bool = False

    def holds(self, value: float) -> bool | None:
        """Whether the value is within the limit; None without one."""
        if self.limit is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit


ROWS = (
    Row("burst: share of the ceiling", "ratio_to_ceiling", "", 0.3, at_least=True),
    Row("burst: enrolments", "enrollments_per_second", "/s"),
    Row("ceiling: one sign and one Secret", "ceiling_per_second", "/s"),
    Row("writes of Secrets, Roles, RoleBindings each", "api_writes_per_enrollment", "", 1.1),
    Row("writes of Events each", "event_writes_per_enrollment", ""),
    Row("calls of pki/sign each", "vault_sign_per_enrollment", "", 1.0),
    Row("lone pod: Secret written, median", "latency_p50_ms", "ms"),
    Row("lone pod: Secret written, p99", "latency_p99_ms", "ms", 50.0),
    Row("lone pod: readable by its own token, p99", "readable_p99_ms", "ms"),
    Row("manager: resident memory", "rss_mib", "MiB"),
    Row("manager: CPU each", "cpu_ms_per_enrollment", "ms"),
    Row("fetcher: from its start to its end, median", "fetcher_ms", "ms", 100.0),
)


def table(found: Results) -> str:
    """The results for people: figure, limit, verdict."""
    lines = []
    for row in ROWS:
        value = getattr(found, row.field)
        holds = row.holds(value)
        limit = "" if row.limit is None else f"{'at least' if row.at_least else 'at most'} {row.limit:g}"
        verdict = {None: "", True: "ok", False: "MISSED"}[holds]
        lines.append(f"  {row.label:<46}{value:>10.2f} {row.unit:<4} {limit:<14}{verdict}".rstrip())
    return "\n".join(lines)
