"""TLS certificate auth: who we are is the client certificate of the connection itself.

In the flow: one of the session's ways to a token. The certificate may be one that Podcert made: its files are read again
when they change, and then a new login follows, for Vault binds a token to the certificate that it was given for. Source:
https://developer.hashicorp.com/vault/api-docs/auth/cert#login-with-tls-certificate-method.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from certmanager.domain.errors import NotYet
from certmanager.domain.times import rfc3339
from certmanager.vault import errors, files
from certmanager.vault.errors import Call
from certmanager.vault.login import Grant, Spent, as_not_yet, ask, grant
from certmanager.vault.transport import AnswerError, Transport
from certmanager.x509.chain import load_certificate, pem_blocks
from certmanager.x509.inspect import read_leaf

_X509: Final = "x509: "
"""What Go's verification of certificates begins its errors with."""


class CertLogin:
    """TLS certificate auth with the connection's own VAULT_CLIENT_CERT and VAULT_CLIENT_KEY."""

    repeatable: Final = True

    def __init__(self, mount: str, role: str, certificate: str | Path, key: str | Path) -> None:
        self._mount = mount.strip("/")
        self._role = role
        self._files = (Path(certificate), Path(key))
        self._seen: tuple[files.Stamp | None, ...] = ()
        self._accepted: tuple[files.Stamp | None, ...] = ()

    def __repr__(self) -> str:
        return f"CertLogin(mount={self._mount!r}, role={self._role!r}, certificate={str(self._files[0])!r})"

    def login(self, transport: Transport, refused: Spent | None) -> Grant:  # noqa: ARG002 # each login makes a new one
        """A new token from `auth/<mount>/login`."""
        self._seen = self._stamps()
        transport.refresh()
        problem = transport.identity_problem
        if problem is not None:
            raise NotYet(
                "VaultClientCertificateUnusable",
                f"the client certificate for the login at auth/{self._mount} cannot be used: {problem}; "
                "see VAULT_CLIENT_CERT, VAULT_CLIENT_KEY",
                shared=True,
            )
        client = transport.client(None)
        call = Call("POST", f"auth/{self._mount}/login", mount=self._mount, role=self._role)
        body = ask(
            lambda: client.adapter.post(f"/v1/{call.path}", json={"name": self._role}),
            lambda error: self._refused(error, call),
        )
        self._accepted = self._seen
        return grant(body, call)

    def changed(self) -> bool:
        """Whether one of the files is another than the one that was read; not while one is missing."""
        stamps = self._stamps()
        return None not in stamps and stamps != self._seen

    def _stamps(self) -> tuple[files.Stamp | None, ...]:
        return tuple(files.stamp(path) for path in self._files)

    def _refused(self, error: AnswerError, call: Call) -> NotYet:
        said = errors.words(error.answer)
        # A certificate that has ended is an error of Vault's own: HTTP 500.
        ours = error.answer.status in {400, 403, 404} or (error.answer.status == 500 and _X509 in (said or ""))
        if not ours or said is None:
            return as_not_yet(errors.from_answer(error.answer, call))
        return NotYet(
            "VaultLoginRefused",
            f"Vault refuses the TLS certificate login with role {self._role} at auth/{self._mount} "
            f"(HTTP {error.answer.status}: {said!r}); {self._remedy(said.lower())}; {self._states()}",
            shared=True,
        )

    def _remedy(self, said: str) -> str:
        if "no client certificate" in said or "missing client" in said or "tls connection required" in said:
            return (
                "the certificate did not reach Vault, or no role trusts its CA: no proxy may end TLS in between, and the "
                f"CA must be in auth/{self._mount}/certs/{self._role}"
            )
        if "has expired or is not yet valid" in said:
            return f"the certificate has expired: whoever writes {self._files[0]} must write a new one before that"
        if self._seen == self._accepted:
            return (
                f"Vault accepted this certificate before: it was revoked (a CRL in auth/{self._mount}/crls), or "
                f"auth/{self._mount}/certs/{self._role} was changed"
            )
        return (
            f"the auth method must be enabled there, auth/{self._mount}/certs/{self._role} must hold the certificate's CA "
            "and allow its names (allowed_common_names, allowed_dns_sans, …), and it must not be expired or revoked"
        )

    def _states(self) -> str:
        """What the certificate says of itself; it is public."""
        path = self._files[0]
        try:
            leaf = read_leaf(load_certificate(pem_blocks(path.read_bytes())[0]))
        except (OSError, ValueError, IndexError):
            return f"{path} cannot be read now"
        name = leaf.names.common_name or next(iter(leaf.names.dns + leaf.names.uris), "no name")
        return f"the certificate in {path} is for {name}, serial {leaf.serial}, end {rfc3339(leaf.not_after)}"
