"""AppRole: a role-id, and a secret-id from a file, plain or wrapped.

In the flow: one of the session's ways to a token. A wrapped secret-id is unwrapped once and kept in memory; that somebody
else was first is found out and said, which is what wrapping is for. Sources:
https://developer.hashicorp.com/vault/api-docs/auth/approle#login-with-approle,
https://developer.hashicorp.com/vault/docs/concepts/response-wrapping#response-wrapping-token-validation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from certmanager.domain.errors import NotYet
from certmanager.domain.problems import shown
from certmanager.vault import errors, files
from certmanager.vault.errors import Answer, Call
from certmanager.vault.login import Grant, Spent, as_not_yet, ask, grant
from certmanager.vault.transport import AnswerError, Transport

_LOOKUP: Final = Call("POST", "sys/wrapping/lookup")
_UNWRAP: Final = Call("POST", "sys/wrapping/unwrap")


@dataclass(frozen=True, slots=True)
class _Unwrapped:
    """What a wrapping token gave: the secret-id, or why it is of no use any more."""

    wrapping: str = field(repr=False)
    secret_id: str | None = field(repr=False)
    problem: str = ""


class AppRoleLogin:
    """AppRole auth. `wrapped` tells that the file holds a wrapping token instead of the secret-id itself."""

    repeatable: Final = True

    def __init__(self, mount: str, role_id: str, secret_id_file: str | Path, *, wrapped: bool = False) -> None:
        self._mount = mount.strip("/")
        self._role_id = role_id
        self._path = Path(secret_id_file)
        self._wrapped = wrapped
        self._seen: files.Stamp | None = None
        self._unwrapped: _Unwrapped | None = None
        self._accepted = ""

    def __repr__(self) -> str:
        return f"AppRoleLogin(mount={self._mount!r}, secret_id_file={str(self._path)!r}, wrapped={self._wrapped})"

    def login(self, transport: Transport, refused: Spent | None) -> Grant:  # noqa: ARG002 # each login makes a new one
        """A new token from `auth/<mount>/login`."""
        self._seen = files.stamp(self._path)
        secret_id = self._secret_id(transport)
        client = transport.client(None)
        call = Call("POST", f"auth/{self._mount}/login", mount=self._mount)
        body = ask(
            lambda: client.auth.approle.login(self._role_id, secret_id, use_token=False, mount_point=self._mount),
            lambda error: self._refused(error, call, known=secret_id == self._accepted),
        )
        self._accepted = secret_id
        return grant(body, call)

    def changed(self) -> bool:
        """Whether the file is another than the one that was read."""
        stamp = files.stamp(self._path)
        return stamp is not None and stamp != self._seen

    def _secret_id(self, transport: Transport) -> str:
        if not self._wrapped:
            return files.read_word(self._path, "secret-id")
        known = self._unwrapped
        try:
            wrapping = files.read_word(self._path, "wrapping token")
        except NotYet:
            # The file may be removed once it has been used: its secret-id is in memory.
            if known is not None and known.secret_id is not None:
                return known.secret_id
            raise
        if known is None or known.wrapping != wrapping:
            known = self._unwrapped = self._unwrap(transport, wrapping)
        if known.secret_id is not None:
            return known.secret_id
        raise NotYet("VaultSecretIdMisused", known.problem, shared=True)

    def _unwrap(self, transport: Transport, wrapping: str) -> _Unwrapped:
        """Once for each wrapping token, whatever comes of it. Raises `NotYet` when Vault gave no answer to go by."""
        answer = transport.request(_LOOKUP, None, {"token": wrapping})
        if 200 <= answer.status < 300:
            origin = _data(answer, _LOOKUP).get("creation_path")
            if not isinstance(origin, str) or not re.fullmatch(self._origins, origin):
                return _Unwrapped(wrapping, None, self._foreign(str(origin)))
            answer = transport.request(_UNWRAP, wrapping)
        if 200 <= answer.status < 300:
            secret_id = _data(answer, _UNWRAP).get("secret_id")
            if not isinstance(secret_id, str) or not secret_id:
                return _Unwrapped(
                    wrapping, None, f"the wrapping token in {self._path} wraps no secret-id; write another"
                )
            return _Unwrapped(wrapping, files.word(secret_id, "the unwrapped secret-id"))
        if answer.status in {400, 403}:
            return _Unwrapped(wrapping, None, self._spent(errors.words(answer)))
        raise as_not_yet(errors.from_answer(answer, _UNWRAP))

    @property
    def _origins(self) -> str:
        """Where a secret-id of this auth method comes from; a token that wraps anything else was slipped in."""
        return rf"auth/{re.escape(self._mount)}/role/[^/]+/(custom-)?secret-id"

    def _foreign(self, origin: str) -> str:
        return (
            f"the wrapping token in {self._path} was made at {shown(origin)}, not at auth/{self._mount}/role/…/secret-id: "
            "somebody may have put it there in place of ours; it was not unwrapped. Find out who, and write a new one: "
            f"`vault write -wrap-ttl=5m -f auth/{self._mount}/role/ROLE/secret-id`"
        )

    def _spent(self, said: str | None) -> str:
        return (
            f"the wrapping token in {self._path} has been used or has expired (Vault: {said!r}). If it was not this manager, "
            "before it was restarted, someone else may have unwrapped it and have the secret-id: look into Vault's audit "
            f"log, destroy that secret-id (auth/{self._mount}/role/ROLE/secret-id-accessor/destroy), and write a new "
            f"wrapping token: `vault write -wrap-ttl=5m -f auth/{self._mount}/role/ROLE/secret-id`"
        )

    def _refused(self, error: AnswerError, call: Call, *, known: bool) -> NotYet:
        said = errors.words(error.answer)
        if error.answer.status not in {400, 403, 404} or said is None:
            return as_not_yet(errors.from_answer(error.answer, call))
        source = (
            f"the secret-id that was unwrapped from {self._path}" if self._wrapped else f"the secret-id in {self._path}"
        )
        why = f"it was accepted before: it has expired, been destroyed, or used as often as secret_id_num_uses allows ({source})"
        if not known:
            why = (
                f"the auth method must be enabled there, PODCERT_AUTH_ROLE_ID be the role's role-id, and {source} be that "
                "role's, not expired, destroyed or used up (secret_id_num_uses), and valid from this address: Vault has "
                "not accepted it before"
            )
        return NotYet(
            "VaultLoginRefused",
            f"Vault refuses the AppRole login at auth/{self._mount} (HTTP {error.answer.status}: {said!r}); {why}; write a "
            f"new one (`vault write -f auth/{self._mount}/role/ROLE/secret-id`)",
            shared=True,
        )


def _data(answer: Answer, call: Call) -> dict[str, Any]:
    body = answer.json()
    data = body.get("data") if body is not None else None
    if not isinstance(data, dict):
        raise errors.unreadable(call, "it has no data", shared=True)
    return data
