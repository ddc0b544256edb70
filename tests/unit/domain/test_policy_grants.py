"""What the policy grants beside a pod's own names, and that no pod's metadata goes past it."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certmanager.domain.annotations import KNOWN
from certmanager.domain.facts import facts
from certmanager.domain.limits import Grants
from certmanager.domain.model import Delivery, KeyType, Mode, Request, Rotation
from certmanager.domain.policy import Rule
from certmanager.domain.reasons import Reason
from certmanager.domain.request import Rejection
from certmanager.domain.terms import Defaults
from tests.unit.domain.builders import DEFAULTS, LONG_NAME, annotated, pod, service
from tests.unit.domain.policies import GRANTS, SHOP, TRUSTING, decided, granted, refused


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
