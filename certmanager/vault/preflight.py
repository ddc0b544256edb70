"""Reads the Vault role of a request, where the policy allows it, and says beforehand what the role forbids.

In the flow: asked by the engine before a key is made. A role is read at most once a minute, by one thread for all; what
cannot be read is no opinion, and Vault decides. A role that forbade something is looked at again by itself: when it has
changed, everybody whom it refused may go at once.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

import structlog

from certmanager.domain import preflight
from certmanager.domain.advice import Advice
from certmanager.domain.errors import NotYet, PodcertError, Refused
from certmanager.domain.model import Request
from certmanager.domain.preflight import VaultRole
from certmanager.vault.circuit import Clock
from certmanager.vault.errors import Call
from certmanager.vault.issuers import Issuers
from certmanager.vault.session import VaultSession

READ_SECONDS: Final = 60.0
"""A role is read at most this often."""
FORBIDDEN_SECONDS: Final = 300.0
"""A role that our policy does not let us read is tried again after this."""
ISSUER_SECONDS: Final = 5.0
"""Before an issuer is said to be unable to sign, it is read again if what is known of it is older than this."""
FORGET_SECONDS: Final = 3600.0
"""A role that has forbidden nothing for so long is no longer read for its own sake."""
_STEP_SECONDS: Final = 3.0

_log = structlog.get_logger("certmanager.vault")

_LISTS: Final = frozenset({"allowed_domains", "allowed_uri_sans", "ext_key_usage", "ext_key_usage_oids"})
_NUMBERS: Final = frozenset({"key_bits", "max_ttl"})


@dataclass(slots=True)
class _Known:
    """What is known of one role. `reading` is held by the one thread that reads it."""

    role: VaultRole | None = None
    read_again: float | None = None  # None: never read
    objected: float | None = None  # when it last forbade something
    reading: threading.Lock = field(default_factory=threading.Lock)


class RolePreflight:
    """The engine's port `Preflight`. Safe for threads."""

    def __init__(
        self, session: VaultSession, issuers: Issuers, monotonic: Clock, on_changed: Callable[[], None]
    ) -> None:
        """`on_changed` fires when a role that forbade something has been changed, or an issuer that could not sign: those who
        were refused may go."""
        self._session = session
        self._issuers = issuers
        self._idle: set[tuple[str, str]] = set()  # mounts and issuers that could not sign
        self._now = monotonic
        self._on_changed = on_changed
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], _Known] = {}

    def check(self, request: Request) -> None:
        """Raises `Refused` when Vault would refuse: RoleForbids with the role's field, its value and what it must be, or
        IssuerCannotSign."""
        if request.issuer is not None:
            self._check_issuer(request.mount, request.issuer)
        known = self._read(request.mount, request.role)
        if known.role is None:
            return
        problem = preflight.objection(known.role, request)
        if problem is not None:
            known.objected = self._now()
            raise Refused("RoleForbids", problem, shared=True)

    def _check_issuer(self, mount: str, issuer: str) -> None:
        problem = self._issuers.objection(mount, issuer)
        if problem is not None:  # it may have been made, or opened, since the issuers were read
            problem = self._issuers.objection(mount, issuer, ISSUER_SECONDS)
        if problem is not None:
            with self._lock:
                self._idle.add((mount, issuer))
            raise Refused("IssuerCannotSign", problem, shared=True)

    def advice(self, request: Request) -> list[Advice]:
        """What the role, as it was last read, changes about the certificate; no call."""
        known = self._known.get((request.mount, request.role))
        return [] if known is None or known.role is None else preflight.advice(known.role, request)

    def step(self) -> float:
        """Reads the roles that forbade something, each once a minute; returns the seconds until the next step."""
        now = self._now()
        self._look_at_issuers()
        with self._lock:
            keys = [key for key, known in self._known.items() if known.objected is not None]
        for mount, role in keys:
            known = self._known[mount, role]
            if known.objected is not None and now - known.objected > FORGET_SECONDS:
                known.objected = None
            else:
                self._read(mount, role)
        return _STEP_SECONDS

    def _look_at_issuers(self) -> None:
        """From memory: the producers read the issuers."""
        with self._lock:
            idle = list(self._idle)
        for mount, issuer in idle:
            with contextlib.suppress(PodcertError):
                if self._issuers.objection(mount, issuer) is None:
                    self._idle.discard((mount, issuer))
                    self._on_changed()

    def _read(self, mount: str, role: str) -> _Known:
        """The role, at most a minute old. The first reader holds up the others, a later one does not."""
        with self._lock:
            known = self._known.setdefault((mount, role), _Known())
        if known.read_again is not None and self._now() < known.read_again:
            return known
        if known.reading.acquire(blocking=known.read_again is None):
            try:
                if known.read_again is None or self._now() >= known.read_again:
                    self._ask(known, mount, role)
            finally:
                known.reading.release()
        return known

    def _ask(self, known: _Known, mount: str, role: str) -> None:
        before, pause = known.role, READ_SECONDS
        try:
            body = self._session.call(Call("GET", f"{mount}/roles/{role}", mount, role))
            known.role = role_of(body.get("data"))
        except NotYet as error:
            if error.shared:
                return  # Vault is away: the call that follows says so, and nothing is known of the role
        except Refused as error:
            known.role = None
            if error.reason == "VaultPolicyForbids":
                pause = FORBIDDEN_SECONDS
            _log.debug("no preflight of the role", mount=mount, role=role, reason=error.reason)
        known.read_again = self._now() + pause
        if known.objected is not None and known.role != before:
            known.objected = None
            self._on_changed()


def role_of(data: object) -> VaultRole | None:
    """The role in `data` of `GET <mount>/roles/<role>`; a field of another type counts as not told. None without data."""
    if not isinstance(data, dict):
        return None
    return VaultRole(**{item.name: _value(item.name, data) for item in fields(VaultRole)})


def _value(name: str, data: Mapping[str, Any]) -> Any:
    value = data.get(name)
    if name in _LISTS:
        good = isinstance(value, list) and all(isinstance(one, str) for one in value)
        return tuple(value or ()) if good else None
    if name in _NUMBERS:
        return value if isinstance(value, int) and not isinstance(value, bool) else None
    if name == "key_type":
        return value if isinstance(value, str) else None
    return value if isinstance(value, bool) else None
