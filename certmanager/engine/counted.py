"""The calls to Vault's PKI, counted by what came of them. Stands between the workers and the client; changes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf

from certmanager.domain.errors import PodcertError
from certmanager.domain.model import Names, Signed
from certmanager.domain.trust import Trust
from certmanager.engine.ports import CertificateAuthority


@dataclass(frozen=True, slots=True)
class Counted:
    """The port `CertificateAuthority`, with every call to Vault counted by operation and result.

    Args:
        ca: who is called.
        count: is told operation and result: `ok`, or the error's reason.
        away: while it says so, the client answers by itself without a call, and nothing is counted.
    """

    ca: CertificateAuthority
    count: Callable[[str, str], None]
    away: Callable[[], bool]

    def sign(self, mount: str, role: str, csr: str, ttl: int | None, issuer: str | None = None) -> Signed:
        """See `CertificateAuthority.sign`."""
        with self._counted("sign"):
            return self.ca.sign(mount, role, csr, ttl, issuer)

    def issue(self, mount: str, role: str, names: Names, ttl: int | None, issuer: str | None = None) -> Signed:
        """See `CertificateAuthority.issue`."""
        with self._counted("issue"):
            return self.ca.issue(mount, role, names, ttl, issuer)

    def trust(self, mount: str, max_age: float = inf) -> Trust:
        """See `CertificateAuthority.trust`; most calls are answered from memory, so they are not counted."""
        return self.ca.trust(mount, max_age)

    def known_trust(self, mount: str) -> Trust | None:
        """See `CertificateAuthority.known_trust`."""
        return self.ca.known_trust(mount)

    def trust_problem(self, mount: str) -> tuple[str, str] | None:
        """See `CertificateAuthority.trust_problem`."""
        return self.ca.trust_problem(mount)

    @contextlib.contextmanager
    def _counted(self, operation: str) -> Iterator[None]:
        """Counts one call: `ok`, or the reason of the expected error that ended it."""
        asked, status = not self.away(), "bug"
        try:
            yield
            status = "ok"
        except PodcertError as error:
            status = error.reason
            raise
        finally:
            if asked:
                self.count(operation, status)
