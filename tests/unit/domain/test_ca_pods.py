"""Which pods have followed a change of the CA, and which cannot: one row for each way a certificate reaches a pod."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.ca_change import Goal, Phase
from certmanager.domain.ca_pods import Member, Standing, Verdict, asked_issuers, judge, used_issuers, usual_lifetime
from certmanager.domain.model import Delivery, Owner, Pod, StoredSecret, Workload
from certmanager.domain.times import rfc3339
from tests.unit.domain.builders import DAY, NOW, UID, deployment, pod

GOAL = Goal(Phase.DISTRIBUTING, anchors=frozenset({"new"}))
ISSUING = Goal(Phase.ISSUING, issuers=frozenset({"old"}))
NAME = "web-0-cert-12345678"
REPLICA = Owner("apps/v1", "ReplicaSet", "web-5d4f", "u")
SET = Owner("apps/v1", "StatefulSet", "web", "u")
ONCE = Delivery(fetcher=True, served_serial="01:02", served_not_after=NOW + DAY)
SIDECAR = Delivery(fetcher=True, sidecar=True)
MOUNTED = Delivery(mounts=frozenset({NAME}))


def secret(anchors: str | None = "old", **notes: str) -> StoredSecret:
    annotations = {
        "serial": "01:02",
        "not-after": rfc3339(NOW + DAY),
        "issued-at": rfc3339(NOW - 3600),
        "renewals": "0",
    }
    annotations |= {"issuer": "old"} | ({} if anchors is None else {"anchors": anchors})
    annotations |= {name.replace("_", "-"): value for name, value in notes.items()}
    return StoredSecret("default", NAME, "s", 1, True, "web-0", UID, frozenset(), annotations, None)


def one_shot(owner: Owner | None = REPLICA, **fields: Any) -> Pod:
    base = pod(delivery=ONCE, owner=owner, labels={"pod-template-hash": "5d4f"})
    return replace(base, **fields)


def verdict(of: Pod, having: StoredSecret, goal: Goal = GOAL, on: Workload | None = None) -> Verdict:
    return judge(Member(of, having, on), goal, NOW)


BOTH = "old,new"


@pytest.mark.parametrize(
    ("of", "having", "standing"),
    [
        (one_shot(), secret(BOTH), Standing.FOLLOWED),
        (one_shot(), secret(BOTH, serial="09"), Standing.WAITING),
        (one_shot(None), secret(BOTH, serial="09"), Standing.STUCK),
        (one_shot(None), secret(BOTH), Standing.FOLLOWED),
        (one_shot(), secret(), Standing.WAITING),
        (one_shot(), secret(None), Standing.WAITING),
        (one_shot(delivery=Delivery(fetcher=True)), secret(BOTH), Standing.FOLLOWED),
        (one_shot(None, delivery=Delivery(fetcher=True)), secret(), Standing.WAITING),
        (one_shot(delivery=replace(ONCE, served_serial="0102")), secret(BOTH), Standing.FOLLOWED),
        (one_shot(None, delivery=replace(ONCE, served_not_after=NOW)), secret(BOTH, serial="09"), Standing.ENDED),
        (one_shot(Owner("batch/v1", "Job", "work", "u")), secret(), Standing.STUCK),
        (one_shot(annotations={"rotation": "none"}), secret(), Standing.STUCK),
        (one_shot(annotations={"rotation": "refresh"}), secret(), Standing.STUCK),
        (one_shot(annotations={"rotation": "evict"}), secret(), Standing.WAITING),
        (one_shot(annotations={"rotation": "none"}, deleting=True), secret(), Standing.WAITING),
        (pod(delivery=SIDECAR), secret(), Standing.WAITING),
        (pod(delivery=SIDECAR), secret(BOTH), Standing.FOLLOWED),
        (pod(delivery=SIDECAR), secret(BOTH, issued_at=rfc3339(NOW - 1)), Standing.WAITING),
        (pod(delivery=replace(SIDECAR, reload_problem="no such process")), secret(BOTH), Standing.STUCK),
        (pod(delivery=replace(SIDECAR, reload_problem="no such process")), secret(), Standing.STUCK),
        (pod(delivery=MOUNTED), secret(), Standing.WAITING),
        (pod(delivery=MOUNTED), secret(BOTH), Standing.FOLLOWED),
        (pod(delivery=MOUNTED), secret(BOTH, renewals="1", issued_at=rfc3339(NOW - 119)), Standing.WAITING),
        (pod(delivery=MOUNTED), secret(BOTH, renewals="1", issued_at=rfc3339(NOW - 121)), Standing.FOLLOWED),
        (pod(delivery=MOUNTED, owner=SET), secret(BOTH, renewals="1"), Standing.WAITING),
        (pod(delivery=MOUNTED, owner=SET), secret(BOTH), Standing.FOLLOWED),
        (
            pod(delivery=MOUNTED, owner=SET, annotations={"rotation": "none"}),
            secret(BOTH, renewals="1"),
            Standing.FOLLOWED,
        ),
        (pod(), secret(BOTH, renewals="1"), Standing.FOLLOWED),
        (pod(), secret(not_after=rfc3339(NOW - 1)), Standing.ENDED),
    ],
)
def test_what_a_pod_serves_is_what_counts(of: Pod, having: StoredSecret, standing: Standing) -> None:
    found = verdict(of, having)
    assert found.standing is standing
    assert bool(found.remedy) is (standing is Standing.STUCK)
    assert bool(found.why) is (standing is not Standing.FOLLOWED)


@pytest.mark.parametrize(
    ("of", "on", "said"),
    [
        (one_shot(), deployment(paused=True), "kubectl -n default rollout resume deployment/web"),
        (one_shot(), deployment(template_labels={}), "rollout restart deployment/web"),
        (one_shot(), deployment(template_annotations={"rotation": "none"}), "rollout restart deployment/web"),
        (one_shot(SET), deployment(kind="StatefulSet", partition=1), "lower the partition"),
        (one_shot(None), None, "kubectl -n default delete pod web-0"),
        (one_shot(annotations={"rotation": "refresh"}), None, "or have the fetcher stay as a sidecar"),
    ],
)
def test_a_pod_that_cannot_follow_comes_with_what_to_do(of: Pod, on: Workload | None, said: str) -> None:
    found = verdict(of, secret(), on=on)
    assert found.standing is Standing.STUCK
    assert said in found.remedy


def test_a_pod_whose_owner_is_no_workload_that_podcert_rolls_is_not_waited_for() -> None:
    found = judge(Member(one_shot(), secret(), orphan=True), GOAL, NOW)
    assert (found.standing, found.remedy.partition(",")[0]) == (
        Standing.STUCK,
        "replace it: kubectl -n default delete pod web-0",
    )


@given(st.text(min_size=1))
def test_an_owners_name_is_one_word_of_the_command_that_is_shown(name: str) -> None:
    owner = Owner("apps/v1", "StatefulSet", name, "u")
    shown = verdict(one_shot(owner, annotations={"rotation": "none"}), secret()).remedy
    assert shlex.split(shown) == ["kubectl", "-n", "default", "rollout", "restart", f"statefulset/{name.lower()}"]


@pytest.mark.parametrize(
    ("of", "on"),
    [
        (one_shot(), deployment()),
        (one_shot(SET), deployment(kind="StatefulSet", partition=0)),
        (one_shot(SET), deployment(kind="StatefulSet", partition=1, on_delete=True)),
        (one_shot(), deployment(paused=True, template_annotations={"rotation": "evict"})),
        # Somebody patched the pod; its template is what counts.
        (one_shot(annotations={"rotation": "none"}), deployment()),
    ],
)
def test_a_pod_that_its_workload_will_replace_is_waited_for(of: Pod, on: Workload) -> None:
    assert verdict(of, secret(), on=on).standing is Standing.WAITING


def test_a_phase_is_over_for_a_pod_when_its_leaf_is_of_the_new_issuer() -> None:
    assert verdict(one_shot(), secret(issuer="new"), ISSUING).standing is Standing.FOLLOWED
    assert verdict(one_shot(), secret(), ISSUING).standing is Standing.WAITING


def test_the_issuers_in_use_are_those_of_the_secrets() -> None:
    members = [Member(pod(), secret(issuer=issuer)) for issuer in ("a", "a", "b")] + [Member(pod(), secret(issuer=""))]
    assert used_issuers(members) == {"a", "b"}


def test_an_issuer_that_was_asked_for_by_name_is_told_from_the_default() -> None:
    asked = [
        secret(issuer="a", issuer_ref="special"),
        secret(issuer="b", issuer_ref="role-default"),
        secret(issuer="b"),
    ]
    members = [Member(pod(), one) for one in asked]
    assert used_issuers(members) == {"a", "b"}
    assert asked_issuers(members) == {"special": 1}


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "soon", ""])
@pytest.mark.parametrize("of", [pod(delivery=MOUNTED), pod(delivery=SIDECAR), one_shot()])
def test_times_that_cannot_be_keep_nobody_waiting(of: Pod, time: str) -> None:
    having = secret(BOTH, renewals="1", issued_at=time, not_after=time)
    assert verdict(of, having).standing is Standing.FOLLOWED


def test_how_long_certificates_live_is_told_by_most_pods_and_not_by_a_liar() -> None:
    honest = [Member(pod(), secret(issued_at=rfc3339(NOW - 60), not_after=rfc3339(NOW + 540))) for _ in range(3)]
    liars = [Member(pod(), secret(not_after=end)) for end in ("9999-12-31T23:59:59Z", "soon")]
    assert usual_lifetime([], NOW) == 0.0
    assert usual_lifetime([*honest, *liars], NOW) == 600.0
