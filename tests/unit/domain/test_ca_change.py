"""Where a change of the CA stands, by what Vault says of a mount's issuers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.ca_change import (
    USAGE,
    Authorities,
    Issuer,
    Phase,
    change_of,
    leaving,
)
from certmanager.domain.trust import State, state_of

OLD = Issuer(
    "1", "", "CN=root", 100.0, 9000.0, State.ISSUING, "old", frozenset({"old"}), frozenset({"old"}), default=True
)
NEW = replace(
    OLD,
    id="2",
    name="next",
    not_before=200.0,
    fingerprint="new",
    anchors=frozenset({"new"}),
    chain=frozenset({"new"}),
    default=False,
)


def mount(*issuers: Issuer, **fields: Any) -> Authorities:
    return Authorities("pki", issuers, **fields)


def switched(old: State) -> Authorities:
    return mount(replace(OLD, default=False, state=old), replace(NEW, default=True))


@given(st.sampled_from(State))
def test_the_usage_that_is_written_means_the_state_that_was_meant(state: State) -> None:
    assert state_of(USAGE[state].split(",")) is state


def test_an_issuer_is_called_by_its_id_when_its_name_is_too_long_for_a_line() -> None:
    assert [replace(OLD, name=name).label for name in ("", "root-2026", "n" * 10_000)] == [OLD.id, "root-2026", OLD.id]


def test_one_issuer_is_no_change() -> None:
    change = change_of(mount(OLD), {"old"})
    assert (change.phase, change.next, change.goal.phase) == (Phase.SINGLE, OLD, Phase.RETIRING)


def test_a_new_issuer_that_nobody_uses_is_being_distributed() -> None:
    change = change_of(mount(OLD, NEW), {"old"})
    assert (change.phase, change.next, change.old) == (Phase.DISTRIBUTING, NEW, (OLD,))
    assert change.goal.reached(frozenset({"old", "new"}), "old")
    assert not change.goal.reached(frozenset({"old"}), "old")
    assert not change.goal.reached(None, None)


def test_a_closed_issuer_beside_the_new_default_is_the_phase_issuing() -> None:
    change = change_of(switched(State.CLOSING), {"old", "new"})
    assert (change.phase, change.doubtful) == (Phase.ISSUING, ())
    assert change.next is not None
    assert change.next.id == NEW.id
    assert change.goal.reached(frozenset(), "new")
    assert not change.goal.reached(frozenset(), "old")
    assert not change.goal.reached(frozenset(), None)


def test_another_issuer_that_has_signed_for_pods_is_asked_about_and_never_acted_on() -> None:
    for authorities in (switched(State.ISSUING), mount(OLD, NEW)):
        change = change_of(authorities, {"old", "new"})
        other = next(issuer for issuer in authorities.issuers if not issuer.default)
        assert (change.phase, change.doubtful) == (Phase.SINGLE, (other,))


def test_what_is_named_is_the_next_issuer_whatever_secrets_say() -> None:
    assert change_of(mount(OLD, NEW), {"old", "new"}, to="next").phase is Phase.DISTRIBUTING


def test_an_issuer_that_a_role_names_has_a_task_of_its_own() -> None:
    change = change_of(mount(OLD, NEW, role_issuers={"special": "next"}), {"old", "new"})
    assert (change.phase, change.doubtful) == (Phase.SINGLE, ())


def test_a_retired_issuer_is_no_change_and_its_anchor_is_to_leave() -> None:
    change = change_of(switched(State.RETIRED), {"new"})
    assert (change.phase, change.goal.anchors) == (Phase.SINGLE, frozenset({"new"}))
    assert change.goal.reached(frozenset({"new"}), "new")
    assert not change.goal.reached(frozenset({"new", "old"}), "new")
    assert change.goal.reached(None, None), "a Secret that does not say its anchors is not held against the change"


def test_an_older_issuer_is_the_next_one_only_when_it_is_named() -> None:
    older = replace(NEW, not_before=50.0)
    assert change_of(mount(OLD, older), {"old"}).phase is Phase.SINGLE
    assert change_of(mount(OLD, older), {"old"}, to="next").phase is Phase.DISTRIBUTING


def test_of_several_next_issuers_one_has_to_be_named() -> None:
    third = replace(NEW, id="3", name="third", fingerprint="third")
    change = change_of(mount(OLD, NEW, third), {"old"})
    assert (change.phase, len(change.choice)) == (Phase.SINGLE, 2)
    assert change_of(mount(OLD, NEW, third), {"old"}, to="3").next == third


def test_a_root_without_a_key_came_with_its_intermediate_and_is_no_next_issuer() -> None:
    assert change_of(mount(OLD, replace(NEW, has_key=False)), {"old"}).phase is Phase.SINGLE


def test_with_an_intermediate_goes_the_root_that_nobody_else_needs() -> None:
    root = replace(
        OLD, id="r", fingerprint="r", chain=frozenset({"r"}), anchors=frozenset({"r"}), has_key=False, default=False
    )
    other = replace(root, id="s", fingerprint="s", chain=frozenset({"s"}), anchors=frozenset({"s"}))
    below = replace(OLD, state=State.CLOSING, chain=frozenset({"old", "r"}), anchors=frozenset({"r"}), default=False)
    new_root = replace(NEW, chain=frozenset({"new", "s"}), anchors=frozenset({"s"}), default=True)
    assert [one.id for one in leaving(mount(below, new_root, root, other), [below])] == ["1", "r"]
    same_root = replace(NEW, chain=frozenset({"new", "r"}), anchors=frozenset({"r"}), default=True)
    assert [one.id for one in leaving(mount(below, same_root, root), [below])] == ["1"]


def test_roles_that_name_an_issuer_are_found_by_its_name_and_by_its_id() -> None:
    authorities = mount(OLD, NEW, role_issuers={"a": "default", "b": "2", "c": "next", "d": ""})
    assert authorities.roles_of(NEW) == ("b", "c")
    assert authorities.roles_of(OLD) == ()


def test_a_retired_root_that_has_signed_the_new_one_too_is_not_waited_for() -> None:
    crossed = replace(NEW, anchors=frozenset({"new", "gone"}), chain=frozenset({"new", "gone"}))
    gone = replace(OLD, id="0", fingerprint="gone", state=State.RETIRED, anchors=frozenset({"gone"}), default=False)
    assert change_of(mount(OLD, crossed, gone), {"old"}).goal.anchors == frozenset({"new"})
