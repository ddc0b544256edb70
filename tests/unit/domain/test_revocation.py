"""What is revoked when: never what somebody still serves, unless he asks for that."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.advice import MOUNT_SECONDS
from certmanager.domain.model import Delivery, Pod, RevokeWhen, Rotation, StoredSecret
from certmanager.domain.reasons import Reason
from certmanager.domain.revocation import END_SECONDS, HOLD_SECONDS, Plan, View, concerns, overdue, plan, retires
from certmanager.domain.revocation_notes import (
    FINALIZER,
    MAX_OLD,
    OldLeaf,
    asked,
    old_leaves,
    old_leaves_note,
    remembered,
    renewal_asked,
)
from certmanager.domain.supersede import superseded
from tests.unit.domain.builders import DAY, NOW, bundle, leaf, pod, secret

BOTH = frozenset(RevokeWhen)
NONE: frozenset[RevokeWhen] = frozenset()
DELETED = frozenset({RevokeWhen.DELETED})
ROTATED = frozenset({RevokeWhen.ROTATED})
OWN = "01:02"
OLD = OldLeaf("aa:bb", "pki", NOW + DAY, NOW, "certificate", "proof")
MOUNTED = Delivery(mounts=frozenset({secret().name}))
SIDECAR = Delivery(fetcher=True, sidecar=True)


def held(olds: tuple[OldLeaf, ...] = (), notes: dict[str, str] | None = None, **fields: Any) -> StoredSecret:
    """Our Secret with the finalizer, old certificates and further annotations."""
    base = secret(finalizers=(FINALIZER,), **fields)
    text = old_leaves_note(olds)
    more = {"superseded": text} if text else {}
    return replace(base, annotations={**base.annotations, **more, **(notes or {})})


def view(of: StoredSecret, **fields: Any) -> View:
    base = View(
        of, pod(delivery=MOUNTED), enrolled=True, when=BOTH, rotation=Rotation.NONE, overdue=False, now=NOW + 1000
    )
    return replace(base, **fields)


def serials(found: Plan) -> list[str]:
    return [target.serial for target in found.revoke]


def one_shot(serves: str | None) -> Pod:
    return pod(delivery=Delivery(fetcher=True, served_serial=serves))


@pytest.mark.parametrize(
    ("living", "rotation", "after", "expected"),
    [
        (one_shot("AABB"), Rotation.NONE, 1e6, None),
        (one_shot(None), Rotation.NONE, 1e6, None),
        (one_shot(OWN), Rotation.NONE, 0.0, True),
        (pod(delivery=MOUNTED), Rotation.NONE, MOUNT_SECONDS - 1, 1.0),
        (pod(delivery=MOUNTED), Rotation.NONE, MOUNT_SECONDS, True),
        (pod(delivery=MOUNTED), Rotation.RESTART, 1e6, None),
        (pod(delivery=MOUNTED), Rotation.EVICT, 1e6, None),
        (pod(delivery=SIDECAR), Rotation.REFRESH, 10.0, MOUNT_SECONDS - 10),
        (pod(delivery=SIDECAR), Rotation.REFRESH, MOUNT_SECONDS, True),
        (pod(delivery=replace(SIDECAR, reload_problem="exit 1")), Rotation.REFRESH, 1e6, None),
    ],
)
def test_an_old_certificate_waits_until_its_successor_is_in_use(
    living: Pod, rotation: Rotation, after: float, expected: float | bool | None
) -> None:
    """`expected`: True for now, seconds for later, None for an event of the pod."""
    of = held((replace(OLD, not_after=NOW + 1e9),))
    found = plan(view(of, pod=living, rotation=rotation, now=NOW + after))
    assert found.finalizer
    if expected is True:
        assert (serials(found), found.keep) == ([OLD.serial], ())
    else:
        assert (serials(found), len(found.keep), found.later_in) == ([], 1, expected)


@pytest.mark.parametrize(
    ("when", "rotated", "notes", "expected"),
    [
        (BOTH, False, {}, [OWN]),
        (DELETED, False, {}, [OWN]),
        (ROTATED, False, {}, []),
        (ROTATED, True, {}, [OWN]),
        (NONE, True, {}, []),
        (NONE, False, {"revoke": OWN}, [OWN]),
        (NONE, False, {"revoke": "ff:ff"}, []),
        (DELETED, False, {"revoked": OWN}, []),
    ],
)
def test_a_deleted_pods_certificate_is_revoked_for_who_asked_and_the_secret_may_go(
    when: frozenset[RevokeWhen], rotated: bool, notes: dict[str, str], expected: list[str]
) -> None:
    of = held(notes=notes, deleting_since=NOW + 900)
    found = plan(view(of, pod=None, when=when, overdue=rotated))
    assert (serials(found), found.finalizer) == (expected, False)


def test_nothing_is_revoked_before_the_secret_itself_is_deleted() -> None:
    found = plan(view(held(), pod=None))
    assert (serials(found), found.finalizer, found.later_in) == ([], True, None)


@pytest.mark.parametrize(
    ("after", "dying", "expected"),
    [
        (1.0, False, (True, HOLD_SECONDS - 1, False)),
        (HOLD_SECONDS, False, (False, None, True)),
        (99.0, True, (True, None, False)),
    ],
)
def test_a_secret_that_is_deleted_under_its_pod_is_held_a_moment_and_then_made_anew(
    after: float, dying: bool, expected: tuple[bool, float | None, bool]
) -> None:
    """A moment, because a namespace that goes takes the pod along: then its certificate is revoked when the pod is gone."""
    living = pod(delivery=one_shot("aabb").delivery, deleting=dying)
    found = plan(view(held((OLD,), deleting_since=NOW), pod=living, now=NOW + after))
    assert (found.finalizer, found.later_in, found.carry) == expected
    assert (serials(found), found.keep) == ([], (OLD,))


def test_a_pod_that_left_keeps_its_certificate_and_its_secret_goes() -> None:
    """The label was removed: it may serve the certificate for as long as it lives."""
    of = held((OLD,), deleting_since=NOW + 999)
    found = plan(view(of, pod=one_shot("aabb"), enrolled=False))
    assert (serials(found), found.finalizer, found.keep) == ([], False, ())
    assert not plan(view(of, pod=one_shot("aabb"), enrolled=False, now=NOW + 9999)).carry
    assert [skip.serial for skip in found.skip] == [OLD.serial]


def test_what_was_asked_for_is_revoked_also_when_the_pod_left() -> None:
    of = held(notes={"revoke": OWN}, deleting_since=NOW)
    assert serials(plan(view(of, enrolled=False, when=NONE))) == [OWN]


@pytest.mark.parametrize(("note", "expected"), [(f"{OWN},now", [OWN]), ("0102,now", [OWN]), (OWN, []), ("ff,now", [])])
def test_only_now_revokes_what_is_in_use(note: str, expected: list[str]) -> None:
    assert serials(plan(view(held(notes={"revoke": note}), when=NONE))) == expected


def test_what_is_revoked_at_once_is_not_revoked_again() -> None:
    of = held(notes={"revoke": f"{OWN},now", "revoked": OWN})
    found = plan(view(of, when=NONE))
    assert (serials(found), found.finalizer) == ([], False)


@pytest.mark.parametrize("ends", [NOW + 1000 + END_SECONDS, NOW, float("nan")])
def test_what_is_about_to_end_is_left_to_end(ends: float) -> None:
    old = replace(OLD, not_after=ends)
    of = held((old,), deleting_since=NOW, bundle=bundle(leaf=leaf(not_after=ends)))
    found = plan(view(of, pod=None))
    assert (serials(found), found.finalizer) == ([], False)
    assert [skip.result for skip in found.skip] == ["skipped", "skipped"]


@pytest.mark.parametrize("files", [None, bundle(key_fits=False)])
def test_a_certificate_whose_key_is_not_there_is_not_revoked(files: Any) -> None:
    """Somebody put another one's certificate into our Secret, and deleted the pod."""
    found = plan(view(held(deleting_since=NOW, bundle=files), pod=None))
    assert (serials(found), [skip.result for skip in found.skip], found.finalizer) == ([], ["unproven"], False)


@pytest.mark.parametrize(
    ("of", "when", "expected"),
    [
        (secret(), NONE, False),
        (secret(), BOTH, True),
        (held(), BOTH, False),
        (held(), NONE, True),
        (held((OLD,)), BOTH, True),
        (held(notes={"revoke": OWN}), BOTH, True),
        (held(deleting_since=NOW), BOTH, True),
        (secret(deleting_since=NOW, finalizers=("example.com/other",)), BOTH, False),
        (secret(managed=False), BOTH, False),
    ],
)
def test_a_secret_concerns_revocation_only_when_there_may_be_something_to_do(
    of: StoredSecret, when: frozenset[RevokeWhen], expected: bool
) -> None:
    assert concerns(of, when) is expected


@pytest.mark.parametrize(
    ("of", "when", "expected"),
    [
        (held(), BOTH, True),
        (held(), ROTATED, True),
        (held(), DELETED, False),
        (held(), NONE, False),
        (held(notes={"revoke": OWN}), NONE, True),
        (held(notes={"revoke": OWN, "revoked": OWN}), ROTATED, False),
        (held(bundle=bundle(key_fits=False)), BOTH, False),
        (held(bundle=None), BOTH, False),
    ],
)
def test_a_replaced_certificate_is_remembered_where_it_is_to_be_revoked(
    of: StoredSecret, when: frozenset[RevokeWhen], expected: bool
) -> None:
    assert retires(of, when) is expected


def test_a_request_is_for_the_certificate_that_it_names() -> None:
    assert asked(secret(annotations={"revoke": OWN})) == (True, False)
    assert asked(secret(annotations={"revoke": f"{OWN}, now"})) == (True, True)
    assert asked(secret(annotations={"revoke": "03:04,now"})) == (False, False)
    assert asked(secret(annotations={"revoke": ""})) == (False, False)
    assert renewal_asked(secret(annotations={"renew": OWN}))
    assert not renewal_asked(secret(annotations={"renew": "03:04"}))
    assert not renewal_asked(secret(annotations={}))


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (secret(annotations={"revoke": OWN}), None),
        (held(notes={"revoke": OWN}), Reason.REVOCATION_REQUESTED),
        (held(notes={"revoke": "03:04"}), None),
        (secret(annotations={"revoked": OWN}), Reason.REVOCATION_REQUESTED),
        (secret(annotations={"renew": OWN}), Reason.RENEWAL_REQUESTED),
        (secret(annotations={"renew": "03:04"}), None),
        (held(notes={"renew": OWN, "revoke": OWN}), Reason.REVOCATION_REQUESTED),
    ],
)
def test_a_request_makes_its_certificate_due_and_one_to_revoke_only_once_it_cannot_be_lost(
    of: StoredSecret, expected: Reason | None
) -> None:
    found = superseded(of, None)
    assert (None if found is None else found[0]) == expected


def test_rotated_is_what_was_due_when_it_was_deleted() -> None:
    notes = {"renewal-at": "2027-01-15T08:00:00Z"}  # NOW
    assert overdue(secret(annotations=notes, deleting_since=NOW), superseded=False)
    assert not overdue(secret(annotations=notes, deleting_since=NOW - 1), superseded=False)
    assert overdue(secret(annotations=notes, deleting_since=NOW - 1), superseded=True)
    assert not overdue(secret(annotations={}, deleting_since=NOW), superseded=False)


def test_the_list_is_bounded_and_loses_what_ends_first() -> None:
    olds: tuple[OldLeaf, ...] = ()
    lost: list[OldLeaf] = []
    for number in range(MAX_OLD + 3):
        olds, gone = remembered(olds, replace(OLD, serial=f"{number + 1:02x}", not_after=NOW + number))
        lost += gone
    assert [old.serial for old in olds] == [f"{number + 1:02x}" for number in range(3, MAX_OLD + 3)]
    assert [old.serial for old in lost] == ["01", "02", "03"]
    assert remembered(olds, olds[0])[1] == ()


TEXTS = st.text(max_size=20)
OLDS = st.builds(OldLeaf, TEXTS, TEXTS, st.floats(0, 1e10), st.floats(0, 1e10), TEXTS, TEXTS, st.booleans())


@given(st.lists(OLDS, max_size=MAX_OLD).map(tuple))
def test_what_is_written_is_read_back(olds: tuple[OldLeaf, ...]) -> None:
    text = old_leaves_note(olds)
    assert old_leaves(secret(annotations={} if text is None else {"superseded": text})) == olds


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
)


@given(st.one_of(st.text(), JSON.map(json.dumps)))
def test_nonsense_in_the_annotation_is_left_out(text: str) -> None:
    assert old_leaves(secret(annotations={"superseded": text})) == ()


@pytest.mark.parametrize(
    "change", [{"serial": 1}, {"not_after": "1"}, {"not_after": True}, {"asked": 1}, {"more": 1}, {"mount": None}]
)
def test_an_entry_of_another_shape_is_left_out(change: dict[str, object]) -> None:
    good = json.loads(old_leaves_note((OLD,)) or "")[0]
    of = secret(annotations={"superseded": json.dumps([good | change, good])})
    assert old_leaves(of) == (OLD,)
