"""The ordered checks: what is to be done about a pod now, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from certmanager.domain import decide
from certmanager.domain.decide import Issue, Keep, Nothing, Reject, Remove, Rotate, Wait
from certmanager.domain.model import Delivery, KeyType, Mode, Names, Owner, Rotation
from certmanager.domain.reasons import Reason
from certmanager.domain.request import NotEnrolled, Rejection, Waiting
from certmanager.domain.secret_notes import annotations_for, issued_message, secret_name_taken
from certmanager.domain.times import rfc3339
from tests.unit.domain.builders import DAY, LONG_NAME, NOW, bundle, leaf, pod, request, secret, situation, trust

REJECTION = Rejection(Reason.INVALID_ANNOTATION, "annotation podcert.io/ttl is wrong")
NO_NAME = Rejection(Reason.NO_NAME, "no name")
FOREIGN_NAME = Rejection(Reason.NAME_NOT_ALLOWED, "not its own")
WAITING = Waiting(Reason.WAITING_FOR_POD_IP, "no IP yet")
STRANGER = secret(managed=False)
PREDECESSOR = secret(pod_uid="87654321-dead", pod_name="web-0")
UNREADABLE = secret(bundle=None, problem="tls.crt: no certificate in it")
UNSELECTED = request(selected=False)

OWNED = pod(
    owner=Owner("apps/v1", "ReplicaSet", "web-5d4f8", "rs"), delivery=Delivery(fetcher=True, served_serial="01:02")
)
OUTDATED = replace(OWNED, delivery=Delivery(fetcher=True, served_serial="00:01", served_not_after=NOW + 60))
RENEWED = secret(annotations={**secret().annotations, "renewals": "1"})
MOUNTING = replace(OWNED, delivery=Delivery(mounts=frozenset({"web-0-cert-12345678"})))
TWO_ANCHORS = secret(bundle=bundle(anchors=frozenset({"aa", "bb"})))
NAMED_ISSUER = secret(annotations=annotations_for(request(issuer="next"), bundle(), pod(), NOW))
UNROLLED = request(rotation=Rotation.NONE)

TABLE: list[tuple[str, dict[str, Any], type, Reason]] = [
    ("all is well", {}, Keep, Reason.VALID),
    ("deleting", {"pod": pod(deleting=True)}, Nothing, Reason.DELETING),
    ("deleting, no Secret", {"pod": pod(deleting=True), "secret": None}, Nothing, Reason.DELETING),
    ("deleting, a stranger's Secret", {"pod": pod(deleting=True), "secret": STRANGER}, Nothing, Reason.DELETING),
    ("finished", {"pod": pod(finished=True)}, Remove, Reason.FINISHED),
    ("finished, another pod's Secret", {"pod": pod(finished=True), "secret": PREDECESSOR}, Nothing, Reason.FINISHED),
    ("finished and refused", {"pod": pod(finished=True), "request": REJECTION}, Remove, Reason.FINISHED),
    ("not enrolled", {"request": NotEnrolled()}, Remove, Reason.NOT_ENROLLED),
    ("not enrolled, no Secret", {"request": NotEnrolled(), "secret": None}, Nothing, Reason.NOT_ENROLLED),
    ("refused", {"request": REJECTION}, Reject, Reason.INVALID_ANNOTATION),
    ("refused, no Secret", {"request": REJECTION, "secret": None}, Reject, Reason.INVALID_ANNOTATION),
    ("refused for good, Services may come", {"request": REJECTION, "settles_in": 0.2}, Reject, REJECTION.reason),
    ("no name, Services may come", {"request": NO_NAME, "settles_in": 0.2}, Wait, Reason.WAITING_FOR_SERVICES),
    ("no name", {"request": NO_NAME}, Reject, Reason.NO_NAME),
    ("foreign, Services may come", {"request": FOREIGN_NAME, "settles_in": 0.2}, Wait, Reason.WAITING_FOR_SERVICES),
    ("a foreign name", {"request": FOREIGN_NAME}, Reject, Reason.NAME_NOT_ALLOWED),
    ("waiting", {"request": WAITING, "secret": None}, Wait, Reason.WAITING_FOR_POD_IP),
    ("no Service yet", {"request": UNSELECTED, "secret": None, "settles_in": 0.2}, Wait, Reason.WAITING_FOR_SERVICES),
    ("no Service came", {"request": UNSELECTED, "secret": None}, Issue, Reason.CERTIFICATE_MISSING),
    ("a Service is there", {"secret": None, "settles_in": 0.2}, Issue, Reason.CERTIFICATE_MISSING),
    ("no Secret", {"secret": None}, Issue, Reason.CERTIFICATE_MISSING),
    ("a stranger's Secret", {"secret": STRANGER}, Reject, Reason.SECRET_NAME_TAKEN),
    ("a stranger's with our label", {"secret": secret(pod_uid="")}, Reject, Reason.SECRET_NAME_TAKEN),
    ("a living pod's", {"secret": PREDECESSOR, "other_pod_alive": True}, Reject, Reason.SECRET_NAME_TAKEN),
    ("a gone pod's", {"secret": PREDECESSOR}, Remove, Reason.PREDECESSOR_SECRET),
    ("unreadable", {"secret": UNREADABLE}, Issue, Reason.CERTIFICATE_UNREADABLE),
    ("a stranger's, unreadable", {"secret": replace(STRANGER, bundle=None)}, Reject, Reason.SECRET_NAME_TAKEN),
    ("another key", {"secret": secret(bundle=bundle(key_fits=False))}, Issue, Reason.KEY_MISMATCH),
    ("broken chain", {"secret": secret(bundle=bundle(chain_ok=False, anchor=None))}, Issue, Reason.CHAIN_BROKEN),
    ("new anchors", {"trust": trust("bb")}, Issue, Reason.ANCHOR_UNKNOWN),
    ("Vault away", {"trust": None}, Keep, Reason.VALID),
    ("Vault tells no anchors", {"trust": trust()}, Keep, Reason.VALID),
    ("one anchor more", {"trust": trust("aa", "bb")}, Issue, Reason.ANCHOR_MISSING),
    ("one anchor more, just issued", {"trust": trust("aa", "bb"), "now": NOW + 14}, Wait, Reason.ANCHOR_MISSING),
    ("one anchor more, to be rolled", {"trust": trust("aa", "bb"), "pod": OWNED}, Rotate, Reason.ANCHOR_MISSING),
    ("one anchor more, mounted", {"trust": trust("aa", "bb"), "pod": MOUNTING}, Issue, Reason.ANCHOR_MISSING),
    (
        "one anchor more, rolled by nobody",
        {"trust": trust("aa", "bb"), "pod": OWNED, "request": UNROLLED},
        Issue,
        Reason.ANCHOR_MISSING,
    ),
    (
        "one anchor more, to be rolled, urgent",
        {"trust": trust("aa", "bb"), "pod": OWNED, "now": NOW + DAY * 0.84},
        Issue,
        Reason.RENEWAL_DUE,
    ),
    ("one anchor more, refused", {"trust": trust("aa", "bb"), "request": REJECTION}, Reject, REJECTION.reason),
    ("issuer closing", {"trust": trust("aa", closing=["aa"])}, Issue, Reason.ISSUER_CLOSING),
    (
        "issuer closing, to be rolled",
        {"trust": trust("aa", closing=["aa"]), "pod": OWNED},
        Rotate,
        Reason.ISSUER_CLOSING,
    ),
    ("another issuer closing", {"trust": trust("aa", closing=["bb"])}, Keep, Reason.VALID),
    ("anchor retired", {"secret": TWO_ANCHORS}, Issue, Reason.ANCHOR_RETIRED),
    ("anchor retired, to be rolled", {"secret": TWO_ANCHORS, "pod": OWNED}, Rotate, Reason.ANCHOR_RETIRED),
    ("another mode", {"request": request(mode=Mode.ISSUE, key_type=None)}, Issue, Reason.REQUEST_CHANGED),
    ("another role", {"request": request(role="other")}, Issue, Reason.REQUEST_CHANGED),
    ("another mount", {"request": request(mount="pki2")}, Issue, Reason.REQUEST_CHANGED),
    ("another key type", {"request": request(key_type=KeyType.EC_384)}, Issue, Reason.REQUEST_CHANGED),
    ("another TTL", {"request": request(ttl=60)}, Issue, Reason.REQUEST_CHANGED),
    ("another issuer", {"request": request(issuer="next")}, Issue, Reason.REQUEST_CHANGED),
    ("no issuer any more", {"secret": NAMED_ISSUER}, Issue, Reason.REQUEST_CHANGED),
    ("the named issuer", {"secret": NAMED_ISSUER, "request": request(issuer="next")}, Keep, Reason.VALID),
    ("no annotations", {"secret": secret(annotations={})}, Keep, Reason.VALID),
    ("other rotation", {"request": request(rotation="none", renew_before_fraction=0.3)}, Keep, Reason.VALID),
    (
        "gained",
        {"request": request(names=Names(dns=(LONG_NAME, "a.b"), common_name=LONG_NAME))},
        Issue,
        Reason.NAME_GAINED,
    ),
    ("gained IP", {"request": request(names=Names(dns=(LONG_NAME,), ips=("10.0.0.7",)))}, Issue, Reason.NAME_GAINED),
    ("expired", {"now": NOW + DAY}, Issue, Reason.RENEWAL_DUE),
    ("due", {"now": NOW + DAY * 0.67}, Issue, Reason.RENEWAL_DUE),
    ("not due", {"now": NOW + DAY * 0.59}, Keep, Reason.VALID),
    ("due, to be rolled", {"pod": OWNED, "now": NOW + DAY * 0.67}, Rotate, Reason.ROTATION_DUE),
    ("due, to be rolled, urgent", {"pod": OWNED, "now": NOW + DAY * 0.84}, Issue, Reason.RENEWAL_DUE),
    ("due, rolled by nobody", {"pod": OWNED, "request": UNROLLED, "now": NOW + DAY * 0.67}, Issue, Reason.RENEWAL_DUE),
    ("files outdated", {"pod": OUTDATED, "secret": RENEWED}, Rotate, Reason.ROTATION_DUE),
    ("files that cannot be outdated", {"pod": OUTDATED}, Keep, Reason.VALID),
    ("of a Secret made anew", {"pod": OUTDATED, "now": NOW + DAY * 0.28}, Rotate, Reason.ROTATION_DUE),
    (
        "due at once",
        {"secret": secret(bundle=bundle(leaf=leaf(not_after=NOW + 2))), "now": NOW + 3},
        Wait,
        Reason.RENEWAL_LOOP,
    ),
]


@pytest.mark.parametrize(("fields", "kind", "reason"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_first_check_with_an_opinion_decides(fields: dict[str, Any], kind: type, reason: Reason) -> None:
    decision = decide.decide(situation(**fields))
    assert (type(decision), decision.reason) == (kind, reason)
    assert isinstance(decision, Nothing) or decision.message


def test_every_check_has_an_opinion_somewhere_in_the_table() -> None:
    deciding = set()
    for _, fields, _, _ in TABLE:
        here = situation(**fields)
        deciding |= {next((check for check in decide.CHECKS if check(here) is not None), None)}
    assert deciding == {*decide.CHECKS, None}


def test_every_check_says_what_it_is_about() -> None:
    assert all(check.__doc__ for check in decide.CHECKS)


def test_a_name_gained_right_after_a_certificate_waits_for_others_and_never_longer_than_said() -> None:
    gained = request(names=Names(dns=(LONG_NAME, "a.b"), common_name=LONG_NAME))
    made = secret(annotations={"issued-at": rfc3339(NOW)})
    soon = decide.decide(situation(request=gained, secret=made, now=NOW + 0.5))
    assert isinstance(soon, Wait)
    assert (soon.reason, soon.seconds) == (Reason.NAME_GAINED, decide.NAMES_SECONDS - 0.5)
    assert isinstance(decide.decide(situation(request=gained, secret=made, now=NOW + decide.NAMES_SECONDS)), Issue)
    assert isinstance(decide.decide(situation(request=gained, secret=made, now=NOW - 3600)), Issue)  # a clock set back


@pytest.mark.parametrize("serial", ["01:02", "0102", "102", "00:01:02"])
def test_a_serial_that_is_written_otherwise_is_no_older_certificate(serial: str) -> None:
    told = replace(OWNED, delivery=Delivery(fetcher=True, served_serial=serial, served_not_after=NOW + DAY))
    assert isinstance(decide.decide(situation(pod=told)), Keep)


def test_names_lost_wait_for_the_rotation() -> None:
    two = leaf(names=Names(dns=(LONG_NAME, "old.default"), common_name="old.default"))
    assert isinstance(decide.decide(situation(secret=secret(bundle=bundle(leaf=two)))), Keep)


def test_another_common_name_among_the_same_names_is_a_change() -> None:
    names = Names(dns=(LONG_NAME, "a.b"), common_name="a.b")
    has = secret(bundle=bundle(leaf=leaf(names=replace(names, common_name=LONG_NAME))))
    decision = decide.decide(situation(secret=has, request=request(names=names)))
    assert isinstance(decision, Issue)
    assert decision.reason is Reason.REQUEST_CHANGED
    assert "common-name from web.default.svc.cluster.local to a.b" in decision.message


def test_a_certificate_without_a_common_name_is_not_made_again_for_it() -> None:
    has = secret(bundle=bundle(leaf=leaf(names=Names(dns=(LONG_NAME,)))))
    assert isinstance(decide.decide(situation(secret=has)), Keep)


def test_the_message_of_a_change_tells_old_and_new() -> None:
    decision = decide.decide(situation(request=request(role="other", ttl=60)))
    assert isinstance(decision, Issue)
    assert decision.message == "changed: role from pods to other, ttl from role-default to 60s"


def test_waiting_for_services_lasts_as_long_as_one_may_come() -> None:
    decision = decide.decide(situation(request=UNSELECTED, settles_in=0.2))
    assert isinstance(decision, Wait)
    assert decision.seconds == 0.2


def test_a_kept_certificate_tells_when_it_is_due() -> None:
    decision = decide.decide(situation())
    assert isinstance(decision, Keep)
    assert decision.next_at is not None
    assert NOW + 0.6 * DAY <= decision.next_at <= NOW + DAY * 2 / 3
    assert isinstance(decide.decide(situation(now=decision.next_at - 1)), Keep)
    assert isinstance(decide.decide(situation(now=decision.next_at)), Issue)


def test_an_expired_certificate_is_told_from_one_that_is_due() -> None:
    for now, words in ((NOW + DAY, "expired at 2027-01-16T08:00:00Z"), (NOW + DAY - 1, "renewal was due at")):
        decision = decide.decide(situation(now=now))
        assert isinstance(decision, Issue)
        assert words in decision.message


def test_without_a_time_of_issue_the_lifetime_counts_from_not_before() -> None:
    has = secret(annotations={"issued-at": "yesterday"}, bundle=bundle(leaf=leaf(not_before=NOW - DAY)))
    decision = decide.decide(situation(secret=has))
    assert isinstance(decision, Keep)
    assert decision.next_at is not None
    assert decision.next_at <= NOW - DAY + 2 * DAY * 2 / 3


def test_a_certificate_issued_as_asked_is_kept_whatever_was_asked() -> None:
    for wanted in (request(), request(ttl=60), request(mode=Mode.ISSUE, key_type=None, role="pods-issue")):
        made = secret(annotations=annotations_for(wanted, bundle(), pod(), NOW))
        assert isinstance(decide.decide(situation(request=wanted, secret=made)), Keep)


def test_the_annotations_of_a_secret_hold_all_that_is_needed_later() -> None:
    assert annotations_for(request(ttl=3600), bundle(), pod(), NOW) == {
        "pod": "web-0",
        "pod-uid": pod().uid,
        "serial": "01:02",
        "issued-at": "2027-01-15T08:00:00Z",
        "not-after": "2027-01-16T08:00:00Z",
        "renewal-at": "2027-01-15T22:47:14Z",
        "names": LONG_NAME,
        "mode": "sign",
        "key-type": "ec-256",
        "mount": "pki",
        "role": "pods",
        "ttl": "3600s",
        "renewals": "0",
        "rotation": "restart",
        "anchors": "aa",
        "issuer": "aa",
    }


def test_a_renewal_in_place_is_counted_on_the_secret() -> None:
    once = secret(annotations=annotations_for(request(), bundle(), pod(), NOW, secret()))
    assert once.annotations["renewals"] == "1"
    assert annotations_for(request(), bundle(), pod(), NOW, once)["renewals"] == "2"


def test_in_mode_issue_the_annotations_tell_the_key_type_that_vault_chose() -> None:
    wanted = request(mode=Mode.ISSUE, key_type=None)
    assert annotations_for(wanted, bundle(leaf=leaf(key_type="rsa-2048")), pod(), NOW)["key-type"] == "rsa-2048"


@pytest.mark.parametrize(
    ("there", "whose"), [(STRANGER, "it is not Podcert's"), (PREDECESSOR, "it is the Secret of pod web-0")]
)
def test_a_name_taken_is_told_with_owner_rule_and_remedy(there: Any, whose: str) -> None:
    reason, message = secret_name_taken(there)
    assert reason is Reason.SECRET_NAME_TAKEN
    assert message.startswith("Secret default/web-0-cert-12345678 exists and is left untouched: ")
    assert whose in message
    assert "podcert.io/secret-name" in message


def test_the_message_of_an_issue_tells_serial_names_end_and_why() -> None:
    text = issued_message("the pod has no Secret yet", secret())
    assert text == (
        f"01:02 for {LONG_NAME} until 2027-01-16T08:00:00Z in Secret default/web-0-cert-12345678 "
        "(the pod has no Secret yet)"
    )
