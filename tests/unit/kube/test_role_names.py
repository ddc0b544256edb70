"""Which name goes into which Role: complete, bounded, stable, without gaps, and in an order that never takes a name away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.kube.role_names import LONGEST, MOST_ROLES, part_of, role_name, share_out

names = st.sets(st.sampled_from([f"s{number}" for number in range(30)]))
accounts = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?", fullmatch=True)


@st.composite
def roles(draw: st.DrawFn) -> dict[int, frozenset[str]]:
    """Roles as they may be found, also with names twice, gaps and too many names."""
    return draw(st.dictionaries(st.integers(1, 6), names.map(frozenset), max_size=5))


def after(parts: dict[int, frozenset[str]], plan: list[tuple[int, frozenset[str]]]) -> dict[int, frozenset[str]]:
    return {part: held for part, held in (parts | dict(plan)).items() if held}


@given(roles(), names)
def test_the_roles_hold_exactly_the_wanted_names_each_once_and_never_too_many(
    parts: dict[int, frozenset[str]], wanted: set[str]
) -> None:
    held = after(parts, share_out(parts, wanted, 4))
    assert sorted(name for one in held.values() for name in one) == sorted(wanted)
    assert all(len(one) <= 4 for one in held.values())
    assert sorted(held) == list(range(1, len(held) + 1))


@given(roles(), names)
def test_a_second_time_nothing_moves(parts: dict[int, frozenset[str]], wanted: set[str]) -> None:
    held = after(parts, share_out(parts, wanted, 4))
    assert after(held, share_out(held, wanted, 4)) == held


@given(names, st.sampled_from([f"new{number}" for number in range(3)]))
def test_one_name_more_changes_one_role(wanted: set[str], new: str) -> None:
    held = after({}, share_out({}, wanted, 4))
    then = after(held, share_out(held, wanted | {new}, 4))
    assert len([part for part in then if then[part] != held.get(part)]) == 1


@given(roles(), names)
def test_no_name_that_stays_wanted_is_missing_between_two_writes(
    parts: dict[int, frozenset[str]], wanted: set[str]
) -> None:
    now = dict(parts)
    kept = wanted & {name for held in parts.values() for name in held}
    for part, held in share_out(parts, wanted, 40):
        now[part] = held
        assert kept <= {name for one in now.values() for name in one}


@given(accounts, accounts, st.integers(1, 3), st.integers(1, 3))
def test_two_serviceaccounts_never_share_a_role_s_name(one: str, other: str, first: int, second: int) -> None:
    assert (role_name(one, first) == role_name(other, second)) == ((one, first) == (other, second))


def test_neighbours_in_spelling_are_apart() -> None:
    assert role_name("web", 2) != role_name("web-2", 1)
    long = "a" * LONGEST
    assert role_name(long + "b", 1) != role_name(long + "c", 1)
    assert len(role_name("a" * 253, 3)) < 253


@given(accounts, st.integers(1, MOST_ROLES))
def test_a_roles_number_is_read_from_its_name(account: str, part: int) -> None:
    assert part_of(role_name(account, part), account) == part


@pytest.mark.parametrize(
    "name", ["podcert-web:0", "podcert-web:1", "podcert-web:02", "podcert-web:1001", "podcert-web:9999999999"]
)
def test_a_number_that_was_never_given_is_somebody_elses_role(name: str) -> None:
    assert part_of(name, "web") is None
