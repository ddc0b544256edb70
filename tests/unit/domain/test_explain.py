"""What `podcert explain` says comes from what decides, with an origin and a rule for every name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.explain import NO_POLICY, Explanation, explain
from certmanager.domain.facts import facts, origins
from certmanager.domain.model import Owner, Pod, Rotation
from certmanager.domain.renewal import due_at
from certmanager.domain.request import Rejection, decide_request
from tests.unit.domain.builders import DAY, DEFAULTS, LONG_NAME, NOW, UID, annotated, pod, secret, service
from tests.unit.domain.policies import SHOP, TRUSTING, terms


def explained(of: Pod) -> Explanation:
    return explain(of, [service()], terms(SHOP, TRUSTING))


def test_a_plain_pods_name_comes_from_its_service_and_needs_no_grant() -> None:
    found = explain(pod(), [service()], DEFAULTS)
    (line,) = found.names
    assert (found.verdict, found.rule) == ("allowed", NO_POLICY)
    assert (line.kind, line.value, line.allowed, line.origin) == ("dns", LONG_NAME, True, "Service web selects the pod")
    assert "needs no grant" in line.rule


def test_a_granted_name_names_the_rule_and_its_entry() -> None:
    lines = {line.value: line for line in explained(annotated(dns_names=f"{LONG_NAME},a.below.example.com")).names}
    assert lines["a.below.example.com"].rule == "rule shop of the policy: *.below.example.com"
    assert lines[LONG_NAME].origin == "Service web selects the pod"


def test_a_refused_pod_is_told_which_of_its_names_is_not_allowed() -> None:
    found = explained(annotated(dns_names=f"{LONG_NAME},evil.example.com"))
    assert (found.verdict, found.reason) == ("refused", "NameNotAllowed")
    assert [(line.value, line.allowed) for line in found.names] == [(LONG_NAME, True), ("evil.example.com", False)]
    assert found.names[1].rule.startswith("rule shop of the policy")


def test_addresses_and_uris_have_an_origin_too() -> None:
    asking = replace(annotated(ip_sans="pod-ip,10.20.0.1", uri_sans="spiffe,urn:example:x"), ips=("10.0.0.7",))
    lines = {line.value: (line.origin, line.rule) for line in explained(asking).names if line.kind != "dns"}
    assert lines["10.0.0.7"][0] == "the pod's IP"
    assert lines["10.20.0.1"][1] == "rule shop of the policy: 10.20.0.0/16"
    assert lines["spiffe://example.org/ns/default/sa/web"][0] == "the pod's ServiceAccount web in the trust domain"
    assert lines["urn:example:x"][1] == "rule shop of the policy: urn:example:*"


def test_a_pod_that_is_not_labelled_is_told_the_label() -> None:
    found = explain(pod(labels={"app": "web"}), [service()], DEFAULTS)
    assert (found.verdict, found.names) == ("not enrolled", ())
    assert 'podcert.io/enroll: "true"' in found.message


def test_a_pod_that_waits_for_its_ip_is_said_to_wait() -> None:
    assert explained(annotated(ip_sans="pod-ip")).verdict == "waiting"


def test_the_renewal_is_told_in_seconds_after_the_issue_when_the_lifetime_is_known() -> None:
    renewal = explain(annotated(ttl="3h"), [service()], DEFAULTS).renewal
    assert renewal is not None
    assert renewal.latest == pytest.approx(7200)
    assert renewal.earliest == pytest.approx(6480)
    by_role = explain(pod(), [service()], DEFAULTS).renewal
    assert by_role is not None
    assert (by_role.latest, by_role.due) == (None, None)


def test_of_a_certificate_that_is_there_the_very_time_is_told_from_the_secrets_annotations_alone() -> None:
    renewal = explain(pod(), [service()], DEFAULTS, replace(secret(), bundle=None)).renewal
    assert renewal is not None
    assert renewal.expires == NOW + DAY
    assert renewal.due == due_at(NOW, NOW, NOW + DAY, UID, 1 / 3)


def test_anothers_secret_says_nothing_of_the_renewal() -> None:
    renewal = explain(pod(), [service()], DEFAULTS, secret(pod_uid="another")).renewal
    assert renewal is not None
    assert renewal.due is None


@pytest.mark.parametrize(
    ("rotation", "owned", "part"),
    [
        (Rotation.RESTART, True, "is rolled"),
        (Rotation.RESTART, False, "cannot be rolled"),
        (Rotation.EVICT, True, "is evicted"),
        (Rotation.REFRESH, False, "sidecar"),
        (Rotation.NONE, False, "that is all"),
    ],
)
def test_how_the_application_comes_by_a_new_certificate(rotation: Rotation, owned: bool, part: str) -> None:
    owner = Owner("apps/v1", "ReplicaSet", "web", "x") if owned else None
    renewal = explain(replace(annotated(rotation=str(rotation)), owner=owner), [service()], DEFAULTS).renewal
    assert renewal is not None
    assert part in renewal.means


def test_what_is_wrong_with_the_delivery_is_said_before_there_is_a_certificate() -> None:
    assert [reason for reason, _ in explain(pod(), [service()], DEFAULTS).warnings] == ["NoDelivery"]


@given(st.booleans(), st.booleans(), st.sampled_from([None, "web", "db"]), st.sampled_from(["web-0", "a.b"]))
def test_every_name_that_a_pod_may_choose_has_an_origin(
    selected: bool, headless: bool, sub: str | None, name: str
) -> None:
    of = pod(name, hostname="web-0", subdomain=sub)
    services = [service(headless=headless), service("db", headless=True)] if selected else []
    known = facts(of, services, "cluster.local")
    assert set(origins(known, of, "cluster.local")) == set(known.dns)


@given(st.sampled_from(["dns-names", "common-name", "ip-sans", "uri-sans"]), st.text(max_size=30))
def test_the_verdict_is_the_one_of_the_manager(field: str, value: str) -> None:
    asking = pod(annotations={field: value}, ips=("10.0.0.7",))
    verdict = decide_request(asking, [service()], terms(SHOP, TRUSTING))
    found = explained(asking)
    assert (found.verdict == "refused") == isinstance(verdict, Rejection)
    if isinstance(verdict, Rejection):
        assert found.message == verdict.message
