"""Why a certificate is to be replaced although its time has not come.

In the flow: gather → decide → *superseded* → the checks of renewal and rotation. It means "due now" and nothing else: how the
new certificate comes in is the pod's own strategy, as at every renewal. Pure.
"""

from __future__ import annotations

from certmanager.domain.model import Bundle, StoredSecret
from certmanager.domain.problems import listed
from certmanager.domain.reasons import Reason
from certmanager.domain.revocation_notes import FINALIZER, asked, renewal_asked, revoked_already
from certmanager.domain.rotation import same_serial
from certmanager.domain.trust import Trust, short

Superseded = tuple[Reason, str]
"""The reason, and a message for users."""


def superseded(secret: StoredSecret, trust: Trust | None) -> Superseded | None:
    """Why the Secret's certificate is due now, whatever its times say; None when nothing but its times counts.

    Args:
        secret: the pod's Secret.
        trust: of the mount that it comes from; None while it was not read. Without anchors (Vault tells no root) the CAs cannot
            be judged.
    """
    bundle = secret.bundle
    if bundle is None:
        return None
    by_trust = _by_trust(bundle, issuer_of(secret), trust)
    return _by_request(secret, bundle.leaf.serial) or by_trust or _by_notes(secret, bundle)


def issuer_of(secret: StoredSecret) -> str | None:
    """SHA-256 fingerprint (hex) of the CA certificate that signed the Secret's; None when that is not known.

    As it was written down at the issue: of two CA certificates with one key and name, a certificate alone does not tell which
    one signed it.
    """
    return secret.annotations.get("issuer") or (None if secret.bundle is None else secret.bundle.issuer)


def _by_request(secret: StoredSecret, serial: str) -> Superseded | None:
    """Somebody asks for another one in the place of this very certificate.

    Where it is to be revoked, nothing begins before the Secret carries the finalizer: with its pod it would vanish, and nobody
    would know of the certificate any more.
    """
    if asked(secret)[0] and FINALIZER in secret.finalizers:
        return Reason.REVOCATION_REQUESTED, f"somebody asks by podcert.io/revoke that {serial} be replaced and revoked"
    if revoked_already(secret):
        return Reason.REVOCATION_REQUESTED, f"{serial} is revoked"
    if renewal_asked(secret):
        return Reason.RENEWAL_REQUESTED, f"somebody asks by podcert.io/renew that {serial} be replaced"
    return None


def _by_notes(secret: StoredSecret, bundle: Bundle) -> Superseded | None:
    """The annotations do not tell what the Secret holds.

    Commands look at nothing else, so that keys do not travel: a wrong serial would have nothing revoked, wrong anchors would
    hold up a change of the CA for ever. One that is missing is an older release's.
    """
    serial, anchors = secret.annotations.get("serial"), secret.annotations.get("anchors")
    wrong = None
    if serial is not None and not same_serial(serial, bundle.leaf.serial):
        wrong = "serial"
    elif anchors is not None and frozenset(filter(None, anchors.split(","))) != bundle.anchors:
        wrong = "anchors"
    if wrong is None:
        return None
    return (
        Reason.ANNOTATIONS_CHANGED,
        f"somebody has changed its annotation podcert.io/{wrong}, which is not what it holds",
    )


def _by_trust(bundle: Bundle, issuer: str | None, trust: Trust | None) -> Superseded | None:
    """A set of anchors that is not Vault's, or an issuer that may not issue any more."""
    if trust is None or not trust.fingerprints:
        return None
    missing, surplus = trust.fingerprints - bundle.anchors, bundle.anchors - trust.fingerprints
    if missing:
        return Reason.ANCHOR_MISSING, f"ca.crt lacks the trust anchor {_short(missing)}, which Vault has"
    if issuer is not None and issuer in trust.closing:
        return Reason.ISSUER_CLOSING, f"its issuer {short(issuer)} may not issue any more"
    if surplus:
        return Reason.ANCHOR_RETIRED, f"ca.crt holds the trust anchor {_short(surplus)}, which Vault has retired"
    return None


def _short(fingerprints: frozenset[str]) -> str:
    return listed([short(fingerprint) for fingerprint in sorted(fingerprints)])
