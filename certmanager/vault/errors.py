"""Vault's statuses, words and failures, translated into `NotYet` and `Refused`. Pure: no I/O, no clock.

Whether the whole service is away (`shared=True`, the circuit opens for all) or one request failed is decided here.
Sources: https://developer.hashicorp.com/vault/api-docs#http-status-codes, /sys/health, and answers recorded from both servers
(tests/contract/vault_answers).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from certmanager.domain.errors import NotYet, PodcertError, Refused

MAX_WORDS: Final = 300

AWAY: Final = frozenset(
    {
        "VaultUnreachable",
        "VaultSealed",
        "VaultStandby",
        "VaultUninitialised",
        "VaultError",
        "VaultBusy",
        "VaultAnswerUnreadable",
    }
)
"""Reasons that `sys/health` can clear: the circuit's. The login's own are cleared by a login."""

_MAX_RETRY_AFTER: Final = 60.0

# Tokens of Vault, then those of OpenBao and of old Vaults (told from host names such as s.default.svc by their length),
# JWTs, and PEM blocks.
_SECRET: Final = re.compile(
    r"(?<![\w.-])(?:hv[sbr]\.[\w.-]{8,}|[sr]\.[A-Za-z0-9]{24,}|b\.[\w-]{60,}|eyJ[\w-]{5,}(?:\.[\w-]*){1,2})"
    r"|-----BEGIN.*?(?:-----END[^-]*-----|$)",
    re.DOTALL,
)
_PLAIN: Final = re.compile(r"[^\x20-\x7e]+")
_ITEM: Final = re.compile(r"\d+ errors? occurred:\s*|\s*\*\s+")


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked, for messages: `path` without `/v1/`; `mount` and `role` when the call has them.

    `wrap`: for how long the answer is to be wrapped (`5m`), None for a plain one.
    """

    method: str
    path: str
    mount: str | None = None
    role: str | None = None
    wrap: str | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer. The repr shows neither headers nor body: they may hold tokens and keys."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> dict[str, Any] | None:
        """The body as a JSON object, or None when it is something else."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


def words(answer: Answer) -> str | None:
    """Vault's own `errors` as one line of at most 300 characters, without secrets; None when it is not Vault's answer."""
    body = answer.json()
    if body is None or not isinstance(body.get("errors"), list):
        return None
    text = "; ".join(str(error) for error in body["errors"])
    text = _ITEM.sub(" ", _SECRET.sub("<redacted>", text))
    text = " ".join(_PLAIN.sub(" ", text).split())
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 1] + "…"


def token_lost(answer: Answer) -> bool:
    """Whether the answer may mean that the token is gone; `lookup-self` then tells it from a policy that forbids."""
    return answer.status == 403 or (answer.status == 400 and "missing client token" in (words(answer) or ""))


def from_answer(answer: Answer, call: Call) -> PodcertError:
    """The error of a status that is not 2xx (403 of a lost token is the session's)."""
    said = words(answer)
    if answer.status in _SHARED:
        reason, meaning = _SHARED[answer.status]
        return _away(reason, f"{meaning} ({call}: HTTP {answer.status}{_quoted(said)})")
    if answer.status == 429:
        return _busy(answer, call, said)
    if answer.status >= 500:
        return _server_error(answer, call, said)
    if said is None or answer.status < 400:
        return unreadable(call, f"HTTP {answer.status} without Vault's list of errors: is there a proxy in between?")
    if answer.status == 412:
        return NotYet("VaultNotConsistent", f"Vault's node has not yet replicated what {call} needs{_quoted(said)}")
    return _client_error(answer, call, said)


_SHARED: Final[Mapping[int, tuple[str, str]]] = {
    307: ("VaultStandby", "Vault's standby node redirects: point VAULT_ADDR at a Service that reaches the active node"),
    308: ("VaultStandby", "Vault's standby node redirects: point VAULT_ADDR at a Service that reaches the active node"),
    472: ("VaultStandby", "this Vault is a disaster recovery secondary: point VAULT_ADDR at the primary"),
    473: (
        "VaultStandby",
        "this Vault is a performance standby that does not forward: point VAULT_ADDR at the active node",
    ),
    501: ("VaultUninitialised", "Vault is not initialised: run `vault operator init`, then unseal it"),
}


def from_health(answer: Answer, leader: Answer | None = None) -> NotYet | None:
    """What `GET /v1/sys/health` says: None when Vault can be asked again.

    A standby node forwards requests to the active one, so it is well. When requests to it failed as a standby's, `leader` is its
    answer to `GET /v1/sys/leader`: it is well once it knows of an active node.
    """
    if answer.status == 429 and leader is not None and not (leader.json() or {}).get("leader_address"):
        return _away("VaultStandby", "Vault's node is a standby, and no node is active: are most of them unsealed?")
    if answer.status in {200, 429, 473}:
        return None if answer.json() is not None else unreadable(_HEALTH, "its body is not JSON", shared=True)
    body = answer.json()
    if answer.status == 503 and body is not None and body.get("sealed") is True:
        return _away("VaultSealed", "Vault is sealed: unseal it (`vault operator unseal`)")
    found = from_answer(answer, _HEALTH)
    return _away(found.reason, found.message)


_HEALTH: Final = Call("GET", "sys/health")


def unreachable(call: Call, address: str, problem: str) -> NotYet:
    """No answer: refused connection, name not found, TLS, time-out. `problem` is a phrase without content."""
    return _away(
        "VaultUnreachable", f"Vault at {address} does not answer {call}: {problem}; check VAULT_ADDR and Vault"
    )


def unreadable(call: Call, problem: str, *, shared: bool = False) -> NotYet:
    """An answer that is not Vault's: not JSON, a field missing, HTML of a proxy."""
    return NotYet("VaultAnswerUnreadable", f"the answer to {call} is not Vault's: {problem}", shared=shared)


def policy_forbids(answer: Answer, call: Call) -> Refused:
    """403 although the token lives."""
    capability = "read" if call.method == "GET" else "update"
    return Refused(
        "VaultPolicyForbids",
        f"Vault forbids {call}{_quoted(words(answer))}: the token is valid, its policies do not allow it; "
        f'add `path "{call.path}" {{ capabilities = ["{capability}"] }}` to the policy',
        shared=True,
    )


def _away(reason: str, message: str, retry_after: float | None = None) -> NotYet:
    return NotYet(reason, message, retry_after=retry_after, shared=True)


def _busy(answer: Answer, call: Call, said: str | None) -> NotYet:
    return _away(
        "VaultBusy", f"Vault limits the rate of requests ({call}: HTTP 429{_quoted(said)})", retry_after(answer)
    )


def _server_error(answer: Answer, call: Call, said: str | None) -> NotYet:
    text = (said or "").lower()
    if "sealed" in text and answer.status == 503:
        return _away("VaultSealed", "Vault is sealed: unseal it (`vault operator unseal`)")
    if "not initialized" in text:
        return _away(*_SHARED[501])
    if "active cluster node" in text or "standby" in text:
        return _away("VaultStandby", f"Vault has no active node{_quoted(said)}")
    if answer.status == 500 and said:
        # Vault itself failed at this one request (a mount without an issuer, say): the others are none the worse.
        return NotYet("VaultError", f"Vault failed at {call}: HTTP 500{_quoted(said)}; see Vault's log")
    return _away("VaultError", f"Vault failed: HTTP {answer.status}{_quoted(said)}; see its log", retry_after(answer))


def _client_error(answer: Answer, call: Call, said: str) -> Refused:
    where = f"role {call.role} at mount {call.mount}" if call.role else str(call)
    text = said.lower()
    if answer.status == 404 and ("no handler for route" in text or "unsupported path" in text):
        return Refused(
            "VaultMountMissing",
            f"Vault has no PKI at {call.mount or call.path}{_quoted(said)}; the mount must exist: "
            f"`vault secrets enable -path={call.mount or 'pki'} pki` (or run `podcert bootstrap`), or name another",
        )
    if "unknown role" in text:
        return Refused(
            "VaultRoleMissing",
            f"{where} does not exist{_quoted(said)}; write the role (or run `podcert bootstrap`), or name another",
        )
    return Refused("VaultRefused", f"Vault refuses {where}{_quoted(said)}; {_remedy(text)}")


_REMEDIES: Final = (
    ("key type", "set the role's key_type: any for mode sign, ec or rsa for mode issue"),
    ("keys of type", "set the role's key_type=any, or ask for that key type in the pod's annotation key-type"),
    ("key bits", "set the role's key_bits, or ask for another key-type"),
    ("common_name field is required", "set the role's require_cn=false"),
    ("uri subject", "set the role's allowed_uri_sans"),
    ("ip subject", "set the role's allow_ip_sans=true"),
    ("not allowed", "allow the name in the role's allowed_domains (allow_subdomains), or ask for another"),
    ("ttl", "ask for a shorter ttl, or raise the role's max_ttl and the issuer's end"),
)


def _remedy(text: str) -> str:
    return next((remedy for word, remedy in _REMEDIES if word in text), "change the role, or what the pod asks for")


def retry_after(answer: Answer) -> float | None:
    """Seconds of Retry-After (RFC 9110, 10.2.3), at most 60; None when absent or a date, whose clock is not ours."""
    value = next((text for name, text in answer.headers.items() if name.lower() == "retry-after"), "").strip()
    if not value.isascii() or not value.isdigit():
        return None
    return min(float(value[:9]), _MAX_RETRY_AFTER)


def _quoted(said: str | None) -> str:
    return f", in Vault's words: {said!r}" if said else ""
