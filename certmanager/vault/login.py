"""Ways to get a token: a file, a value, or Kubernetes auth. The session decides when; these say how.

A login that fails is `NotYet`: it heals when the file, the role or the policy is corrected, without a restart. Messages
name the file or role and what to do, never a token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from certmanager.domain.errors import NotYet
from certmanager.vault import errors
from certmanager.vault.errors import Call
from certmanager.vault.transport import AnswerError, Transport

_MAX_TOKEN_BYTES: Final = 65536


@dataclass(frozen=True, slots=True, eq=False)
class Grant:
    """A token and how long it lives: `ttl` in seconds, None for ever (a root token has lease duration 0)."""

    token: str = field(repr=False)
    ttl: float | None
    renewable: bool


class Login(Protocol):
    """A source of tokens."""

    def login(self, transport: Transport, refused: str | None) -> Grant:
        """A token that Vault accepts. `refused` is one that Vault did not accept lately: it is not tried again.

        Raises `NotYet` ("VaultTokenMissing", "VaultTokenRefused", "VaultLoginRefused", or Vault is away).
        """
        ...

    def changed(self) -> bool:
        """Whether a login now may give another token than the last one did."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether each login makes a new token, so that one that cannot be renewed is replaced before it ends."""
        ...


class TokenValue:
    """A fixed token, from `VAULT_TOKEN`."""

    repeatable: Final = False

    def __init__(self, token: str, source: str = "VAULT_TOKEN") -> None:
        self._token = token
        self._source = source

    def __repr__(self) -> str:
        return f"TokenValue(source={self._source!r})"

    def login(self, transport: Transport, refused: str | None) -> Grant:
        """The token, with its lifetime from `lookup-self`."""
        return _accepted(transport, _clean(self._token, self._source), refused, self._source)

    def changed(self) -> bool:
        """Never: an environment does not change."""
        return False


class TokenFile:
    """A token in a file, as Vault Agent's sink or a mounted Secret writes it; read again when it changes."""

    repeatable: Final = False

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._seen: tuple[int, int, int] | None = None

    def __repr__(self) -> str:
        return f"TokenFile({str(self._path)!r})"

    def login(self, transport: Transport, refused: str | None) -> Grant:
        """The file's token, with its lifetime from `lookup-self`."""
        self._seen = self._stamp()
        return _accepted(transport, _clean(_read(self._path, "token"), f"file {self._path}"), refused, f"{self._path}")

    def changed(self) -> bool:
        """Whether the file is another than the one that was read: by inode, size or time, through links."""
        stamp = self._stamp()
        return stamp is not None and stamp != self._seen

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_ino, found.st_size, found.st_mtime_ns)


class KubernetesLogin:
    """Kubernetes auth: the manager's ServiceAccount token against a role.

    Source: https://developer.hashicorp.com/vault/api-docs/auth/kubernetes#login. The JWT is read at each login, for the
    kubelet replaces it before it ends.
    """

    repeatable: Final = True

    def __init__(self, mount: str, role: str, jwt_path: str | Path) -> None:
        self._mount = mount.strip("/")
        self._role = role
        self._path = Path(jwt_path)

    def __repr__(self) -> str:
        return f"KubernetesLogin(mount={self._mount!r}, role={self._role!r}, jwt_path={str(self._path)!r})"

    def login(self, transport: Transport, refused: str | None) -> Grant:  # noqa: ARG002 # each login makes a new one
        """A new token from `auth/<mount>/login`."""
        jwt = _clean(_read(self._path, "ServiceAccount token"), f"file {self._path}")
        client = transport.client(None)
        call = Call("POST", f"auth/{self._mount}/login", mount=self._mount, role=self._role)
        body = _ask(
            lambda: client.auth.kubernetes.login(self._role, jwt, use_token=False, mount_point=self._mount),
            lambda error: self._refused(error, call),
        )
        return grant(body, call)

    def changed(self) -> bool:
        """Never known beforehand: the session tries again every few seconds."""
        return False

    def _refused(self, error: AnswerError, call: Call) -> NotYet:
        said = errors.words(error.answer)
        if error.answer.status not in {400, 403, 404} or said is None:
            return as_not_yet(errors.from_answer(error.answer, call))
        return NotYet(
            "VaultLoginRefused",
            f"Vault refuses the Kubernetes login with role {self._role} at auth/{self._mount} (HTTP {error.answer.status}: "
            f"{said!r}); the auth method must be enabled there and configured for this cluster, and the role bound to the "
            f"manager's ServiceAccount, namespace and the audience of {self._path}",
            shared=True,
        )


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


def _ask(request: Callable[[], dict[str, Any]], refusal: Callable[[AnswerError], NotYet]) -> dict[str, Any]:
    try:
        return request()
    except AnswerError as error:
        problem = refusal(error)
    raise problem


def _accepted(transport: Transport, token: str, refused: str | None, source: str) -> Grant:
    found = None if token == refused else lookup(transport, token)
    if found is None:
        raise NotYet(
            "VaultTokenRefused",
            f"Vault does not accept the token of {source}: it has expired, was revoked, or lacks the policy `default` "
            "(auth/token/lookup-self); put a valid token there",
            shared=True,
        )
    return found


def _read(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_TOKEN_BYTES + 1)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    else:
        if len(data) <= _MAX_TOKEN_BYTES:
            return data.decode("ascii", "replace")
        problem = f"larger than {_MAX_TOKEN_BYTES} bytes"
    raise NotYet(
        "VaultTokenMissing", f"the {what} file {path} cannot be read: {problem}; write a {what} there", shared=True
    )


def _clean(text: str, source: str) -> str:
    token = text.strip()
    if token and token.isascii() and token.isprintable() and " " not in token:
        return token
    problem = "is empty" if not token else "holds something else than one token"
    raise NotYet("VaultTokenMissing", f"{source} {problem}; it must hold one token and nothing else", shared=True)
