"""How the replacement of each workload's pods goes: started, completed, stuck or blocked, for metrics and alerts.

Beside the one path: the workload's reconciler tells it of each step, it tells the reporter of each change. In memory only:
what is held up is found again after a restart, by looking at it; a roll that was started before is not counted as completed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from certmanager.domain.model import Rotation
from certmanager.domain.rotation import HeldRoll
from certmanager.engine.keys import WorkloadKey
from certmanager.engine.ports import Reporter

STUCK: Final = "RollStuck"
"""The reason of a roll that was begun and does not end; any other one is blocked before it begins."""

AGAIN_SECONDS: Final = 60.0
"""How often a thing that holds a workload up is told, for as long as it is the same. It is looked at more often than that."""


class Progress:
    """Thread-safe.

    Args:
        reporter: where changes are counted.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._lock = threading.Lock()
        self._under_way: dict[WorkloadKey, Rotation] = {}
        self._held: dict[WorkloadKey, str] = {}
        self._seen: dict[WorkloadKey, tuple[str | None, float]] = {}
        self._told: dict[WorkloadKey, tuple[str, frozenset[str], float]] = {}

    def rolling_for(self, key: WorkloadKey, restarted_for: str | None, now: float) -> float:
        """Seconds (of the monotonic clock, whose time is `now`) since the roll for that revision was seen first."""
        with self._lock:
            seen = self._seen.get(key)
            if seen is None or seen[0] != restarted_for:
                seen = self._seen[key] = (restarted_for, now)
        return now - seen[1]

    def tells(self, key: WorkloadKey, reason: str, pods: Iterable[str], now: float) -> bool:
        """The owners of these pods are to be told: it is another reason, other pods, or a minute ago (monotonic `now`)."""
        names = frozenset(pods)
        with self._lock:
            told = self._told.get(key)
            if told is not None and told[:2] == (reason, names) and now - told[2] < AGAIN_SECONDS:
                return False
            self._told[key] = (reason, names, now)
        return True

    def started(self, key: WorkloadKey, strategy: Rotation) -> None:
        """A roll was ordered, or a pod evicted; of the evictions of one rotation only the first is counted."""
        with self._lock:
            self._held.pop(key, None)
            again = strategy is Rotation.EVICT and self._under_way.get(key) is strategy
            self._under_way[key] = strategy
        if not again:
            self._reporter.restarted(strategy, "started")

    def moves(self, key: WorkloadKey) -> None:
        """It is on its way, or waits its turn: nothing holds it up."""
        with self._lock:
            self._held.pop(key, None)

    def held(self, key: WorkloadKey, strategy: Rotation, reason: str) -> None:
        """Something holds it up; counted once for as long as it is the same."""
        with self._lock:
            before = self._held.get(key)
            self._held[key] = reason
        if before != reason:
            self._reporter.restarted(strategy, "stuck" if reason == STUCK else "blocked")

    def done(self, key: WorkloadKey) -> None:
        """Nothing is due any more."""
        with self._lock:
            self._held.pop(key, None)
            self._seen.pop(key, None)
            self._told.pop(key, None)
            strategy = self._under_way.pop(key, None)
        if strategy is not None:
            self._reporter.restarted(strategy, "completed")

    def forget(self, key: WorkloadKey) -> None:
        """The workload is gone."""
        with self._lock:
            self._held.pop(key, None)
            self._seen.pop(key, None)
            self._told.pop(key, None)
            self._under_way.pop(key, None)

    def held_rolls(self) -> list[HeldRoll]:
        """What is held up now."""
        with self._lock:
            held = list(self._held.items())
        return [HeldRoll(key.namespace, f"{key.kind}/{key.name}", reason) for key, reason in held]
