"""The back-off's bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from certmanager.engine.backoff import FLOOR, Backoff

FAILURES = st.integers(1, 10_000_000)
FRACTION = st.floats(0, 1)


@given(FAILURES, FRACTION, st.none() | st.floats(-1e9, 1e9))
def test_the_delay_is_never_under_the_floor_nor_over_the_ceiling(
    failures: int, fraction: float, remaining: float | None
) -> None:
    assert FLOOR <= Backoff().delay(failures, fraction, remaining) <= 60.0


def test_the_longest_delay_doubles_until_the_ceiling() -> None:
    assert [Backoff().delay(n, 1.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


@given(FAILURES, FRACTION)
def test_near_a_certificates_end_it_is_tried_more_often(failures: int, fraction: float) -> None:
    assert Backoff().delay(failures, fraction, remaining=30.0) <= 3.0
