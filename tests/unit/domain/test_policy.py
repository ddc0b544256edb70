"""The administrator's policy: which rule counts, and what it makes of the settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from certmanager.domain.model import Delivery, KeyType, Mode, Request, Rotation
from certmanager.domain.policy import IdentityPolicy, Rule
from certmanager.domain.reasons import Reason
from certmanager.domain.request import Rejection, decide_request
from tests.unit.domain.builders import DEFAULTS, annotated, pod, service
from tests.unit.domain.policies import granted, no_labels, refused

# Which rule


def test_without_a_policy_the_settings_stand_as_they_are() -> None:
    assert IdentityPolicy().defaults(DEFAULTS, "default", no_labels) is DEFAULTS


def test_the_first_rule_that_fits_is_the_only_one_that_counts() -> None:
    rules = (
        Rule("other", namespaces=("other",)),
        Rule("first", namespaces=("def*",), sign_role="one"),
        Rule("second", namespaces=("*",), sign_role="two", mount="two"),
    )
    found = IdentityPolicy(rules, given=True).defaults(DEFAULTS, "default", no_labels)
    assert (found.limits.rule, found.sign_role, found.mount) == ("first", "one", "pki")


@pytest.mark.parametrize(
    ("pattern", "namespace", "fits"),
    [
        ("shop", "shop", True),
        ("shop", "shop-a", False),
        ("shop-*", "shop-a", True),
        ("shop-*", "shop", False),
        ("*", "anything", True),
        ("*-prod", "shop-prod", True),
        ("shop", "ashop", False),
    ],
)
def test_a_namespace_fits_by_its_whole_name(pattern: str, namespace: str, fits: bool) -> None:
    assert Rule("r", namespaces=(pattern,)).fits(namespace, no_labels) is fits


@pytest.mark.parametrize(
    ("labels", "fits"),
    [({"team": "pay", "x": "y"}, True), ({"team": "pay"}, False), ({"team": "other", "x": "y"}, False), ({}, False)],
)
def test_a_namespace_has_to_carry_all_labels_of_a_rule(labels: dict[str, str], fits: bool) -> None:
    rule = Rule("r", namespace_labels={"team": "pay", "x": "y"})
    assert rule.fits("default", lambda _namespace: labels) is fits


def test_labels_are_asked_for_only_when_the_name_fits() -> None:
    assert not Rule("r", namespaces=("other",), namespace_labels={"a": "b"}).fits("default", no_labels)


def test_where_no_rule_fits_a_pod_has_its_own_names_only_and_is_told_so() -> None:
    found = IdentityPolicy((Rule("other", namespaces=("other",)),), given=True).defaults(DEFAULTS, "default", no_labels)
    assert isinstance(decide_request(pod(), [service()], found), Request)
    verdict = decide_request(annotated(dns_names="shop.example.com"), [service()], found)
    assert isinstance(verdict, Rejection)
    assert "; no rule of the policy matches namespace default;" in verdict.message


# What a rule makes of the settings


@pytest.mark.parametrize(
    ("rule", "issuer"),
    [
        ({}, "of-the-settings"),
        ({"mount": "pki"}, "of-the-settings"),
        ({"issuer": "own"}, "own"),
        ({"mount": "pki-shop", "issuer": "own"}, "own"),
        ({"mount": "pki-shop"}, None),
    ],
)
def test_the_settings_issuer_is_one_of_the_settings_mount(rule: dict[str, str], issuer: str | None) -> None:
    settings = replace(DEFAULTS, issuer="of-the-settings")
    assert Rule("r", namespaces=("*",), **rule).apply(settings).issuer == issuer  # type: ignore[arg-type]


def test_a_rule_says_mount_and_roles() -> None:
    rule = Rule("r", namespaces=("*",), mount="pki-shop", sign_role="shop", issue_role="shop-issue", roles=("long",))
    wanted = granted(pod(), rule)
    assert (wanted.mount, wanted.role) == ("pki-shop", "shop")
    assert granted(annotated(mode="issue"), rule).role == "shop-issue"
    assert granted(annotated(role="long"), rule).role == "long"


def test_further_roles_of_a_rule_replace_those_of_the_settings() -> None:
    configured = replace(DEFAULTS, roles=DEFAULTS.roles | {"client"})
    assert granted(annotated(role="client"), Rule("r", namespaces=("*",)), configured).role == "client"
    rejection = refused(annotated(role="client"), Rule("r", namespaces=("*",), roles=()), configured)
    assert rejection.reason is Reason.ROLE_NOT_ALLOWED
    assert "(rule r of the policy)" in rejection.message


def test_the_role_of_a_mode_that_is_not_allowed_cannot_be_chosen_either() -> None:
    assert refused(annotated(role="pods-issue"), Rule("r", namespaces=("*",), modes=(Mode.SIGN,))).reason is (
        Reason.ROLE_NOT_ALLOWED
    )


@pytest.mark.parametrize(
    ("asked", "rule", "text"),
    [
        (
            {"mode": "issue"},
            {"modes": (Mode.SIGN,)},
            'podcert.io/mode="issue": must be one of those that are allowed here: sign',
        ),
        ({"key_type": "rsa-2048"}, {"key_types": (KeyType.EC_256,)}, 'podcert.io/key-type="rsa-2048"'),
        ({"rotation": "none"}, {"rotations": (Rotation.RESTART,)}, 'podcert.io/rotation="none"'),
        ({"ttl": "48h"}, {"max_ttl": 86400}, 'podcert.io/ttl="48h": must be at most 86400s'),
        ({"ttl": "30s"}, {"min_ttl": 60}, 'podcert.io/ttl="30s": must be at least 60s'),
    ],
)
def test_what_a_rule_does_not_allow_is_refused_with_value_and_rule(
    asked: dict[str, str], rule: dict[str, Any], text: str
) -> None:
    rejection = refused(annotated(**asked), Rule("tight", namespaces=("*",), **rule))
    assert rejection.reason is Reason.POLICY_FORBIDS
    assert text in rejection.message
    assert "(rule tight of the policy)" in rejection.message


def test_a_default_that_is_not_allowed_gives_way_to_the_first_allowed_one() -> None:
    rule = Rule(
        "r",
        namespaces=("*",),
        modes=(Mode.SIGN,),
        key_types=(KeyType.EC_384, KeyType.RSA_2048),
        rotations=(Rotation.EVICT,),
    )
    wanted = granted(pod(), rule, replace(DEFAULTS, mode=Mode.ISSUE))
    assert (wanted.mode, wanted.key_type, wanted.rotation) == (Mode.SIGN, KeyType.EC_384, Rotation.EVICT)


def test_a_sidecar_refreshes_only_where_that_is_allowed() -> None:
    with_sidecar = pod(delivery=Delivery(fetcher=True, sidecar=True))
    assert granted(with_sidecar, Rule("r", namespaces=("*",))).rotation is Rotation.REFRESH
    tight = Rule("r", namespaces=("*",), rotations=(Rotation.RESTART,))
    assert granted(with_sidecar, tight).rotation is Rotation.RESTART


@pytest.mark.parametrize(
    ("configured", "rule", "ttl"),
    [
        (None, {}, None),
        (7200, {}, 7200),
        (7200, {"max_ttl": 3600}, 3600),
        (None, {"max_ttl": 3600}, 3600),
        (60, {"min_ttl": 600}, 600),
        (None, {"min_ttl": 600}, None),
        (7200, {"ttl": 1800, "max_ttl": 3600}, 1800),
    ],
)
def test_the_default_lifetime_stays_within_the_bounds(
    configured: int | None, rule: dict[str, int], ttl: int | None
) -> None:
    assert granted(pod(), Rule("r", namespaces=("*",), **rule), replace(DEFAULTS, ttl=configured)).ttl == ttl  # type: ignore[arg-type]


def test_a_namespace_can_be_kept_out_altogether() -> None:
    rejection = refused(pod(), Rule("nobody", namespaces=("*",), enroll=False))
    assert rejection.reason is Reason.NAMESPACE_NOT_ALLOWED
    assert "rule nobody of the policy" in rejection.message
