"""When a certificate is renewed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.renewal import due_at, renew_before
from tests.unit.domain.builders import NOW, UID, request

THIRD = 1 / 3
LIFETIMES = st.floats(30, 10 * 365 * 86400)
UIDS = st.uuids().map(str)


@given(LIFETIMES, UIDS)
def test_a_renewal_is_due_between_six_tenths_and_two_thirds_of_the_lifetime(lifetime: float, uid: str) -> None:
    passed = due_at(NOW, NOW - 30, NOW + lifetime, uid, THIRD) - NOW
    assert 0.5999 * lifetime <= passed <= 0.6667 * lifetime


@given(LIFETIMES, UIDS, st.floats(0.01, 0.99) | st.floats(1, 20 * 365 * 86400))
def test_whatever_is_asked_a_renewal_is_neither_at_once_nor_at_the_last_moment(
    lifetime: float, uid: str, asked: float
) -> None:
    passed = due_at(NOW, NOW - 30, NOW + lifetime, uid, asked) - NOW
    slack = 1e-6 * lifetime + 1e-6
    assert passed >= 0.27 * lifetime - slack
    assert passed <= lifetime - min(10, lifetime / 20) + slack


@given(LIFETIMES, UIDS, st.floats(0.01, 0.7))
def test_the_jitter_only_brings_a_renewal_forward_by_at_most_a_tenth(lifetime: float, uid: str, asked: float) -> None:
    left = max(asked * lifetime, min(10, lifetime / 20))
    passed = due_at(NOW, NOW - 30, NOW + lifetime, uid, asked) - NOW
    slack = 1e-6 * lifetime
    assert 0.9 * (lifetime - left) - slack <= passed <= lifetime - left + slack


def test_the_lifetime_counts_from_the_issue_not_from_not_before() -> None:
    passed = due_at(NOW, NOW - 3000, NOW + 60, UID, THIRD) - NOW
    assert 36 <= passed <= 40


@pytest.mark.parametrize(("issued_at", "same_as"), [(NOW - 999, NOW - 30), (NOW + 9999, NOW + 900)])
def test_a_time_of_issue_outside_the_validity_is_moved_to_its_nearer_end(issued_at: float, same_as: float) -> None:
    assert due_at(issued_at, NOW - 30, NOW + 900, UID, THIRD) == due_at(same_as, NOW - 30, NOW + 900, UID, THIRD)


def test_a_certificate_that_was_issued_at_its_end_is_due_at_its_end() -> None:
    assert due_at(NOW + 900, NOW, NOW + 900, UID, THIRD) == NOW + 900


@given(UIDS)
def test_one_pod_always_gets_the_same_time(uid: str) -> None:
    assert due_at(NOW, NOW, NOW + 900, uid, THIRD) == due_at(NOW, NOW, NOW + 900, uid, THIRD)


def test_the_pods_of_a_burst_are_spread_over_the_whole_jitter() -> None:
    times = [due_at(NOW, NOW, NOW + 9000, f"{number:08x}", THIRD) - NOW for number in range(1000)]
    assert min(times) < 5430
    assert max(times) > 5970
    tenths = {int((passed - 5400) // 60) for passed in times}
    assert tenths == set(range(10))


def test_seconds_are_left_as_asked() -> None:
    passed = due_at(NOW, NOW, NOW + 86400, UID, 3600) - NOW
    assert 0.9 * 82800 <= passed <= 82800


def test_the_request_tells_seconds_or_a_fraction() -> None:
    assert renew_before(request()) == THIRD
    assert renew_before(request(renew_before_fraction=None, renew_before_seconds=60)) == 60.0
