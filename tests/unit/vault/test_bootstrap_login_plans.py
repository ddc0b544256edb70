"""Bootstrap's logins by JWT, AppRole and certificate without a server: their options, files and decisions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from certmanager.domain.errors import Refused
from certmanager.settings import Settings
from certmanager.vault.bootstrap import BootstrapPlan, OptionError, from_options, steps
from certmanager.vault.bootstrap.options import METHODS
from certmanager.vault.bootstrap.step import Decision, Step

FILES = [
    ("kubernetes", "kubernetes_ca_file", "CERTIFICATE"),
    ("cert", "client_ca_file", "CERTIFICATE"),
    ("jwt", "jwt_public_keys_file", "PUBLIC KEY"),
]


def step(plan: BootstrapPlan, beginning: str) -> Step:
    return next(found for found in steps(plan) if found.name.startswith(beginning))


def decide(plan: BootstrapPlan, config: Mapping[str, object]) -> Decision:
    """What becomes of a JWT method's configuration."""
    issuer = step(plan, "issuer of auth method")
    return issuer.decide(dict.fromkeys(issuer.reads, config))


@pytest.mark.parametrize(("auth", "option", "kind"), FILES)
def test_a_file_with_a_private_key_beside_what_is_wanted_is_refused_and_not_sent_anywhere(
    auth: str, option: str, kind: str, tmp_path: Path
) -> None:
    file = tmp_path / "bundle.pem"
    file.write_text(f"-----BEGIN {kind}-----\nQUJD\n-----END {kind}-----\n-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n")
    with pytest.raises(OptionError, match="holds a private key") as raised:
        from_options({"auth": auth, option: str(file)})
    assert "c2VjcmV0" not in str(raised.value)


def test_each_key_of_a_file_is_one_value_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    one, two = (f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----" for body in ("QQ==", "Qg=="))
    file.write_text(f"{one}\n{two}\n")
    assert from_options({"auth": "jwt", "jwt_public_keys_file": str(file)}).jwt_public_keys == (one, two)


@pytest.mark.parametrize("auth", METHODS)
def test_the_auth_method_has_its_own_name_as_the_manager_expects_it(auth: str) -> None:
    assert BootstrapPlan(auth=auth).auth_path == Settings.model_construct(auth=auth, auth_mount=None).login_mount


def test_the_subject_and_the_certificates_name_are_the_service_accounts_unless_others_are_named() -> None:
    plan = BootstrapPlan(namespace="a", service_account="b", cluster_domain="c.d")
    assert (plan.subject, plan.certificate_names) == ("system:serviceaccount:a:b", ("b.a.svc.c.d",))
    assert BootstrapPlan(bound_subject="x", client_names=("y.z",)).subject == "x"


def test_every_write_of_a_jwt_role_says_its_type_again() -> None:
    plan = BootstrapPlan(auth="jwt", jwt_public_keys=("k",))
    role = step(plan, "JWT role")
    made = role.decide(dict.fromkeys(role.reads)).write
    assert made is not None
    there = {**made.payload, "bound_subject": "x"}
    changed = role.decide(dict.fromkeys(role.reads, there)).write
    assert changed is not None
    assert changed.payload == {"role_type": "jwt", "user_claim": "sub", "bound_subject": plan.subject}


@pytest.mark.parametrize(
    "there",
    [{"jwks_url": "https://x"}, {"oidc_discovery_url": "https://x"}, {"oidc_discovery_url": "https://y"}],
)
def test_a_jwt_method_of_another_issuer_is_refused(there: dict[str, str]) -> None:
    with pytest.raises(Refused, match="--auth-mount"):
        decide(BootstrapPlan(auth="jwt", jwt_public_keys=("k",)), there)
    if "oidc_discovery_url" in there:
        plan = BootstrapPlan(auth="jwt", oidc_discovery_url="https://z")
        with pytest.raises(Refused, match=there["oidc_discovery_url"]):
            decide(plan, there)
