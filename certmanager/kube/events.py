"""Kubernetes Events: what `kubectl describe pod` tells the owner of a pod.

Called by the reporter from the workers; only memory is touched there, one thread of its own writes. Normal Events are
slow and may be dropped, so that a burst of pods is not held up by its own announcements. Warnings are never dropped: one
is kept for each pod and reason and written again, as the same Event with a higher count, when its message changes at once
and otherwise at most every half minute; an API server that is away only delays it.
Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from certmanager.domain.errors import AlreadyExists, NotFound, NotYet, PodcertError
from certmanager.domain.model import Pod
from certmanager.kube.client import MERGE_PATCH, METADATA_ONLY, Json, KubeClient, Options, namespaced
from certmanager.kube.event_object import cut, event_object

BUSY_SECONDS: Final = 0.25
"""Pause of the Normal Events while pods wait for their certificates."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EventLimits:
    """How much is written and remembered; times in seconds.

    Attributes:
        normals_waiting: Normal Events that wait; of more, the newest are dropped and counted.
        normals_per_second: pace at which they are written.
        repeat: a Warning whose message is unchanged is written again after this at the earliest.
        remember: a Warning that was written and did not come again is forgotten after this; the API server keeps Events
            for an hour by default.
        first_retry, longest_retry: pause while the API server is away.
    """

    normals_waiting: int = 1000
    normals_per_second: float = 20.0
    repeat: float = 30.0
    remember: float = 3600.0
    first_retry: float = 0.5
    longest_retry: float = 30.0


@dataclass(frozen=True, slots=True)
class Times:
    """Clocks, for tests: `wall` seconds since the epoch, `monotonic` seconds."""

    wall: Callable[[], float] = field(default=time.time)
    monotonic: Callable[[], float] = field(default=time.monotonic)


_Key = tuple[str, str]
"""(uid of the pod, reason)."""


@dataclass(slots=True)
class _Warning:
    """A Warning of one pod and reason, and how far it has been written."""

    pod: Pod
    reason: str
    message: str
    count: int
    first: float
    last: float
    written_count: int = 0
    name: str | None = None
    due: float = 0.0
    touched: float = 0.0


class EventRecorder:
    """Writes Events until stopped. `normal` and `warning` never block and never fail.

    Args:
        client: the API server.
        limits: pace and memory.
        times: clocks.
        busy: whether pods wait for their certificates; as long as they do, Normal Events stand back.
    """

    def __init__(
        self,
        client: KubeClient,
        limits: EventLimits | None = None,
        times: Times | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self.dropped = 0
        """Normal Events that were not written."""
        self._client = client
        self._limits = limits or EventLimits()
        self._times = times or Times()
        self._busy = busy
        self._wake = threading.Condition()
        self._stopped = False
        self._normals: deque[Json] = deque()
        self._warnings: OrderedDict[_Key, _Warning] = OrderedDict()
        self._due: list[tuple[float, _Key]] = []
        self._next_normal = 0.0
        self._away_until = 0.0
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Starts the writer."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Ends the writer; Warnings that are due are tried once more before, Normal Events are dropped."""
        with self._wake:
            self._stopped = True
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        """The writer's thread runs."""
        return self._thread.is_alive()

    def normal(self, pod: Pod, reason: str, message: str) -> None:
        """A Normal Event; dropped when too many wait."""
        now = self._times.wall()
        body = event_object(pod, ("Normal", reason, message), 1, (now, now))
        with self._wake:
            if self._stopped or len(self._normals) >= self._limits.normals_waiting:
                self.dropped += 1
                return
            self._normals.append(body)
            self._wake.notify()

    def warning(self, pod: Pod, reason: str, message: str) -> None:
        """A Warning Event, merged with those of the same pod and reason."""
        now, at = self._times.wall(), self._times.monotonic()
        message = cut(message)
        with self._wake:
            key = (pod.uid, reason)
            known = self._warnings.setdefault(key, _Warning(pod, reason, message, 0, now, now, due=at))
            was_written = _is_written(known)
            if known.message != message:
                known.message, known.due = message, at
                was_written = True
            known.pod, known.last, known.touched = pod, now, at
            known.count += 1
            self._warnings.move_to_end(key)
            if was_written:
                heapq.heappush(self._due, (known.due, key))
                self._wake.notify()

    def forget(self, pod_uid: str) -> None:
        """The pod is gone: its Warnings that are written already are not needed any more."""
        with self._wake:
            for key in [key for key, entry in self._warnings.items() if key[0] == pod_uid and _is_written(entry)]:
                del self._warnings[key]

    def _run(self) -> None:
        while True:
            with self._wake:
                work = self._next()
                while work is None and not self._stopped:
                    self._wake.wait(self._idle())
                    work = self._next()
                if work is None:
                    return
            try:
                if isinstance(work, _Warning):
                    self._write_warning(work)
                else:
                    self._post(work)
                self._failures = 0
            except NotYet as error:
                self._back_off(error)
                if self._stopped:
                    return
            except PodcertError as error:
                # No RBAC, or the namespace is gone. The log line that goes with every Event was written already.
                _log.warning("an Event was refused: %s", error.message)
            except Exception as error:  # noqa: BLE001 - a bug here must not silence the Warnings of all other pods
                _log.error("an Event could not be written: bug, %s", type(error).__name__)

    def _next(self) -> _Warning | Json | None:
        """What to write now, Warnings first. Called with the lock held."""
        now = self._times.monotonic()
        if now < self._away_until and not self._stopped:
            return None
        self._sweep(now)
        while self._due and (self._due[0][0] <= now or self._stopped):
            entry = self._warnings.get(heapq.heappop(self._due)[1])
            # Superseded by an earlier turn, or written since; when stopping, only what was never said is said.
            if entry is None or _is_written(entry) or (entry.due > now and entry.name is not None):
                continue
            return entry
        if self._normals and not self._stopped and now >= self._next_normal:
            if self._busy():
                self._next_normal = now + BUSY_SECONDS
                return None
            self._next_normal = now + 1.0 / self._limits.normals_per_second
            return self._normals.popleft()
        return None

    def _idle(self) -> float:
        """Seconds until something may be due. Called with the lock held."""
        now = self._times.monotonic()
        moments = [self._due[0][0]] if self._due else []
        if self._normals:
            moments.append(self._next_normal)
        return min(60.0, max(0.005, min(moments, default=now + 60.0) - now, self._away_until - now))

    def _sweep(self, now: float) -> None:
        """Forgets what was written long ago; the oldest come first. Called with the lock held."""
        while self._warnings:
            key, entry = next(iter(self._warnings.items()))
            if now - entry.touched < self._limits.remember or not _is_written(entry):
                return
            del self._warnings[key]

    def _write_warning(self, entry: _Warning) -> None:
        with self._wake:
            count, message, name = entry.count, entry.message, entry.name
            body = event_object(entry.pod, ("Warning", entry.reason, message), count, (entry.first, entry.last))
        try:
            if name is not None:
                name = self._repeat(entry.pod.namespace, name, body)
            if name is None:
                name = self._post(body)
        except NotYet:
            with self._wake:
                heapq.heappush(self._due, (entry.due, (entry.pod.uid, entry.reason)))
            raise
        except PodcertError:
            # Refused: the next time that the pod is warned it is tried again.
            self._settle(entry, name, (count, message))
            raise
        self._settle(entry, name, (count, message))

    def _settle(self, entry: _Warning, name: str | None, written: tuple[int, str]) -> None:
        """Notes what was written; when there is more by now, that has its turn later, or at once if it says more."""
        with self._wake:
            entry.name, entry.written_count = name, written[0]
            now = self._times.monotonic()
            entry.due = now if entry.message != written[1] else now + self._limits.repeat
            if not _is_written(entry):
                heapq.heappush(self._due, (entry.due, (entry.pod.uid, entry.reason)))

    def _repeat(self, namespace: str, name: str, body: Json) -> str | None:
        """Brings an Event up to date; None when the API server has forgotten it."""
        patch = {key: body[key] for key in ("count", "message", "lastTimestamp")}
        path = namespaced("api/v1", "events", namespace, name)
        try:
            self._client.request("PATCH", path, None, patch, Options(MERGE_PATCH, METADATA_ONLY))
        except NotFound:
            return None
        return name

    def _post(self, body: Json) -> str:
        """Creates the Event; returns its name."""
        name = str(body["metadata"]["name"])
        path = namespaced("api/v1", "events", body["metadata"]["namespace"])
        try:
            self._client.request("POST", path, None, body, Options(accept=METADATA_ONLY))
        except AlreadyExists:
            # Our own, whose answer was lost.
            return name
        return name

    def _back_off(self, error: NotYet) -> None:
        self._failures += 1
        limits = self._limits
        pause = min(limits.longest_retry, limits.first_retry * 2.0 ** min(self._failures - 1, 16))
        pause = max(pause * random.uniform(0.5, 1.0), error.retry_after or 0.0)  # noqa: S311 - jitter, not a secret
        self._away_until = self._times.monotonic() + pause


def _is_written(entry: _Warning) -> bool:
    return entry.written_count == entry.count
