"""Many pods at rest: what a manager needs to take over pods that have their certificates already, and what it holds then.

`python -m tests.bench --pods-at-rest 10000`: one manager enrols them, ends, and a second one starts.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench import counters
from tests.bench.load import Task
from tests.bench.phases import Say, wait_until_readable
from tests.bench.place import Load, Manager, Place
from tests.bench.seen import Watcher
from tests.cluster.paths import ClusterError

PODS_PER_ACCOUNT = 500
ENROL_SECONDS_PER_POD = 0.2
ADOPT_SECONDS = 300.0
QUIET_SECONDS = 10.0
REST_SECONDS = 0.3


@dataclass(frozen=True)
class AtRest:
    """What the second manager did.

    Attributes:
        pods: enrolled before it started.
        adopted_seconds: from the start of its process until it was idle and every certificate had its renewal time.
        rss_mib: its resident memory, `QUIET_SECONDS` after that.
        cpu_seconds: its CPU time until then, the start of the process included.
        writes: on Secrets, Roles and RoleBindings, until then.
        events: Event writes until then.
        signs: calls of `sign` and `issue` until then.
    """

    pods: int
    adopted_seconds: float
    rss_mib: float
    cpu_seconds: float
    writes: float
    events: float
    signs: float

    def as_json(self) -> dict[str, Any]:
        """Rounded to what means something."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def at_rest(where: Place, count: int, say: Say) -> AtRest:
    """Enrols `count` pods, restarts the manager, and measures."""
    namespace = "rest"
    accounts = where.namespace(namespace, -(-count // PODS_PER_ACCOUNT))
    with Manager(where, []), Watcher(where.api) as watcher:
        with Load(Task("pods", where.api, None, namespace, count, accounts=accounts)) as load:
            load.go()
            watcher.wait_for_count(count, 60 + count * ENROL_SECONDS_PER_POD)
            load.report()
        wait_until_readable(where, namespace, count)
    say(f"{count} pods are enrolled; a new manager starts")
    writes, signs = where.writes(), where.signs()
    with Manager(where, []) as manager:
        adopted = _wait_until_adopted(manager, count)
        time.sleep(QUIET_SECONDS)
        written = where.writes() - writes
        return AtRest(
            pods=count,
            adopted_seconds=adopted - manager.started,
            rss_mib=counters.rss_mib(manager.pid),
            cpu_seconds=counters.cpu_seconds(manager.pid),
            writes=written.delivery,
            events=written.events,
            signs=where.signs() - signs,
        )


def _wait_until_adopted(manager: Manager, count: int) -> float:
    """The moment from which the manager had no more work, and its metrics showed every certificate.

    The metrics are asked for only when it has come to rest: to write those of 10,000 pods takes it a part of a second.
    """
    end = time.monotonic() + ADOPT_SECONDS
    planned = 0
    while time.monotonic() < end:
        began, cpu = time.monotonic(), counters.cpu_seconds(manager.pid)
        time.sleep(REST_SECONDS)
        if counters.cpu_seconds(manager.pid) - cpu > REST_SECONDS / 10:
            continue
        planned = sum(1 for _ in counters.samples(manager.metrics(), "podcert_certificate_renewal_timestamp_seconds"))
        if planned >= count:
            return began
    raise ClusterError(f"{planned} of {count} certificates adopted within {ADOPT_SECONDS:.0f} s")


def table(found: AtRest) -> str:
    """The figures for people."""
    rows = [
        (f"{found.pods} pods adopted after", found.adopted_seconds, "s", 10.0),
        ("resident memory", found.rss_mib, "MiB", 150.0),
        ("CPU until then", found.cpu_seconds, "s", None),
        ("writes of Secrets, Roles, RoleBindings", found.writes, "", 0.0),
        ("writes of Events", found.events, "", None),
        ("calls of sign and issue", found.signs, "", 0.0),
    ]
    lines = []
    for label, value, unit, limit in rows:
        verdict = "" if limit is None else f"at most {limit:<7g}{'ok' if value <= limit else 'MISSED'}"
        lines.append(f"  {label:<42}{value:>10.2f} {unit:<4} {verdict}".rstrip())
    return "\n".join(lines)
