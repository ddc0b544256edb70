"""Private keys: made here in mode `sign`, read from Vault's answer in mode `issue`, read from Secrets at adoption.

Key material never reaches an exception: parsing errors are raised anew, without the original in their chain.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from certmanager.domain.model import KeyType

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
"""The kinds of key that `KeyType` names."""

MAX_PEM_BYTES: Final = 32768
"""Of one file: twice an RSA key of 16,384 bits. What is longer costs seconds of arithmetic before it proves to be nonsense."""

_RSA_BITS: Final = {KeyType.RSA_2048: 2048, KeyType.RSA_3072: 3072, KeyType.RSA_4096: 4096}


def make_key(key_type: KeyType) -> PrivateKey:
    """A new private key. RSA takes 40 ms (2048 bits) to half a second (4096) and releases the GIL meanwhile."""
    if key_type is KeyType.EC_256:
        return ec.generate_private_key(ec.SECP256R1())
    if key_type is KeyType.EC_384:
        return ec.generate_private_key(ec.SECP384R1())
    if key_type is KeyType.ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS[key_type])


def to_pkcs8(key: PrivateKey) -> str:
    """The key as unencrypted PKCS#8 PEM (RFC 5958), the one encoding that every TLS library reads."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")


def load_key(pem: str | bytes) -> PrivateKey:
    """Reads a PEM private key in any encoding: PKCS#8, PKCS#1 or SEC 1.

    Raises ValueError, without any content, when it is no such key or when its parts contradict each other.
    """
    data = pem.encode("utf-8", "replace") if isinstance(pem, str) else pem
    if len(data) > MAX_PEM_BYTES:
        raise ValueError(f"{len(data)} bytes of private key: more than {MAX_PEM_BYTES}")
    key: object
    try:
        # OpenSSL's own check of an RSA key costs 40 ms for its primality tests; `_consistent` does what matters here.
        key = serialization.load_pem_private_key(data, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if key is None:
        raise ValueError("the private key cannot be read: it is not an unencrypted PEM private key")
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        raise ValueError("the private key is of an unknown kind: EC, Ed25519 and RSA are supported")
    if not _consistent(key):
        raise ValueError("the private key contradicts itself: its public and private parts do not belong together")
    return key


def _consistent(key: PrivateKey) -> bool:
    """Whether an RSA key's exponent and primes belong to its modulus; the other kinds derive their public key."""
    if not isinstance(key, rsa.RSAPrivateKey):
        return True
    numbers = key.private_numbers()
    p, q, d = numbers.p, numbers.q, numbers.d
    n, e = numbers.public_numbers.n, numbers.public_numbers.e
    return p > 1 and q > 1 and p * q == n and (e * d) % (p - 1) == 1 and (e * d) % (q - 1) == 1


def key_type_name(public_key: PublicKeyTypes) -> str:
    """The algorithm and size in the words of `KeyType`, also for those that it lacks (`ec-521`, `rsa-1024`)."""
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return f"ec-{public_key.curve.key_size}"
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(public_key, rsa.RSAPublicKey):
        return f"rsa-{public_key.key_size}"
    return type(public_key).__name__.strip("_").lower()
