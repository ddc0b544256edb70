"""`podcert revoke --serial`: a certificate that no Secret holds any more, revoked in Vault by the user's own token.

The manager is not asked, and needs no right for it. By its number where Vault keeps a copy, by the certificate where not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certmanager.console import Console, UsageError
from certmanager.domain.errors import PodcertError
from certmanager.domain.names import parse_role
from certmanager.domain.problems import RuleError, shown
from certmanager.vault.bootstrap import environment as env
from certmanager.vault.bootstrap.api import Admin
from certmanager.vault.errors import Call
from certmanager.vault.transport import Transport
from certmanager.x509.possession import first_certificate


@dataclass(frozen=True, slots=True)
class Options:
    """As given on the command line: exactly one of `serial` and `certificate` (a PEM file)."""

    mount: str = "pki"
    serial: str | None = None
    certificate: Path | None = None


def main(options: Options, console: Console) -> int:
    """Exit status 0: revoked, now or before; 1: Vault does not do it; 2: wrong usage."""
    try:
        mount = parse_role(options.mount.strip("/"))
        payload, what = _payload(options)
        config = env.vault_config(console.environment)
        token, source = env.admin_token(console.environment, console.home)
        transport = Transport(config)
    except RuleError as error:
        console.err(f'podcert: --mount="{shown(options.mount)}": {error.rule}')
        return 2
    except (UsageError, ValueError) as error:
        console.err(f"podcert: {error}")
        return 2
    try:
        answer = Admin(transport, token, source).write(Call("POST", f"{mount}/revoke", mount), payload)
    except PodcertError as error:
        unknown = "not found" in error.message and options.serial is not None
        remedy = (
            "; does the role keep no copies (no_store)? Then give the certificate by --certificate" if unknown else ""
        )
        console.err(f"podcert: {error.message}{remedy}")
        return 1
    finally:
        transport.close()
    console.out(f"{what} {_outcome(answer)}")
    return 0


def _payload(options: Options) -> tuple[Mapping[str, object], str]:
    if options.serial is not None:
        digits = options.serial.replace(":", "").replace("-", "").lower()
        if not re.fullmatch(r"(?:[0-9a-f]{2}){1,20}", digits):
            raise UsageError(
                f'--serial="{shown(options.serial)}": must be a serial number as Vault and openssl print it, such as 3a:4f:09'
            )
        serial = ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
        return {"serial_number": serial}, serial
    assert options.certificate is not None  # noqa: S101 - one of both is given
    try:
        return {"certificate": first_certificate(options.certificate.read_bytes())}, str(options.certificate)
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except ValueError as error:
        problem = f"{error}"
    raise UsageError(f'--certificate="{shown(str(options.certificate))}": {problem}; name a PEM file')


def _outcome(answer: Mapping[str, Any]) -> str:
    data = answer.get("data")
    if isinstance(data, dict) and data.get("revocation_time_rfc3339"):
        return f"is revoked since {str(data['revocation_time_rfc3339'])[:19]}Z"
    return "has expired: Vault revokes it no more"
