"""The issuers of a Vault PKI mount: what each may do, and from that whom to trust.

In the flow: read every minute by the producers, and once more where a certificate does not fit; everybody else is answered from
memory. Sources: https://developer.hashicorp.com/vault/api-docs/secret/pki#list-issuers, #read-issuer-certificate and the real
OpenBao in tests/integration/test_issuers_openbao.py. `usage` is told with a token only, so the policy has to allow it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from certmanager.domain.errors import Refused
from certmanager.domain.problems import cut, listed
from certmanager.domain.trust import Issuer, State, Trust, state_of, trust_in, trust_of
from certmanager.vault import errors
from certmanager.vault.circuit import Clock
from certmanager.vault.errors import Call
from certmanager.vault.fields import data_of, text, texts
from certmanager.vault.session import VaultSession
from certmanager.x509.inspect import fingerprints, roots_in

MANY: Final = 20
"""More issuers than this are read, and it is said: each is one call, every minute."""
MOST: Final = 100
"""More than this are not read: then the default issuer's chain counts alone."""

DEFAULT: Final = "default"
"""The mount's default issuer, by the name that Vault gives it."""

Problem = tuple[str, str]
"""Reason and message."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read of a mount. `issuers` is None where their states cannot be read."""

    trust: Trust
    issuers: tuple[Issuer, ...] | None
    problem: Problem | None
    read_at: float


class Issuers:
    """What is known of each mount's issuers. Safe for threads."""

    def __init__(self, session: VaultSession, monotonic: Clock) -> None:
        self._session = session
        self._now = monotonic
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}
        self._known: dict[str, _Known] = {}

    def trust(self, mount: str, max_age: float = inf) -> Trust:
        """The mount's CAs, read anew when they were never read or more than `max_age` seconds ago; no anchors without a root.

        One caller reads, the others wait for it. Raises `NotYet`, `Refused`, and what is known stays known.
        """
        return self._get(mount, max_age).trust

    def known_trust(self, mount: str) -> Trust | None:
        """What `trust` last read, however old, without a call; None when it was never read."""
        known = self._known.get(mount)
        return None if known is None else known.trust

    def problem(self, mount: str) -> Problem | None:
        """Why less was read than there is, or why it should be less; no call."""
        known = self._known.get(mount)
        return None if known is None else known.problem

    def objection(self, mount: str, reference: str, max_age: float = inf) -> str | None:
        """Why the issuer of that name or id will not sign; None when it may, or when that cannot be told.

        Goes by what was read at most `max_age` seconds ago. Raises `NotYet`, `Refused`.
        """
        issuers = self._get(mount, max_age).issuers
        if issuers is None or reference == DEFAULT:
            return None
        found = next((issuer for issuer in issuers if reference in (issuer.id, issuer.name)), None)
        where = f"issuer {reference} of mount {mount}"
        if found is None:
            known = listed([issuer.name or issuer.id for issuer in issuers])
            return cut(f"{where} does not exist; name one of {known} (PODCERT_ISSUER, or `issuer` in the policy)")
        if found.state is not State.ISSUING:
            rule = "its usage must contain issuing-certificates"
            remedy = "change that, or name another issuer (PODCERT_ISSUER, or `issuer` in the policy)"
            return cut(f"{where} may not issue: {rule}; {remedy}")
        return None

    def _get(self, mount: str, max_age: float) -> _Known:
        known = self._fresh(mount, max_age)
        if known is not None:
            return known  # nobody who is content with what is known waits for somebody's read
        with self._lock:
            reading = self._reading.setdefault(mount, threading.Lock())
        with reading:
            known = self._fresh(mount, max_age)
            if known is None:
                known = self._known[mount] = self._read(mount, self._now())
            return known

    def _fresh(self, mount: str, max_age: float) -> _Known | None:
        known = self._known.get(mount)
        return None if known is None or self._now() - known.read_at > max_age else known

    def _read(self, mount: str, began: float) -> _Known:
        try:
            issuers = self._read_all(mount)
        except Refused as error:
            problem, missing = _problem(mount, error), error
            try:
                return _Known(self._default(mount), None, problem, began)
            except Refused:
                if missing.reason != "VaultMountMissing":
                    raise
            # Of a mount that is not there Vault says so only where the policy allows the path: that is the cause to tell.
            raise missing from None
        return _Known(trust_of(issuers), issuers, _many(mount, len(issuers)), began)

    def _read_all(self, mount: str) -> tuple[Issuer, ...]:
        call = Call("LIST", f"{mount}/issuers", mount)
        ids = texts(data_of(self._session.call(call), call), "keys", call)
        if len(ids) > MOST:
            raise Refused(*_too_many(mount, len(ids)))
        return tuple(self._read_one(mount, one) for one in ids)

    def _read_one(self, mount: str, reference: str) -> Issuer:
        call = Call("GET", f"{mount}/issuer/{reference}", mount)
        data = data_of(self._session.call(call), call)
        pem = text(data, "certificate", call)
        name = data.get("issuer_name")
        try:
            [fingerprint] = fingerprints([pem])
            roots = roots_in(texts(data, "ca_chain", call) or (pem,))
        except ValueError as error:
            problem = str(error)
        else:
            return Issuer(
                reference, name if isinstance(name, str) else "", state_of(_usage(data, call)), fingerprint, roots
            )
        raise errors.unreadable(call, problem)

    def _default(self, mount: str) -> Trust:
        """The default issuer's chain, for servers and policies that tell no more. Needs no token."""
        call = Call("GET", f"{mount}/issuer/default/json", mount)
        try:
            data = data_of(self._ask_public(call), call)
            chain = texts(data, "ca_chain", call) or (text(data, "certificate", call),)
        except Refused as error:
            if error.reason not in ("VaultRefused", "VaultMountMissing"):
                raise
            call = Call("GET", f"{mount}/cert/ca_chain", mount)  # servers before Vault 1.11 have no issuers
            chain = (text(data_of(self._ask_public(call), call), "ca_chain", call),)
        try:
            return trust_in(roots_in(chain))
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


def _usage(data: Mapping[str, Any], call: Call) -> tuple[str, ...]:
    """Words of `usage`: one text with commas, a list in some answers."""
    usage = data.get("usage")
    if isinstance(usage, str):
        return tuple(word.strip() for word in usage.split(","))
    found = texts(data, "usage", call)
    if not found:
        raise errors.unreadable(call, "`data.usage` is missing")
    return found


def _problem(mount: str, error: Refused) -> Problem | None:
    """What to tell: nothing of a server that has no issuers."""
    if error.reason == "TooManyIssuers":
        return error.reason, error.message
    if error.reason != "VaultPolicyForbids":
        return None
    return "IssuersForbidden", cut(
        f"the policy does not allow to read what the issuers of mount {mount} may do, so only the default issuer's chain is "
        "trusted, and no certificate is replaced because its CA is being closed; add "
        f'`path "{mount}/issuers" {{ capabilities = ["list"] }}` and `path "{mount}/issuer/+" {{ capabilities = ["read"] }}` '
        "to the policy (or run `podcert bootstrap`)"
    )


def _many(mount: str, count: int) -> Problem | None:
    if count <= MANY:
        return None
    return "ManyIssuers", (
        f"mount {mount} has {count} issuers, and each is read every time: at most {MANY} are expected and {MOST} are read; "
        "delete those that nobody needs any more"
    )


def _too_many(mount: str, count: int) -> Problem:
    return "TooManyIssuers", (
        f"mount {mount} has {count} issuers, and at most {MOST} are read: only the default issuer's chain is trusted; "
        "delete those that nobody needs any more"
    )
