"""JWTs (RFC 7519) signed with a test's own key, expired ones and strange ones included: no issuer makes those on demand."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def jwt(key: Key, claims: dict[str, Any], **head: str) -> str:
    """A JWT in its compact form: ES256 for a key of P-256, RS256 for one of RSA. `head` are further fields, such as kid."""
    elliptic = isinstance(key, ec.EllipticCurvePrivateKey)
    header = {"alg": "ES256" if elliptic else "RS256", "typ": "JWT", **head}
    text = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{text}.{_encoded(_signature(key, text.encode()))}"


def claims_now(**changed: object) -> dict[str, Any]:
    """Good for ten minutes, for the audience `vault`, with these claims changed."""
    now = int(time.time())
    return {"sub": "manager", "aud": "vault", "iat": now - 5, "nbf": now - 5, "exp": now + 600, **changed}


def ended() -> dict[str, int]:
    """The times of a JWT of long ago."""
    return {"iat": 1_700_000_000, "nbf": 1_700_000_000, "exp": 1_700_000_600}


def public_pem(key: Key) -> str:
    """The public key, as an auth method's `jwt_validation_pubkeys` takes it."""
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form).decode()


def _signature(key: Key, data: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    numbers = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
