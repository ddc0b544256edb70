"""What the servers and the kernel count: the API server's and OpenBao's own metrics, a process's memory and CPU.

Sources: https://kubernetes.io/docs/reference/instrumentation/metrics/ (`apiserver_request_total`),
https://openbao.org/docs/internals/telemetry/metrics/ (`vault_pki_sign`), proc_pid_stat(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
DELIVERY = frozenset({"secrets", "roles", "rolebindings"})
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Sample:
    """One line of the Prometheus text format."""

    name: str
    labels: dict[str, str]
    value: float


def samples(text: str, name: str) -> Iterator[Sample]:
    """The samples of one name."""
    for line in text.splitlines():
        if line.startswith(name) and (found := _SAMPLE.fullmatch(line)) and found[1] == name:
            yield Sample(name, dict(_LABEL.findall(found[2] or "")), float(found[3]))


def total(text: str, name: str, **labels: str) -> float:
    """The sum of the samples of one name that carry these labels; 0 without any."""
    return sum(one.value for one in samples(text, name) if labels.items() <= one.labels.items())


@dataclass(frozen=True)
class Writes:
    """Write requests that the API server has answered, whatever their status."""

    delivery: float
    """On Secrets, Roles and RoleBindings."""
    events: float

    def __sub__(self, before: Writes) -> Writes:
        return Writes(self.delivery - before.delivery, self.events - before.events)


def writes(text: str) -> Writes:
    """From the API server's metrics."""
    delivery = events = 0.0
    for one in samples(text, "apiserver_request_total"):
        if one.labels.get("verb") in WRITES:
            resource = one.labels.get("resource", "")
            delivery += one.value if resource in DELIVERY else 0.0
            events += one.value if resource == "events" else 0.0
    return Writes(delivery, events)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)
