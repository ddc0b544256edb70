"""The TLS side of a connection to Vault: whom we trust, who we are, and a phrase for what went wrong.

In the flow: below the transport. Settings as the Vault CLI reads them (VAULT_CACERT, VAULT_CAPATH, VAULT_CLIENT_CERT, …):
https://developer.hashicorp.com/vault/docs/commands#configure-environment-variables. Unlike it, we run for months: Vault's own
certificate gets another CA, ours is renewed, and the files are read again when they change.
"""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Final

import urllib3
from urllib3.exceptions import InsecureRequestWarning, SSLError

from certmanager.vault import files
from certmanager.vault.config import VaultConfig

_CLIENT_ALERTS: Final = (
    "CERTIFICATE_REQUIRED",
    "BAD_CERTIFICATE",
    "UNKNOWN_CA",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_UNKNOWN",
)
"""Alerts (RFC 8446, 6.2) by which a server says that it does not take our certificate."""


class Credentials:
    """The TLS context for new connections; another one after `refresh` when the files behind it have changed.

    Attributes:
        context: for connections that are made from now on.
        identity_problem: why the client certificate cannot be shown, without content; None when it can, or without one.
        trust_problem: why the CAs that are in the files now are not those that are trusted; None when they are.
    """

    def __init__(self, config: VaultConfig) -> None:
        """Raises ValueError, with the setting and the path, when the CAs cannot be read."""
        self._config = config
        self._refreshing = threading.Lock()
        self._stamps = self._seen()
        self.trust_problem: str | None = None
        self.context = context(config)
        self.identity_problem = self._present(self.context)

    def refresh(self) -> bool:
        """Reads the files again when they have changed; True when `context` is another one.

        Files that cannot be used, as somebody is writing them just now, leave the old CAs and the old certificate in use.
        """
        with self._refreshing:
            seen = self._seen()
            if seen == self._stamps and self.identity_problem is None and self.trust_problem is None:
                return False
            self._stamps = seen
            try:
                found = context(self._config)
            except ValueError as error:
                self.trust_problem = str(error)
                return False
            self.trust_problem = None
            self.identity_problem = self._present(found)
            if self.identity_problem is not None:
                return False
            self.context = found
            return True

    def _present(self, to: ssl.SSLContext) -> str | None:
        certificate, key = self._config.client_cert, self._config.client_key
        return None if certificate is None or key is None else present(to, certificate, key)

    def _seen(self) -> tuple[tuple[str, files.Stamp | None], ...]:
        config = self._config
        paths = [Path(one) for one in (config.client_cert, config.client_key) if one]
        if not config.skip_verify:
            paths += [Path(config.ca_file)] if config.ca_file else _entries(config.ca_path)
        return tuple((str(path), files.stamp(path)) for path in paths)


def context(config: VaultConfig) -> ssl.SSLContext:
    """`ca_file`, else `ca_path`, else the system's CAs; without a client certificate.

    Raises ValueError, with the setting and the path, when the CAs cannot be read.
    """
    if config.skip_verify:
        urllib3.disable_warnings(InsecureRequestWarning)  # the administrator has said so; the settings tell it once
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
        return found
    if config.ca_file is None and config.ca_path is None:
        return ssl.create_default_context()
    setting, path = ("VAULT_CACERT", config.ca_file) if config.ca_file else ("VAULT_CAPATH", config.ca_path)
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        _load(found, setting, str(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{setting} {path!r} cannot be used: {error}; it must hold PEM certificates") from None
    return found


def present(to: ssl.SSLContext, certificate: str, key: str) -> str | None:
    """Has `to` show this client certificate; a phrase without content when the files cannot be used, else None."""
    try:
        # Without a password given, OpenSSL would ask for one at the terminal.
        to.load_cert_chain(certificate, key, password="")
    except FileNotFoundError:
        missing = certificate if not Path(certificate).exists() else key
        return f"there is no file {missing}"
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"the key in {key} does not belong to the certificate in {certificate}"
        return f"{certificate} must hold PEM certificates, the leaf first, and {key} its PEM key without a password"
    except OSError as error:
        return f"{certificate} or {key} cannot be read: {error.strerror or type(error).__name__}"
    return None


def problem(error: SSLError) -> str:
    """A phrase for a failed handshake, without the exception's text."""
    cause = error.args[0] if error.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message}; see VAULT_CACERT, VAULT_TLS_SERVER_NAME)"
    said = getattr(cause, "reason", None) or ""
    if any(alert in said for alert in _CLIENT_ALERTS):
        return "it asks for a client certificate, or does not take ours (see VAULT_CLIENT_CERT, VAULT_CLIENT_KEY)"
    return "the TLS handshake failed (is VAULT_ADDR https while Vault speaks http?)"


def _load(to: ssl.SSLContext, setting: str, path: str) -> None:
    """A file, or every PEM file of a folder: as the Vault CLI, and unlike OpenSSL's hashed folders."""
    if setting == "VAULT_CACERT":
        to.load_verify_locations(cafile=path)
        return
    for file in (entry for entry in sorted(Path(path).iterdir()) if entry.is_file()):
        to.load_verify_locations(cafile=str(file))
    if not to.get_ca_certs():
        raise ValueError("it holds no certificate")


def _entries(folder: str | None) -> list[Path]:
    """What is in the folder now; nothing when there is none."""
    try:
        return sorted(Path(folder).iterdir()) if folder else []
    except OSError:
        return []
