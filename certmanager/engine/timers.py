"""Renewal times: APScheduler jobs that put a key on the queue when its certificate is due, and nothing else.

Only what is due soon has a job; the sweep (`producers`) lets `plan` make the others when their time comes near. A job for
every certificate on the day of its issue was 15 % of the work of a burst, and 7 MB for 10,000. All of it lives in memory and
is made anew from the Secrets at every start. A second net catches what a suspended machine or a moved clock made late:
`overdue` compares the wall clock with the times that were asked for.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from certmanager.engine.keys import PodKey

SOON_SECONDS = 60.0
"""What is due within this has a job; several sweeps long, so that a late sweep makes no renewal late."""


class Timers:
    """One time per pod, and a date job when it is near. Thread-safe.

    Args:
        fire: called with the key when its time has come, from the scheduler's thread; must not block.
    """

    def __init__(self, fire: Callable[[PodKey], None]) -> None:
        self._fire = fire
        self._lock = threading.Lock()
        self._due: dict[PodKey, float] = {}
        self._stopped = False
        self._jobs: set[PodKey] = set()
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
        with self._lock:
            self._stopped = True
        if self._scheduler.running:
            # Taking the jobs away waits for the scheduler's thread to finish its round: shut down in the middle of one, it
            # dies of a JobLookupError (APScheduler 3.11).
            self._scheduler.remove_all_jobs()
            self._scheduler.shutdown(wait=False)

    def set(self, key: PodKey, at: float, now: float) -> None:
        """`key` is due at `at` (seconds since the epoch). The same time again costs nothing."""
        with self._lock:
            if self._stopped or self._due.get(key) == at:
                return
            self._due[key] = at
            self._remove_job(key)
            if at - now <= SOON_SECONDS:
                self._add_job(key, max(at, now))

    def plan(self, now: float) -> None:
        """Makes the jobs of what is due soon; what is late already is `overdue`'s."""
        with self._lock:
            for key, at in self._due.items():
                if now < at <= now + SOON_SECONDS and key not in self._jobs:
                    self._add_job(key, at)

    def planned(self) -> int:
        """Number of jobs."""
        with self._lock:
            return len(self._jobs)

    def cancel(self, key: PodKey) -> None:
        """`key` has no due time any more."""
        with self._lock:
            if self._due.pop(key, None) is not None:
                self._remove_job(key)

    def due(self, key: PodKey) -> float | None:
        """When `key` is due (seconds since the epoch), or None."""
        return self._due.get(key)

    def overdue(self, now: float) -> list[PodKey]:
        """Keys whose time has passed and that are still set: late by a moved clock, or their renewal has not succeeded yet."""
        with self._lock:
            return [key for key, at in self._due.items() if at <= now]

    def _add_job(self, key: PodKey, at: float) -> None:
        self._jobs.add(key)
        moment = DateTrigger(datetime.fromtimestamp(at, UTC))
        self._scheduler.add_job(self._run, moment, args=(key,), id=_name(key), replace_existing=True)

    def _remove_job(self, key: PodKey) -> None:
        if key in self._jobs:
            self._jobs.discard(key)
            with contextlib.suppress(JobLookupError):  # it is about to fire: one look at the pod too many, and no harm
                self._scheduler.remove_job(_name(key))

    def _run(self, key: PodKey) -> None:
        with self._lock:
            self._jobs.discard(key)
        self._fire(key)


def _name(key: PodKey) -> str:
    return f"{key.namespace}/{key.name}"
