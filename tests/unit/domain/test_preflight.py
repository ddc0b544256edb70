"""What a Vault role will say: each field by name, and no opinion where it is not certain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.model import KeyType, Mode, Names, Request
from certmanager.domain.preflight import VaultRole, advice, objection
from tests.unit.domain.builders import request

WEB = "web.shop.svc.cluster.local"
OPEN = VaultRole(
    allowed_domains=("svc.cluster.local",),
    allowed_domains_template=False,
    allow_any_name=False,
    allow_bare_domains=False,
    allow_subdomains=True,
    allow_glob_domains=False,
    allow_localhost=False,
    allow_token_displayname=False,
    allow_wildcard_certificates=True,
    allow_ip_sans=True,
    allowed_uri_sans=("spiffe://example.org/*",),
    allowed_uri_sans_template=False,
    key_type="any",
    key_bits=0,
    max_ttl=0,
    require_cn=False,
    use_csr_common_name=True,
    use_csr_sans=True,
    server_flag=True,
    ext_key_usage=(),
    ext_key_usage_oids=(),
)
SIGN = request(ttl=3600, names=Names(dns=(WEB,), common_name=WEB))
ISSUE = replace(SIGN, mode=Mode.ISSUE, key_type=None)


def names(*dns: str, **others: Any) -> Request:
    return replace(SIGN, names=Names(dns=dns, **others))


def test_a_role_as_bootstrap_writes_it_has_no_objection() -> None:
    assert objection(OPEN, SIGN) is None
    assert objection(replace(OPEN, key_type="ec", key_bits=256), ISSUE) is None


@pytest.mark.parametrize(
    ("change", "request_", "field", "words"),
    [
        ({"key_type": "rsa", "key_bits": 2048}, SIGN, "key_type is rsa", "any or ec"),
        ({"key_type": "ec", "key_bits": 384}, SIGN, "key_bits is 384", "at most 256"),
        ({}, ISSUE, "key_type is any", "ec, rsa or ed25519"),
        ({"require_cn": True}, names(WEB), "require_cn is true", "at most 64 characters"),
        (
            {"require_cn": True, "use_csr_common_name": False},
            SIGN,
            "require_cn is true",
            "use_csr_common_name is false",
        ),
        ({"use_csr_common_name": False}, SIGN, "use_csr_common_name is false", "must be true"),
        ({"use_csr_sans": False}, names(WEB, "web.shop", common_name=WEB), "use_csr_sans is false", "must be true"),
        ({"allowed_domains": ("example.com",)}, SIGN, "allowed_domains is [example.com]", "shop.svc.cluster.local"),
        ({"allow_subdomains": False}, SIGN, "allow_subdomains is false", WEB),
        ({"allowed_domains": (WEB,), "allow_subdomains": False}, SIGN, "allow_bare_domains is false", WEB),
        ({"allowed_domains": ("*.cluster.local",)}, SIGN, "allow_glob_domains is false", WEB),
        ({"allow_wildcard_certificates": False}, names("*.svc.cluster.local"), "allow_wildcard_certificates", "true"),
        ({}, names("localhost"), "allow_localhost is false", "true"),
        ({"allow_ip_sans": False}, names(WEB, ips=("10.0.0.1",)), "allow_ip_sans is false", "10.0.0.1"),
        (
            {},
            names(WEB, uris=("spiffe://other/x",)),
            "allowed_uri_sans is [spiffe://example.org/*]",
            "spiffe://other/x",
        ),
    ],
)
def test_the_field_its_value_and_what_it_must_be_are_named(
    change: dict[str, Any], request_: Request, field: str, words: str
) -> None:
    found = objection(replace(OPEN, **change), request_)
    assert found is not None
    assert found.startswith("role pods at mount pki forbids this certificate: ")
    assert field in found
    assert words in found


@pytest.mark.parametrize(
    ("change", "request_"),
    [
        ({"allow_any_name": True, "allowed_domains": ()}, SIGN),
        ({"allow_bare_domains": True, "allowed_domains": (WEB.upper(),), "allow_subdomains": False}, SIGN),
        ({"allow_glob_domains": True, "allowed_domains": ("w*.local",), "allow_subdomains": False}, SIGN),
        ({"allow_localhost": True}, names("localhost", "a.localdomain")),
        ({}, names("*.svc.cluster.local")),
        ({}, names(WEB, uris=("spiffe://example.org/ns/shop/sa/web",))),
        ({"use_csr_sans": False}, SIGN),
        ({"require_cn": True}, SIGN),
        ({"key_type": "ec", "key_bits": 256}, SIGN),
        ({"key_bits": 4096}, replace(SIGN, key_type=KeyType.RSA_2048)),
        ({"key_type": "rsa", "key_bits": 2048}, replace(SIGN, key_type=KeyType.RSA_4096)),
        ({"key_type": "ml-dsa"}, SIGN),
    ],
)
def test_what_vault_allows_is_not_objected_to(change: dict[str, Any], request_: Request) -> None:
    assert objection(replace(OPEN, **change), request_) is None


@pytest.mark.parametrize(
    "change",
    [
        {"allowed_domains_template": True, "allowed_domains": ("{{identity.entity.name}}.example.com",)},
        {"allow_token_displayname": True},
        {"allowed_domains": None},
        {"allow_subdomains": None},
    ],
)
def test_what_only_vault_can_know_is_left_to_vault(change: dict[str, Any]) -> None:
    assert objection(replace(OPEN, **{"allowed_domains": ("example.com",)} | change), SIGN) is None


def test_a_server_that_tells_nothing_of_the_role_gets_no_opinion() -> None:
    hard = names("*.x", "localhost", ips=("::1",), uris=("spiffe://x/y",))
    assert objection(VaultRole(), hard) is objection(VaultRole(), replace(hard, mode=Mode.ISSUE)) is None
    assert advice(VaultRole(), hard) == []


def test_a_shortened_lifetime_is_advice_and_not_an_objection() -> None:
    role = replace(OPEN, max_ttl=600)
    assert objection(role, SIGN) is None
    [(reason, message)] = advice(role, SIGN)
    assert reason == "RoleShortensTTL"
    assert "max_ttl is 600 s" in message
    assert advice(role, replace(SIGN, ttl=600)) == advice(role, replace(SIGN, ttl=None)) == []


def test_a_server_s_certificate_that_is_not_for_servers_is_advice() -> None:
    role = replace(OPEN, server_flag=False)
    [(reason, message)] = advice(role, SIGN)
    assert (reason, "server_flag=false" in message) == ("RoleNotForServers", True)
    assert advice(role, replace(SIGN, selected=False)) == []
    assert advice(replace(role, ext_key_usage=("ServerAuth",)), SIGN) == []


@given(st.text(max_size=300), st.lists(st.text(max_size=300), max_size=8))
def test_whatever_a_role_or_a_name_holds_the_message_is_one_short_line(name: str, domains: list[str]) -> None:
    found = objection(replace(OPEN, allowed_domains=tuple(domains), allowed_uri_sans=tuple(domains)), names(name))
    assert found is None or (found.isprintable() and len(found.encode()) <= 1024)
