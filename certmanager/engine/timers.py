"""Renewal times: APScheduler jobs that put a key on the queue when its certificate is due, and nothing else.

The jobs live in memory and are made anew from the Secrets at every start. A second net catches what a suspended machine
or a moved clock made late: `overdue` compares the wall clock with the times that were asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from certmanager.engine.keys import PodKey

HORIZON = 400 * 86400.0
"""Seconds; a certificate due later than this gets no job, the sweep alone finds it (dates after year 9999 cannot be jobs)."""


class Timers:
    """One date job per pod. Thread-safe.

    Args:
        fire: called with the key when its time has come, from the scheduler's thread; must not block.
    """

    def __init__(self, fire: Callable[[PodKey], None]) -> None:
        self._fire = fire
        self._lock = threading.Lock()
        self._due: dict[PodKey, float] = {}
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            # The default of one second drops a job that a busy machine runs late; a renewal must never be dropped.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    def start(self) -> None:
        """Starts the scheduler's thread."""
        self._scheduler.start()

    def stop(self) -> None:
        """Ends the scheduler's thread; times that were set are forgotten."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def set(self, key: PodKey, at: float, now: float) -> None:
        """`key` is due at `at` (seconds since the epoch). The same time again costs nothing."""
        with self._lock:
            if self._due.get(key) == at:
                return
            self._due[key] = at
        if at - now <= HORIZON:
            self._scheduler.add_job(
                self._run,
                DateTrigger(datetime.fromtimestamp(max(at, now), UTC)),
                args=(key,),
                id=f"{key.namespace}/{key.name}",
                replace_existing=True,
            )

    def cancel(self, key: PodKey) -> None:
        """`key` has no due time any more."""
        with self._lock:
            if self._due.pop(key, None) is None:
                return
        job = self._scheduler.get_job(f"{key.namespace}/{key.name}")
        if job is not None:
            job.remove()

    def due(self, key: PodKey) -> float | None:
        """When `key` is due (seconds since the epoch), or None."""
        return self._due.get(key)

    def overdue(self, now: float) -> list[PodKey]:
        """Keys whose time has passed and that are still set: late by a moved clock, or their renewal has not succeeded yet."""
        with self._lock:
            return [key for key, at in self._due.items() if at <= now]

    def _run(self, key: PodKey) -> None:
        self._fire(key)
