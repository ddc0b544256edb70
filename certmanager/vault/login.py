"""Ways to get a token: here the given ones, a file or a value, and what all ways share. The session decides when.

`login_jwt`, `login_approle` and `login_cert` are the ways that make a token of their own. A login that fails is `NotYet`: it
heals when the file, the role or the policy is corrected, without a restart. Messages name the file or role and what to do,
never a token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from certmanager.domain.errors import NotYet
from certmanager.vault import errors, files
from certmanager.vault.errors import Call
from certmanager.vault.transport import AnswerError, Transport


@dataclass(frozen=True, slots=True, eq=False)
class Grant:
    """A token and how long it lives: `ttl` in seconds, None for ever (a root token has lease duration 0)."""

    token: str = field(repr=False)
    ttl: float | None
    renewable: bool


@dataclass(frozen=True, slots=True, eq=False)
class Spent:
    """A token that served and does so no more.

    Attributes:
        ended: its time was over; otherwise somebody revoked it.
        barred: Vault has said so lately: it is not asked about this token again yet.
    """

    token: str = field(repr=False)
    ended: bool
    barred: bool


class Login(Protocol):
    """A source of tokens."""

    def login(self, transport: Transport, refused: Spent | None) -> Grant:
        """A token that Vault accepts. `refused` is the last one that Vault ceased to accept.

        Raises `NotYet` ("VaultTokenMissing", "VaultTokenRefused", "VaultLoginRefused", or Vault is away).
        """
        ...

    def changed(self) -> bool:
        """Whether a login now may give another token than the last one did."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether each login makes a new token: one that cannot be renewed is replaced before it ends, and the last one is
        revoked at the end, for it is nobody else's."""
        ...


class TokenValue:
    """A fixed token, from `VAULT_TOKEN`."""

    repeatable: Final = False

    def __init__(self, token: str, source: str = "VAULT_TOKEN") -> None:
        self._token = token
        self._source = source

    def __repr__(self) -> str:
        return f"TokenValue(source={self._source!r})"

    def login(self, transport: Transport, refused: Spent | None) -> Grant:
        """The token, with its lifetime from `lookup-self`."""
        return _accepted(transport, files.word(self._token, self._source), refused, self._source)

    def changed(self) -> bool:
        """Never: an environment does not change."""
        return False


class TokenFile:
    """A token in a file, as Vault Agent's sink or a mounted Secret writes it; read again when it changes."""

    repeatable: Final = False

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._seen: files.Stamp | None = None

    def __repr__(self) -> str:
        return f"TokenFile({str(self._path)!r})"

    def login(self, transport: Transport, refused: Spent | None) -> Grant:
        """The file's token, with its lifetime from `lookup-self`."""
        self._seen = files.stamp(self._path)
        return _accepted(transport, files.read_word(self._path, "token"), refused, f"{self._path}")

    def changed(self) -> bool:
        """Whether the file is another than the one that was read: by inode, size or time, through links."""
        stamp = files.stamp(self._path)
        return stamp is not None and stamp != self._seen


def grant(body: dict[str, Any], call: Call) -> Grant:
    """The `auth` part of a login's or a renewal's answer. Raises `NotYet` (VaultAnswerUnreadable)."""
    auth = body.get("auth")
    token, duration = (auth.get("client_token"), auth.get("lease_duration")) if isinstance(auth, dict) else (None, None)
    if not isinstance(token, str) or not token or not isinstance(duration, int | float):
        raise errors.unreadable(call, "it lacks auth.client_token or auth.lease_duration", shared=True)
    return Grant(token, float(duration) or None, bool(auth and auth.get("renewable")))


def lookup(transport: Transport, token: str) -> Grant | None:
    """What `auth/token/lookup-self` says of the token; None when Vault does not know it (403).

    Raises `NotYet` when Vault is away or its answer is not readable.
    """
    call = Call("GET", "auth/token/lookup-self")
    client = transport.client(token)
    try:
        body = client.auth.token.lookup_self()
    except AnswerError as error:
        if errors.token_lost(error.answer):
            return None
        problem = as_not_yet(errors.from_answer(error.answer, call))
    else:
        data = body.get("data")
        if isinstance(data, dict) and isinstance(data.get("ttl"), int | float):
            return Grant(token, float(data["ttl"]) or None, bool(data.get("renewable")))
        problem = errors.unreadable(call, "it lacks data.ttl", shared=True)
    raise problem


def as_not_yet(error: Exception) -> NotYet:
    """A login's refusal heals by itself once somebody corrects it, and it concerns every pod."""
    if isinstance(error, NotYet):
        return error
    reason, message = getattr(error, "reason", "VaultError"), getattr(error, "message", type(error).__name__)
    return NotYet(str(reason), str(message), shared=True)


def ask(request: Callable[[], dict[str, Any]], refusal: Callable[[AnswerError], NotYet]) -> dict[str, Any]:
    """The answer of a login's request; `refusal` makes the error of a status that is not 2xx."""
    try:
        return request()
    except AnswerError as error:
        problem = refusal(error)
    raise problem


def _accepted(transport: Transport, token: str, refused: Spent | None, source: str) -> Grant:
    known = refused if refused is not None and refused.token == token else None
    found = None if known is not None and known.barred else lookup(transport, token)
    if found is None:
        raise NotYet("VaultTokenRefused", f"{_why(known, source)}; put a valid token there", shared=True)
    return found


def _why(spent: Spent | None, source: str) -> str:
    if spent is None:
        return (
            f"Vault does not accept the token of {source}: it is another Vault's, has expired, was revoked, or lacks the "
            "policy `default` (auth/token/lookup-self)"
        )
    if spent.ended:
        return f"the token of {source} has expired: whoever writes it must write a new one, or make it renewable, before that"
    return f"Vault does not know the token of {source} any more, before its time was over: it was revoked"
