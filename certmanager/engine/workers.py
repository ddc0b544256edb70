"""The worker threads: take a key, reconcile it, and turn whatever came of it into the next step for that key.

The only place where errors become time: `NotYet` is a back-off, `Refused` a warning and a long pause, anything else a bug
that is reported and retried. One key's error never delays another's, because nobody sleeps here.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from certmanager.domain.errors import Conflict, NotYet, PodcertError, Refused
from certmanager.engine.backoff import Backoff
from certmanager.engine.clock import Clock
from certmanager.engine.intake import Intake
from certmanager.engine.keys import Key, PodKey, RevocationKey, RoleKey, WorkloadKey
from certmanager.engine.outcome import Outcome
from certmanager.engine.ports import Reporter
from certmanager.engine.reconcile_pod import PodReconciler
from certmanager.engine.reconcile_revocation import RevocationReconciler
from certmanager.engine.reconcile_role import RoleReconciler
from certmanager.engine.reconcile_workload import WorkloadReconciler

TELL_AFTER = 2
"""Failures in a row after which a pod's owner is told; a single one is usually over before anybody looks."""


KINDS: Final = {PodKey: "pod", RoleKey: "role", WorkloadKey: "workload", RevocationKey: "revocation"}
"""What the metrics call each kind of key."""


@dataclass(frozen=True, slots=True)
class Reconcilers:
    """What to do with each kind of key."""

    pods: PodReconciler
    roles: RoleReconciler
    workloads: WorkloadReconciler
    revocations: RevocationReconciler


class Workers:
    """A fixed number of threads on one queue.

    Args:
        intake: queue and store.
        reconcilers: what to do with each kind of key.
        reporter: where failures are told.
        clock: for durations.
    """

    def __init__(self, intake: Intake, reconcilers: Reconcilers, reporter: Reporter, clock: Clock) -> None:
        self._queue = intake.queue
        self._pods = reconcilers.pods
        self._reconcilers = reconcilers
        self._reporter = reporter
        self._clock = clock
        self._store = intake.store
        self._backoff = Backoff()
        self._failures: dict[Key, int] = {}
        self._refused: set[Key] = set()
        self._shared: set[Key] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._random: Callable[[], float] = random.random

    def start(self, count: int) -> None:
        """Starts `count` threads."""
        for index in range(count):
            thread = threading.Thread(target=self._loop, name=f"worker-{index}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, timeout: float) -> bool:
        """Stops taking keys and waits up to `timeout` seconds for those in hand; True if all of them ended."""
        self._queue.stop()
        deadline = self._clock.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._clock.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def alive(self) -> int:
        """Number of threads that run."""
        return sum(thread.is_alive() for thread in self._threads)

    def release(self) -> None:
        """A service that was away has answered, or knows us by another token: the keys that waited for it go at once."""
        with self._lock:
            keys, self._shared = self._shared, set()
        for key in keys:
            if isinstance(key, PodKey):
                self._pods.forgive(key)
            self._queue.add(key)

    def failing(self) -> Mapping[tuple[str, str], int]:
        """Number of keys whose last try failed, by kind of key and by what follows: `retried` or `refused`."""
        with self._lock:
            failed: list[tuple[Iterable[Key], str]] = [
                (list(self._failures), "retried"),
                (list(self._refused), "refused"),
            ]
        counts = dict.fromkeys(((kind, state) for kind in KINDS.values() for _, state in failed), 0)
        for keys, state in failed:
            for key in keys:
                counts[KINDS[type(key)], state] += 1
        return counts

    def step(self, timeout: float | None = None) -> bool:
        """Takes one key and works on it; False when there was none within `timeout` seconds."""
        key = self._queue.get(timeout)
        if key is None:
            return False
        started = self._clock.monotonic()
        try:
            reason = self._work(key)
        finally:
            self._queue.done(key)
        self._reporter.outcome(KINDS[type(key)], reason, self._clock.monotonic() - started)
        return True

    def _loop(self) -> None:
        while self.step():
            pass

    def _work(self, key: Key) -> str:
        try:
            outcome = self._reconcile(key)
        except NotYet as error:
            self._retry(key, error)
            return error.reason
        except PodcertError as error:
            with self._lock:
                self._failures.pop(key, None)
                self._refused.add(key)
                if isinstance(error, Refused) and error.shared:
                    self._shared.add(key)
            self._tell(key, error)
            self._queue.add(key, self._pods.refusal_seconds * (1 + 0.2 * self._random()))
            return error.reason
        except Exception as error:  # noqa: BLE001 - a bug in one key must not end the thread that serves all others
            self._reporter.bug(key, error)
            self._retry(key, NotYet("InternalError", f"unexpected {type(error).__name__}; see the manager's log"))
            return "InternalError"
        with self._lock:
            self._failures.pop(key, None)
            self._refused.discard(key)
            self._shared.discard(key)
        if outcome.again_in is not None:
            self._queue.add(key, outcome.again_in)
        return outcome.reason

    def _reconcile(self, key: Key) -> Outcome:
        match key:
            case PodKey():
                return self._pods.reconcile(key)
            case RoleKey():
                return self._reconcilers.roles.reconcile(key)
            case WorkloadKey():
                return self._reconcilers.workloads.reconcile(key)
            case RevocationKey():
                return self._reconcilers.revocations.reconcile(key)

    def _retry(self, key: Key, error: NotYet) -> None:
        with self._lock:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self._refused.discard(key)
            if error.shared:
                self._shared.add(key)
        remaining = self._pods.remaining(key) if isinstance(key, PodKey) else None
        delay = max(self._backoff.delay(failures, self._random(), remaining), error.retry_after or 0.0)
        # A conflict is two writers agreeing on who was first: nothing that an owner could do anything about.
        if failures >= TELL_AFTER and not isinstance(error, Conflict):
            self._tell(key, error)
        self._queue.add(key, delay)

    def _tell(self, key: Key, error: PodcertError) -> None:
        if isinstance(key, PodKey):
            pod = self._store.pod(key.namespace, key.name)
            if pod is not None:
                self._reporter.warning(pod, error.reason, error.message)
        elif isinstance(error, Refused):
            self._reporter.problem(_subject(key), error.reason, error.message)


def _subject(key: RoleKey | WorkloadKey | RevocationKey) -> str:
    match key:
        case RoleKey():
            return f"{key.namespace}/{key.service_account}"
        case WorkloadKey():
            return f"{key.namespace}/{key.kind}/{key.name}"
        case RevocationKey():
            return f"{key.namespace}/{key.name}"
