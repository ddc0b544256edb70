"""The preflight is never stricter than Vault: what it objects to for generated roles and requests, a real server refuses too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from certmanager.domain.errors import Refused
from certmanager.domain.model import KeyType, Mode, Names, Request
from certmanager.domain.preflight import objection
from certmanager.vault import TokenValue, Vault, VaultConfig, connect
from certmanager.vault.preflight import role_of
from certmanager.x509.maker import X509KeyMaker
from tests.cluster.openbao import DevServer
from tests.unit.domain import builders

pytestmark = pytest.mark.cluster

MOUNT, ROLE = "preflight-tests", "generated"
MAKER = X509KeyMaker()

DOMAINS = ("svc.cluster.local", "shop.svc.cluster.local", "Example.com", "*.example.com", "web*", "localhost", "web")
NAMES = (
    "web.shop.svc.cluster.local",
    "shop.svc.cluster.local",
    "example.com",
    "www.example.com",
    "a.b.example.com",
    "web",
    "web-1.x",
    "localhost",
    "a.localdomain",
    "*.example.com",
    "*.svc.cluster.local",
    "*.a.shop.svc.cluster.local",
)
URIS = ("spiffe://example.org/ns/shop/sa/web", "spiffe://other/ns/shop/sa/web")
PATTERNS = ("*", "spiffe://example.org/*", "spiffe://*/sa/web", "spiffe://example.org/ns/shop/sa/we", "")
KEYS = (("any", 0), ("ec", 256), ("ec", 384), ("rsa", 2048), ("rsa", 3072), ("ed25519", 0))


def some(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), max_size=3, unique=True)


def mostly(usual: bool) -> st.SearchStrategy[bool]:
    return st.sampled_from([usual, usual, usual, not usual])


ROLES = st.fixed_dictionaries(
    {
        "allowed_domains": some(*DOMAINS),
        "allow_any_name": mostly(False),
        "allow_bare_domains": st.booleans(),
        "allow_subdomains": st.booleans(),
        "allow_glob_domains": st.booleans(),
        "allow_localhost": st.booleans(),
        "allow_wildcard_certificates": mostly(True),
        "enforce_hostnames": mostly(True),
        "allow_ip_sans": mostly(True),
        "allowed_uri_sans": some(*PATTERNS),
        "key": st.sampled_from((*KEYS, KEYS[0], KEYS[0], KEYS[1])),
        "require_cn": mostly(False),
        "use_csr_common_name": mostly(True),
        "use_csr_sans": mostly(True),
        "max_ttl": st.sampled_from(("0", "10m")),
    }
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    dns = tuple(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)))
    plain = [name for name in dns if "*" not in name]
    with_name: bool = draw(mostly(True))
    names = Names(
        dns=dns,
        ips=("10.0.0.1",) if draw(mostly(False)) else (),
        uris=(draw(st.sampled_from(URIS)),) if draw(mostly(False)) else (),
        common_name=plain[0] if with_name and plain else None,
    )
    mode = draw(st.sampled_from(Mode))
    keys = (KeyType.EC_256, KeyType.EC_256, KeyType.EC_384, KeyType.ED25519)
    return builders.request(
        mode=mode,
        key_type=draw(st.sampled_from(keys)) if mode is Mode.SIGN else None,
        mount=MOUNT,
        role=ROLE,
        ttl=draw(st.sampled_from((None, 60, 3600))),
        names=names,
    )


@pytest.fixture(scope="module")
def vault(openbao: DevServer) -> Iterator[Vault]:
    openbao.call("POST", f"sys/mounts/{MOUNT}", {"type": "pki", "config": {"max_lease_ttl": "8760h"}})
    made, _ = openbao.call(
        "POST",
        f"{MOUNT}/root/generate/internal",
        {"common_name": "preflight tests", "key_type": "ec", "ttl": "8760h"},
    )
    assert made == 200
    found = connect(VaultConfig(openbao.url), TokenValue(openbao.root_token))
    yield found
    found.transport.close()


def write_role(server: DevServer, fields: dict[str, Any]) -> None:
    """`key` is type and bits."""
    rest = {name: value for name, value in fields.items() if name != "key"}
    key_type, bits = fields["key"]
    status, answer = server.call("POST", f"{MOUNT}/roles/{ROLE}", rest | {"key_type": key_type, "key_bits": bits})
    assert status < 300, answer


def predicted(server: DevServer, request: Request) -> str | None:
    role = role_of(server.call("GET", f"{MOUNT}/roles/{ROLE}")[1]["data"])
    assert role is not None
    return objection(role, request)


def refused(vault: Vault, request: Request) -> bool:
    """Whether the engine's path ends in a refusal: Vault's, or ours of a certificate without its names."""
    key = ""
    try:
        if request.mode is Mode.SIGN:
            key, csr = MAKER.request(request)
            signed = vault.pki.sign(MOUNT, ROLE, csr, request.ttl)
        else:
            signed = vault.pki.issue(MOUNT, ROLE, request.names, request.ttl)
        MAKER.bundle(request, key, signed, vault.pki.trust(MOUNT).anchors, time.time())
    except Refused:
        return True
    return False


@settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(fields=ROLES, request=requests())
def test_what_the_preflight_objects_to_vault_refuses(
    openbao: DevServer, vault: Vault, fields: dict[str, Any], request: Request
) -> None:
    write_role(openbao, fields)
    said = predicted(openbao, request)
    if said is not None:
        assert refused(vault, request), said


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"allowed_domains": ["example.com"]}, Names(dns=("web.shop.svc.cluster.local",))),
        ({"allow_subdomains": False}, Names(dns=("web.shop.svc.cluster.local",))),
        ({"allow_ip_sans": False}, Names(dns=("web.shop.svc.cluster.local",), ips=("10.0.0.1",))),
        ({}, Names(dns=("web.shop.svc.cluster.local",), uris=(URIS[1],))),
        ({"require_cn": True}, Names(dns=("web.shop.svc.cluster.local",))),
        ({"key": ("rsa", 2048)}, Names(dns=("web.shop.svc.cluster.local",))),
        ({"key": ("ec", 384)}, Names(dns=("web.shop.svc.cluster.local",))),
    ],
)
def test_the_usual_mistakes_are_foreseen(
    openbao: DevServer, vault: Vault, change: dict[str, Any], names: Names
) -> None:
    usual = {
        "allowed_domains": ["svc.cluster.local"],
        "allow_subdomains": True,
        "allowed_uri_sans": [PATTERNS[1]],
        "key": ("any", 0),
        "require_cn": False,
    }
    request = builders.request(mount=MOUNT, role=ROLE, ttl=60, names=names)
    write_role(openbao, usual | change)
    assert predicted(openbao, request) is not None
    assert refused(vault, request)
    write_role(openbao, usual)
    good = replace(request, names=Names(dns=("web.shop.svc.cluster.local",)))
    assert predicted(openbao, good) is None
    assert not refused(vault, good)
