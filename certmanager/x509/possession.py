"""Proof that a certificate's own key was at hand when it was put down for revocation.

Certificates are public: whoever may write a Secret of ours could put somebody else's into it and have the manager revoke it.
So the manager signs what it puts down with the certificate's key, which it has at that moment, and believes nothing later
that is not signed. In the flow: renewal in place → *prove* → annotation → *proven* → Vault.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from certmanager.x509.inspect import format_serial

_CONTEXT: Final = b"podcert.io: this certificate may be revoked, v1\n"
"""Before what is signed: no signature of TLS begins like this (RFC 8446, 4.4.3: 64 spaces), so neither stands for the other."""
_PSS: Final = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)


@dataclass(frozen=True, slots=True)
class Proven:
    """A certificate that was put down by who had its key. `pem` is the certificate alone, `not_after` in seconds."""

    serial: str
    not_after: float
    pem: str


def prove(certificate: bytes, key: bytes) -> tuple[str, str]:
    """DER of the first certificate of a PEM file, and the proof, both in base64.

    Args:
        certificate: `tls.crt`, PEM.
        key: `tls.key`, PEM (PKCS#8), the private key of its first certificate.

    Raises:
        ValueError: one of them cannot be used; the message has nothing of their content.
    """
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0].public_bytes(Encoding.DER)
        signature = _sign(load_pem_private_key(key, None), _message(leaf))
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm):
        signature = None
    if signature is None:
        raise ValueError("certificate or key cannot be read, or the key's type is not known")
    return base64.b64encode(leaf).decode("ascii"), base64.b64encode(signature).decode("ascii")


def proven(certificate: str, proof: str) -> Proven | None:
    """The certificate when the proof is by its own key; None else, whatever was put there."""
    try:
        der, signature = base64.b64decode(certificate, validate=True), base64.b64decode(proof, validate=True)
        leaf = x509.load_der_x509_certificate(der)
        _verify(leaf.public_key(), signature, _message(der))
        return Proven(
            format_serial(leaf.serial_number),
            leaf.not_valid_after_utc.timestamp(),
            leaf.public_bytes(Encoding.PEM).decode("ascii"),
        )
    except (binascii.Error, ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return None


def first_certificate(chain: bytes) -> str:
    """The first certificate of a PEM file, alone, as PEM. Raises ValueError without content."""
    try:
        return x509.load_pem_x509_certificates(chain)[0].public_bytes(Encoding.PEM).decode("ascii")
    except (ValueError, IndexError):
        pass
    raise ValueError("it holds no certificate")


def _message(der: bytes) -> bytes:
    return _CONTEXT + hashlib.sha256(der).digest()


def _sign(key: object, message: bytes) -> bytes | None:
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.sign(message, ec.ECDSA(hashes.SHA256()))
        case ed25519.Ed25519PrivateKey():
            return key.sign(message)
        case rsa.RSAPrivateKey():
            return key.sign(message, _PSS, hashes.SHA256())
    return None


def _verify(key: object, signature: bytes, message: bytes) -> None:
    """Raises InvalidSignature, TypeError for a key of another type."""
    match key:
        case ec.EllipticCurvePublicKey():
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        case ed25519.Ed25519PublicKey():
            key.verify(signature, message)
        case rsa.RSAPublicKey():
            key.verify(signature, message, _PSS, hashes.SHA256())
        case _:
            raise TypeError("unknown key type")
