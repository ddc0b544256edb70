"""A Vault PKI mount: the only place that knows the fields of `sign` and `issue`.

Fits the engine's port `CertificateAuthority`. Source: https://developer.hashicorp.com/vault/api-docs/secret/pki and the recorded
answers of both servers. A payload never holds an empty string for an unset field: OpenBao refuses some that Vault accepts.
`remove_roots_from_chain` is not used, for the root is the trust anchor.
"""

from __future__ import annotations

from math import inf
from typing import Any

from certmanager.domain.model import Names, Signed
from certmanager.domain.trust import Trust
from certmanager.vault.errors import Call
from certmanager.vault.fields import data_of, text, texts
from certmanager.vault.issuers import Issuers, Problem
from certmanager.vault.session import VaultSession


class VaultPki:
    """Signs, issues, and tells whom to trust. Safe for threads."""

    def __init__(self, session: VaultSession, issuers: Issuers) -> None:
        self._session = session
        self.issuers = issuers

    def sign(self, mount: str, role: str, csr: str, ttl: int | None, issuer: str | None = None) -> Signed:
        """`POST /v1/<mount>/sign/<role>`, with an issuer `<mount>/issuer/<issuer>/sign/<role>`.

        `csr` is PEM and carries the names, `ttl` seconds or None for the role's default. Raises `NotYet`, `Refused`.
        """
        payload: dict[str, Any] = {"csr": csr}
        return self._ask(Call("POST", f"{_at(mount, issuer)}/sign/{role}", mount, role), payload, ttl, with_key=False)

    def issue(self, mount: str, role: str, names: Names, ttl: int | None, issuer: str | None = None) -> Signed:
        """`POST /v1/<mount>/issue/<role>`, with an issuer as for `sign`.

        Vault makes the key, of the role's type, and we ask for it as PKCS#8. All DNS names go into `alt_names` and the common
        name is excluded from the SANs, so that they are exactly those. Raises `NotYet`, `Refused`.
        """
        payload: dict[str, Any] = {"private_key_format": "pkcs8", "exclude_cn_from_sans": True}
        if names.common_name is not None:
            payload["common_name"] = names.common_name
        for field, values in (("alt_names", names.dns), ("ip_sans", names.ips), ("uri_sans", names.uris)):
            if values:
                payload[field] = ",".join(values)
        return self._ask(Call("POST", f"{_at(mount, issuer)}/issue/{role}", mount, role), payload, ttl, with_key=True)

    def trust(self, mount: str, max_age: float = inf) -> Trust:
        """See `Issuers.trust`."""
        return self.issuers.trust(mount, max_age)

    def known_trust(self, mount: str) -> Trust | None:
        """See `Issuers.known_trust`."""
        return self.issuers.known_trust(mount)

    def trust_problem(self, mount: str) -> Problem | None:
        """See `Issuers.problem`."""
        return self.issuers.problem(mount)

    def _ask(self, call: Call, payload: dict[str, Any], ttl: int | None, *, with_key: bool) -> Signed:
        if ttl is not None:
            payload["ttl"] = f"{ttl}s"
        data = data_of(self._session.call(call, payload), call)
        chain = texts(data, "ca_chain", call)
        if not chain and data.get("issuing_ca"):
            chain = (text(data, "issuing_ca", call),)
        return Signed(
            certificate=text(data, "certificate", call),
            chain=chain,
            private_key=text(data, "private_key", call) if with_key else None,
        )


def _at(mount: str, issuer: str | None) -> str:
    return mount if issuer is None else f"{mount}/issuer/{issuer}"
