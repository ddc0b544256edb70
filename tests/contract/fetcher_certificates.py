"""Certificates of every kind that the fetcher may meet, made with `cryptography`; and the Secrets that hold them."""

import base64
import datetime
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

UID = "3f2a9c41-7a51-4d5e-9f7b-0c1d2e3f4a5b"
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
CODE_SIGNING = ExtendedKeyUsageOID.CODE_SIGNING
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Authority:
    """A CA: its certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Pem:
    """What a Secret holds, as PEM, and the leaf's serial and expiry as Vault and RFC 3339 write them."""

    certificate: bytes
    key: bytes
    anchors: bytes
    serial: str
    not_after: str


def now() -> datetime.datetime:
    """The present; OpenSSL judges validity by it, so no clock can be injected."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def new_key(kind: str = "ec") -> Key:
    """A new key: `ec`, `ed25519` or `rsa`."""
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())


def authority(name: str, issuer: Authority | None = None) -> Authority:
    """A root, or an intermediate under `issuer`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signing_key = (subject, key) if issuer is None else (issuer.certificate.subject, issuer.key)
    builder = _identified(_build(subject, signer, key, ca=True), key, signing_key)
    return Authority(builder.sign(signing_key, hashes.SHA256()), key)


def pem(
    issuer: Authority,
    *,
    key: Key | None = None,
    usages: tuple[x509.ObjectIdentifier, ...] = (SERVER_AUTH, CLIENT_AUTH),
    begins: datetime.timedelta = datetime.timedelta(seconds=-30),
    ends: datetime.timedelta = datetime.timedelta(hours=1),
    chain: tuple[Authority, ...] = (),
    anchors: tuple[Authority, ...] | None = None,
) -> Pem:
    """A leaf for `server.default.svc.cluster.local`, its key, `chain` after it, and `anchors` (the issuer alone)."""
    key = key or new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server.default.svc.cluster.local")])
    builder = _build(subject, issuer.certificate.subject, key, ca=False, begins=begins, ends=ends)
    builder = _identified(builder, key, issuer.key).add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    names = x509.SubjectAlternativeName([x509.DNSName("server.default.svc.cluster.local")])
    leaf = builder.add_extension(names, critical=False).sign(issuer.key, hashes.SHA256())
    digits = f"{leaf.serial_number:x}"
    digits = digits.rjust(len(digits) + len(digits) % 2, "0")
    return Pem(
        certificate=b"".join(c.public_bytes(Encoding.PEM) for c in (leaf, *(a.certificate for a in chain))),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        anchors=b"".join(a.certificate.public_bytes(Encoding.PEM) for a in ((issuer,) if anchors is None else anchors)),
        serial=":".join(digits[i : i + 2] for i in range(0, len(digits), 2)),
        not_after=leaf.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def secret(
    contents: Pem, *, name: str = "server-cert-3f2a9c41", uid: str | None = UID, managed: str | None = "true"
) -> dict[str, Any]:
    """The Secret as the API server sends it."""
    data = {"tls.crt": contents.certificate, "tls.key": contents.key, "ca.crt": contents.anchors}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {
            "name": name,
            "namespace": "default",
            "resourceVersion": "4711",
            "labels": {} if managed is None else {"podcert.io/managed": managed},
            "annotations": {} if uid is None else {"podcert.io/pod-uid": uid},
        },
        "data": {field: base64.b64encode(value).decode() for field, value in data.items()},
    }


def _identified(builder: x509.CertificateBuilder, key: Key, signing_key: Key) -> x509.CertificateBuilder:
    """With both key identifiers, as Vault makes them: by them OpenSSL tells two roots of one name apart."""
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key())
    return builder.add_extension(authority_id, critical=False).add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )


def _build(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    *,
    ca: bool,
    begins: datetime.timedelta = datetime.timedelta(days=-1),
    ends: datetime.timedelta = datetime.timedelta(days=1),
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() + begins)
        .not_valid_after(now() + ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
