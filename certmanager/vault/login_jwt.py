"""Logins by a signed token (JWT, RFC 7519): Kubernetes auth and JWT auth.

In the flow: one of the session's ways to a token. The JWT is read at each login, for whoever writes the file (the kubelet, a
CI system, SPIRE's agent) replaces it before it ends. What Vault refuses is explained with the audience and the end that the
JWT itself states: neither is a secret, and Vault's own words often say only "permission denied".
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final

from certmanager.domain.errors import NotYet
from certmanager.domain.problems import shown
from certmanager.domain.times import rfc3339
from certmanager.vault import errors, files
from certmanager.vault.errors import Call
from certmanager.vault.login import Grant, Spent, as_not_yet, ask, grant
from certmanager.vault.transport import AnswerError, Transport

_FORBIDDEN: Final = frozenset({400, 403, 404})
_LATEST: Final = 253402300799.0  # the end of the year 9999: what a date can hold

_REMEDIES: Final = (
    (("expired",), "the JWT has expired: whoever writes {path} must write a new one before that"),
    (
        ("not yet valid", "not before"),
        "the JWT is not valid yet: the clocks of its issuer and of Vault differ, or it states no beginning (iat, nbf)",
    ),
    (("audience", "(aud)"), "the role's bound_audiences must hold the audience of {path}"),
    (
        ("could not be found",),
        "write the role (`vault write auth/{mount}/role/{role} …`), or name another by PODCERT_AUTH_ROLE",
    ),
    (("issuer", "(iss)"), "the auth method's bound_issuer must be the JWT's issuer"),
    (
        ("signature", "verifying"),
        "the auth method must know the issuer's keys (jwks_url, oidc_discovery_url or jwt_validation_pubkeys)",
    ),
)
_ANY: Final = "the auth method must be enabled there, trust the JWT's issuer, and the role be bound to its claims"


class JwtLogin:
    """JWT auth: a token of an issuer that the auth method trusts, against a role.

    Source: https://developer.hashicorp.com/vault/api-docs/auth/jwt#jwt-login.
    """

    repeatable: Final = True
    _method = "JWT"
    _kind = "JWT"

    def __init__(self, mount: str, role: str, jwt_path: str | Path) -> None:
        self._mount = mount.strip("/")
        self._role = role
        self._path = Path(jwt_path)
        self._accepted = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mount={self._mount!r}, role={self._role!r}, jwt_path={str(self._path)!r})"

    def login(self, transport: Transport, refused: Spent | None) -> Grant:  # noqa: ARG002 # each login makes a new one
        """A new token from `auth/<mount>/login`."""
        jwt = files.read_word(self._path, self._kind)
        client = transport.client(None)
        call = Call("POST", f"auth/{self._mount}/login", mount=self._mount, role=self._role)
        body = ask(
            lambda: client.adapter.post(f"/v1/{call.path}", json={"role": self._role, "jwt": jwt}),
            lambda error: self._refused(error, call, jwt),
        )
        self._accepted = jwt
        return grant(body, call)

    def changed(self) -> bool:
        """Never known beforehand: the session tries again every few seconds."""
        return False

    def _refused(self, error: AnswerError, call: Call, jwt: str) -> NotYet:
        said = errors.words(error.answer)
        if error.answer.status not in _FORBIDDEN or said is None:
            return as_not_yet(errors.from_answer(error.answer, call))
        return NotYet(
            "VaultLoginRefused",
            f"Vault refuses the {self._method} login with role {self._role} at auth/{self._mount} "
            f"(HTTP {error.answer.status}: {said!r}); {self._remedy(said.lower(), known=jwt == self._accepted)}; {states(jwt)}",
            shared=True,
        )

    def _remedy(self, said: str, *, known: bool) -> str:  # noqa: ARG002 # Vault's words are enough here
        found = next((remedy for words, remedy in _REMEDIES if any(word in said for word in words)), _ANY)
        return found.format(path=self._path, mount=self._mount, role=self._role)


class KubernetesLogin(JwtLogin):
    """Kubernetes auth: the manager's ServiceAccount token against a role.

    Source: https://developer.hashicorp.com/vault/api-docs/auth/kubernetes#login.
    """

    _method = "Kubernetes"
    _kind = "ServiceAccount token"

    def _remedy(self, said: str, *, known: bool) -> str:
        if "expired" in said:
            return f"the token has expired: whoever writes {self._path} must write a new one before that"
        if "audience" in said:
            return f"the role's audience must be that of {self._path}"
        if known:
            return (
                f"Vault accepted this token of {self._path} before: the pod or other object that it is bound to was deleted, "
                "or Vault may no longer ask the cluster (auth method's token_reviewer_jwt, role system:auth-delegator)"
            )
        return (
            "the auth method must be enabled there and configured for this cluster, and the role bound to the manager's "
            f"ServiceAccount, namespace and the audience of {self._path}"
        )


def states(jwt: str) -> str:
    """What a JWT says of itself, for a message: issuer, audience, end. Never its signature, subject or other claims."""
    claims = _claims(jwt)
    if claims is None:
        return "the file does not hold a JWT"
    said = []
    if isinstance(claims.get("iss"), str):
        said.append(f"issuer {shown(claims['iss'])}")
    audience = claims.get("aud")
    names = audience if isinstance(audience, list) else [audience]
    texts = [shown(name) for name in names if isinstance(name, str)]
    said.append(f"audience {', '.join(texts[:5])}" if texts else "no audience")
    end = claims.get("exp")
    if isinstance(end, int | float) and 0 < end < _LATEST:
        said.append(f"end {rfc3339(float(end))}")
    return f"the JWT states {', '.join(said)}"


def _claims(jwt: str) -> dict[str, Any] | None:
    """The payload, unverified: Vault verifies; this is only shown."""
    parts = jwt.split(".")
    if len(parts) != 3:
        return None
    try:
        raw = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
