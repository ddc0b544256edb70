"""Rolls that do not end: when they count as stuck, and that nothing of them leads to another roll."""

from __future__ import annotations

from tests.unit.domain.builders import deployment
from tests.unit.engine.test_rotation import OLD, Rolled, replica, told


def test_a_roll_that_has_only_just_begun_is_not_told_as_stuck_however_near_the_end_is() -> None:
    engine = Rolled()
    engine.set_workload(deployment(replicas=3, paused=True))
    engine.run(78)
    engine.set_workload(deployment(replicas=3))
    engine.run(14)
    assert engine.cluster.restarts == [("web", OLD)]
    assert "RollStuck" not in told(engine)
    engine.run(20)
    assert "RollStuck" in told(engine)


def test_pods_that_a_stuck_roll_has_left_do_not_have_the_workload_rolled_to_and_fro() -> None:
    engine = Rolled()
    engine.run(62)
    assert engine.cluster.restarts == [("web", OLD)]
    engine.own("web", "77c6b")
    engine.deliver(replica(9, revision="77c6b", created_at=engine.clock.now(), ready=False))
    # The new pod never gets ready, its certificate is due in its turn: that is one more rotation, and no more than one.
    engine.run(62)
    engine.run(30)
    assert engine.cluster.restarts == [("web", OLD), ("web", "77c6b")]


def test_a_pod_that_pretends_to_be_the_youngest_keeps_nobody_from_being_rolled() -> None:
    engine = Rolled()
    forged = replica(9, revision="ffffff", created_at=engine.clock.now() + 50, ready=False)
    engine.intake.pods.upsert(forged)
    engine.run(62)
    assert engine.cluster.restarts == [("web", OLD)]


def test_what_holds_a_workload_up_is_told_once_a_minute_to_each_pod_not_at_every_look() -> None:
    engine = Rolled()
    engine.maker.lifetime = 900.0
    engine.set_workload(deployment(replicas=3, paused=True))
    engine.run(60)
    engine.reporter.warnings.clear()
    engine.run(115)
    paused = [name for name, reason, _ in engine.reporter.warnings if reason == "WorkloadPaused"]
    assert 3 <= len(paused) <= 6
    assert len(set(paused)) == 3
