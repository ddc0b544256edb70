"""The producers of keys beside the watches: when each looks, and what it does when it cannot."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TypeVar

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
