"""Clocks that are set, machines that sleep, certificates of 30 s and of 10 years: neither a storm nor a crash, ever."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from certmanager.domain.decide import MIN_SECONDS
from certmanager.domain.model import Delivery
from certmanager.domain.renewal import EARLIEST, JITTER
from tests.unit.engine.bench import Engine
from tests.unit.engine.builders import pod, service
from tests.unit.engine.test_rotation import OLD, Rolled

DAY = 86_400.0
TEN_YEARS = 3652 * DAY

LIFETIMES = st.one_of(st.floats(30, 300), st.floats(300, TEN_YEARS), st.just(TEN_YEARS))
PODS = 5


def runs(engine: Engine, seconds: float) -> None:
    """Time passes while the manager works."""
    engine.run(seconds)


def jumps(engine: Engine, seconds: float) -> None:
    """The wall clock is set; the monotonic one goes on."""
    engine.clock.jump(seconds)
    engine.run(1)


def sleeps(engine: Engine, seconds: float) -> None:
    """The machine is suspended: both clocks have moved when it wakes, and nothing ran in between."""
    engine.clock.advance(abs(seconds))
    engine.run(1)


Event = tuple[Callable[[Engine, float], None], float]
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just(runs), st.floats(0, 20)),
        st.tuples(st.just(jumps), st.sampled_from([-DAY, DAY, -3600.0, 3600.0])),
        st.tuples(st.just(sleeps), st.floats(1, 40 * DAY)),
    ),
    max_size=5,
)


def follower(index: int) -> object:
    return pod(f"web-{index}", uid=f"{index:08x}-uid", delivery=Delivery(fetcher=True, sidecar=True))


def followed(lifetime: float) -> Engine:
    """Pods whose sidecars follow their Secrets."""
    engine = Engine()
    engine.maker.lifetime = lifetime
    engine.intake.services.upsert(service())
    for index in range(PODS):
        engine.intake.pods.upsert(follower(index))  # type: ignore[arg-type]
    engine.run(0.5)
    return engine


@settings(max_examples=40, deadline=None)
@given(LIFETIMES, EVENTS)
@example(TEN_YEARS, [(jumps, DAY), (jumps, -DAY)])
@example(30.0, [(jumps, -DAY), (runs, 20.0), (jumps, DAY)])
@example(30.0, [(sleeps, DAY), (sleeps, DAY)])
@example(TEN_YEARS, [(runs, 20.0), (runs, 20.0)])
def test_no_clock_makes_a_storm_of_certificates(lifetime: float, events: list[Event]) -> None:
    engine = followed(lifetime)
    assert len(engine.vault.signs) == PODS
    ran = 0.0
    for event, seconds in events:
        event(engine, seconds)
        ran += seconds if event is runs else 1.0
    moved = sum(event is not runs for event, _ in events)
    # By the clock alone a certificate is made no more often than its lifetime asks for; each moved clock may cost one more.
    by_time = ran / max(MIN_SECONDS, lifetime * EARLIEST * (1 - JITTER))
    assert len(engine.vault.signs) <= PODS * (1 + moved + by_time)
    assert engine.reporter.bugs == []


@settings(max_examples=40, deadline=None)
@given(LIFETIMES, EVENTS)
@example(30.0, [(jumps, DAY)])
def test_soon_after_any_moved_clock_every_certificate_is_valid_and_its_renewal_planned(
    lifetime: float, events: list[Event]
) -> None:
    engine = followed(lifetime)
    for event, seconds in events:
        event(engine, seconds)
    engine.run(MIN_SECONDS + 1)
    now = engine.clock.now()
    for index in range(PODS):
        [secret] = engine.intake.store.secrets_of("default", f"web-{index}")
        assert secret.bundle is not None
        assert secret.bundle.leaf.not_after > now
        due = engine.due(f"web-{index}")
        assert due is not None
        assert due < secret.bundle.leaf.not_after


@settings(max_examples=25, deadline=None)
@given(EVENTS)
@example([(jumps, DAY), (jumps, -DAY), (jumps, DAY)])
@example([(sleeps, DAY), (runs, 20.0), (sleeps, DAY)])
def test_no_clock_rolls_a_workload_twice_for_one_revision(events: list[Event]) -> None:
    engine = Rolled()
    for event, seconds in events:
        event(engine, seconds)
    assert engine.cluster.restarts in ([], [("web", OLD)])
    assert engine.reporter.bugs == []


@settings(max_examples=10, deadline=None)
@given(st.floats(30, TEN_YEARS), st.sampled_from([-DAY, DAY]))
def test_a_manager_that_starts_with_another_clock_issues_at_most_one_certificate_for_each_pod(
    lifetime: float, moved: float
) -> None:
    before = followed(lifetime)
    after = Engine(before.api, synced=False)
    after.clock.jump(before.clock.now() - after.clock.now() + moved)
    after.maker.lifetime = lifetime
    for each in before.intake.store.pods():
        before.api.pods[each.key] = each
    before.api.services.append(service())
    after.sync()
    after.run(2)
    assert len(after.vault.signs) <= PODS
    assert after.reporter.bugs == []
    assert moved > 0 or after.vault.signs == []
