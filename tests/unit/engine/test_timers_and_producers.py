"""Renewal times, and the producers of keys beside the watches."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import TypeVar

import pytest

from certmanager.domain.errors import NotYet
from certmanager.domain.trust import Trust
from certmanager.engine.intake import Intake
from certmanager.engine.keys import Key, PodKey, RoleKey
from certmanager.engine.producers import (
    POLICY_SECONDS,
    RESYNC_SECONDS,
    RETRY_SECONDS,
    SWEEP_SECONDS,
    Cas,
    Producers,
    Sources,
)
from certmanager.engine.queue import WorkQueue
from certmanager.engine.store import Store
from certmanager.engine.timers import SOON_SECONDS, Timers
from tests.unit.engine.builders import pod
from tests.unit.engine.fakes import FakeClock, FakeReporter, FakeVault

WEB = PodKey("default", "web")
CA_SECONDS = 60.0

_Answer = TypeVar("_Answer")


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


class Authority(FakeVault):
    """Answers as the bench says."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench

    def trust(self, mount: str, max_age: float = inf) -> Trust:
        assert max_age == 0
        return self.bench.ask(mount, self.bench.trust[mount])

    def trust_problem(self, mount: str) -> tuple[str, str] | None:
        return self.bench.problem


class Bench:
    """Producers on a moved clock, with sources that can fail."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.queue = WorkQueue[Key](self.clock.monotonic)
        self.intake = Intake(Store(), self.queue, self.clock)
        self.timers = Timers(lambda key: None)
        self.reporter = FakeReporter()
        self.roles: list[tuple[str, str]] = [("default", "old")]
        self.failing = False
        self.away: set[str] = set()
        self.problem: tuple[str, str] | None = None
        self.mounts = ["pki"]
        self.trust = {name: Trust((name,), frozenset({name})) for name in ("pki", "pki2")}
        self.calls: list[str] = []
        self.another_policy = False
        cas = Cas(lambda: self.mounts, Authority(self), CA_SECONDS)
        sources = Sources(roles=self._roles, cas=cas, policy=lambda: self.another_policy)
        self.producers = Producers(self.intake, self.timers, sources, self.reporter, self.clock)

    def sync(self) -> None:
        self.intake.pods.replace([pod()], 10)
        self.intake.services.replace([], 10)
        self.intake.secrets.replace([], 10)

    def taken(self) -> set[Key]:
        found: set[Key] = set()
        while (key := self.queue.get(0)) is not None:
            found.add(key)
            self.queue.done(key)
        return found

    def _roles(self) -> list[tuple[str, str]]:
        return self.ask("roles", self.roles)

    def ask(self, what: str, answer: _Answer) -> _Answer:
        self.calls.append(what)
        if self.failing or what in self.away:
            raise NotYet("Away", "away")
        return answer


def test_before_the_lists_are_complete_only_the_cas_are_read_and_nothing_is_queued() -> None:
    bench = Bench()
    bench.producers.step()
    assert bench.calls == ["pki"]
    assert bench.taken() == set()


def test_cas_that_were_known_before_the_lists_cause_no_second_look() -> None:
    bench = Bench()
    bench.producers.step()
    bench.sync()
    bench.taken()
    bench.producers.step()
    assert WEB not in bench.taken()


def test_every_pod_is_looked_at_again_after_minutes() -> None:
    bench = Bench()
    bench.sync()
    bench.producers.step()
    bench.taken()
    bench.clock.advance(RESYNC_SECONDS)
    bench.producers.step()
    assert WEB in bench.taken()
    bench.clock.advance(RESYNC_SECONDS - 1)
    bench.producers.step()
    assert WEB not in bench.taken()


def test_a_role_that_nobody_owns_any_more_is_looked_at() -> None:
    bench = Bench()
    bench.sync()
    bench.taken()
    bench.producers.step()
    assert RoleKey("default", "old") in bench.taken()


def test_newly_read_cas_have_every_pod_looked_at() -> None:
    bench = Bench()
    bench.sync()
    bench.taken()
    bench.producers.step()
    assert WEB in bench.taken()


def test_a_ca_that_changes_has_every_pod_looked_at_once_within_the_time_that_is_set() -> None:
    bench = Bench()
    bench.sync()
    bench.producers.step()
    bench.taken()
    bench.trust["pki"] = replace(bench.trust["pki"], closing=frozenset({"pki"}))
    bench.clock.advance(CA_SECONDS - 1)
    bench.producers.step()
    assert WEB not in bench.taken()
    bench.clock.advance(1)
    bench.producers.step()
    assert WEB in bench.taken()
    bench.clock.advance(CA_SECONDS)
    bench.producers.step()
    assert WEB not in bench.taken()


def test_a_mount_that_cannot_be_read_changes_nothing_and_hides_no_other() -> None:
    bench = Bench()
    bench.mounts = ["pki", "pki2"]
    bench.sync()
    bench.producers.step()
    bench.taken()
    bench.away = {"pki"}
    bench.clock.advance(CA_SECONDS)
    bench.producers.step()
    assert WEB not in bench.taken()
    bench.trust["pki2"] = Trust()
    bench.clock.advance(RETRY_SECONDS)
    bench.producers.step()
    assert WEB in bench.taken()


def test_what_cannot_be_read_of_the_cas_is_told_once() -> None:
    bench = Bench()
    bench.problem = ("IssuersForbidden", "add a right")
    for _ in range(3):
        bench.producers.step()
        bench.clock.advance(CA_SECONDS)
    assert bench.reporter.problems == [("pki", "IssuersForbidden")]
    for bench.problem in (None, ("IssuersForbidden", "add a right")):
        bench.producers.step()
        bench.clock.advance(CA_SECONDS)
    assert len(bench.reporter.problems) == 2


def test_another_policy_has_every_pod_looked_at() -> None:
    bench = Bench()
    bench.sync()
    bench.producers.step()
    bench.taken()
    bench.clock.advance(POLICY_SECONDS)
    bench.producers.step()
    assert WEB not in bench.taken()
    bench.another_policy = True
    bench.clock.advance(POLICY_SECONDS)
    bench.producers.step()
    assert WEB in bench.taken()


def test_sources_that_fail_are_asked_again_soon_and_those_that_answer_after_minutes() -> None:
    bench = Bench()
    bench.sync()
    bench.failing = True
    bench.producers.step()
    bench.clock.advance(RETRY_SECONDS)
    bench.failing = False
    bench.producers.step()
    assert bench.calls == ["pki", "roles"] * 2
    bench.clock.advance(RETRY_SECONDS)
    bench.producers.step()
    assert bench.calls == ["pki", "roles"] * 2
    bench.clock.advance(CA_SECONDS)
    bench.producers.step()
    assert bench.calls == [*["pki", "roles"] * 2, "pki"]
    bench.clock.advance(RESYNC_SECONDS)
    bench.producers.step()
    assert bench.calls == [*["pki", "roles"] * 2, "pki", "pki", "roles"]


def test_the_sweep_makes_the_jobs_of_what_has_come_near() -> None:
    bench = Bench()
    bench.sync()
    bench.timers.set(WEB, bench.clock.now() + 86400, bench.clock.now())
    bench.producers.step()
    assert bench.timers.planned() == 0
    bench.clock.jump(86400 - SOON_SECONDS)
    bench.clock.advance(SWEEP_SECONDS)
    bench.producers.step()
    assert bench.timers.planned() == 1


def test_an_overdue_renewal_is_swept_up_when_the_wall_clock_jumps() -> None:
    bench = Bench()
    bench.sync()
    bench.timers.set(WEB, bench.clock.now() + 86400, bench.clock.now())
    bench.producers.step()
    bench.taken()
    bench.clock.jump(86400)
    bench.clock.advance(SWEEP_SECONDS)
    bench.producers.step()
    assert WEB in bench.taken()
