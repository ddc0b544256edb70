"""A Vault PKI mount: the only place that knows the fields of `sign`, `issue` and of the issuer's chain.

Fits the engine's port `CertificateAuthority`. Source: https://developer.hashicorp.com/vault/api-docs/secret/pki and the recorded
answers of both servers. A payload never holds an empty string for an unset field: OpenBao refuses some that Vault accepts.
`remove_roots_from_chain` is not used, for the root is the trust anchor.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from math import inf
from typing import Any

from certmanager.domain.errors import Refused
from certmanager.domain.model import Names, Signed
from certmanager.domain.trust import Trust
from certmanager.vault import errors
from certmanager.vault.circuit import Clock
from certmanager.vault.errors import Call
from certmanager.vault.session import VaultSession
from certmanager.x509.inspect import self_signed, trust_in


class VaultPki:
    """Signs, issues, and tells whom to trust. Safe for threads."""

    def __init__(self, session: VaultSession, monotonic: Clock) -> None:
        self._session = session
        self._now = monotonic
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}
        self._trust: dict[str, tuple[Trust, float]] = {}

    def sign(self, mount: str, role: str, csr: str, ttl: int | None) -> Signed:
        """`POST /v1/<mount>/sign/<role>`. `csr` is PEM and carries the names, `ttl` seconds or None for the role's default.

        Raises `NotYet`, `Refused`.
        """
        payload: dict[str, Any] = {"csr": csr}
        return self._ask(Call("POST", f"{mount}/sign/{role}", mount, role), payload, ttl, with_key=False)

    def issue(self, mount: str, role: str, names: Names, ttl: int | None) -> Signed:
        """`POST /v1/<mount>/issue/<role>`: Vault makes the key, of the role's type, and we ask for it as PKCS#8.

        All DNS names go into `alt_names` and the common name is excluded from the SANs, so that they are exactly those.
        Raises `NotYet`, `Refused`.
        """
        payload: dict[str, Any] = {"private_key_format": "pkcs8", "exclude_cn_from_sans": True}
        if names.common_name is not None:
            payload["common_name"] = names.common_name
        for field, values in (("alt_names", names.dns), ("ip_sans", names.ips), ("uri_sans", names.uris)):
            if values:
                payload[field] = ",".join(values)
        return self._ask(Call("POST", f"{mount}/issue/{role}", mount, role), payload, ttl, with_key=True)

    def trust(self, mount: str, max_age: float = inf) -> Trust:
        """The mount's CAs, read anew when they were never read or more than `max_age` seconds ago; no anchors without a root.

        One caller reads, the others wait for it. Raises `NotYet`, `Refused`, and what is known stays known.
        """
        with self._lock:
            reading = self._reading.setdefault(mount, threading.Lock())
        with reading:
            began, kept = self._now(), self._trust.get(mount)
            if kept is not None and began - kept[1] <= max_age:
                return kept[0]
            found = self._read_trust(mount)
            self._trust[mount] = (found, began)
            return found

    def known_trust(self, mount: str) -> Trust | None:
        """What `trust` last read, however old, without a call; None when it was never read."""
        kept = self._trust.get(mount)
        return None if kept is None else kept[0]

    def _read_trust(self, mount: str) -> Trust:
        call = Call("GET", f"{mount}/issuer/default/json", mount)
        try:
            data = _data(self._ask_public(call), call)
            texts = _texts(data, "ca_chain", call) or (_text(data, "certificate", call),)
        except Refused as error:
            if error.reason != "VaultRefused":
                raise
            call = Call("GET", f"{mount}/cert/ca_chain", mount)  # servers before Vault 1.11 have no issuers
            texts = (_text(_data(self._ask_public(call), call), "ca_chain", call),)
        try:
            return trust_in(self_signed("\n".join(texts)))
        except ValueError as error:
            problem = str(error)
        raise errors.unreadable(call, problem)

    def _ask_public(self, call: Call) -> dict[str, Any]:
        """Without a token; where that is forbidden once more with it, for only then does Vault say what is missing."""
        try:
            return self._session.call_public(call)
        except Refused as error:
            if error.reason != "VaultPolicyForbids":
                raise
        return self._session.call(call)

    def _ask(self, call: Call, payload: dict[str, Any], ttl: int | None, *, with_key: bool) -> Signed:
        if ttl is not None:
            payload["ttl"] = f"{ttl}s"
        data = _data(self._session.call(call, payload), call)
        chain = _texts(data, "ca_chain", call)
        if not chain and data.get("issuing_ca"):
            chain = (_text(data, "issuing_ca", call),)
        return Signed(
            certificate=_text(data, "certificate", call),
            chain=chain,
            private_key=_text(data, "private_key", call) if with_key else None,
        )


def _data(body: Mapping[str, Any], call: Call) -> Mapping[str, Any]:
    data = body.get("data")
    if not isinstance(data, dict):
        raise errors.unreadable(call, "it has no `data`")
    return data


def _text(data: Mapping[str, Any], field: str, call: Call) -> str:
    value = data.get(field)
    if not isinstance(value, str) or not value.strip():
        raise errors.unreadable(call, f"`data.{field}` is missing or no text")
    return value


def _texts(data: Mapping[str, Any], field: str, call: Call) -> tuple[str, ...]:
    value = data.get(field)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise errors.unreadable(call, f"`data.{field}` is no list of texts")
    return tuple(value)
