"""Certificate signing requests (RFC 2986) that carry every decided name.

Vault's `sign` takes the names from the CSR and ignores those of the request, so whatever is missing here is missing in
the certificate.
"""

from __future__ import annotations

import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from certmanager.domain.model import Names
from certmanager.x509.keys import PrivateKey


def make_csr(key: PrivateKey, names: Names) -> str:
    """A signed CSR as PEM.

    The subject is the common name alone, or empty; then the SAN extension is critical (RFC 5280, 4.2.1.6).
    Raises ValueError, with the name and the rule, when there is no name at all or one cannot be encoded.
    """
    subject = [] if names.common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, names.common_name)]
    sans = general_names(names)
    if not sans:
        raise ValueError("a certificate request needs at least one DNS name, IP address or URI")
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(subject))
        .add_extension(x509.SubjectAlternativeName(sans), critical=not subject)
    )
    return builder.sign(key, _digest(key)).public_bytes(serialization.Encoding.PEM).decode("ascii")


def general_names(names: Names) -> list[x509.GeneralName]:
    """The SANs (RFC 5280, 4.2.1.6): DNS names, then IP addresses, then URIs."""
    found: list[x509.GeneralName] = [x509.DNSName(name) for name in names.dns]
    found += [x509.IPAddress(ipaddress.ip_address(address)) for address in names.ips]
    found += [x509.UniformResourceIdentifier(uri) for uri in names.uris]
    return found


def _digest(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """The hash that matches the key's strength; Ed25519 brings its own (RFC 8410)."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256:
        return hashes.SHA384()
    return hashes.SHA256()
