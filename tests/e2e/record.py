"""Writes down, for as long as it runs, every certificate, pod and ReplicaSet of a namespace, and judges the rotation by them.

Each Secret is looked at several times a second, and no certificate is replaced sooner than after many seconds: none is missed.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any

from tests.cluster.running import LocalCluster

PERIOD = 0.4
NOTE = "podcert.io/"
ROUNDING = 1.5
"""Seconds: the API server's times and our annotations are whole ones."""
EARLIEST = 2 / 3 * 0.9
"""Part of the lifetime after which a certificate may be due at the earliest: two thirds, less the jitter."""
LATEST = 2 / 3


@dataclass(frozen=True)
class Issued:
    """One certificate: when it was issued, when it ends (epoch)."""

    serial: str
    issued: float
    end: float

    @property
    def earliest(self) -> float:
        """When its replacement may be due at the earliest."""
        return self.issued + (self.end - self.issued) * EARLIEST

    @property
    def latest(self) -> float:
        """When it is due at the latest."""
        return self.issued + (self.end - self.issued) * LATEST


@dataclass
class Life:
    """A pod: name, revision of its template, certificates in the order of their issue."""

    name: str
    application: str
    revision: str
    created: float
    certificates: list[Issued] = field(default_factory=list)
    last_seen: float = 0.0


class Record:
    """Runs in a thread of its own within a `with` block."""

    def __init__(self, cluster: LocalCluster, namespace: str) -> None:
        self._api = cluster.api
        self.namespace = namespace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.pods: dict[str, Life] = {}
        self.revisions: dict[str, float] = {}
        """Revision of a ReplicaSet (its pod-template-hash) to its creation."""

    def __enter__(self) -> Record:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(20)
        if error is None:
            self.look()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD):
            # An API server that is away on purpose is no reason to stop.
            with contextlib.suppress(OSError, KeyError, TypeError):
                self.look()

    def look(self) -> None:
        """Takes in what is there now."""
        for pod in self._items("/api/v1", "pods"):
            meta = pod["metadata"]
            labels = meta["labels"]
            revision = labels.get("pod-template-hash") or labels.get("controller-revision-hash", "")
            life = Life(meta["name"], labels.get("app", ""), revision, epoch(meta["creationTimestamp"]))
            self.pods.setdefault(meta["uid"], life).last_seen = time.time()
        for one in self._items("/apis/apps/v1", "replicasets"):
            self.revisions[one["metadata"]["labels"]["pod-template-hash"]] = epoch(one["metadata"]["creationTimestamp"])
        for secret in self._items("/api/v1", "secrets?labelSelector=podcert.io/managed%3Dtrue"):
            notes = secret["metadata"]["annotations"]
            life = self.pods.get(notes[NOTE + "pod-uid"]) or Life(notes[NOTE + "pod"], "", "", 0.0)
            serial = notes[NOTE + "serial"]
            if serial not in {one.serial for one in life.certificates}:
                made = Issued(serial, epoch(notes[NOTE + "issued-at"]), epoch(notes[NOTE + "not-after"]))
                life.certificates.append(made)

    def _items(self, group: str, what: str) -> list[dict[str, Any]]:
        status, answer = self._api.call("GET", f"{group}/namespaces/{self.namespace}/{what}")
        if status != 200:
            raise OSError(f"GET {what}: {status}")
        return list(answer["items"])

    def of(self, application: str) -> list[Life]:
        """The pods of an application (label `app`) that have a certificate, oldest first."""
        found = [life for life in self.pods.values() if life.application == application and life.certificates]
        return sorted(found, key=lambda life: life.created)

    def serials(self) -> set[str]:
        """Every certificate that was stored."""
        return {one.serial for life in self.pods.values() for one in life.certificates}

    def too_early(self) -> list[str]:
        """Certificates that were issued for a pod before its last one could be due."""
        found = []
        for life in self.pods.values():
            for before, after in zip(life.certificates, life.certificates[1:], strict=False):
                if after.issued < before.earliest - ROUNDING:
                    found.append(
                        f"{life.name} {after.serial} {after.issued - before.issued:.0f} s after the one before"
                    )
        return found

    def generations(self, application: str) -> list[tuple[str, list[Life]]]:
        """The revisions of a Deployment's template with their pods, in the order in which they came."""
        lives: dict[str, list[Life]] = {}
        for life in self.of(application):
            lives.setdefault(life.revision, []).append(life)
        return sorted(lives.items(), key=lambda entry: self.revisions.get(entry[0], entry[1][0].created))

    def revisions_of(self, application: str) -> list[str]:
        """The revisions of a Deployment's template."""
        return [revision for revision, _ in self.generations(application)]

    def rolled_early(self, application: str) -> list[str]:
        """Revisions that came before a certificate of the one before could be due: pods restarted twice for one rotation."""
        generations = self.generations(application)
        found = []
        for (_, lives), (revision, _) in itertools.pairwise(generations):
            due = min(life.certificates[0].earliest for life in lives)
            if self.revisions[revision] < due - ROUNDING:
                found.append(f"{revision} {due - self.revisions[revision]:.0f} s before it was due")
        return found

    def rotations(self, application: str, now: float) -> tuple[int, int]:
        """How many rotations of a Deployment were due until `now` at least, and at most (within the jitter's range)."""
        firsts = [min(life.certificates[0].earliest for life in lives) for _, lives in self.generations(application)]
        lasts = [min(life.certificates[0].latest for life in lives) for _, lives in self.generations(application)]
        return sum(due < now - ROUNDING for due in lasts), sum(due < now + ROUNDING for due in firsts)


def epoch(text: str) -> float:
    """Seconds since the epoch for a time of the API server's."""
    return datetime.fromisoformat(text).timestamp()
