"""What metrics and alerts go by: renewals and replacements counted by result, what is held up, what is served and until when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from certmanager.domain.errors import NotYet, Refused
from certmanager.domain.model import Delivery
from certmanager.domain.rotation import CertificateFact, HeldRoll
from certmanager.engine.keys import WorkloadKey
from certmanager.engine.served import reloads
from tests.unit.domain.builders import deployment
from tests.unit.engine.bench import Engine
from tests.unit.engine.builders import pod, service
from tests.unit.engine.test_rotation import LIFE, Evicting, Rolled, replica, told

LABELS = {"app": "web", "podcert.io/enroll": "true"}


def raising(error: Exception) -> Callable[[], None]:
    """What Vault does until it is told otherwise."""

    def refuse() -> None:
        raise error

    return refuse


class Bare(Engine):
    """One pod without an owner, whose certificate of 90 s is renewed in its Secret."""

    def __init__(self, annotations: dict[str, str] | None = None, delivery: Delivery | None = None) -> None:
        super().__init__()
        self.maker.lifetime = LIFE
        self.intake.services.upsert(service())
        self.pod = pod(
            "bare", uid="0000beef-uid", labels=LABELS, annotations=annotations or {}, delivery=delivery or Delivery()
        )
        self.intake.pods.upsert(self.pod)
        self.run(0.4)

    @property
    def fact(self) -> CertificateFact:
        [found] = self.certificates()
        return found


def test_a_first_certificate_is_no_renewal() -> None:
    assert Bare().reporter.renewals == []


def test_a_renewal_in_place_is_counted_once() -> None:
    engine = Bare()
    engine.run(65)
    assert engine.reporter.renewals == ["renewed"]


def test_each_failed_try_of_a_renewal_is_counted_and_so_is_its_success() -> None:
    engine = Bare()
    engine.vault.errors = [NotYet("VaultSealed", "sealed"), NotYet("VaultSealed", "sealed")]
    engine.run(75)
    assert engine.reporter.renewals == ["failed", "failed", "renewed"]


def test_a_refused_renewal_is_counted_as_refused_and_once_as_long_as_nobody_is_asked_again() -> None:
    engine = Bare()
    engine.vault.errors = [Refused("VaultForbidden", "no")]
    engine.run(80)
    assert engine.reporter.renewals == ["refused"]


@pytest.mark.parametrize(
    ("error", "state"), [(NotYet("VaultSealed", "x"), "retried"), (Refused("VaultForbidden", "x"), "refused")]
)
def test_a_key_that_failed_is_counted_until_it_succeeds(error: Exception, state: str) -> None:
    engine = Bare()
    assert set(engine.workers.failing().values()) == {0}
    engine.vault.during = raising(error)
    engine.run(61)
    counted = {key: count for key, count in engine.workers.failing().items() if count}
    assert counted == {("pod", state): 1}
    engine.vault.during = lambda: None
    engine.run(400)
    assert set(engine.workers.failing().values()) == {0}


def test_the_time_of_the_renewal_stays_while_the_renewal_does_not_come() -> None:
    engine = Bare()
    planned = engine.fact.renewal
    engine.vault.during = raising(NotYet("VaultSealed", "sealed"))
    engine.run(80)
    assert engine.clock.now() > (planned or 0.0)
    assert engine.fact.renewal == planned


def test_a_pod_that_is_refused_meanwhile_keeps_the_time_of_its_renewal() -> None:
    engine = Bare()
    planned = engine.fact.renewal
    engine.intake.pods.upsert(replace(engine.pod, annotations={"ttl": "soon"}, resource_version=9))
    engine.run(1)
    assert engine.due("bare") is None
    assert engine.fact.renewal == planned


@pytest.mark.parametrize(
    ("text", "left"), [("20%", 0.2 * LIFE), ("40s", 40.0), ("nonsense", LIFE / 3)], ids=["part", "time", "invalid"]
)
def test_the_time_of_the_renewal_goes_by_the_pods_own_renew_before(text: str, left: float) -> None:
    engine = Bare()
    engine.intake.pods.upsert(replace(engine.pod, annotations={"renew-before": text}, resource_version=9))
    fact = engine.fact
    assert fact.renewal is not None
    waiting = LIFE - left
    assert waiting * 0.9 <= fact.renewal - (fact.not_after - LIFE) <= waiting + 1


def test_outdated_files_were_due_as_long_before_their_end_as_the_secrets_own_certificate_is() -> None:
    engine = Rolled(replicas=1, paused=True)
    [before] = engine.certificates()
    engine.run(85)
    [after] = engine.certificates()
    assert (before.outdated, after.outdated) == (False, True)
    assert after.not_before is None
    assert after.not_after == before.not_after
    assert after.renewal == pytest.approx(before.renewal, abs=2)


def test_only_pods_with_a_sidecar_are_told_to_reload_or_not() -> None:
    engine = Engine()
    quiet = Delivery(fetcher=True, sidecar=True)
    for name, delivery in (
        ("one-shot", Delivery(fetcher=True)),
        ("well", quiet),
        ("ill", replace(quiet, reload_problem="signal HUP: no process named nginx")),
    ):
        engine.intake.pods.upsert(pod(name, uid=f"{name}-uid", delivery=delivery))
    found = sorted(reloads(engine.intake.store))
    assert found == [("default", "ill", True), ("default", "well", False)]


def test_a_roll_is_started_once_and_completed_when_nothing_is_due_any_more() -> None:
    engine = Rolled()
    engine.run(65)
    assert engine.reporter.restarts == [("restart", "started")]
    engine.succeed()
    engine.run(2)
    assert engine.reporter.restarts == [("restart", "started"), ("restart", "completed")]


def test_a_paused_workload_is_held_up_counted_once_and_not_any_more_when_it_is_resumed() -> None:
    engine = Rolled(paused=True)
    engine.run(85)
    assert engine.reporter.restarts == [("restart", "blocked")]
    assert engine.workloads.progress.held_rolls() == [HeldRoll("default", "Deployment/web", "WorkloadPaused")]
    engine.set_workload(deployment(replicas=3))
    engine.run(16)
    engine.succeed()
    engine.run(6)
    assert engine.workloads.progress.held_rolls() == []
    assert engine.reporter.restarts[:2] == [("restart", "blocked"), ("restart", "started")]
    assert engine.reporter.restarts[-1] == ("restart", "completed")


def test_a_roll_that_does_not_end_is_stuck() -> None:
    engine = Rolled()
    engine.run(85)
    assert engine.reporter.restarts == [("restart", "started"), ("restart", "stuck")]
    assert engine.workloads.progress.held_rolls() == [HeldRoll("default", "Deployment/web", "RollStuck")]


def test_an_eviction_that_a_budget_forbids_is_blocked_until_it_is_allowed() -> None:
    engine = Evicting(replicas=1)
    engine.cluster.blocked = True
    engine.run(70)
    assert engine.reporter.restarts == [("evict", "blocked")]
    assert engine.workloads.progress.held_rolls() == [HeldRoll("default", "Deployment/web", "DisruptionBudget")]
    engine.cluster.blocked = False
    engine.run(6)
    assert engine.workloads.progress.held_rolls() == []
    assert engine.reporter.restarts == [("evict", "blocked"), ("evict", "started")]


def test_an_eviction_that_is_refused_for_good_holds_the_roll_up_and_the_pods_owner_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Evicting(replicas=1)

    def overlap(_pod: object) -> None:
        raise Refused("DisruptionBudgetsOverlap", "two budgets select the pod")

    monkeypatch.setattr(engine.cluster, "evict", overlap)
    engine.run(66)
    assert engine.workloads.progress.held_rolls() == [HeldRoll("default", "Deployment/web", "DisruptionBudgetsOverlap")]
    assert engine.reporter.restarts == [("evict", "blocked")]
    assert "DisruptionBudgetsOverlap" in told(engine)


def test_the_evictions_of_one_rotation_are_started_and_completed_once() -> None:
    engine = Evicting(replicas=2)
    engine.run(66)
    for index, old in enumerate(engine.members):
        engine.intake.pods.delete(old)
        engine.deliver(replica(7 + index, annotations={"rotation": "evict"}))
        engine.run(2)
    assert engine.reporter.restarts == [("evict", "started"), ("evict", "completed")]


def test_a_workload_that_is_gone_is_not_held_up() -> None:
    engine = Rolled(paused=True)
    engine.run(70)
    engine.cluster.workloads.clear()
    engine.intake.queue.add(WorkloadKey("default", "Deployment", "web"))
    engine.run(20)
    assert engine.workloads.progress.held_rolls() == []
