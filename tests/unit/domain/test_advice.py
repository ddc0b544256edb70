"""Warnings beside a certificate that was made: what nothing brings into the pod, and what its files will not follow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from certmanager.domain.advice import MOUNT_SECONDS, advice
from certmanager.domain.model import Delivery, Owner, Pod, Rotation, StoredSecret
from certmanager.domain.reasons import Reason
from tests.unit.domain.builders import NOW, annotated, bundle, leaf, pod, request, secret

ROLLABLE = Owner("apps/v1", "ReplicaSet", "web-5d4f8", "rs")
MOUNTING = Delivery(mounts=frozenset({"mine"}))
OLD = NOW + 60


def lives(seconds: float, of: Pod, renewed: int = 0) -> StoredSecret:
    """Its Secret, with a certificate of so many seconds."""
    made = secret(of)
    return replace(
        made,
        bundle=bundle(leaf=leaf(not_after=NOW + seconds)),
        annotations={**made.annotations, "renewals": f"{renewed}"},
    )


def reasons(of: Pod, its: StoredSecret, **fields: object) -> dict[Reason, str]:
    return dict(advice(of, replace(request(of), **fields), its))  # type: ignore[arg-type]


def mounting(**annotations: str) -> Pod:
    return replace(annotated(secret_name="mine", **annotations), delivery=MOUNTING)


@pytest.mark.parametrize(("seconds", "warned"), [(90, True), (300, True), (3600, False), (86400, False)])
def test_a_mount_that_is_slower_than_the_rest_of_the_certificates_life_is_warned_of(seconds: int, warned: bool) -> None:
    of = mounting()
    assert (Reason.MOUNT_TOO_SLOW in reasons(of, lives(seconds, of))) is warned


def test_the_warning_of_a_slow_mount_tells_both_times_and_what_to_do() -> None:
    of = mounting()
    message = reasons(of, lives(90, of))[Reason.MOUNT_TOO_SLOW]
    assert f"{MOUNT_SECONDS:.0f} s" in message
    assert "renew-before" in message


def test_an_earlier_renewal_leaves_the_mount_its_time() -> None:
    of = mounting(renew_before="150s")
    assert Reason.MOUNT_TOO_SLOW not in reasons(of, lives(300, of))


def test_a_fetcher_is_not_slowed_by_the_kubelet() -> None:
    of = pod(delivery=Delivery(fetcher=True, sidecar=True))
    assert Reason.MOUNT_TOO_SLOW not in reasons(of, lives(90, of))


def outdated(**fields: object) -> Pod:
    seen = Delivery(fetcher=True, served_serial="00:01", served_not_after=OLD)
    return replace(pod(delivery=seen), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("owner", "rotation", "words"),
    [
        (ROLLABLE, Rotation.RESTART, "has not come"),
        (ROLLABLE, Rotation.EVICT, "has not come"),
        (ROLLABLE, Rotation.NONE, "replace the pod"),
        (None, Rotation.RESTART, "replace the pod"),
    ],
)
def test_files_that_did_not_follow_a_renewal_are_always_warned_of(
    owner: Owner | None, rotation: Rotation, words: str
) -> None:
    of = outdated(owner=owner)
    assert words in reasons(of, lives(90, of, renewed=1), rotation=rotation)[Reason.FILES_OUTDATED]


def test_a_pod_that_serves_what_its_secret_holds_is_not_warned() -> None:
    of = pod(delivery=Delivery(fetcher=True, served_serial="01:02", served_not_after=NOW + 90))
    assert reasons(of, lives(90, of)) == {}
