"""However often a pod's Secret is deleted or garbled, Vault is asked at a pace that it does not notice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.reasons import Reason
from certmanager.engine.pace import AT_ONCE, SECONDS, Pace
from tests.unit.engine.bench import SECRET, Engine, enrolled
from tests.unit.engine.builders import pod


def test_a_few_certificates_follow_each_other_at_once() -> None:
    engine = Engine()
    enrolled(engine)
    for _ in range(AT_ONCE - 1):
        del engine.api.secrets[SECRET]
        engine.watch_secrets()
        engine.run()
    assert SECRET in engine.api.secrets
    assert len(engine.vault.signs) == AT_ONCE


def test_a_secret_that_somebody_deletes_on_and_on_costs_vault_next_to_nothing_and_its_owner_is_told() -> None:
    engine = Engine()
    enrolled(engine)
    for _ in range(600):
        engine.api.secrets.pop(SECRET, None)
        engine.watch_secrets()
        engine.run(0.1)
    assert len(engine.vault.signs) <= AT_ONCE + 60 / SECONDS + 1
    told = [warning for warning in engine.reporter.warnings if warning[1] == Reason.RENEWAL_LOOP]
    assert told
    assert "see who changes its Secret" in told[-1][2]
    engine.run(SECONDS + 1)
    assert SECRET in engine.api.secrets


def test_another_pod_is_not_slowed_by_it() -> None:
    engine = Engine()
    enrolled(engine)
    for _ in range(3 * AT_ONCE):
        engine.api.secrets.pop(SECRET, None)
        engine.watch_secrets()
        engine.run()
    made = len(engine.vault.signs)
    engine.intake.pods.upsert(pod(name="other", uid="87654321-1111-2222-3333-444444444444"))
    engine.run(1)
    assert len(engine.vault.signs) == made + 1


@given(st.lists(st.floats(0, 20), max_size=200))
def test_in_any_time_no_more_are_made_than_a_few_and_one_for_each_pause(gaps: list[float]) -> None:
    now = 0.0
    pace = Pace(lambda: now)
    made: list[float] = []
    for gap in gaps:
        now += gap
        if pace.wait("uid") <= 0:
            pace.made("uid")
            made.append(now)
    for first, start in enumerate(made):
        for last in range(first, len(made)):
            assert last - first + 1 <= AT_ONCE + (made[last] - start) / SECONDS + 1e-6


def test_pods_that_are_served_as_they_should_be_are_forgotten() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    for number in range(5000):
        now += 0.1
        pace.made(f"pod-{number}")
    assert len(pace._full_at) <= 1024
