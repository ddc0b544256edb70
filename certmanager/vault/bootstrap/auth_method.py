"""What every login but the token's has: an auth method at its path, and the token that a login gives. Pure.

Source: https://developer.hashicorp.com/vault/api-docs/system/auth, and the common token fields of each auth method's roles.
"""

from __future__ import annotations

from typing import Final

from certmanager.domain.errors import Refused
from certmanager.vault.bootstrap import commands
from certmanager.vault.bootstrap.compare import Difference, Value, shown
from certmanager.vault.bootstrap.options import Duration
from certmanager.vault.bootstrap.plan import BootstrapPlan
from certmanager.vault.bootstrap.step import UNCHANGED, Decision, Found, Step, Write
from certmanager.vault.errors import Call

_AUTH: Final = Call("GET", "sys/auth")
_LOGIN_TTL: Final = Duration(3600)


def auth_method(plan: BootstrapPlan) -> Step:
    """The auth method of the plan's login; `decide` raises `Refused` where one of another type is."""
    path, kind = plan.auth_path, plan.auth

    def decide(found: Found) -> Decision:
        there = (found[_AUTH] or {}).get(f"{path}/")
        if there is None:
            write = Write(
                Call("POST", f"sys/auth/{path}"),
                {"type": kind},
                commands.line("auth", "enable", f"-path={path}", kind),
                sudo=True,
            )
            return Decision((Difference("type", "absent", kind),), write)
        if there.get("type") != kind:
            raise Refused(
                "VaultMountTaken",
                f"the auth method at {path} is of type {shown(there.get('type'))}; it must be {kind}: name "
                "another path with --auth-mount",
            )
        return UNCHANGED

    return Step(f"auth method {path}", (_AUTH,), decide)


def login_token(plan: BootstrapPlan) -> dict[str, Value]:
    """Fields of a role: the token that a login with it gives."""
    return {
        "token_policies": (plan.policy,),
        "token_ttl": _LOGIN_TTL,  # the manager renews it, and logs in again when that ends
        "token_no_default_policy": False,  # lookup-self, renew-self and revoke-self come with the policy `default`
    }
