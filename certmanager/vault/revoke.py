"""Revocation in a Vault PKI mount. Fits the engine's port `Revoker`.

Always by the certificate itself, never by its serial number: so it works for roles with `no_store` too, and Vault looks
whether the certificate is its own. A serial number is only a number, and whoever may write a Secret could make a
certificate that has another one's. Source: https://developer.hashicorp.com/vault/api-docs/secret/pki#revoke-certificate, and
the recorded answers of both servers. Revoking twice, and revoking what has expired, is answered with 200.
"""

from __future__ import annotations

from typing import Final

from certmanager.domain.errors import NotYet, Refused
from certmanager.domain.names import parse_role
from certmanager.domain.problems import RuleError, shown
from certmanager.domain.revocation import IMPOSSIBLE
from certmanager.vault.errors import Call
from certmanager.vault.session import VaultSession

_OWN: Final = frozenset({"sys", "auth", "identity", "cubbyhole"})
"""Paths of Vault itself. The mount comes from a Secret's annotation; the manager's policy says no as well."""

_FOREIGN: Final = (
    "unable to verify signature on presented cert",
    "certificate with same serial but unequal value",
    "provided certificate data was too short",
)
"""Vault's words, with status 500, for a certificate that it has not issued, or whose issuer is no longer in the mount."""


class VaultRevoker:
    """Safe for threads."""

    def __init__(self, session: VaultSession) -> None:
        self._session = session

    def revoke(self, mount: str, certificate: str) -> None:
        """`POST /v1/<mount>/revoke` with the certificate (PEM). A revoked or expired one is success.

        Raises `NotYet`, `Refused`.
        """
        call = Call("POST", f"{_checked(mount)}/revoke", mount)
        try:
            self._session.call(call, {"certificate": certificate})
        except NotYet as error:
            if error.shared or not any(words in error.message for words in _FOREIGN):
                raise
            problem = "Vault knows no issuer in the mount that made the certificate"
        except Refused as error:
            if "serial number must be provided" not in error.message:
                raise
            problem = "this Vault cannot revoke by certificate, which came with Vault 1.12"
        else:
            return
        raise Refused(IMPOSSIBLE, f"nothing is revoked at {call.path}: {problem}; it is left to end")


def _checked(mount: str) -> str:
    """The mount, if it can be one. Raises `Refused`."""
    try:
        if parse_role(mount).split("/", 1)[0] not in _OWN:
            return mount
    except RuleError:
        pass
    raise Refused(
        IMPOSSIBLE,
        f'the Secret says that its certificate comes from mount "{shown(mount)}", which no PKI can have: somebody has changed '
        "its annotation podcert.io/mount",
    )
