"""Statuses and words of Vault, and what they mean for a pod."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.errors import NotYet, PodcertError, Refused
from certmanager.vault import errors
from certmanager.vault.errors import Call
from tests.unit.vault.builders import answer, refusal

SIGN = Call("POST", "pki/sign/pods", "pki", "pods")

MEANINGS = [
    (refusal(400, "unknown role: pods"), Refused, "VaultRoleMissing"),
    (refusal(400, "common name evil.example.com not allowed by this role"), Refused, "VaultRefused"),
    (refusal(404, 'no handler for route "pki/sign/pods". route entry not found.'), Refused, "VaultMountMissing"),
    (refusal(404, "1 error occurred:\n\t* unsupported path\n\n"), Refused, "VaultMountMissing"),
    (refusal(404), Refused, "VaultRefused"),
    (refusal(405, "unsupported operation"), Refused, "VaultRefused"),
    (refusal(412, "required index state not present"), NotYet, "VaultNotConsistent"),
    (refusal(429, "rate limit quota exceeded"), NotYet, "VaultBusy"),
    (answer(472), NotYet, "VaultStandby"),
    (answer(473), NotYet, "VaultStandby"),
    (answer(307, b""), NotYet, "VaultStandby"),
    (answer(501), NotYet, "VaultUninitialised"),
    (refusal(503, "Vault is sealed"), NotYet, "VaultSealed"),
    (refusal(500, "local node not active but active cluster node not found"), NotYet, "VaultStandby"),
    (refusal(500, "1 error occurred:\n\t* no default issuer currently configured\n\n"), NotYet, "VaultError"),
    (answer(500, b"<html>"), NotYet, "VaultError"),
    (answer(502, b"<html>"), NotYet, "VaultError"),
    (answer(504, b""), NotYet, "VaultError"),
    (answer(404, b"<html>nginx</html>"), NotYet, "VaultAnswerUnreadable"),
    (answer(400, {"message": "bad"}), NotYet, "VaultAnswerUnreadable"),
    (answer(302, b""), NotYet, "VaultAnswerUnreadable"),
]


@pytest.mark.parametrize(("given_answer", "kind", "reason"), MEANINGS)
def test_every_status_has_one_meaning(given_answer: errors.Answer, kind: type[PodcertError], reason: str) -> None:
    found = errors.from_answer(given_answer, SIGN)
    assert (type(found), found.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("given_answer", "shared"),
    [
        (refusal(503, "Vault is sealed"), True),
        (answer(502, b"<html>"), True),
        (refusal(429, "rate limit quota exceeded"), True),
        (refusal(500, "no default issuer currently configured"), False),
        (answer(404, b"<html>"), False),
        (refusal(412, "x"), False),
    ],
)
def test_only_an_outage_of_the_whole_service_is_shared(given_answer: errors.Answer, shared: bool) -> None:
    found = errors.from_answer(given_answer, SIGN)
    assert isinstance(found, NotYet)
    assert found.shared is shared


def test_a_refusal_says_vaults_own_words_the_role_and_the_remedy() -> None:
    message = errors.from_answer(refusal(400, "role requires keys of type rsa"), SIGN).message
    assert "'role requires keys of type rsa'" in message
    assert "role pods at mount pki" in message
    assert "key_type=any" in message


def test_long_words_are_cut_to_300_characters() -> None:
    assert len(errors.words(refusal(400, "x" * 5000)) or "") == 300


@pytest.mark.parametrize(
    "secret",
    [
        "hvs.CAESIJ1234567890abcdefghij",
        "s.1234567890abcdefghijklmn",
        "b." + "A1_-" * 20,
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl",
        "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG",
    ],
)
def test_a_secret_in_vaults_words_is_taken_out(secret: str) -> None:
    said = errors.words(refusal(403, f"bad token {secret} given"))
    assert said is not None
    assert "<redacted>" in said
    assert secret.splitlines()[-1 if "\n" not in secret else 1] not in said


@pytest.mark.parametrize(
    "name", ["s.default.svc.cluster.local", "web-s.default.svc", "b.a-namespace-of-forty-characters-or-more"]
)
def test_a_host_name_that_looks_a_little_like_a_token_stays(name: str) -> None:
    assert name in (errors.words(refusal(400, f"common name {name} not allowed by this role")) or "")


@given(st.lists(st.text(max_size=400), max_size=3))
def test_words_are_one_printable_line(texts: list[str]) -> None:
    said = errors.words(refusal(400, *texts))
    assert said is not None
    assert len(said) <= errors.MAX_WORDS
    assert all(" " <= letter <= "~" or letter == "…" for letter in said)


@given(st.integers(100, 599), st.binary(max_size=200))
def test_any_answer_has_a_meaning(status: int, body: bytes) -> None:
    found = errors.from_answer(answer(status, body), SIGN)
    assert isinstance(found, NotYet | Refused)
    assert found.reason
    assert found.message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), (" 7 ", 7.0), ("0", 0.0), ("9" * 400, 60.0), ("-1", None), ("soon", None), ("", None), ("٣", None)],
)
def test_retry_after_is_read_in_seconds_and_capped(value: str, seconds: float | None) -> None:
    found = errors.from_answer(answer(429, {"errors": []}, {"retry-after": value}), SIGN)
    assert isinstance(found, NotYet)
    assert found.retry_after == seconds


HEALTHY = {"initialized": True, "sealed": False, "standby": False}


@pytest.mark.parametrize(
    ("given_answer", "reason"),
    [
        (answer(200, HEALTHY), None),
        (answer(429, HEALTHY | {"standby": True}), None),
        (answer(473, HEALTHY), None),
        (answer(472, HEALTHY), "VaultStandby"),
        (answer(501, {"initialized": False, "sealed": True}), "VaultUninitialised"),
        (answer(503, HEALTHY | {"sealed": True}), "VaultSealed"),
        (answer(503, b"<html>no upstream</html>"), "VaultError"),
        (answer(200, b"<html>welcome</html>"), "VaultAnswerUnreadable"),
        (answer(404, b"<html>"), "VaultAnswerUnreadable"),
    ],
)
def test_health_tells_the_states_apart_and_every_bad_one_is_shared(
    given_answer: errors.Answer, reason: str | None
) -> None:
    found = errors.from_health(given_answer)
    assert (found and found.reason) == reason
    assert found is None or found.shared


def test_a_standby_that_failed_as_one_is_well_once_it_knows_of_an_active_node() -> None:
    standby = answer(429, HEALTHY | {"standby": True})
    for leader in (answer(200, {"leader_address": ""}), answer(503, {"errors": ["Vault is sealed"]}), answer(200, b"")):
        found = errors.from_health(standby, leader)
        assert found is not None
        assert found.reason == "VaultStandby"
    assert errors.from_health(standby, answer(200, {"leader_address": "https://vault-1:8200"})) is None


def test_an_answers_repr_shows_no_body_and_no_header() -> None:
    shown = repr(answer(200, {"private_key": "secret-body"}, {"X-Vault-Token": "secret-header"}))
    assert "secret" not in shown


@pytest.mark.parametrize(
    ("given_answer", "lost"),
    [
        (refusal(403, "permission denied"), True),
        (refusal(400, "missing client token"), True),
        (refusal(400, "unknown role: pods"), False),
        (refusal(500, "permission denied"), False),
    ],
)
def test_which_answers_may_mean_that_the_token_is_gone(given_answer: errors.Answer, lost: bool) -> None:
    assert errors.token_lost(given_answer) is lost
