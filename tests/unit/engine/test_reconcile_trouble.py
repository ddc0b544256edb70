"""What does not work on the one path: it is retried or left alone, the owner is told when it matters, nobody else waits."""

from __future__ import annotations

from typing import Any

import pytest

from certmanager.domain.errors import Conflict, NotYet, Refused
from certmanager.domain.model import Delivery
from certmanager.domain.reasons import Reason
from certmanager.engine.keys import PodKey
from tests.unit.engine.bench import SECRET, Engine, enrolled
from tests.unit.engine.builders import pod


def test_vault_saying_not_yet_is_retried_until_it_works() -> None:
    engine = Engine()
    engine.vault.errors = [NotYet("VaultSealed", "Vault is sealed", shared=True) for _ in range(3)]
    enrolled(engine)
    engine.run(60)
    assert SECRET in engine.api.secrets
    assert len(engine.vault.signs) == 4


def test_the_keys_that_wait_for_vault_go_at_once_when_it_answers_again() -> None:
    engine = Engine()
    engine.workers._random = lambda: 1.0
    engine.vault.errors = [NotYet("VaultSealed", "Vault is sealed", shared=True) for _ in range(6)]
    enrolled(engine)
    engine.run(40)
    assert SECRET not in engine.api.secrets
    engine.vault.errors = []
    engine.workers.release()
    engine.run()
    assert SECRET in engine.api.secrets


def test_the_owner_is_told_of_what_is_not_yet_from_the_second_failure_on() -> None:
    engine = Engine()
    engine.vault.errors = [NotYet("VaultSealed", "Vault is sealed", shared=True)]
    enrolled(engine)
    engine.run(10)
    assert engine.reporter.warnings == []
    other = Engine()
    other.vault.errors = [NotYet("VaultSealed", "Vault is sealed", shared=True) for _ in range(2)]
    enrolled(other)
    other.run(10)
    assert other.reporter.warnings == [("web", "VaultSealed", "Vault is sealed")]


def test_a_conflict_with_another_writer_is_retried_and_nobody_is_told() -> None:
    engine = Engine()
    engine.vault.errors = [Conflict("KubernetesConflict", "it has changed") for _ in range(3)]
    enrolled(engine)
    engine.run(60)
    assert SECRET in engine.api.secrets
    assert engine.reporter.warnings == []


def test_a_refusal_is_told_and_not_asked_again_until_the_pod_changes_or_minutes_have_passed() -> None:
    engine = Engine()
    no = Refused("VaultRefused", "role pods does not allow it")
    engine.vault.errors = [no, no]
    enrolled(engine)
    engine.intake.pods.upsert(pod(resource_version=11))
    engine.run(60)
    assert len(engine.vault.signs) == 1
    assert engine.reporter.warnings[0] == ("web", "VaultRefused", "role pods does not allow it")
    engine.intake.pods.upsert(pod(annotations={"ttl": "1h"}, resource_version=12))
    engine.run(1)
    assert len(engine.vault.signs) == 2
    engine.run(400)
    assert len(engine.vault.signs) == 3
    assert SECRET in engine.api.secrets


def test_how_long_a_refusal_stands_can_be_set() -> None:
    engine = Engine(refusal_seconds=5.0)
    engine.vault.errors = [Refused("VaultRefused", "role pods does not allow it")]
    enrolled(engine)
    engine.run(3.9)
    assert len(engine.vault.signs) == 1
    engine.run(2.2)
    assert SECRET in engine.api.secrets


def test_who_was_refused_for_the_token_s_sake_goes_at_once_with_another_token() -> None:
    engine = Engine()
    engine.vault.errors = [Refused("VaultPolicyForbids", "the policy forbids it", shared=True)]
    enrolled(engine)
    engine.run(10)
    assert len(engine.vault.signs) == 1
    engine.workers.release()
    engine.run()
    assert SECRET in engine.api.secrets


def test_who_was_refused_for_the_request_s_sake_does_not_go_with_another_token() -> None:
    engine = Engine()
    engine.vault.errors = [Refused("VaultRefused", "role pods does not allow it")]
    enrolled(engine)
    engine.run(10)
    engine.workers.release()
    engine.run()
    assert len(engine.vault.signs) == 1


def test_a_rejected_pod_is_told_field_value_rule_and_remedy_and_nothing_is_signed() -> None:
    engine = Engine()
    enrolled(engine, pod(annotations={"ttl": "5 parsecs"}))
    assert engine.vault.signs == []
    [(_, reason, message)] = engine.reporter.warnings
    assert reason == "InvalidAnnotation"
    assert all(part in message for part in ("podcert.io/ttl", "5 parsecs", "must be a duration"))


def test_one_pods_error_does_not_delay_anothers_certificate() -> None:
    engine = Engine()
    engine.vault.errors = [Refused("VaultRefused", "no")]
    engine.intake.pods.upsert(pod("bad", uid="00000000-bad"))
    engine.intake.pods.upsert(pod("good", uid="11111111-good"))
    engine.run(0.5)
    assert ("default", "good-cert-11111111") in engine.api.secrets


def test_a_bug_in_one_reconcile_is_reported_retried_and_ends_nothing() -> None:
    engine = Engine()
    engine.vault.errors = [KeyError("oops")]
    enrolled(engine)
    assert engine.reporter.bugs == [KeyError]
    engine.run(5)
    assert SECRET in engine.api.secrets


def test_a_certificate_that_is_wanting_again_at_once_is_not_made_in_a_loop() -> None:
    engine = Engine()
    engine.maker.lifetime = -40.0
    enrolled(engine)
    engine.run(10)
    assert len(engine.vault.signs) == 1
    assert engine.reporter.warnings[0][1] == "RenewalLoop"
    engine.run(60)
    assert 2 <= len(engine.vault.signs) <= 6


def test_the_remaining_life_of_the_certificate_is_what_the_back_off_goes_by() -> None:
    engine = Engine()
    engine.maker.lifetime = 90
    enrolled(engine)
    left = engine.pods.remaining(PodKey("default", "web"))
    assert left is not None
    assert 88 < left <= 90
    assert engine.pods.remaining(PodKey("default", "other")) is None


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({}, []),
        ({"delivery": Delivery()}, ["NoDelivery"]),
        ({"annotations": {"secret-name": "mine"}}, ["NoDelivery"]),
        ({"annotations": {"secret-name": "mine"}, "delivery": Delivery(mounts=frozenset({"mine"}))}, []),
        ({"annotations": {"secret-name": "mine"}, "delivery": Delivery(mounts=frozenset({"other"}))}, ["NoDelivery"]),
        ({"service_account": "default"}, ["SharedServiceAccount"]),
    ],
)
def test_the_owner_is_warned_when_nothing_brings_the_certificate_in_or_others_can_read_it(
    fields: dict[str, Any], reasons: list[str]
) -> None:
    engine = Engine()
    enrolled(engine, pod(**fields))
    assert [reason for _, reason, _ in engine.reporter.warnings] == reasons
    assert len(engine.api.secrets) == 1


def test_what_the_role_will_refuse_is_told_before_a_key_is_made_and_goes_when_the_role_has_changed() -> None:
    engine = Engine()
    engine.preflight.refusal = Refused("RoleForbids", "allow_subdomains is false", shared=True)
    enrolled(engine)
    engine.run(10)
    assert (engine.vault.signs, engine.maker.serial) == ([], 0)
    assert engine.reporter.warnings == [("web", "RoleForbids", "allow_subdomains is false")]
    engine.preflight.refusal = None
    engine.workers.release()
    engine.run()
    assert SECRET in engine.api.secrets


def test_what_the_role_changes_is_told_once_beside_the_certificate() -> None:
    engine = Engine()
    engine.preflight.advices = [(Reason.ROLE_SHORTENS_TTL, "max_ttl is 60 s")]
    enrolled(engine)
    engine.run(10)
    assert SECRET in engine.api.secrets
    assert engine.reporter.warnings.count(("web", "RoleShortensTTL", "max_ttl is 60 s")) == 1
