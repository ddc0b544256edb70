"""The steps of `--auth jwt`, `approle` and `cert`: auth method, what it trusts, and the manager's role in it. Pure.

Sources: https://developer.hashicorp.com/vault/api-docs/auth/jwt, /auth/approle, /auth/cert; what OpenBao 2.7.2 keeps when
only some fields are written was tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from certmanager.domain.errors import Refused
from certmanager.vault.bootstrap import commands
from certmanager.vault.bootstrap.auth_method import auth_method, login_token
from certmanager.vault.bootstrap.compare import Value, differences
from certmanager.vault.bootstrap.plan import BootstrapPlan
from certmanager.vault.bootstrap.step import UNCHANGED, Decision, Found, Step, Write, merged, payload
from certmanager.vault.errors import Call

_SOURCES: Final = ("oidc_discovery_url", "jwks_url", "jwt_validation_pubkeys")
"""Where the auth method has an issuer's keys from: one of these."""
_KEPT: Final = (
    "bound_issuer",
    "default_role",
    "jwt_supported_algs",
    "oidc_client_id",
    "oidc_discovery_ca_pem",
    "oidc_response_mode",
    "oidc_response_types",
)


def jwt_auth(plan: BootstrapPlan) -> tuple[Step, ...]:
    """Auth method, whose JWTs it takes, and a role for the manager's audience and subject."""
    wanted: dict[str, Value] = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": (plan.audience,),
        "bound_subject": plan.subject,
        **login_token(plan),
    }
    path = f"auth/{plan.auth_path}/role/{plan.auth_role}"
    # A write that does not name them sets the type to oidc.
    role = merged(f"JWT role {plan.auth_role}", path, wanted, always=("role_type", "user_claim"))
    return (auth_method(plan), _issuer(plan), role)


def _issuer(plan: BootstrapPlan) -> Step:
    path = f"auth/{plan.auth_path}/config"
    read = Call("GET", path)
    wanted: dict[str, Value] = {}
    if plan.oidc_discovery_url is not None:
        wanted["oidc_discovery_url"] = plan.oidc_discovery_url
    if plan.oidc_discovery_ca is not None:
        wanted["oidc_discovery_ca_pem"] = plan.oidc_discovery_ca
    if plan.jwt_public_keys:
        wanted["jwt_validation_pubkeys"] = plan.jwt_public_keys

    def decide(found: Found) -> Decision:
        data = found[read] or {}
        _check_source(plan, data, wanted)
        differing = differences(wanted, data)
        if not differing:
            return UNCHANGED
        # A write replaces all of it.
        values = {name: _value(data[name]) for name in _KEPT if data.get(name)} | wanted
        return Decision(differing, Write(Call("POST", path), payload(values), commands.fields("write", path, values)))

    return Step(f"issuer of auth method {plan.auth_path}", (read,), decide)


def _check_source(plan: BootstrapPlan, data: Mapping[str, Any], wanted: Mapping[str, Value]) -> None:
    """An auth method trusts one issuer: another's is not taken over, for others may log in by it. Raises `Refused`."""
    for name in _SOURCES:
        there = data.get(name)
        if there and (name not in wanted or (name == "oidc_discovery_url" and there != wanted[name])):
            what = f"{name} {there}" if isinstance(there, str) else name
            raise Refused(
                "VaultMountTaken",
                f"the auth method at {plan.auth_path} trusts another issuer (its {what}), and others may log in by it: name "
                f"another path with --auth-mount, or change that yourself (`vault write auth/{plan.auth_path}/config …`)",
            )


def _value(found: Any) -> Value:
    return tuple(str(item) for item in found) if isinstance(found, list) else found


def approle_auth(plan: BootstrapPlan) -> tuple[Step, ...]:
    """Auth method, and a role whose secret-ids the manager logs in with."""
    wanted: dict[str, Value] = {
        "bind_secret_id": True,
        "secret_id_ttl": plan.secret_id_ttl,
        "secret_id_num_uses": 0,  # a manager that has lost its token logs in again with the same one
        **login_token(plan),
    }
    role = merged(f"AppRole {plan.auth_role}", f"auth/{plan.auth_path}/role/{plan.auth_role}", wanted)
    # Read with the rest, so that the right to read it is known to be there before anything is written.
    return (auth_method(plan), replace(role, reads=(*role.reads, role_id(plan))))


def role_id(plan: BootstrapPlan) -> Call:
    """Where the role-id is read, which the manager is configured with."""
    return Call("GET", f"auth/{plan.auth_path}/role/{plan.auth_role}/role-id")


def cert_auth(plan: BootstrapPlan) -> tuple[Step, ...]:
    """Auth method, and a role for a client certificate of one CA and one of some DNS names."""
    wanted: dict[str, Value] = {
        "certificate": plan.client_ca or "",
        "allowed_dns_sans": plan.certificate_names,
        **login_token(plan),
    }
    path = f"auth/{plan.auth_path}/certs/{plan.auth_role}"
    return (auth_method(plan), merged(f"certificate role {plan.auth_role}", path, wanted))
