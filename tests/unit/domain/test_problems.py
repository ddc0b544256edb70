"""What is said about bad input is complete, bounded, and safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.problems import NOT_SHOWN, Problem, cut, joined, listed, shown


def test_a_problem_names_field_value_rule_and_remedy() -> None:
    problem = Problem("annotation podcert.io/ttl", "5 parsecs", "must be a duration", "change the annotation")
    assert str(problem) == 'annotation podcert.io/ttl="5 parsecs": must be a duration; change the annotation'


def test_a_value_of_80_characters_is_shown_whole_and_a_longer_one_is_cut() -> None:
    assert shown("a" * 80) == "a" * 80
    assert shown("a" * 81) == "a" * 79 + "…"


def test_control_and_invisible_characters_and_quotes_are_escaped() -> None:
    assert shown('a\n"\u202e\x00\\') == 'a\\n\\"\\u202e\\x00\\\\'


@given(st.text(max_size=300))
def test_a_shown_value_is_short_and_printable_and_cannot_end_its_quotation(value: str) -> None:
    text = shown(value)
    assert len(text) <= 80
    assert text.isprintable()
    assert '"' not in text.replace("\\\\", "").replace('\\"', "")


@given(st.lists(st.text(max_size=600), min_size=1, max_size=30))
def test_a_message_fits_an_event_however_many_problems_there_are(rules: list[str]) -> None:
    message = joined([Problem("annotation podcert.io/ttl", "x", rule) for rule in rules])
    assert len(message.encode("utf-8", "replace")) <= 1000


def test_problems_that_do_not_fit_are_counted() -> None:
    message = joined([Problem(f"annotation podcert.io/x{number}", "v", "r" * 200) for number in range(20)])
    shown_problems = message.count("annotation podcert.io/x")
    assert message.endswith(f" | and {20 - shown_problems} more problems")
    assert shown_problems >= 3


def test_a_message_is_never_cut_within_a_character() -> None:
    assert cut("ü" * 600) == "ü" * 498 + "…"
    assert cut("a" * 1000) == "a" * 1000


def test_a_long_list_of_names_says_how_many_are_left_out() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(number) for number in range(8)]) == "0, 1, 2, 3, 4 and 3 more"


@pytest.mark.parametrize(
    "value",
    [
        "-----BEGIN EC PRIVATE KEY-----",
        "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t",
        "x hvs.CAESIJplanted",
        "s." + "a1B2" * 6,
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2ln",
    ],
)
def test_a_key_or_token_pasted_into_the_wrong_field_is_not_passed_on(value: str) -> None:
    assert shown(value) == NOT_SHOWN


def test_a_host_name_that_begins_like_a_token_is_shown() -> None:
    assert shown("s.default.svc.cluster.local") == "s.default.svc.cluster.local"
