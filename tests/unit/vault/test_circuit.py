"""The shared probe, step by step, without a thread or a second of sleep."""

from __future__ import annotations

import threading

import pytest

from certmanager.domain.errors import NotYet
from certmanager.vault.circuit import Circuit, Heartbeat
from tests.unit.vault.builders import Clock

AWAY = NotYet("VaultUnreachable", "gone", shared=True)


class Rig:
    """A circuit whose probe answers what the test says."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.found: NotYet | None = AWAY
        self.probes: list[tuple[float, str]] = []
        self.recovered = 0
        self.opened = 0
        self.circuit = Circuit(self.probe, self.clock, self.recover, self.open)

    def probe(self, reason: str) -> NotYet | None:
        self.probes.append((self.clock.now, reason))
        return self.found

    def recover(self) -> None:
        self.recovered += 1

    def open(self) -> None:
        self.opened += 1

    def is_open(self) -> bool:
        return self.circuit.error is not None

    def fail(self, error: NotYet = AWAY) -> NotYet:
        return self.circuit.failed(error, self.circuit.check())

    def run(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while self.clock.now <= end:
            self.clock.now += self.circuit.step()


def test_a_failure_of_one_request_stops_nobody() -> None:
    rig = Rig()
    assert rig.fail(NotYet("VaultError", "this one")).shared is False
    rig.circuit.check()
    assert rig.opened == 0


def test_while_vault_is_away_everybody_is_told_at_once_and_one_probe_asks_every_three_seconds() -> None:
    rig = Rig()
    rig.fail()
    start = rig.clock.now
    for _ in range(1000):
        with pytest.raises(NotYet) as raised:
            rig.circuit.check()
        assert (raised.value.reason, raised.value.shared) == ("VaultUnreachable", True)
    assert rig.probes == []
    rig.run(9)
    assert [when - start for when, _ in rig.probes] == [0, 3, 6, 9]
    assert rig.opened == 1


def test_when_vault_answers_calls_pass_and_the_waiting_keys_are_let_go_once() -> None:
    rig = Rig()
    rig.fail()
    rig.run(3)
    rig.found = None
    rig.run(6)
    rig.circuit.check()
    assert rig.circuit.error is None
    assert rig.recovered == 1


def test_the_reason_follows_what_the_probe_finds() -> None:
    rig = Rig()
    rig.fail()
    rig.found = NotYet("VaultSealed", "sealed", shared=True)
    rig.circuit.step()
    with pytest.raises(NotYet) as raised:
        rig.circuit.check()
    assert raised.value.reason == "VaultSealed"


def test_a_call_from_before_the_recovery_does_not_open_the_circuit_again() -> None:
    rig = Rig()
    old = rig.circuit.check()
    rig.fail()
    rig.found = None
    rig.circuit.step()
    assert rig.circuit.failed(AWAY, old).shared is False
    rig.circuit.check()


def test_a_service_that_is_healthy_and_fails_anyway_is_let_through_ever_more_rarely() -> None:
    rig = Rig()
    rig.found = None
    waits = []
    for _ in range(8):
        rig.fail()
        start = rig.clock.now
        while rig.is_open():
            wait = rig.circuit.step()
            rig.clock.now += wait if rig.is_open() else 0
        waits.append(rig.clock.now - start)
    assert waits == [0, 3, 6, 12, 24, 48, 60, 60]


def test_after_a_quiet_time_the_first_probe_is_immediate_again() -> None:
    rig = Rig()
    rig.found = None
    for _ in range(2):
        rig.fail()
        start = rig.clock.now
        rig.circuit.step()
        assert rig.probes[-1][0] == start
        rig.clock.now += 60


def test_a_busy_vault_is_left_alone_for_as_long_as_it_asks() -> None:
    rig = Rig()
    rig.found = None
    rig.fail(NotYet("VaultBusy", "429", retry_after=7, shared=True))
    start = rig.clock.now
    rig.run(8)
    assert rig.probes[0][0] - start >= 7


def test_a_busy_vault_that_asks_for_nothing_is_left_alone_for_a_second() -> None:
    rig = Rig()
    rig.fail(NotYet("VaultBusy", "429", shared=True))
    assert rig.circuit.step() == 1
    assert rig.probes == []


def test_the_heartbeat_goes_on_after_a_bug_and_tells_it() -> None:
    told: list[BaseException] = []
    steps: list[str] = []

    def broken() -> float:
        raise KeyError("x")

    def fine() -> float:
        steps.append("fine")
        return 2.0

    heartbeat = Heartbeat(told.append)
    heartbeat.drive(broken, fine)
    assert heartbeat.round() == 2.0
    assert steps == ["fine"]
    assert [type(error) for error in told] == [KeyError]


def test_the_heartbeat_never_spins() -> None:
    heartbeat = Heartbeat(lambda _error: None)
    heartbeat.drive(lambda: -5.0)
    assert heartbeat.round() == 0.1


def test_the_heartbeat_wakes_at_once_and_its_thread_ends() -> None:
    beats = threading.Semaphore(0)

    def beat() -> float:
        beats.release()
        return 3600.0

    heartbeat = Heartbeat(lambda _error: None)
    heartbeat.drive(beat)
    heartbeat.start()
    assert beats.acquire(timeout=10)
    heartbeat.wake()
    assert beats.acquire(timeout=10)
    heartbeat.stop()
    assert "vault-heartbeat" not in [thread.name for thread in threading.enumerate() if thread.is_alive()]
