"""A change of the CA on the one path: every pod follows each phase once, by its own strategy, and then nothing more happens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from certmanager.domain.errors import NotYet
from certmanager.domain.model import Delivery
from certmanager.domain.trust import Trust
from certmanager.engine.making import FRESH_SECONDS
from certmanager.engine.reconcile_pod import Policy
from certmanager.engine.windows import parse_window
from tests.unit.domain.builders import DEFAULTS, trust
from tests.unit.engine.bench import Engine, enrolled
from tests.unit.engine.builders import pod, service
from tests.unit.engine.test_rotation import OLD, Rolled, replica

SIDECAR = Delivery(fetcher=True, sidecar=True)
PHASES = [trust("aa"), trust("aa", "bb"), trust("aa", "bb", closing=["aa"]), trust("bb", closing=["aa"])]


def say(engine: Engine, known: Trust) -> None:
    """Vault says so from now on, and the producers have read it; an open issuer signs."""
    engine.vault.known = known
    engine.maker.root = max(known.fingerprints - known.closing) if known.closing else min(known.fingerprints)
    engine.clock.advance(16)
    engine.intake.resync()
    engine.run()


def stored(engine: Engine) -> list[tuple[str, str]]:
    return sorted(
        (secret.annotations["anchors"], secret.annotations["issuer"]) for secret in engine.api.secrets.values()
    )


@pytest.mark.parametrize("rotation", ["refresh", "none"])
def test_a_pod_that_is_renewed_in_place_follows_each_phase_with_one_certificate(rotation: str) -> None:
    engine = Engine()
    engine.vault.known = PHASES[0]
    enrolled(engine, pod(annotations={"rotation": rotation}, delivery=SIDECAR))
    seen = [stored(engine)]
    for number, phase in enumerate(PHASES[1:], start=2):
        say(engine, phase)
        seen.append(stored(engine))
        assert len(engine.vault.signs) == number
        for _ in range(3):
            engine.clock.advance(60)
            engine.intake.resync()
            engine.run()
        assert len(engine.vault.signs) == number
    assert seen == [[("aa", "aa")], [("aa,bb", "aa")], [("aa,bb", "bb")], [("bb", "bb")]]
    assert {reason for _, reason, _ in engine.reporter.warnings} <= {"FilesOutdated", "CannotRestart"}


def test_a_rolled_workload_follows_each_phase_with_one_roll_and_its_own_secrets_stay() -> None:
    engine = Rolled(replicas=3)
    engine.vault.known = PHASES[0]
    revisions = [OLD, "77c6b", "9a1d2", "c03e7"]
    engine.maker.lifetime = 86400
    engine.succeed(revision=revisions[1])
    rolls = len(engine.cluster.restarts)
    for number, phase in enumerate(PHASES[1:], start=1):
        signs = len(engine.vault.signs)
        say(engine, phase)
        engine.run(5)
        assert len(engine.cluster.restarts) == rolls + number
        assert len(engine.vault.signs) == signs
        new = engine.succeed(revision=f"77c6b{number}")
        engine.run(30)
        assert len(engine.vault.signs) == signs + len(new)
        assert len(engine.cluster.restarts) == rolls + number


def test_a_pod_that_came_after_the_change_is_not_touched() -> None:
    engine = Rolled(replicas=2)
    engine.maker.lifetime = 86400
    engine.vault.known = PHASES[1]
    engine.succeed()
    say(engine, PHASES[1])
    engine.run(5)
    assert engine.cluster.restarts == []


def test_a_maintenance_window_is_waited_for() -> None:
    engine = Rolled(replicas=2)
    engine.maker.lifetime = 86400
    engine.vault.known = PHASES[0]
    engine.succeed()
    engine.windows.append(parse_window("0 2 * * *", 3600))
    say(engine, PHASES[1])
    engine.run(5)
    assert engine.cluster.restarts == []


def test_a_restarted_manager_finds_nothing_to_do_in_any_phase() -> None:
    engine = Engine()
    engine.vault.known = PHASES[0]
    follower = pod(annotations={"rotation": "refresh"}, delivery=SIDECAR)
    enrolled(engine, follower)
    for phase in PHASES[1:]:
        say(engine, phase)
        after = Engine(engine.api, synced=False)
        after.clock = engine.clock
        for part in (after.intake, after.pods, after.workloads, after.workers):
            part._clock = engine.clock
        after.vault.known = phase
        engine.api.pods[follower.key], engine.api.services = follower, [service()]
        writes = engine.api.writes
        after.sync()
        after.run(1)
        after.clock.advance(60)
        after.intake.resync()
        after.run(1)
        assert (after.vault.signs, engine.api.writes) == ([], writes)


def test_without_vault_s_word_nothing_is_due() -> None:
    engine = Engine()
    engine.vault.known = None
    enrolled(engine, pod(annotations={"rotation": "refresh"}, delivery=SIDECAR))
    for known in (None, Trust()):
        engine.vault.known = known
        engine.clock.advance(60)
        engine.intake.resync()
        engine.run()
    assert len(engine.vault.signs) == 1


def test_what_was_made_a_moment_ago_waits_although_it_is_superseded() -> None:
    engine = Engine()
    engine.vault.known = PHASES[0]
    enrolled(engine, pod(annotations={"rotation": "refresh"}, delivery=SIDECAR))
    engine.vault.known = PHASES[1]
    engine.intake.resync()
    engine.run(5)
    assert len(engine.vault.signs) == 1
    engine.run(15)
    assert len(engine.vault.signs) == 2
    assert engine.reporter.warnings == []


class Switched(Engine):
    """Somebody has changed the default issuer, and nobody has read it yet."""

    def __init__(self) -> None:
        super().__init__()
        self.vault.known = PHASES[0]
        self.maker.root = "bb"
        self.asked: list[float] = []

    def reads(self, found: Trust | Exception) -> None:
        """What the next read of Vault's CAs says."""
        before = self.vault.trust

        def trust_now(mount: str, max_age: float = float("inf")) -> Trust:
            if max_age <= FRESH_SECONDS:
                self.asked.append(max_age)
                if isinstance(found, Exception):
                    raise found
                self.vault.known = found
            return before(mount, max_age)

        self.vault.trust = trust_now  # type: ignore[method-assign]


def test_a_certificate_of_an_unknown_root_has_the_cas_read_again_and_gets_all_their_anchors() -> None:
    engine = Switched()
    engine.reads(PHASES[1])
    enrolled(engine, pod(annotations={"rotation": "refresh"}, delivery=SIDECAR))
    engine.clock.advance(20)
    engine.intake.resync()
    engine.run()
    assert (engine.asked, len(engine.vault.signs)) == ([FRESH_SECONDS], 1)
    assert stored(engine) == [("aa,bb", "bb")]


@pytest.mark.parametrize("found", [PHASES[0], NotYet("VaultSealed", "sealed", shared=True)])
def test_when_vault_does_not_know_it_either_its_own_root_counts_beside_the_known_ones(found: Trust | Exception) -> None:
    engine = Switched()
    engine.reads(found)
    enrolled(engine, pod(annotations={"rotation": "refresh"}, delivery=SIDECAR))
    assert (engine.asked, stored(engine)) == ([FRESH_SECONDS], [("aa,bb", "bb")])


def test_a_patched_pod_is_not_rolled_before_its_certificate_is_near_its_end() -> None:
    engine = Rolled(replicas=1)
    engine.maker.lifetime = 86400
    engine.vault.known = PHASES[0]
    [member] = engine.succeed()
    engine.intake.pods.upsert(replace(member, resource_version=99, annotations={"rotation": "restart"}))
    say(engine, PHASES[1])
    engine.run(5)
    assert engine.cluster.restarts == []
    assert replica(0).annotations == {}


def test_an_issuer_that_is_named_signs_and_another_one_means_another_certificate() -> None:
    engine = Engine()
    terms = {"default": DEFAULTS}
    engine.pods._policy = Policy(lambda _namespace: terms["default"])
    enrolled(engine, pod(annotations={"rotation": "refresh"}, delivery=SIDECAR))
    for issuer in ("next", "next", "third", None):
        terms["default"] = replace(DEFAULTS, issuer=issuer)
        engine.clock.advance(60)
        engine.intake.resync()
        engine.run()
    assert engine.vault.by == [None, "next", "third", None]


def test_how_many_certificates_each_ca_has_is_counted_by_what_is_served() -> None:
    engine = Rolled(replicas=2)
    lone = pod("lone", uid="lone-1234", annotations={"rotation": "none"}, delivery=Delivery(fetcher=True))
    enrolled(engine, lone)
    [leaf] = [secret.annotations["serial"] for secret in engine.api.secrets.values() if secret.pod_name == "lone"]
    told = Delivery(fetcher=True, served_serial=leaf, served_not_after=engine.clock.now() + 60)
    engine.intake.pods.upsert(replace(lone, resource_version=50, delivery=told))
    facts = {(fact.mount, fact.issuer) for fact in engine.certificates()}
    assert facts == {("pki", "aa")}
    engine.vault.known = PHASES[1]
    say(engine, PHASES[1])
    assert [fact.issuer for fact in engine.certificates() if fact.pod == "lone"] == [None]
