"""The ordered steps of a plan: mount, its longest TTL, root, addresses, roles, policy, login. Pure.

Sources: https://developer.hashicorp.com/vault/api-docs/secret/pki, /system/mounts, /system/auth, /system/policies,
/auth/token, /auth/kubernetes; what OpenBao 2.7.2 and Vault 1.21 answer to them was tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from certmanager.domain.errors import Refused
from certmanager.vault.bootstrap import commands
from certmanager.vault.bootstrap.compare import Difference, Value, differences, normalised, shown
from certmanager.vault.bootstrap.kubernetes import kubernetes_auth
from certmanager.vault.bootstrap.logins import approle_auth, cert_auth, jwt_auth
from certmanager.vault.bootstrap.options import Duration
from certmanager.vault.bootstrap.plan import BootstrapPlan
from certmanager.vault.bootstrap.step import UNCHANGED, Decision, Found, Step, Write, merged, payload
from certmanager.vault.errors import Call

_MOUNTS: Final = Call("GET", "sys/mounts")


def steps(plan: BootstrapPlan) -> tuple[Step, ...]:
    """Everything that `plan` wants, in an order in which each write finds what it needs."""
    roles = (
        merged(f"role {plan.sign_role} (sign)", f"{plan.mount}/roles/{plan.sign_role}", sign_role(plan), patch=True),
        merged(
            f"role {plan.issue_role} (issue)", f"{plan.mount}/roles/{plan.issue_role}", issue_role(plan), patch=True
        ),
    )
    login = _LOGINS[plan.auth](plan)
    urls = (_urls(plan),) if plan.crl_url else ()
    return (_secrets_engine(plan), _longest_ttl(plan), _root(plan), *urls, *roles, _policy(plan), *login)


def sign_role(plan: BootstrapPlan) -> dict[str, Value]:
    """The role for `sign`: any key, and the names from the CSR, which the manager makes."""
    return {"key_type": "any", **_names(plan), "use_csr_common_name": True, "use_csr_sans": True, **_lifetime(plan)}


def issue_role(plan: BootstrapPlan) -> dict[str, Value]:
    """The role for `issue`: a role of key_type=any cannot make keys."""
    return {"key_type": "ec", "key_bits": 256, **_names(plan), **_lifetime(plan)}


def _names(plan: BootstrapPlan) -> dict[str, Value]:
    """Which names pass: those below the domains, and nothing that Podcert does not ask for."""
    return {
        "require_cn": False,  # a name over 64 characters cannot be a common name, and is left out
        "allowed_domains": plan.domains,
        "allow_subdomains": True,
        "allow_bare_domains": False,
        "allow_glob_domains": False,
        "allow_any_name": False,
        "allow_localhost": False,
        "allow_wildcard_certificates": plan.allow_wildcards,
        "enforce_hostnames": True,
        "allow_ip_sans": plan.allow_ip_sans,
        "allowed_uri_sans": plan.uri_sans,
        "server_flag": True,
        "client_flag": True,
    }


def _lifetime(plan: BootstrapPlan) -> dict[str, Value]:
    return {"ttl": plan.ttl, "max_ttl": plan.max_ttl, "no_store": plan.no_store, "generate_lease": False}


def policy_text(plan: BootstrapPlan) -> str:
    """The manager's policy; with default names it is manifests/policies/pods.hcl (a test compares)."""
    rights = [
        (f"{plan.mount}/sign/{plan.sign_role}", "update"),
        (f"{plan.mount}/issue/{plan.issue_role}", "update"),
        # So that a pod is told which of the role's fields is in its way, before Vault is asked.
        (f"{plan.mount}/roles/{plan.sign_role}", "read"),
        (f"{plan.mount}/roles/{plan.issue_role}", "read"),
        # What each issuer may do: from this a change of the CA is known before its first certificate.
        (f"{plan.mount}/issuers", "list"),
        (f"{plan.mount}/issuer/+", "read"),
    ]
    if plan.revoke:
        rights.append((f"{plan.mount}/revoke", "update"))
    blocks = (f'path "{path}" {{\n  capabilities = ["{right}"]\n}}\n' for path, right in rights)
    return "# What the certificate manager may do in Vault, and nothing else.\n" + "".join(blocks)


def _urls(plan: BootstrapPlan) -> Step:
    """Where peers learn of a revocation: these addresses are in every certificate from then on."""
    base = f"{plan.crl_url}/v1/{plan.mount}"
    wanted: dict[str, Value] = {
        "crl_distribution_points": (f"{base}/crl",),
        "ocsp_servers": (f"{base}/ocsp",),
        "issuing_certificates": (f"{base}/ca",),
    }
    return merged(f"addresses of {plan.mount}", f"{plan.mount}/config/urls", wanted)


def _secrets_engine(plan: BootstrapPlan) -> Step:
    def decide(found: Found) -> Decision:
        there = _mount(found, plan.mount)
        if there is None:
            write = Write(
                Call("POST", f"sys/mounts/{plan.mount}"),
                {"type": "pki"},
                commands.line("secrets", "enable", f"-path={plan.mount}", "pki"),
            )
            return Decision((Difference("type", "absent", "pki"),), write)
        if there.get("type") != "pki":
            raise Refused(
                "VaultMountTaken",
                f"the mount {plan.mount} is a secrets engine of type {shown(there.get('type'))}; it must be pki: name another "
                "path with --mount",
            )
        return UNCHANGED

    return Step(f"secrets engine {plan.mount}", (_MOUNTS,), decide)


def _longest_ttl(plan: BootstrapPlan) -> Step:
    """The mount's max_lease_ttl cuts every certificate's lifetime, the root's own included. Raised, never lowered."""
    wanted = plan.root_ttl if plan.root else plan.max_ttl
    # Not from the list of mounts: there, a mount without a limit of its own says 0, not the server's limit.
    read = Call("GET", f"sys/mounts/{plan.mount}/tune")

    def decide(found: Found) -> Decision:
        data = found[read] or {}
        there = normalised(wanted, data.get("max_lease_ttl"))
        if isinstance(there, Duration) and there.seconds >= wanted.seconds:
            return UNCHANGED
        write = Write(
            Call("POST", read.path),
            {"max_lease_ttl": str(wanted)},
            commands.line("secrets", "tune", f"-max-lease-ttl={wanted}", plan.mount),
        )
        return Decision((Difference("max_lease_ttl", shown(there) if data else "absent", str(wanted)),), write)

    return Step(f"longest TTL of {plan.mount}", (read,), decide)


def _root(plan: BootstrapPlan) -> Step:
    """An issuer: any that is there is kept, a second root is never made."""
    read = Call("LIST", f"{plan.mount}/issuers")

    def decide(found: Found) -> Decision:
        issuers = (found[read] or {}).get("key_info") or {}
        if issuers:
            _check_default(plan, issuers)
            return UNCHANGED
        if not plan.root:
            raise Refused("VaultIssuerMissing", _intermediate_remedy(plan))
        values: dict[str, Value] = {
            "common_name": plan.root_common_name,
            "ttl": plan.root_ttl,
            "key_type": "ec",
            "key_bits": 256,
        }
        path = f"{plan.mount}/root/generate/internal"
        write = Write(Call("POST", path), payload(values), commands.fields("write", path, values))
        return Decision((Difference("issuer", "absent", f"root {shown(plan.root_common_name)}"),), write)

    return Step(f"issuer of {plan.mount}", (read,), decide)


def _check_default(plan: BootstrapPlan, issuers: Mapping[str, Any]) -> None:
    """Both roles sign with the mount's default issuer. Raises `Refused` when there is none, or its key is elsewhere."""
    if not any("is_default" in info for info in issuers.values()):
        return  # a Vault too old to say
    default = next((info for info in issuers.values() if info.get("is_default")), None)
    if default is None or not default.get("key_id"):
        problem = "none is the default" if default is None else "the default one has no key here"
        raise Refused(
            "VaultIssuerUnusable",
            f"the mount {plan.mount} has issuers, but {problem}, so nothing can be signed: name one that has a key with "
            f"`vault write {plan.mount}/config/issuers default=ISSUER` (`vault list -detailed {plan.mount}/issuers`)",
        )


def _intermediate_remedy(plan: BootstrapPlan) -> str:
    mount = plan.mount
    return (
        f"the mount {mount} has no issuer, and --no-root says that none is to be made: give it an intermediate CA "
        f"(`vault secrets enable -path={mount} pki`; `vault write -field=csr {mount}/intermediate/generate/internal "
        "common_name=… key_type=ec key_bits=256 > ca.csr`; have your root sign ca.csr; "
        f"`vault write {mount}/intermediate/set-signed certificate=@ca-with-chain.pem`), or leave --no-root out"
    )


def _policy(plan: BootstrapPlan) -> Step:
    path = f"sys/policies/acl/{plan.policy}"
    read = Call("GET", path)
    text = policy_text(plan)

    def decide(found: Found) -> Decision:
        differing = differences({"policy": text.strip()}, found[read])
        if not differing:
            return UNCHANGED
        command = commands.here_document(commands.line("policy", "write", plan.policy, "-"), text)
        return Decision(differing, Write(Call("POST", path), {"policy": text}, command))

    return Step(f"policy {plan.policy}", (read,), decide)


def _token_role(plan: BootstrapPlan) -> Step:
    """The role that makes the manager's token: periodic and renewable, so it lives as long as it is renewed."""
    wanted: dict[str, Value] = {
        "allowed_policies": (plan.policy,),
        "orphan": True,  # it outlives the token that made it
        "renewable": True,
        "token_period": plan.token_period,
        "token_no_default_policy": False,  # lookup-self and renew-self come with the policy `default`
    }
    return merged(f"token role {plan.token_role}", f"auth/token/roles/{plan.token_role}", wanted)


_LOGINS: Final[Mapping[str, Callable[[BootstrapPlan], tuple[Step, ...]]]] = {
    "token": lambda plan: (_token_role(plan),),
    "kubernetes": kubernetes_auth,
    "jwt": jwt_auth,
    "approle": approle_auth,
    "cert": cert_auth,
}


def _mount(found: Found, path: str) -> Mapping[str, Any] | None:
    there = (found[_MOUNTS] or {}).get(f"{path}/")
    return there if isinstance(there, dict) else None
