"""A certificate authority under full control: whatever a real one would refuse to sign, this one signs."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from certmanager.domain.model import KeyType, Mode, Names, Request, Rotation, Signed
from certmanager.x509.keys import PrivateKey, make_key

NOW = 1_800_000_000.0
NAMES = Names(
    dns=("web.shop.svc.cluster.local", "web.shop.svc"),
    ips=("10.1.2.3", "fd00::7"),
    uris=("spiffe://example.org/ns/shop/sa/web",),
    common_name="web.shop.svc.cluster.local",
)


@dataclass(frozen=True)
class TestAuthority:
    """A CA certificate with its key."""

    __test__ = False

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    @property
    def pem(self) -> str:
        return to_pem(self.certificate)


@dataclass(frozen=True)
class LeafOptions:
    """What a leaf says, beyond its names."""

    begins: float = -30.0
    lasts: float = 3600.0
    general_names: Sequence[x509.GeneralName] = ()
    common_names: Sequence[str] | None = None


def to_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def digest(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def when(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(NOW + seconds, datetime.UTC)


def authority(name: str, issuer: TestAuthority | None = None, key: PrivateKey | None = None) -> TestAuthority:
    """A root, or an intermediate under `issuer`."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer.key if issuer else key
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(when(-86400))
        .not_valid_after(when(86400 * 365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(signer, digest(signer))
    )
    return TestAuthority(certificate, key)


def leaf(
    issuer: TestAuthority, key: PrivateKey, names: Names = NAMES, options: LeafOptions | None = None
) -> x509.Certificate:
    options = options or LeafOptions()
    found: list[x509.GeneralName] = [x509.DNSName(name) for name in names.dns]
    found += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in names.ips]
    found += [x509.UniformResourceIdentifier(uri) for uri in names.uris]
    found += options.general_names
    common_names = options.common_names if options.common_names is not None else [names.common_name]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names if name]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(when(options.begins))
        .not_valid_after(when(options.begins + options.lasts))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if found:
        builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
    return builder.sign(issuer.key, digest(issuer.key))


def request(mode: Mode = Mode.SIGN, key_type: KeyType | None = KeyType.EC_256, names: Names = NAMES) -> Request:
    return Request(
        mode=mode,
        key_type=key_type,
        mount="pki",
        role="pods",
        ttl=3600,
        names=names,
        secret_name="web-cert-12345678",
        fixed_name=False,
        rotation=Rotation.NONE,
    )


def signed(certificate: x509.Certificate, *chain: TestAuthority, private_key: str | None = None) -> Signed:
    """Vault's answer; its PEM texts end without a newline, as Vault's do."""
    return Signed(to_pem(certificate).strip(), tuple(one.pem.strip() for one in chain), private_key)


def new_key(key_type: KeyType = KeyType.EC_256) -> PrivateKey:
    return make_key(key_type)
