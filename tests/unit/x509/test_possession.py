"""Only who has a certificate's key can put it down for revocation."""

from __future__ import annotations

import base64
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from certmanager.x509.possession import first_certificate, prove, proven

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
END = BEGIN + datetime.timedelta(days=1)
EC = ec.generate_private_key(ec.SECP256R1())
KEYS: list[Key] = [
    EC,
    ec.generate_private_key(ec.SECP384R1()),
    ed25519.Ed25519PrivateKey.generate(),
    rsa.generate_private_key(65537, 2048),
]


def pem_of(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate(key: Key, serial: int = 0x1234) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(serial).not_valid_before(BEGIN).not_valid_after(END)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.PEM)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
def test_what_was_put_down_with_the_key_is_believed(key: Key) -> None:
    pem = certificate(key)
    found = proven(*prove(pem + certificate(EC, 99), pem_of(key)))
    assert found is not None
    assert (found.serial, found.not_after, found.pem) == ("12:34", END.timestamp(), pem.decode())


def test_anothers_certificate_is_not_believed_whatever_key_signed() -> None:
    victim, attacker = certificate(EC), KEYS[1]
    assert proven(*prove(victim, pem_of(attacker))) is None
    other, proof = prove(certificate(attacker), pem_of(attacker))
    assert (
        proven(base64.b64encode(x509.load_pem_x509_certificate(victim).public_bytes(Encoding.DER)).decode(), proof)
        is None
    )
    assert proven(other, proof) is not None


def test_a_proof_is_for_one_certificate_alone() -> None:
    first, proof = prove(certificate(EC, 1), pem_of(EC))
    second, _ = prove(certificate(EC, 2), pem_of(EC))
    assert proven(first, proof) is not None
    assert proven(second, proof) is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_nonsense_is_not_believed(one: str, other: str) -> None:
    assert proven(one, other) is None


def test_what_cannot_be_read_is_said_without_its_content() -> None:
    marked = b"-----BEGIN PRIVATE KEY-----\nhidden\n-----END PRIVATE KEY-----\n"
    for files in ((b"", pem_of(EC)), (certificate(EC), marked), (marked, marked)):
        with pytest.raises(ValueError, match="cannot be read") as caught:
            prove(*files)
        assert "hidden" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None


def test_the_first_certificate_is_taken_alone() -> None:
    first = certificate(EC, 1)
    assert first_certificate(first + certificate(EC, 2)) == first.decode()
    with pytest.raises(ValueError, match="holds no certificate"):
        first_certificate(b"nothing")
