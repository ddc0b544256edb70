"""The Vault client against a real OpenBao: both modes, all key types, roles that forbid, tokens that end, a sealed server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certmanager.domain.errors import NotYet, PodcertError, Refused
from certmanager.domain.model import Bundle, KeyType, Material, Mode, Names, Request
from certmanager.vault import TokenFile, TokenValue, Vault, VaultConfig, connect
from certmanager.x509.inspect import inspect_bundle
from certmanager.x509.maker import X509KeyMaker
from tests.cluster.openbao import DevServer, dev_server
from tests.unit.domain import builders

pytestmark = pytest.mark.cluster

ROOT, MIDDLE = "client-tests", "client-tests-int"
MAKER = X509KeyMaker()
NAMES = Names(
    dns=("web.shop.svc.cluster.local", "web.shop.svc", "web.shop"),
    ips=("10.1.2.3", "fd00::7"),
    uris=("spiffe://example.org/ns/shop/sa/web",),
    common_name="web.shop.svc.cluster.local",
)
ROLE = {
    "allow_any_name": True,
    "allowed_uri_sans": "*",
    "key_type": "any",
    "require_cn": False,
    "max_ttl": "72h",
}
POLICY = f"""
path "{ROOT}/sign/pods" {{ capabilities = ["update"] }}
path "{ROOT}/issuer/+" {{ capabilities = ["read"] }}
"""


@pytest.fixture(scope="module")
def bao(openbao: DevServer) -> DevServer:
    prepare(openbao)
    return openbao


@pytest.fixture(scope="module")
def vault(bao: DevServer) -> Iterator[Vault]:
    found = connect(VaultConfig(bao.url), TokenValue(bao.root_token))
    yield found
    found.transport.close()


def write(server: DevServer, path: str, **body: Any) -> dict[str, Any]:
    """A write as root."""
    status, answer = server.call("POST", path, body)
    assert status < 300, (path, status)
    return answer or {}


def prepare(server: DevServer) -> None:
    """Mounts a root and an intermediate under it, and their roles; the server is shared, so the paths are our own."""
    write(server, f"sys/mounts/{ROOT}", type="pki", config={"max_lease_ttl": "8760h"})
    write(server, f"sys/mounts/{MIDDLE}", type="pki", config={"max_lease_ttl": "4380h"})
    write(server, f"{ROOT}/root/generate/internal", common_name="test root", key_type="ec", ttl="8760h")
    csr = write(server, f"{MIDDLE}/intermediate/generate/internal", common_name="test intermediate", key_type="ec")
    made = write(server, f"{ROOT}/root/sign-intermediate", csr=csr["data"]["csr"], format="pem_bundle", ttl="4380h")
    write(server, f"{MIDDLE}/intermediate/set-signed", certificate="\n".join(made["data"]["ca_chain"]))
    for mount in (ROOT, MIDDLE):
        write(server, f"{mount}/roles/pods", **ROLE)
    for key_type, bits in (("ec", 256), ("ec", 384), ("rsa", 2048), ("ed25519", 0)):
        write(server, f"{ROOT}/roles/issue-{key_type}-{bits}", **ROLE | {"key_type": key_type, "key_bits": bits})
    server.call("PUT", "sys/policies/acl/client-tests", {"policy": POLICY})


def request(**changes: Any) -> Request:
    """Sign for NAMES with P-256 at ROOT, unless changed."""
    return replace(builders.request(mount=ROOT, ttl=3600, names=NAMES), **changes)


def enrol(vault: Vault, wanted: Request) -> tuple[Material, Bundle]:
    """The engine's path for one pod."""
    anchors = vault.pki.trust(wanted.mount).anchors
    key = ""
    if wanted.mode is Mode.SIGN:
        key, csr = MAKER.request(wanted)
        signed = vault.pki.sign(wanted.mount, wanted.role, csr, wanted.ttl)
    else:
        signed = vault.pki.issue(wanted.mount, wanted.role, wanted.names, wanted.ttl)
    return MAKER.bundle(wanted, key, signed, anchors, time.time())


def refusal(vault: Vault, **changes: Any) -> PodcertError:
    """The error of an enrolment."""
    with pytest.raises((Refused, NotYet)) as raised:
        enrol(vault, request(**changes))
    return raised.value


def token(server: DevServer, **options: Any) -> str:
    """A new token with the policy `client-tests`, unless told otherwise."""
    made = write(server, "auth/token/create", **({"policies": ["client-tests"], "no_default_policy": False} | options))
    return str(made["auth"]["client_token"])


def until(condition: Callable[[], bool]) -> None:
    """Waits at most 10 s."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("mount", [ROOT, MIDDLE])
@pytest.mark.parametrize("key_type", list(KeyType))
def test_sign_gives_a_verified_bundle_for_every_key_type(vault: Vault, mount: str, key_type: KeyType) -> None:
    material, facts = enrol(vault, request(mount=mount, key_type=key_type))
    assert facts == inspect_bundle(material.certificate, material.key, material.ca)
    assert facts.leaf.names.sans() == NAMES.sans()
    assert facts.leaf.key_type == key_type.value


@pytest.mark.parametrize("role", ["issue-ec-256", "issue-ec-384", "issue-rsa-2048", "issue-ed25519-0"])
def test_issue_gives_a_verified_bundle_with_exactly_those_names(vault: Vault, role: str) -> None:
    material, facts = enrol(vault, request(mode=Mode.ISSUE, role=role, key_type=None))
    assert material.key.startswith("-----BEGIN PRIVATE KEY-----")
    assert facts.leaf.names.sans() == NAMES.sans()
    assert facts.leaf.names.common_name == NAMES.common_name
    assert facts == inspect_bundle(material.certificate, material.key, material.ca)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_certificate_without_a_common_name_has_an_empty_subject(vault: Vault, mode: Mode) -> None:
    names = Names(dns=("a" * 60 + ".shop.svc.cluster.local",))
    role = "pods" if mode is Mode.SIGN else "issue-ec-256"
    assert enrol(vault, request(mode=mode, role=role, names=names))[1].leaf.names == names


def test_under_an_intermediate_the_root_is_the_only_anchor(vault: Vault) -> None:
    material, facts = enrol(vault, request(mount=MIDDLE))
    assert facts.anchors == vault.pki.trust(ROOT).fingerprints == vault.pki.trust(MIDDLE).fingerprints
    assert material.certificate.count("BEGIN CERTIFICATE") == 2


def test_the_ttl_counts_and_the_roles_maximum_shortens_it(vault: Vault) -> None:
    def lifetime(ttl: int) -> float:
        leaf = enrol(vault, request(ttl=ttl))[1].leaf
        return leaf.not_after - leaf.not_before

    assert lifetime(60) == 90
    assert lifetime(400 * 3600) == 72 * 3600 + 30


@pytest.mark.parametrize(
    ("role", "names", "reason", "words"),
    [
        ({"key_type": "rsa"}, NAMES, "VaultRefused", "keys of type rsa"),
        (
            {"allow_any_name": False, "allowed_domains": "example.com"},
            NAMES,
            "VaultRefused",
            "not allowed by this role",
        ),
        ({"allowed_uri_sans": ""}, NAMES, "VaultRefused", "URI Subject Alternative Names"),
        ({"allow_ip_sans": False}, NAMES, "VaultRefused", "IP Subject Alternative Names"),
        ({"require_cn": True}, Names(dns=("a.b",)), "VaultRefused", "require_cn=false"),
        ({"use_csr_sans": False}, NAMES, "NamesDiffer", "lacks dns:web.shop"),
        ({"use_csr_common_name": False}, NAMES, "NamesDiffer", "common name None"),
    ],
)
def test_a_role_that_forbids_is_a_refusal_in_clear_words(
    bao: DevServer, vault: Vault, role: dict[str, Any], names: Names, reason: str, words: str
) -> None:
    write(bao, f"{ROOT}/roles/strict", **ROLE | role)
    found = refusal(vault, role="strict", names=names)
    assert isinstance(found, Refused)
    assert found.reason == reason
    assert words in found.message
    assert "strict" in found.message


def test_an_issuing_role_of_another_key_type_is_told(vault: Vault) -> None:
    found = refusal(vault, mode=Mode.ISSUE, role="issue-rsa-2048")
    assert found.reason == "KeyTypeDiffers"


def test_a_missing_role_and_a_missing_mount_are_told_apart(vault: Vault) -> None:
    assert refusal(vault, role="nobody").reason == "VaultRoleMissing"
    assert refusal(vault, mount="nowhere").reason == "VaultMountMissing"


def test_a_policy_that_forbids_is_told_from_a_lost_token(bao: DevServer) -> None:
    client = connect(VaultConfig(bao.url), TokenValue(token(bao)))
    enrol(client, request())
    found = refusal(client, mount=MIDDLE)
    assert (type(found), found.reason) == (Refused, "VaultPolicyForbids")
    assert f"{MIDDLE}/sign/pods" in found.message
    client.transport.close()


def test_a_revoked_token_is_replaced_by_the_files_new_one(bao: DevServer, tmp_path: Path) -> None:
    path = tmp_path / "token"
    first = token(bao)
    path.write_text(first)
    client = connect(VaultConfig(bao.url), TokenFile(path))
    enrol(client, request())
    write(bao, "auth/token/revoke", token=first)
    found = refusal(client)
    assert (type(found), found.reason) == (NotYet, "VaultTokenRefused")
    assert first not in str(found)
    path.write_text(token(bao))
    enrol(client, request())
    client.transport.close()


def test_a_short_token_lives_on_by_renewal_and_one_that_expired_is_told(bao: DevServer) -> None:
    client = connect(VaultConfig(bao.url), TokenValue(token(bao, ttl="3s")))
    other = connect(VaultConfig(bao.url), TokenValue(token(bao, ttl="3s", renewable=False)))
    other.session.tick()
    client.start()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        enrol(client, request())
        time.sleep(0.5)
    client.stop()
    assert refusal(other).reason == "VaultTokenRefused"
    other.transport.close()


def test_a_frozen_vault_stops_everybody_at_once_and_serves_all_when_it_is_back(bao: DevServer) -> None:
    client = connect(VaultConfig(bao.url, read_timeout=0.5), TokenValue(bao.root_token))
    enrol(client, request())
    client.start()
    with bao.paused(), ThreadPoolExecutor(32) as pool:
        reasons = set(pool.map(lambda _: refusal(client).reason, range(64)))
        assert reasons == {"VaultUnreachable"}
    until(lambda: client.circuit.error is None)
    with ThreadPoolExecutor(32) as pool:
        serials = {found[1].leaf.serial for found in pool.map(lambda _: enrol(client, request()), range(64))}
    assert len(serials) == 64
    client.stop()


def test_a_sealed_vault_says_so(openbao: DevServer) -> None:
    assert openbao.healthy()  # it can be had; but a sealed one is of no use to others, so this one is our own
    with dev_server() as server:
        prepare(server)
        client = connect(VaultConfig(server.url), TokenValue(server.root_token))
        enrol(client, request())
        server.call("POST", "sys/seal")
        found = refusal(client)
        assert (found.reason, isinstance(found, NotYet)) == ("VaultSealed", True)
        client.circuit.step()
        assert refusal(client).reason == "VaultSealed"
        client.transport.close()
