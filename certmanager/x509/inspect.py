"""Facts of certificates, keys and chains, read from PEM: what a Secret holds (adoption) and what Vault returned.

Runs for every Secret at start and at every change, so it costs about 0.2 ms: one signature check, the leaf's; the CAs
come from the caches of `certmanager.x509.chain`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from certmanager.domain.model import Bundle, Leaf, Names
from certmanager.x509.chain import authorities, find_path, load_certificate, pem_blocks
from certmanager.x509.keys import key_type_name, load_key


def inspect_bundle(certificate_pem: bytes | str, key_pem: bytes | str, ca_pem: bytes | str) -> Bundle:
    """Facts of `tls.crt` (leaf, then intermediates), `tls.key` and `ca.crt`; no judgement of names or times.

    Raises ValueError with a message that names the file and holds no content.
    """
    try:
        blocks = pem_blocks(certificate_pem)
        if not blocks:
            raise ValueError("holds no PEM certificate")
        leaf = load_certificate(blocks[0])
        facts = read_leaf(leaf)
        chain = authorities(b"\n".join(blocks[1:]))
    except ValueError as error:
        raise ValueError(f"tls.crt: {error}") from None
    try:
        key = load_key(key_pem)
    except ValueError as error:
        raise ValueError(f"tls.key: {error}") from None
    try:
        anchors = authorities(ca_pem.encode("utf-8", "replace") if isinstance(ca_pem, str) else bytes(ca_pem))
    except ValueError as error:
        raise ValueError(f"ca.crt: {error}") from None
    if not anchors:
        raise ValueError("ca.crt: holds no PEM certificate")
    path = find_path(leaf, chain, anchors)
    return Bundle(
        leaf=facts,
        key_fits=key.public_key() == leaf.public_key(),
        chain_ok=path is not None,
        anchors=frozenset(anchor.fingerprint for anchor in anchors),
        anchor=None if path is None else path.anchor.fingerprint,
        issuer=None if path is None else path.issuer.fingerprint,
    )


def fingerprints(pems: Iterable[str | bytes]) -> frozenset[str]:
    """SHA-256 fingerprints (lower-case hex) of all certificates in the PEM texts. Raises ValueError without content."""
    return frozenset(
        authority.fingerprint
        for pem in pems
        for authority in authorities(pem.encode("utf-8", "replace") if isinstance(pem, str) else pem)
    )


def roots_in(pems: Iterable[str]) -> dict[str, str]:
    """The self-signed certificates of the PEM texts, one block each, by their fingerprints. Raises ValueError without content."""
    found = (authority for pem in pems for authority in authorities(pem.encode("utf-8", "replace")))
    return {authority.fingerprint: authority.pem for authority in found if authority.self_signed}


def read_leaf(certificate: x509.Certificate) -> Leaf:
    """What a certificate says of itself. Raises ValueError when it names something that `Names` cannot hold."""
    try:
        public_key = certificate.public_key()
        spki = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        names = _names(certificate)
    except UnsupportedAlgorithm:
        raise ValueError("the certificate's public key is of an unknown kind") from None
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise ValueError("the certificate's extensions cannot be read") from None
    if certificate.serial_number < 0:  # RFC 5280, 4.1.2.2
        raise ValueError("the certificate's serial number is negative")
    return Leaf(
        serial=format_serial(certificate.serial_number),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        names=names,
        key_type=key_type_name(public_key),
        spki_sha256=hashlib.sha256(spki).hexdigest(),
    )


def format_serial(serial: int) -> str:
    """Lower-case hex bytes with colons, as Vault and openssl print it: 4660 is `12:34`."""
    return serial.to_bytes(max(1, (serial.bit_length() + 7) // 8), "big").hex(":")


def _names(certificate: x509.Certificate) -> Names:
    common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(common_names) > 1:
        raise ValueError("the certificate has more than one common name")
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        general_names = list(extension.value)
    except x509.ExtensionNotFound:
        general_names = []
    found: dict[type[x509.GeneralName], list[str]] = {
        x509.DNSName: [],
        x509.IPAddress: [],
        x509.UniformResourceIdentifier: [],
    }
    for name in general_names:
        if type(name) not in found:
            raise ValueError(f"the certificate has a name of kind {type(name).__name__}, not DNS, IP or URI")
        found[type(name)].append(str(name.value))
    return Names(
        dns=tuple(found[x509.DNSName]),
        ips=tuple(found[x509.IPAddress]),
        uris=tuple(found[x509.UniformResourceIdentifier]),
        common_name=str(common_names[0].value) if common_names else None,
    )
