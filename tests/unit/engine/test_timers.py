"""Renewal times: which get a job, when it fires, and what is left to the sweep."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from certmanager.engine.keys import PodKey
from certmanager.engine.timers import SOON_SECONDS, Timers

WEB = PodKey("default", "web")


class Fired:
    """Collects keys; `wait` returns when one has come."""

    def __init__(self) -> None:
        self.keys: list[PodKey] = []
        self._came = threading.Event()

    def __call__(self, key: PodKey) -> None:
        self.keys.append(key)
        self._came.set()

    def wait(self) -> bool:
        return self._came.wait(30)


@pytest.fixture
def fired() -> Fired:
    return Fired()


@pytest.fixture
def timers(fired: Fired) -> Iterator[Timers]:
    made = Timers(fired)
    made.start()
    yield made
    made.stop()


def test_a_time_that_is_late_already_fires_at_once_and_once(timers: Timers, fired: Fired) -> None:
    now = time.time()
    timers.set(WEB, now - 3600, now)
    assert fired.wait()
    assert fired.keys == [WEB]


def test_a_time_that_was_set_before_the_start_is_not_lost(fired: Fired) -> None:
    made = Timers(fired)
    now = time.time()
    made.set(WEB, now - 10, now)
    made.start()
    try:
        assert fired.wait()
    finally:
        made.stop()


def test_a_new_time_replaces_the_old_one_and_a_cancelled_one_is_gone(timers: Timers, fired: Fired) -> None:
    now = time.time()
    timers.set(WEB, now + 3600, now)
    timers.set(WEB, now + 7200, now)
    assert timers.due(WEB) == now + 7200
    assert timers.overdue(now + 3700) == []
    timers.cancel(WEB)
    timers.cancel(WEB)
    assert timers.due(WEB) is None
    assert timers.overdue(now + 9999) == []
    assert fired.keys == []


def test_the_sweep_finds_what_a_moved_clock_made_late(timers: Timers) -> None:
    now = time.time()
    timers.set(WEB, now + 86400, now)
    assert timers.overdue(now) == []
    assert timers.overdue(now + 86400) == [WEB]


def test_a_certificate_of_ten_thousand_years_needs_no_job_and_crashes_nothing(timers: Timers) -> None:
    now = time.time()
    for at in (now + 400 * 86400, now + 9e12):
        timers.set(WEB, at, now)
        timers.plan(now)
        assert timers.due(WEB) == at
    assert timers.planned() == 0


def test_a_time_gets_its_job_when_it_is_near_and_not_before(timers: Timers, fired: Fired) -> None:
    soon = time.time() + 0.05
    timers.set(WEB, soon, soon - 86400)
    timers.plan(soon - SOON_SECONDS - 1)
    assert timers.planned() == 0
    timers.plan(soon - SOON_SECONDS)
    timers.plan(soon - SOON_SECONDS)
    assert fired.wait()
    assert fired.keys == [WEB]
    assert timers.planned() == 0


def test_a_time_that_is_near_loses_its_job_when_it_is_put_off(timers: Timers, fired: Fired) -> None:
    now = time.time()
    timers.set(WEB, now + SOON_SECONDS, now)
    assert timers.planned() == 1
    timers.set(WEB, now + 86400, now)
    assert timers.planned() == 0
    timers.set(WEB, now + SOON_SECONDS, now)
    timers.cancel(WEB)
    assert timers.planned() == 0
    assert fired.keys == []


def test_what_is_late_already_is_left_to_the_sweep(timers: Timers, fired: Fired) -> None:
    now = time.time()
    timers.set(WEB, now + 86400, now)
    timers.plan(now + 86400)
    assert timers.planned() == 0
    assert timers.overdue(now + 86400) == [WEB]
