"""One login for all workers: made once, renewed before it ends, repeated when Vault refuses it.

Every authenticated call goes through `call`: circuit → slot → token → request → meaning of the answer. A 403 is either a
lost token or a policy that forbids; `auth/token/lookup-self` tells which.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from certmanager.domain.errors import NotYet
from certmanager.vault import errors
from certmanager.vault.circuit import PROBE_SECONDS, Circuit, Clock
from certmanager.vault.errors import Answer, Call
from certmanager.vault.login import Grant, Login, Spent, grant, lookup
from certmanager.vault.transport import AnswerError, Transport

LOGIN_PAUSE_SECONDS: Final = 5.0
"""Between two attempts after a refused login, whatever the number of callers."""

REFUSED_SECONDS: Final = 60.0
"""How long a refused token is not shown again, unless its source changes: Vault may know it again after a restore."""

REVOKE_SECONDS: Final = 2.0
"""How long the end waits for Vault to revoke our token; without that it ends by itself."""

_REVOKE: Final = Call("POST", "auth/token/revoke-self")
_CONFIRMED_SECONDS: Final = 1.0
_RENEW_PAUSE_SECONDS: Final = 10.0
_MIN_RENEW_SECONDS: Final = 1.0
_TRIES: Final = 2


@dataclass(slots=True, eq=False)
class _Token:
    """The token in use. Times by the session's clock.

    Attributes:
        first_ttl: seconds that its login gave it, None for ever.
        ends_at: None for never.
        renew_at: None when nothing can be done before its end.
        lives_until: Vault said lately that it knows the token; good for a moment, so that a policy that forbids a
            thousand pods costs one `lookup-self`, not a thousand.
    """

    value: str = field(repr=False)
    renewable: bool
    first_ttl: float | None
    ends_at: float | None = None
    renew_at: float | None = None
    lives_until: float = 0.0

    def live(self, ttl: float | None, now: float) -> None:
        """Counts the lifetime from now: to be renewed at two thirds of it, never within a second."""
        self.ends_at = None if ttl is None else now + ttl
        self.renew_at = None if ttl is None else now + max(_MIN_RENEW_SECONDS, ttl * 2 / 3)


class VaultSession:
    """Authenticated calls. Safe for threads."""

    def __init__(
        self, transport: Transport, login: Login, circuit: Circuit, monotonic: Clock, on_recovered: Callable[[], None]
    ) -> None:
        """`on_recovered` fires when a login succeeds after one was refused, or gives another token: waiting keys may go."""
        self._transport = transport
        self._login = login
        self._circuit = circuit
        self._now = monotonic
        self._on_recovered = on_recovered
        self._lock = threading.Lock()  # held while logging in, renewing or looking up: one at a time
        self._token: _Token | None = None
        self._failure: tuple[NotYet, float] | None = None  # and until when it stands for all callers
        self._refused: tuple[str, bool, float] | None = None  # a token, whether it ended, until when it is not shown
        self._slots = threading.BoundedSemaphore(transport.calls_at_once)

    @property
    def problem(self) -> NotYet | None:
        """Why nobody can be served now: Vault is away, or the last login failed. None when all is well; no call."""
        failure = self._failure
        return self._circuit.error or (None if failure is None else failure[0])

    def call(self, call: Call, payload: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """An authenticated request; the JSON object of its 2xx answer. Raises `NotYet`, `Refused`."""
        self._circuit.check()
        with self._slots:
            ticket = self._circuit.check()  # again: Vault may have gone while this call waited for its slot
            token = self._current(ticket)
            for _ in range(_TRIES):
                answer = self._send(call, token.value, payload, ticket)
                if not errors.token_lost(answer):
                    return self._meaning(answer, call, ticket)
                token = self._after_forbidden(token, call, answer, ticket)
        raise NotYet("VaultTokenRefused", f"Vault refused two tokens in a row for {call}; see Vault's audit log")

    def call_public(self, call: Call) -> dict[str, Any]:
        """A request that needs no token, under the same limits. Raises `NotYet`, `Refused`."""
        self._circuit.check()
        with self._slots:
            ticket = self._circuit.check()
            return self._meaning(self._send(call, None, None, ticket), call, ticket)

    def tick(self, now: float | None = None) -> float:
        """What is due by itself: first login, renewal, a changed token file, another try after a refused login.

        `now` is by the session's own clock. Returns the seconds until the next tick. Raises nothing expected.
        """
        now = self._now() if now is None else now
        if self._circuit.error is None and self._lock.acquire(blocking=False):
            try:
                self._due(now)
            except NotYet:
                pass  # kept in `problem`, or the circuit is open
            finally:
                self._lock.release()
        token = self._token
        soon = PROBE_SECONDS if token is None or token.renew_at is None else token.renew_at - now
        return min(max(soon, _MIN_RENEW_SECONDS), PROBE_SECONDS)

    def close(self) -> None:
        """Revokes the token if a login of ours made it: best effort, at most two seconds, and nothing while Vault is away."""
        token, self._token = self._token, None
        if token is None or not self._login.repeatable or self._circuit.error is not None:
            return
        with contextlib.suppress(NotYet):
            self._transport.request(_REVOKE, token.value, timeout=REVOKE_SECONDS)

    def _due(self, now: float) -> None:
        ticket = self._circuit.check()
        token = self._token
        if token is None or self._login.changed():
            self._log_in(ticket, now)
        elif token.renew_at is not None and now >= token.renew_at:
            self._renew(token, ticket, now)

    def _current(self, ticket: int) -> _Token:
        token = self._token
        now = self._now()
        if token is None:
            with self._lock:
                self._circuit.check()  # again: the one before us in this line may have found that Vault is away
                return self._token or self._log_in(ticket, self._now())
        if token.renew_at is not None and now >= token.renew_at and self._lock.acquire(blocking=False):
            try:
                self._renew(token, ticket, now)
            finally:
                self._lock.release()
        return self._token or token

    def _log_in(self, ticket: int, now: float) -> _Token:
        """With the lock held. A token in use stays in use when the login fails."""
        changed = self._login.changed()
        if self._failure is not None and now < self._failure[1] and not changed:
            raise self._failed(self._failure[0], now, again=False)
        try:
            found = self._login.login(self._transport, self._spent(now, changed=changed))
        except NotYet as error:
            problem = error
        else:
            return self._use(found, now)
        if problem.shared and problem.reason in errors.AWAY:
            raise self._circuit.failed(problem, ticket)
        # Also when Vault failed at this one request (HTTP 500): without a login nobody is served.
        raise self._failed(NotYet(problem.reason, problem.message, retry_after=problem.retry_after, shared=True), now)

    def _spent(self, now: float, *, changed: bool) -> Spent | None:
        if self._refused is None:
            return None
        token, ended, until = self._refused
        return Spent(token, ended, barred=now < until and not changed)

    def _failed(self, error: NotYet, now: float, *, again: bool = True) -> NotYet:
        if again and self._token is None:
            self._failure = (error, now + LOGIN_PAUSE_SECONDS)
        return NotYet(error.reason, error.message, retry_after=error.retry_after, shared=error.shared)

    def _use(self, found: Grant, now: float) -> _Token:
        token = _Token(found.token, found.renewable, found.ttl)
        token.live(found.ttl, now)
        # Another token may be allowed what the one before it was not: those who were refused for its sake may go too.
        changes = self._failure is not None or (self._token is not None and self._token.value != token.value)
        self._failure = self._refused = None
        self._token = token
        if changes:
            self._on_recovered()
        return token

    def _renew(self, token: _Token, ticket: int, now: float) -> None:
        """With the lock held. Never raises: the token in use is good until Vault refuses it."""
        if token is not self._token:
            return
        rest = _RENEW_PAUSE_SECONDS if token.ends_at is None else (token.ends_at - now) / 3
        token.renew_at = now + max(_MIN_RENEW_SECONDS, min(_RENEW_PAUSE_SECONDS, rest))
        call = Call("POST", "auth/token/renew-self")
        try:
            ttl = None
            if token.renewable:
                ttl = grant(self._transport.client(token.value).auth.token.renew_self(), call).ttl
                token.live(ttl, now)
            if self._login.repeatable and _ending(token, ttl):
                self._log_in(ticket, now)
            elif not token.renewable:
                token.renew_at = None
        except AnswerError as error:
            self._not_renewed(token, error.answer, ticket, now)
        except NotYet as error:
            if error.reason in errors.AWAY:
                self._circuit.failed(error, ticket)

    def _not_renewed(self, token: _Token, answer: Answer, ticket: int, now: float) -> None:
        """A token that is lost or may not be renewed: another one, where a login gives one."""
        if answer.status not in {400, 403}:
            return  # again after the pause
        token.renewable = False
        if not self._login.repeatable:
            token.renew_at = None
            return
        try:
            self._log_in(ticket, now)
        except NotYet:
            return  # again after the pause; meanwhile the old token serves as long as it lives

    def _after_forbidden(self, used: _Token, call: Call, answer: Answer, ticket: int) -> _Token:
        """403: the token to try again with. Raises `Refused` (VaultPolicyForbids) when the token lives."""
        with self._lock:
            now = self._now()
            if self._token is not used:
                return self._token or self._log_in(ticket, now)
            if now < used.lives_until:
                raise errors.policy_forbids(answer, call)
            try:
                lives = lookup(self._transport, used.value) is not None
            except NotYet as error:
                problem = error
            else:
                if lives:
                    used.lives_until = self._now() + _CONFIRMED_SECONDS
                    raise errors.policy_forbids(answer, call)
                ended = used.ends_at is not None and now >= used.ends_at
                self._token, self._refused = None, (used.value, ended, now + REFUSED_SECONDS)
                return self._log_in(ticket, now)
        raise self._circuit.failed(problem, ticket)

    def _send(self, call: Call, token: str | None, payload: Mapping[str, Any] | None, ticket: int) -> Answer:
        try:
            return self._transport.request(call, token, payload)
        except NotYet as error:
            problem = error
        raise self._circuit.failed(problem, ticket)

    def _meaning(self, answer: Answer, call: Call, ticket: int) -> dict[str, Any]:
        if 200 <= answer.status < 300:
            body = answer.json()
            if body is None:
                raise errors.unreadable(call, "its body is not a JSON object")
            return body
        error = errors.policy_forbids(answer, call) if answer.status == 403 else errors.from_answer(answer, call)
        raise self._circuit.failed(error, ticket) if isinstance(error, NotYet) else error


def _ending(token: _Token, ttl: float | None) -> bool:
    """Whether renewals no longer help: not renewable, or shortened by the token's maximum."""
    return not token.renewable or (ttl is not None and token.first_ttl is not None and ttl < token.first_ttl / 2)
