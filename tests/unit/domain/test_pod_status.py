"""How each pod stands, by what it serves."""

from __future__ import annotations

from typing import Any

import pytest

from certmanager.domain.model import Delivery, Owner, Pod, StoredSecret
from certmanager.domain.pod_status import SOON_SECONDS, PodStatus, State, Warned, status, statuses
from tests.unit.domain.builders import DAY, LONG_NAME, NOW, pod, secret

OWN = "01:02"
OWNER = Owner("apps/v1", "ReplicaSet", "web-1", "set-uid")
WARNED = Warned("RoleForbids", "the role forbids it", NOW + DAY)
OLD_FILES = Delivery(fetcher=True, served_serial="AABB", served_not_after=NOW + 900)


def noted(**notes: str) -> StoredSecret:
    """Metadata alone, as who may not read keys sees it."""
    base = secret()
    return secret(
        bundle=None,
        annotations={**base.annotations, **{name.replace("_", "-"): value for name, value in notes.items()}},
    )


def one(of: Pod | None = None, there: StoredSecret | None = None, **fields: Any) -> PodStatus:
    return status(of or pod(), there, fields.get("warned"), fields.get("now", NOW + 60))


@pytest.mark.parametrize(
    ("of", "there", "fields", "state", "reason"),
    [
        (pod(), noted(), {}, State.READY, ""),
        (pod(), noted(), {"warned": WARNED}, State.READY, ""),
        (pod(), noted(), {"now": NOW + DAY - 60}, State.DUE, "RenewalDue"),
        (pod(), noted(), {"now": NOW + DAY - 60, "warned": WARNED}, State.DUE, "RoleForbids"),
        (pod(), noted(renew=OWN), {}, State.DUE, "RenewalRequested"),
        (pod(), noted(revoke=f"{OWN},now"), {}, State.DUE, "RevocationRequested"),
        (pod(), noted(revoke="ff:ff", renew="ff:ff", revoked="ff:ff"), {}, State.READY, ""),
        (pod(), noted(revoked=OWN), {}, State.REVOKED, "RevocationRequested"),
        (pod(), noted(), {"now": NOW + DAY}, State.EXPIRED, ""),
        (pod(delivery=OLD_FILES), noted(), {}, State.OUTDATED, "FilesOutdated"),
        (pod(delivery=OLD_FILES), noted(), {"now": NOW + 900}, State.EXPIRED, ""),
        (pod(delivery=Delivery(fetcher=True, served_serial="0102")), noted(), {}, State.READY, ""),
        (pod(), None, {}, State.PENDING, "CertificateMissing"),
        (pod(), None, {"warned": WARNED}, State.REFUSED, "RoleForbids"),
        (pod(finished=True), None, {}, State.FINISHED, ""),
        (pod(), noted(not_after="nonsense", renewal_at="", serial=""), {}, State.READY, ""),
    ],
)
def test_a_pods_state_is_that_of_the_certificate_that_it_serves(
    of: Pod, there: StoredSecret | None, fields: dict[str, Any], state: State, reason: str
) -> None:
    found = one(of, there, **fields)
    assert (found.state, found.reason) == (state, reason)


def test_of_outdated_files_the_end_is_that_of_the_files() -> None:
    found = one(pod(delivery=OLD_FILES), noted())
    assert (found.serial, found.served_until, found.renewal_at) == ("AABB", NOW + 900, None)


def test_a_line_has_what_the_secret_says() -> None:
    found = one(pod(owner=OWNER), noted())
    assert (found.names, found.serial, found.strategy) == ((LONG_NAME,), OWN, "restart")
    assert found.served_until == NOW + DAY
    assert found.renewal_at is not None
    assert NOW + DAY / 2 < found.renewal_at < NOW + DAY


@pytest.mark.parametrize(
    ("of", "strategy", "in_place"),
    [
        (pod(owner=OWNER, annotations={"rotation": "evict"}), "evict", False),
        (pod(owner=OWNER, annotations={"rotation": "nonsense"}), "restart", False),
        (pod(), "restart", True),
        (pod(annotations={"rotation": "none"}), "none", False),
    ],
)
def test_the_strategy_is_the_pods_or_the_one_that_held_when_its_certificate_was_made(
    of: Pod, strategy: str, in_place: bool
) -> None:
    found = one(of, noted())
    assert (found.strategy, found.in_place) == (strategy, in_place)


def test_a_pod_that_waits_long_without_a_word_is_worth_a_look() -> None:
    assert "just come" in one(now=NOW + SOON_SECONDS).message
    assert "whether a manager serves its namespace" in one(now=NOW + SOON_SECONDS + 1).message


def test_only_a_pods_own_secret_counts_and_pods_come_in_order() -> None:
    strange = noted()
    foreign = StoredSecret(**{**{name: getattr(strange, name) for name in StoredSecret.__slots__}, "pod_uid": "other"})
    pods = [pod(), pod(name="a", uid="87654321-aaaa"), pod(name="no", labels={"podcert.io/enroll": "false"})]
    assert [(each.pod, each.state) for each in statuses(pods, [foreign], {}, NOW)] == [
        ("a", State.PENDING),
        ("web-0", State.PENDING),
    ]
    assert statuses([pod()], [strange], {}, NOW)[0].state is State.READY
