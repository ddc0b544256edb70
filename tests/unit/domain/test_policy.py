"""The administrator's policy: which rule counts, what it makes of the settings, and that no pod's metadata goes past it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certmanager.domain.annotations import KNOWN
from certmanager.domain.facts import facts
from certmanager.domain.limits import Grants
from certmanager.domain.model import Delivery, KeyType, Mode, Pod, Request, Rotation
from certmanager.domain.policy import IdentityPolicy, Rule
from certmanager.domain.reasons import Reason
from certmanager.domain.request import Rejection, Verdict, decide_request
from certmanager.domain.terms import Defaults
from tests.unit.domain.builders import DEFAULTS, LONG_NAME, annotated, pod, service

TRUSTING = replace(DEFAULTS, trust_domain="example.org")
GRANTS = Grants(
    dns=("shop.example.com", "*.below.example.com"),
    wildcards=("*.wild.example.com",),
    networks=(ipaddress.ip_network("10.20.0.0/16"), ipaddress.ip_network("fd00:20::/64")),
    uris=("https://shop.example.com/exact", "https://shop.example.com/app/*", "urn:example:*"),
)
SHOP = Rule("shop", namespaces=("default",), grants=GRANTS)


def no_labels(namespace: str) -> Mapping[str, str]:
    raise AssertionError(f"the labels of {namespace} do not matter here")


def terms(rule: Rule, configured: Defaults = DEFAULTS) -> Defaults:
    return IdentityPolicy((rule,), given=True).defaults(configured, "default", no_labels)


def decided(of: Pod, rule: Rule, configured: Defaults = DEFAULTS) -> Verdict:
    return decide_request(of, [service()], terms(rule, configured))


def refused(of: Pod, rule: Rule, configured: Defaults = DEFAULTS) -> Rejection:
    verdict = decided(of, rule, configured)
    assert isinstance(verdict, Rejection), verdict
    return verdict


def granted(of: Pod, rule: Rule, configured: Defaults = DEFAULTS) -> Request:
    verdict = decided(of, rule, configured)
    assert isinstance(verdict, Request), verdict
    return verdict


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


# Grants


@pytest.mark.parametrize(
    "name", ["shop.example.com", "a.below.example.com", "a.b.below.example.com", "*.wild.example.com"]
)
@pytest.mark.parametrize("field", ["dns_names", "common_name"])
def test_a_granted_name_is_in_the_certificate(field: str, name: str) -> None:
    assert name in granted(annotated(**{field: name}), SHOP).names.dns


@pytest.mark.parametrize(
    "name",
    [
        "example.com",
        "a.shop.example.com",
        "below.example.com",
        "notbelow.example.com",
        "x.below.example.com.evil.org",
        "*.below.example.com",
        "*.a.below.example.com",
        "a.wild.example.com",
        "*.a.wild.example.com",
        "web.other.svc.cluster.local",
    ],
)
def test_a_name_beside_the_grant_is_refused_with_the_rule_that_was_consulted(name: str) -> None:
    rejection = refused(annotated(dns_names=name), SHOP)
    assert rejection.reason is Reason.NAME_NOT_ALLOWED
    assert f'="{name}"' in rejection.message
    assert "granted by the policy: rule shop of the policy grants shop.example.com" in rejection.message


def test_a_granted_address_needs_no_pod_ip_and_may_be_mounted() -> None:
    asking = annotated(ip_sans="10.20.3.4,fd00:20:0::7", secret_name="web-cert")
    mounting = replace(asking, delivery=Delivery(mounts=frozenset({"web-cert"})), host_network=True)
    assert granted(mounting, SHOP).names.ips == ("10.20.3.4", "fd00:20::7")


def test_granted_addresses_stand_beside_the_pods_own() -> None:
    asking = replace(annotated(ip_sans="pod-ip,10.20.3.4"), ips=("10.0.0.7",))
    assert granted(asking, SHOP).names.ips == ("10.0.0.7", "10.20.3.4")


@pytest.mark.parametrize("address", ["10.21.0.1", "::ffff:10.20.0.1", "fd00:21::1", "0.0.0.1"])
def test_an_address_outside_the_granted_blocks_is_refused(address: str) -> None:
    rejection = refused(replace(annotated(ip_sans=address), ips=("10.0.0.7",)), SHOP)
    assert rejection.reason is Reason.NAME_NOT_ALLOWED
    assert "rule shop of the policy grants 10.20.0.0/16, fd00:20::/64" in rejection.message


@pytest.mark.parametrize(
    "uri", ["https://shop.example.com/exact", "https://shop.example.com/app/a/b.c", "urn:example:x:y"]
)
def test_a_granted_uri_is_in_the_certificate_without_a_trust_domain(uri: str) -> None:
    assert granted(annotated(uri_sans=uri), SHOP).names.uris == (uri,)


@pytest.mark.parametrize(
    "uri",
    [
        "https://shop.example.com/exact/more",
        "https://shop.example.com/app/",
        "https://shop.example.com/app/../admin",
        "https://shop.example.com/app/./x",
        "https://shop.example.com/app/%2e%2e/admin",
        "https://shop.example.com/app//x",
        "https://shop.example.com/app/x?y=z",
        "https://shop.example.com/app/*",
        "https://shop.example.com.evil.org/app/x",
        "https://SHOP.example.com/app/x",
        "urn:example:",
        "spiffe://example.org/ns/default/sa/admin",
    ],
)
@pytest.mark.parametrize("configured", [DEFAULTS, TRUSTING])
def test_a_uri_beside_the_grant_is_refused(configured: Defaults, uri: str) -> None:
    rejection = refused(annotated(uri_sans=uri), SHOP, configured)
    assert rejection.reason is Reason.NAME_NOT_ALLOWED
    assert "rule shop of the policy grants https://shop.example.com/exact" in rejection.message


def test_the_word_spiffe_still_needs_a_trust_domain() -> None:
    assert refused(annotated(uri_sans="spiffe"), SHOP).reason is Reason.NO_TRUST_DOMAIN
    own = granted(annotated(uri_sans="spiffe,urn:example:x"), SHOP, TRUSTING).names.uris
    assert own == ("spiffe://example.org/ns/default/sa/web", "urn:example:x")


# Nothing in a pod's metadata widens what the policy allows

HOSTILE = st.sampled_from(
    [
        "web.other.svc.cluster.local",
        "kubernetes.default.svc",
        "*",
        "*.example.com",
        "*.below.example.com",
        "a.below.example.com",
        "10.20.1.1",
        "169.254.169.254",
        "spiffe://example.org/ns/kube-system/sa/admin",
        "https://shop.example.com/app/../admin",
        "../../sys/policy",
        "pods/../admin",
        "admin",
        "root",
        "issue",
        "none",
        "pod-ip,10.20.1.1,8.8.8.8",
        "spiffe",
        "999999h",
        "1s",
        "99%",
        "kube-root-cert",
        "\x00\x1b[2J\r\n",
        "\u202eevil",
        "a" * 65536,
        ",".join(f"a{i}.below.example.com" for i in range(3000)),
    ]
)
TIGHT = Rule(
    "tight",
    namespaces=("*",),
    mount="pki-shop",
    sign_role="shop",
    modes=(Mode.SIGN,),
    key_types=(KeyType.EC_256, KeyType.EC_384),
    rotations=(Rotation.RESTART,),
    roles=("long",),
    min_ttl=60,
    max_ttl=3600,
    grants=GRANTS,
)


@settings(max_examples=400)
@given(
    st.dictionaries(st.sampled_from(sorted(KNOWN)) | st.text(max_size=12), HOSTILE | st.text(max_size=80), max_size=6),
    st.dictionaries(st.sampled_from(["app", "team", "x"]), st.sampled_from(["web", "payments", "y"])),
    st.sampled_from([(), ("10.0.0.7", "fd00::7")]),
)
def test_no_annotation_or_label_gets_a_pod_more_than_its_facts_and_the_rule(
    annotations: dict[str, str], labels: dict[str, str], ips: tuple[str, ...]
) -> None:
    asking = pod(annotations=annotations, labels=labels | {"podcert.io/enroll": "true"}, ips=ips)
    verdict = decided(asking, TIGHT, TRUSTING)
    if isinstance(verdict, Rejection):
        assert verdict.message.isprintable()
        assert len(verdict.message.encode()) <= 1000
        return
    if not isinstance(verdict, Request):
        return
    own = facts(asking, [service()], "cluster.local")
    for name in verdict.names.dns:
        labels_below = name.removesuffix(".below.example.com")
        assert name in own.dns or name in ("shop.example.com", "*.wild.example.com") or labels_below != name
        assert "*" not in name or name == "*.wild.example.com"
    for address in verdict.names.ips:
        assert address in ips or any(ipaddress.ip_address(address) in network for network in GRANTS.networks)
    for uri in verdict.names.uris:
        assert uri == "spiffe://example.org/ns/default/sa/web" or uri.startswith(
            ("https://shop.example.com/", "urn:example:")
        )
        assert ".." not in uri
    assert (verdict.mode, verdict.mount, verdict.rotation) == (Mode.SIGN, "pki-shop", Rotation.RESTART)
    assert verdict.role in ("shop", "long")
    assert verdict.key_type in (KeyType.EC_256, KeyType.EC_384)
    assert verdict.ttl is not None
    assert 60 <= verdict.ttl <= 3600


@given(st.text(alphabet="abx.*-", max_size=24))
def test_a_suffix_grants_whole_labels_below_it_and_nothing_else(name: str) -> None:
    entry = Grants(dns=("*.b.a",)).dns_entry(name)
    assert (entry is not None) == (name.endswith(".b.a") and len(name) > 4 and not name.startswith("*."))


def test_the_own_names_do_not_change_with_a_policy() -> None:
    assert granted(pod(), SHOP).names == granted(pod(), Rule("plain", namespaces=("*",))).names
    assert granted(pod(), SHOP).names.dns == (LONG_NAME,)
