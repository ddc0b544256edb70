"""The cluster's own certificate authority, its parts' certificates and the kubeconfigs, made anew for each cluster.

Nothing here is Podcert's: these keys are what the API server and its clients need to trust each other.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = datetime.timedelta(days=2)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key on disk, PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Subject:
    """Who a certificate is for: user name, groups, and for servers the DNS names and IP addresses."""

    name: str
    groups: Sequence[str] = ()
    names: Sequence[str] = ()
    addresses: Sequence[str] = ()


class Authority:
    """Signs what the cluster's parts need; the files are in `folder`, keys with mode 0600."""

    def __init__(self, folder: Path, now: datetime.datetime) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "podcert test cluster")])
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / "ca.crt"
        write(self.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        self.key = folder / "ca.key"
        write(self.key, _pem(self._key))

    def issue(self, file: str, subject: Subject) -> Identity:
        """Write `file`.crt and `file`.key for `subject`: a client's, and a server's too when it has names."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in subject.groups]
        name.append(x509.NameAttribute(NameOID.COMMON_NAME, subject.name))
        builder = self._builder(x509.Name(name), key.public_key())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if subject.names or subject.addresses:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            names = [
                *(x509.DNSName(each) for each in subject.names),
                *(x509.IPAddress(ipaddress.ip_address(each)) for each in subject.addresses),
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False).sign(
            self._key, hashes.SHA256()
        )
        identity = Identity(self.folder / f"{file}.crt", self.folder / f"{file}.key")
        write(identity.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        write(identity.key, _pem(key))
        return identity

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - datetime.timedelta(hours=1))
            .not_valid_after(self._now + VALID)
        )


def service_account_key(path: Path) -> Path:
    """Write the RSA key that signs ServiceAccount tokens and return its path."""
    write(path, _pem(rsa.generate_private_key(65537, 2048)))
    return path


def kubeconfig(server: str, authority: Path, identity: Identity) -> bytes:
    """Return a kubeconfig (JSON, which is YAML) with everything in it, so that it may be copied."""

    def data(path: Path) -> str:
        return b64encode(path.read_bytes()).decode()

    user = {"client-certificate-data": data(identity.certificate), "client-key-data": data(identity.key)}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "podcert", "cluster": {"server": server, "certificate-authority-data": data(authority)}}
            ],
            "users": [{"name": "podcert", "user": user}],
            "contexts": [{"name": "podcert", "context": {"cluster": "podcert", "user": "podcert"}}],
            "current-context": "podcert",
        },
        indent=1,
    ).encode()


def write(path: Path, content: bytes) -> None:
    """Write a file that only this user can read, from its first moment on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
