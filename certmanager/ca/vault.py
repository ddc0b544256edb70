"""The issuers of a PKI mount as Vault describes them, and the writes that move a change of the CA on.

Source: https://developer.hashicorp.com/vault/api-docs/secret/pki (issuers, `config/issuers`, `root/rotate`). An issuer is changed
by PATCH alone: a POST resets what it does not name, its name included (seen with OpenBao 2.7.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cryptography.x509.oid import NameOID

from certmanager.ca.terms import NewRoot
from certmanager.domain.ca_change import USAGE, Authorities, Issuer
from certmanager.domain.errors import Refused
from certmanager.domain.trust import State, state_of
from certmanager.vault import errors
from certmanager.vault.bootstrap import commands
from certmanager.vault.bootstrap.api import Admin
from certmanager.vault.bootstrap.options import Duration
from certmanager.vault.bootstrap.step import Write
from certmanager.vault.errors import Call
from certmanager.x509.chain import authorities as certificates
from certmanager.x509.keys import key_type_name

KEYS: Final[Mapping[str, tuple[str, int]]] = {
    "ec-256": ("ec", 256),
    "ec-384": ("ec", 384),
    "rsa-2048": ("rsa", 2048),
    "rsa-3072": ("rsa", 3072),
    "rsa-4096": ("rsa", 4096),
    "ed25519": ("ed25519", 0),
}


def read(admin: Admin, mount: str) -> Authorities:
    """The mount's issuers and the roles that name one. Raises `NotYet`, `Refused`; missing rights all at once."""
    config, listed, roles = (
        Call("GET", f"{mount}/config/issuers"),
        Call("LIST", f"{mount}/issuers"),
        Call("LIST", f"{mount}/roles"),
    )
    found = admin.read_all((config, listed, roles))
    about = (found[listed] or {}).get("key_info") or {}
    if not isinstance(about, dict) or not about:
        raise Refused(
            "VaultIssuerMissing",
            f"the mount {mount} has no issuers, or its server is older than Vault 1.11 and does not tell them; name another "
            "one by --mount",
        )
    names = (found[roles] or {}).get("keys") or []
    each = {issuer: Call("GET", f"{mount}/issuer/{issuer}") for issuer in sorted(about)}
    every = {str(name): Call("GET", f"{mount}/roles/{name}") for name in names}
    data = admin.read_all((*each.values(), *every.values()))
    default = (found[config] or {}).get("default")
    return Authorities(
        mount,
        tuple(_issuer(data[call] or {}, call, default=issuer == default) for issuer, call in each.items()),
        follows_latest=bool((found[config] or {}).get("default_follows_latest_issuer")),
        role_issuers={name: str((data[call] or {}).get("issuer_ref") or "") for name, call in every.items()},
    )


def _issuer(data: Mapping[str, Any], call: Call, *, default: bool) -> Issuer:
    chain = data.get("ca_chain") or [data.get("certificate")]
    try:
        above = certificates("\n".join(str(one) for one in chain).encode())
        (own,) = certificates(str(data.get("certificate")).encode())
        names = own.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError as error:
        problem = str(error)
    else:
        usage = data.get("usage")
        words = usage.split(",") if isinstance(usage, str) else usage if isinstance(usage, list) else []
        return Issuer(
            id=str(data.get("issuer_id", "")),
            name=str(data.get("issuer_name") or ""),
            subject=own.certificate.subject.rfc4514_string(),
            not_before=own.certificate.not_valid_before_utc.timestamp(),
            not_after=own.certificate.not_valid_after_utc.timestamp(),
            state=state_of([str(word).strip() for word in words]),
            fingerprint=own.fingerprint,
            anchors=frozenset(one.fingerprint for one in above if one.self_signed),
            chain=frozenset(one.fingerprint for one in above) | {own.fingerprint},
            has_key=bool(data.get("key_id")),
            default=default,
            common_name=str(names[-1].value) if names else "",
            key_type=key_type_name(own.certificate.public_key()),
            strict=data.get("leaf_not_after_behavior", "err") == "err",
        )
    raise errors.unreadable(call, problem)


def set_state(mount: str, issuer: Issuer, state: State) -> Write:
    """What brings an issuer into a state."""
    return _write("PATCH", "patch", f"{mount}/issuer/{issuer.id}", {"usage": USAGE[state]})


def make_default(mount: str, issuer: Issuer) -> Write:
    """What makes an issuer the default."""
    return _write("POST", "write", f"{mount}/config/issuers", {"default": issuer.id})


def new_root(mount: str, root: NewRoot) -> Write:
    """What makes a further root, whose key never leaves Vault. The default stays as it is."""
    kind, bits = KEYS[root.key_type]
    values: dict[str, str | int] = {"common_name": root.common_name, "key_type": kind, "ttl": str(Duration(root.ttl))}
    if bits:
        values["key_bits"] = bits
    return _write("POST", "write", f"{mount}/root/rotate/internal", values)


def _write(method: str, verb: str, path: str, values: Mapping[str, str | int]) -> Write:
    return Write(Call(method, path), values, commands.fields(verb, path, dict(values)))
