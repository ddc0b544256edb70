"""CA certificates and the way from a leaf up to a trust anchor.

All pods share a handful of CA certificates: they are parsed, and the signatures between them checked, once per process.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

# Text beside the blocks is allowed (RFC 7468, 5.2) and dropped: a key that somebody pasted there is never passed on.
_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_CACHED: Final = 512

MAX_PEM_BYTES: Final = 65536
"""Of one file: some 50 certificates. A Secret that somebody else filled costs neither time nor memory without bound."""


@dataclass(frozen=True, slots=True, eq=False)
class Authority:
    """A CA certificate, parsed.

    Attributes:
        pem: one PEM block that ends in a newline.
        fingerprint: SHA-256 of the DER in lower-case hex.
        self_signed: signed by its own key, so a root.
        is_ca: basicConstraints say so, or are absent in a root (X.509 version 1 roots have none).
    """

    certificate: x509.Certificate = field(repr=False)
    pem: str = field(repr=False)
    fingerprint: str
    self_signed: bool
    is_ca: bool


@dataclass(frozen=True, slots=True)
class Path:
    """A verified way up: the intermediates from the leaf's issuer on, then the anchor."""

    intermediates: tuple[Authority, ...]
    anchor: Authority

    @property
    def issuer(self) -> Authority:
        """What signed the leaf itself."""
        return self.intermediates[0] if self.intermediates else self.anchor


def pem_blocks(pem: str | bytes) -> list[bytes]:
    """The CERTIFICATE blocks of a PEM text, in order, without anything else that the text holds.

    Raises ValueError when one begins and does not end: the next would be taken in its place.
    """
    data = pem.encode("utf-8", "replace") if isinstance(pem, str) else pem
    found: list[bytes] = _BLOCK.findall(data)
    if len(found) != data.count(b"-----BEGIN CERTIFICATE-----"):
        raise ValueError("a PEM certificate block is damaged")
    return found


def load_certificate(block: bytes) -> x509.Certificate:
    """One certificate. Raises ValueError without any content."""
    try:
        return x509.load_pem_x509_certificate(block)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        pass
    raise ValueError("a certificate cannot be read: its PEM block is not an X.509 certificate")


@lru_cache(maxsize=_CACHED)
def authorities(pem: bytes) -> tuple[Authority, ...]:
    """The CA certificates of a PEM text, in order. Raises ValueError without any content, also above 64 KiB."""
    if len(pem) > MAX_PEM_BYTES:
        raise ValueError(f"{len(pem)} bytes of certificates: more than {MAX_PEM_BYTES}")
    return tuple(_authority(block) for block in pem_blocks(pem))


@lru_cache(maxsize=_CACHED)
def _authority(block: bytes) -> Authority:
    certificate = load_certificate(block)
    self_signed = certificate.subject == certificate.issuer and _signed_by(certificate, certificate)
    try:
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = self_signed
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise ValueError("a CA certificate has an extension that cannot be read") from None
    return Authority(
        certificate=certificate,
        pem=block.decode("ascii") + "\n",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        self_signed=self_signed,
        is_ca=is_ca,
    )


def unique(found: Iterable[Authority]) -> tuple[Authority, ...]:
    """Without repetitions, the first of each kept in its place."""
    return tuple({authority.fingerprint: authority for authority in reversed(list(found))}.values())[::-1]


def signs(issuer: Authority, leaf: x509.Certificate) -> bool:
    """The CA signed the leaf itself."""
    return _issued(leaf, (), issuer)


def find_path(leaf: x509.Certificate, chain: tuple[Authority, ...], anchors: tuple[Authority, ...]) -> Path | None:
    """The shortest way by valid signatures and names (RFC 5280, 6.1) from the leaf to an anchor, or None.

    Every signature is checked. Cross-signed and renewed CAs of the same name are told apart by their keys.
    """
    paths: deque[tuple[Authority, ...]] = deque([()])
    unseen = list(chain)  # each is visited once: certificates that sign each other in circles cost no more than others
    while paths:
        path = paths.popleft()
        for anchor in anchors:
            if _issued(leaf, path, anchor):
                return Path(path, anchor)
        above = [authority for authority in unseen if _issued(leaf, path, authority)]
        unseen = [authority for authority in unseen if authority not in above]
        paths.extend((*path, authority) for authority in above)
    return None


def _issued(leaf: x509.Certificate, path: tuple[Authority, ...], issuer: Authority) -> bool:
    if not issuer.is_ca:
        return False
    return _links(path[-1], issuer) if path else _signed_by(leaf, issuer.certificate)


@lru_cache(maxsize=_CACHED)
def _links(below: Authority, above: Authority) -> bool:
    return _signed_by(below.certificate, above.certificate)


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
