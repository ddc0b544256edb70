"""One certificate: key and CSR, one call to Vault, the judgement of what came back, and what is written of it.

In the flow: decide → *make* → the Secret's write. Knows nothing of queues, retries and refusals: `reconcile_pod` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from certmanager.domain.errors import PodcertError
from certmanager.domain.model import Bundle, Material, Mode, Pod, Request, SecretWrite, Signed, StoredSecret
from certmanager.domain.secret_notes import annotations_for
from certmanager.domain.trust import Trust
from certmanager.engine.clock import Clock
from certmanager.engine.ports import CertificateAuthority, KeyMaker, Preflight
from certmanager.engine.retiring import Retiring

FRESH_SECONDS: Final = 1.0
"""What was read of the CAs so long ago at most is not read again because a certificate does not fit it."""


@dataclass(frozen=True, slots=True)
class Making:
    """Safe for threads."""

    ca: CertificateAuthority
    keys: KeyMaker
    preflight: Preflight
    clock: Clock
    retiring: Retiring

    def make(self, pod: Pod, request: Request, old: StoredSecret | None) -> SecretWrite:
        """A certificate for `request`, in place of the one in `old` if there is one. Raises `NotYet`, `Refused`."""
        self.preflight.check(request)
        self.ca.trust(request.mount)  # before a certificate is made that could not be judged
        with_the_old = self.retiring.before(pod, old)
        if request.mode is Mode.SIGN:
            key, csr = self.keys.request(request)
            signed = self.ca.sign(request.mount, request.role, csr, request.ttl, request.issuer)
        else:
            signed = self.ca.issue(request.mount, request.role, request.names, request.ttl, request.issuer)
            key = signed.private_key or ""
        now = self.clock.now()
        material, bundle = self._judged(request, key, signed, now)
        notes = annotations_for(request, bundle, pod, now, old)
        return with_the_old(SecretWrite(pod, request.secret_name, notes, material, bundle))

    def _judged(self, request: Request, key: str, signed: Signed, now: float) -> tuple[Material, Bundle]:
        """The certificate with the mount's trust anchors, and with those of its own chain only if they are not among them."""
        trust = self.ca.trust(request.mount)
        material, bundle = self.keys.bundle(request, key, signed, trust.anchors, now)
        if bundle.anchors == trust.fingerprints or not trust.fingerprints:
            return material, bundle
        fresh = self._read_again(request.mount, trust)
        if fresh == trust:
            return material, bundle
        return self.keys.bundle(request, key, signed, fresh.anchors, now)

    def _read_again(self, mount: str, trust: Trust) -> Trust:
        """Somebody has given the mount another CA since it was read; when Vault does not say now, the certificate counts."""
        try:
            return self.ca.trust(mount, FRESH_SECONDS)
        except PodcertError:
            return trust
