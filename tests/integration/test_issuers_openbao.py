"""A change of the CA as a real OpenBao tells it: states, anchors, cross-signing, rights, and issuers by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from certmanager.domain.errors import NotYet, Refused
from certmanager.domain.reasons import Reason
from certmanager.domain.supersede import superseded
from certmanager.domain.trust import Trust
from certmanager.vault import TokenValue, Vault, VaultConfig, connect
from certmanager.vault.bootstrap.plan import BootstrapPlan
from certmanager.vault.bootstrap.steps import policy_text
from certmanager.x509.inspect import fingerprints
from tests.cluster.openbao import DevServer
from tests.integration.test_vault_openbao import MAKER, ROLE, request, write
from tests.unit.domain.builders import secret

pytestmark = pytest.mark.cluster

CLOSING, RETIRED = "read-only,crl-signing,ocsp-signing", "read-only"


class Mount:
    """A PKI mount of a test's own, and a client that has the rights of the manager's policy there."""

    def __init__(self, server: DevServer, path: str) -> None:
        self.server, self.path = server, path
        write(server, f"sys/mounts/{path}", type="pki", config={"max_lease_ttl": "8760h"})
        self.write("roles/pods", **ROLE)
        server.call("PUT", f"sys/policies/acl/{path}", {"policy": policy_text(BootstrapPlan(mount=path))})
        made = write(server, "auth/token/create", policies=[path])
        self.vault: Vault = connect(VaultConfig(server.url), TokenValue(made["auth"]["client_token"]))

    def write(self, path: str, **body: Any) -> dict[str, Any]:
        return write(self.server, f"{self.path}/{path}", **body)

    def root(self, kind: str = "generate", **body: Any) -> tuple[str, str]:
        """A root of always the same name: (issuer's id, fingerprint)."""
        made = self.write(
            f"root/{kind}/internal", **{"common_name": "the root", "key_type": "ec", "ttl": "4380h"} | body
        )
        data = made["data"]
        return data["issuer_id"], next(iter(fingerprints([data["certificate"]])))

    def usage(self, issuer: str, usage: str, name: str = "") -> None:
        """A plain write: it sets every field, so one that is not sent is cleared, the name too."""
        self.write(f"issuer/{issuer}", usage=usage, **({"issuer_name": name} if name else {}))

    def trust(self) -> Trust:
        return self.vault.pki.trust(self.path, 0)


@pytest.fixture
def mount(openbao: DevServer, request: pytest.FixtureRequest) -> Iterator[Mount]:
    found = Mount(openbao, f"issuers-{request.node.name[-40:].replace('[', '-').strip(']')}")
    yield found
    found.vault.transport.close()


def test_a_change_of_the_root_is_told_in_its_phases(mount: Mount) -> None:
    old_id, old = mount.root()
    assert mount.trust() == Trust(mount.trust().anchors, frozenset({old}), frozenset())
    new_id, new = mount.root("rotate")
    assert (mount.trust().fingerprints, mount.trust().closing) == (frozenset({old, new}), frozenset())
    mount.write("config/issuers", default=new_id)
    mount.usage(old_id, CLOSING)
    assert (mount.trust().fingerprints, mount.trust().closing) == (frozenset({old, new}), frozenset({old}))
    mount.usage(old_id, RETIRED)
    assert (mount.trust().fingerprints, mount.trust().closing) == (frozenset({new}), frozenset({old}))
    assert mount.server.call("DELETE", f"{mount.path}/issuer/{old_id}")[0] < 300
    assert (mount.trust().fingerprints, mount.trust().closing) == (frozenset({new}), frozenset())


def test_a_certificate_of_each_phase_fits_what_vault_says_then(mount: Mount) -> None:
    old_id, old = mount.root()
    first, under_old = enrolled(mount)
    assert under_old == old
    new_id, new = mount.root("rotate")
    assert superseded(first, mount.trust()) is not None
    second, under_old = enrolled(mount)
    assert (under_old, superseded(second, mount.trust())) == (old, None)
    mount.write("config/issuers", default=new_id)
    mount.usage(old_id, CLOSING)
    assert superseded(second, mount.trust()) is not None
    third, under_new = enrolled(mount)
    assert (under_new, superseded(third, mount.trust())) == (new, None)
    mount.usage(old_id, RETIRED)
    assert superseded(third, mount.trust()) is not None
    last, _ = enrolled(mount)
    assert superseded(last, mount.trust()) is None
    assert last.bundle is not None
    assert last.bundle.anchors == {new}


def test_a_root_that_was_cross_signed_by_a_retired_one_is_its_own_anchor_alone(mount: Mount) -> None:
    old_id, old = mount.root()
    new_id, new = mount.root("rotate")
    key = mount.server.call("GET", f"{mount.path}/issuer/{new_id}")[1]["data"]["key_id"]
    csr = mount.write("intermediate/cross-sign", common_name="the root", key_ref=key)["data"]["csr"]
    crossed = mount.write(f"issuer/{old_id}/sign-intermediate", csr=csr, use_csr_values=True, ttl="4000h")["data"]
    mount.write("intermediate/set-signed", certificate=crossed["certificate"])
    assert mount.trust().fingerprints == {old, new}
    mount.usage(old_id, RETIRED)
    chain = mount.server.call("GET", f"{mount.path}/issuer/{new_id}")[1]["data"]["ca_chain"]
    assert old in fingerprints(chain)
    assert mount.trust().fingerprints == frozenset({new})


def test_what_the_policy_does_not_let_us_read_is_named_and_the_default_chain_trusted(mount: Mount) -> None:
    _, old = mount.root()
    mount.root("rotate")
    for right in ("issuer/+", "issuers"):
        text = policy_text(BootstrapPlan(mount=mount.path)).replace(f'"{mount.path}/{right}"', '"elsewhere"')
        mount.server.call("PUT", f"sys/policies/acl/{mount.path}", {"policy": text})
        trust = mount.trust()
        # The list needs no right on OpenBao 2.7: without that one nothing changes.
        assert len(trust.fingerprints) == (1 if right == "issuer/+" else 2)
        problem = mount.vault.pki.trust_problem(mount.path)
        assert (problem is not None) == (right == "issuer/+")
        if problem is not None:
            assert trust.fingerprints == {old}
            assert f'path "{mount.path}/issuer/+" {{ capabilities = ["read"] }}' in problem[1]


def test_a_sealed_mount_s_issuers_stay_known(mount: Mount) -> None:
    mount.root()
    known = mount.trust()
    with mount.server.paused(), pytest.raises(NotYet):
        connect(VaultConfig(mount.server.url, read_timeout=0.3), TokenValue("x")).pki.trust(mount.path)
    assert mount.vault.pki.known_trust(mount.path) == known == mount.vault.pki.trust(mount.path)


def test_an_intermediate_is_replaced_below_the_same_root_without_another_anchor(mount: Mount) -> None:
    mount.write("root/generate/exported", common_name="offline", key_type="ec", ttl="8000h")
    offline = next(iter(mount.trust().fingerprints))
    below = Mount(mount.server, f"{mount.path}-int")

    def intermediate() -> str:
        made = below.write("intermediate/generate/internal", common_name="the intermediate", key_type="ec")["data"]
        signed = mount.write("root/sign-intermediate", csr=made["csr"], format="pem_bundle", ttl="4000h")["data"]
        imported = below.write("intermediate/set-signed", certificate="\n".join(signed["ca_chain"]))["data"]
        return next(str(issuer) for issuer, key in imported["mapping"].items() if key == made["key_id"])

    old = intermediate()
    before, by_old = enrolled(below)
    assert (below.trust().fingerprints, superseded(before, below.trust())) == (frozenset({offline}), None)
    new = intermediate()
    assert superseded(before, below.trust()) is None
    below.write("config/issuers", default=new)
    below.usage(old, CLOSING)
    found = superseded(before, below.trust())
    assert found is not None
    assert found[0] is Reason.ISSUER_CLOSING
    after, by_new = enrolled(below)
    below.usage(old, RETIRED)
    assert (below.trust().fingerprints, superseded(after, below.trust())) == (frozenset({offline}), None)
    assert by_new != by_old
    below.vault.transport.close()


def test_a_mount_without_an_issuer_is_not_yet_in_vault_s_own_words(mount: Mount) -> None:
    with pytest.raises(NotYet, match="Vault's words"):
        mount.trust()


def test_an_issuer_that_is_named_signs_whatever_the_default_and_the_role_are(mount: Mount) -> None:
    _, old = mount.root()
    new_id, new = mount.root("rotate", issuer_name="team.shop-1")
    with pytest.raises(Refused) as raised:
        enrolled(mount, "team.shop-1")
    path = f"{mount.path}/issuer/team.shop-1/sign/pods"
    assert f'path "{path}" {{ capabilities = ["update"] }}' in raised.value.message
    text = (
        policy_text(BootstrapPlan(mount=mount.path))
        + f'path "{mount.path}/issuer/+/sign/pods" {{ capabilities = ["update"] }}'
    )
    mount.server.call("PUT", f"sys/policies/acl/{mount.path}", {"policy": text})
    assert [enrolled(mount, issuer)[1] for issuer in ("team.shop-1", new_id, "default", None)] == [new, new, old, old]
    mount.write("roles/pods", **ROLE, issuer_ref="team.shop-1")
    assert [enrolled(mount, issuer)[1] for issuer in ("team.shop-1", "default", None)] == [new, old, new]
    mount.usage(new_id, CLOSING, "team.shop-1")
    with pytest.raises(NotYet, match="HTTP 500"):
        enrolled(mount, "team.shop-1")
    mount.trust()
    with pytest.raises(Refused, match="may not issue"):
        mount.vault.preflight.check(request(mount=mount.path, issuer="team.shop-1"))


def enrolled(mount: Mount, issuer: str | None = None) -> tuple[Any, str]:
    """A Secret as it would be stored now, and its issuer's fingerprint."""
    wanted = request(mount=mount.path, issuer=issuer)
    key, csr = MAKER.request(wanted)
    signed = mount.vault.pki.sign(mount.path, "pods", csr, 3600, issuer)
    _, facts = MAKER.bundle(wanted, key, signed, mount.trust().anchors, time.time())
    assert facts.issuer is not None
    return secret(bundle=facts, annotations={"issuer": facts.issuer}), facts.issuer
