"""Times on our Secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.times import parse_rfc3339, rfc3339


def test_a_time_is_written_in_utc_and_whole_seconds() -> None:
    assert rfc3339(1_800_000_000.9) == "2027-01-15T08:00:00Z"


@given(st.integers(0, 4_000_000_000))
def test_a_written_time_comes_back(seconds: int) -> None:
    assert parse_rfc3339(rfc3339(seconds)) == seconds


def test_an_offset_is_respected() -> None:
    assert parse_rfc3339("2027-01-15T10:00:00+02:00") == 1_800_000_000


@pytest.mark.parametrize("text", ["", "soon", "2027-01-15T08:00:00", "2027-13-15T08:00:00Z", "1800000000"])
def test_what_is_no_time_with_an_offset_is_none(text: str) -> None:
    assert parse_rfc3339(text) is None


@given(st.text(max_size=40))
def test_whatever_stands_there_is_a_time_or_none(text: str) -> None:
    assert parse_rfc3339(text) is None or isinstance(parse_rfc3339(text), float)
