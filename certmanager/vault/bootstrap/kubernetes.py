"""The steps of `--auth kubernetes`: the auth method, how it reaches the cluster, and the manager's role in it. Pure.

Source: https://developer.hashicorp.com/vault/api-docs/auth/kubernetes. Two things are easy to get wrong: a write of the
configuration replaces all of it, and the reviewer's token in it cannot be read back.
"""

from __future__ import annotations

import shlex
from typing import Any, Final

from certmanager.domain.errors import Refused
from certmanager.vault.bootstrap import commands
from certmanager.vault.bootstrap.auth_method import auth_method, login_token
from certmanager.vault.bootstrap.compare import Difference, Value, differences
from certmanager.vault.bootstrap.plan import BootstrapPlan
from certmanager.vault.bootstrap.step import UNCHANGED, Decision, Found, Step, Write, merged, payload
from certmanager.vault.errors import Call

_KEPT: Final = ("pem_keys", "issuer", "disable_iss_validation", "disable_local_ca_jwt", "kubernetes_ca_cert")


def kubernetes_auth(plan: BootstrapPlan) -> tuple[Step, ...]:
    """Auth method, configuration, role."""
    wanted: dict[str, Value] = {
        "bound_service_account_names": (plan.service_account,),
        "bound_service_account_namespaces": (plan.namespace,),
        "audience": plan.audience,
        **login_token(plan),
    }
    role = merged(f"Kubernetes auth role {plan.auth_role}", f"auth/{plan.auth_path}/role/{plan.auth_role}", wanted)
    return (auth_method(plan), _configuration(plan), role)


def _configuration(plan: BootstrapPlan) -> Step:
    path = f"auth/{plan.auth_path}/config"
    read = Call("GET", path)
    wanted: dict[str, Value] = {"kubernetes_host": plan.kubernetes_host}
    if plan.kubernetes_ca is not None:
        # A Vault outside the cluster has no CA and token of its own pod to fall back on.
        wanted |= {"kubernetes_ca_cert": plan.kubernetes_ca, "disable_local_ca_jwt": True}

    def decide(found: Found) -> Decision:
        data = found[read]
        differing = differences(wanted, data)
        reviewer_set = bool((data or {}).get("token_reviewer_jwt_set"))
        if plan.reviewer_token is not None and not reviewer_set:
            differing += (Difference("token_reviewer_jwt", "absent", "set"),)
        if not differing:
            return UNCHANGED
        if reviewer_set and plan.reviewer_token is None:
            raise Refused(
                "VaultConfigUnreadable",
                f"{path} must change ({'; '.join(map(str, differing))}), a write replaces all of it, and it holds a reviewer "
                "token that cannot be read back: give that token with --reviewer-token-file",
            )
        return Decision(differing, _whole(plan, path, _kept(data) | wanted))

    return Step(f"configuration of auth method {plan.auth_path}", (read,), decide)


def _kept(data: Any) -> dict[str, Value]:
    """What the configuration holds beside the wanted fields and must be written again to stay."""
    values: dict[str, Value] = {}
    for name in _KEPT:
        value = (data or {}).get(name)
        if value:
            values[name] = tuple(value) if isinstance(value, list) else value
        elif value is False:
            values[name] = value
    return values


def _whole(plan: BootstrapPlan, path: str, values: dict[str, Value]) -> Write:
    command = commands.fields("write", path, values)
    body = payload(values)
    if plan.reviewer_token is not None:
        # Through the standard input: a command line is readable by every user of the machine.
        file = shlex.quote(str(plan.reviewer_token_file))
        command = f'printf %s "$(cat -- {file})" | {command} token_reviewer_jwt=-'
        body["token_reviewer_jwt"] = plan.reviewer_token
    return Write(Call("POST", path), body, command)
