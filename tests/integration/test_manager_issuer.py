"""An issuer chosen by name, as users run it: by the settings, by a rule of the policy, and one that cannot sign."""

from __future__ import annotations

import pytest
from cryptography import x509

from tests.integration.manager import running
from tests.integration.test_manager_ca_change import CLOSING, fingerprint
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster

REFRESH = {"rotation": "refresh"}


def root(world: World, name: str) -> str:
    """A further root in the mount, of another name. Returns its fingerprint."""
    fields = {"common_name": name, "key_type": "ec", "ttl": "87600h", "issuer_name": name}
    made = world.ask("POST", f"{world.mount}/root/rotate/internal", fields)
    return fingerprint(x509.load_pem_x509_certificate(made["data"]["certificate"].encode()))


def issuer_of(world: World, pod: str) -> str:
    secret = world.secret_of(pod)
    return "" if secret is None else str(secret["metadata"]["annotations"]["podcert.io/issuer"])


def test_an_issuer_is_named_by_settings_and_policy_and_one_that_cannot_sign_is_told_and_heals(world: World) -> None:
    world.policy((world.vault.call("GET", f"sys/policies/acl/{world.namespace}")[1])["data"]["policy"] + rights(world))
    first, second = root(world, "first"), root(world, "second")
    file = world.folder / "policy.yaml"
    file.write_text("rules: []")
    settings = {"PODCERT_ISSUER": "first", "PODCERT_POLICY_FILE": str(file), "PODCERT_CA_REFRESH": "1"}
    with running(world.launch(**settings)):  # type: ignore[arg-type]
        world.pod("web", REFRESH)
        eventually(lambda: issuer_of(world, "web") == first, what="the settings' issuer signs")
        file.write_text(f"rules: [{{name: second, namespaces: ['{world.namespace}'], issuer: second}}]")
        eventually(lambda: issuer_of(world, "web") == second, what="the rule's issuer signs")
        assert world.vault_signs() == 2
        world.ask("POST", f"{world.mount}/issuer/second", {"usage": CLOSING, "issuer_name": "second"})
        told = world.warned("web", "IssuerCannotSign")
        assert f"issuer second of mount {world.mount} may not issue" in told
        assert "PODCERT_ISSUER, or `issuer` in the policy" in told
        signs = world.vault_signs()
        world.pod("late", REFRESH)
        world.warned("late", "IssuerCannotSign")
        assert world.vault_signs() == signs, "Vault was not even asked"
        file.write_text("rules: []")
        eventually(lambda: {issuer_of(world, "web"), issuer_of(world, "late")} == {first}, 60, "all is well again")


def rights(world: World) -> str:
    """What docs/policy.md says that such a policy needs."""
    return f'\npath "{world.mount}/issuer/+/sign/pods" {{ capabilities = ["update"] }}\n'
