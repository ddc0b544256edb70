"""A certificate of a CA that exists for that one signature: what a Vault server shows before it can issue its own.

`podcert vault tls` writes it into files. The CA's key is not part of what is returned and is never encoded: who trusts that CA
trusts this one certificate and nothing else, ever.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certmanager.domain.model import Leaf, Names
from certmanager.x509.csr import general_names
from certmanager.x509.inspect import read_leaf
from certmanager.x509.keys import to_pkcs8

_BEFORE = datetime.timedelta(minutes=5)
"""Clocks differ; Vault's own 30 s are for clocks of one cluster."""


@dataclass(frozen=True, slots=True)
class ThrowAway:
    """PEM texts of the certificate, its key (PKCS#8) and its CA; `leaf` says what is in the certificate."""

    certificate: str
    key: str = field(repr=False)
    authority: str
    leaf: Leaf


def throw_away(names: Names, now: float, lifetime: int) -> ThrowAway:
    """A new CA and one server certificate of it (EC P-256, RFC 5280) for `names`, valid for `lifetime` seconds from `now`."""
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC).replace(microsecond=0)
    end = moment + datetime.timedelta(seconds=lifetime)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    # The moment tells one throw-away CA from the next in lists of trusted ones.
    authority = _name(f"throw-away CA of {moment:%Y-%m-%d %H:%M:%S} UTC")

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(moment - _BEFORE)
            .not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )

    ca = (
        builder(authority, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    subject = _name(names.common_name) if names.common_name else x509.Name([])
    leaf = (
        builder(subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(general_names(names)), critical=names.common_name is None)
        .sign(ca_key, hashes.SHA256())
    )
    return ThrowAway(_pem(leaf), to_pkcs8(key), _pem(ca), read_leaf(leaf))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
