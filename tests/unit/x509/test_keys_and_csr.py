"""Keys and CSRs: every type, every name, and nothing of a key in what is raised."""

from __future__ import annotations

import base64
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.model import KeyType, Names
from certmanager.x509.csr import make_csr
from certmanager.x509.keys import PrivateKey, key_type_name, load_key, make_key, to_pkcs8
from tests.unit.x509.builders import NAMES

EC_KEY = make_key(KeyType.EC_256)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
DNS = st.lists(LABELS, min_size=2, max_size=5).map(".".join)
IPS = st.ip_addresses().map(str)
URIS = st.builds("spiffe://{}/ns/{}/sa/{}".format, LABELS, LABELS, LABELS)


@pytest.mark.parametrize("key_type", list(KeyType))
def test_every_key_type_makes_a_key_of_that_type_that_pkcs8_brings_back(key_type: KeyType) -> None:
    key = make_key(key_type)
    pem = to_pkcs8(key)
    assert pem.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert key_type_name(load_key(pem).public_key()) == key_type.value
    assert load_key(pem).public_key() == key.public_key()


@pytest.mark.parametrize("key", [EC_KEY, rsa.generate_private_key(65537, 2048)], ids=["ec", "rsa"])
def test_a_key_in_the_traditional_encoding_is_read_and_normalised(key: PrivateKey) -> None:
    old = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    assert to_pkcs8(load_key(old)) == to_pkcs8(key)


def test_an_rsa_key_whose_parts_contradict_each_other_is_refused() -> None:
    one, other = (rsa.generate_private_key(65537, 2048).private_numbers() for _ in range(2))
    mixed = rsa.RSAPrivateNumbers(one.p, one.q, other.d, one.dmp1, one.dmq1, one.iqmp, one.public_numbers)
    pem = mixed.private_key(unsafe_skip_rsa_key_validation=True).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="contradicts itself"):
        load_key(pem)


def test_an_ec_key_that_carries_another_public_key_is_refused() -> None:
    point = (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    der = EC_KEY.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    forged = der.replace(
        EC_KEY.public_key().public_bytes(*point), make_key(KeyType.EC_256).public_key().public_bytes(*point)
    )
    assert forged != der
    pem = b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(forged) + b"-----END PRIVATE KEY-----\n"
    with pytest.raises(ValueError, match="cannot be read"):
        load_key(pem)


def test_a_key_that_cannot_be_read_is_not_in_the_exception_nor_in_its_chain() -> None:
    broken = to_pkcs8(EC_KEY).replace("A", "B", 3)
    with pytest.raises(ValueError, match="cannot be read") as raised:
        load_key(broken)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert broken.splitlines()[1] not in str(raised.value)


@pytest.mark.parametrize(
    "text", ["", "no PEM", "-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----\n", "\ud800"]
)
def test_what_is_no_key_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="private key cannot be read"):
        load_key(text)


def test_an_encrypted_key_is_refused() -> None:
    pem = EC_KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    with pytest.raises(ValueError, match="not an unencrypted PEM"):
        load_key(pem)


def test_a_key_of_a_kind_that_nobody_asks_for_has_a_name_all_the_same() -> None:
    assert key_type_name(ec.generate_private_key(ec.SECP521R1()).public_key()) == "ec-521"


@pytest.mark.parametrize("key_type", [KeyType.EC_256, KeyType.EC_384, KeyType.ED25519, KeyType.RSA_2048])
def test_the_csr_carries_every_name_and_is_signed_by_its_key(key_type: KeyType) -> None:
    key = make_key(key_type)
    csr = x509.load_pem_x509_csr(make_csr(key, NAMES).encode())
    assert csr.is_signature_valid
    assert csr.public_key() == key.public_key()
    assert [one.value for one in csr.subject] == [NAMES.common_name]
    extension = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert not extension.critical
    assert _sans(extension.value) == NAMES.sans()


def test_without_a_common_name_the_subject_is_empty_and_the_sans_are_critical() -> None:
    csr = x509.load_pem_x509_csr(make_csr(EC_KEY, Names(dns=("a.b",))).encode())
    assert list(csr.subject) == []
    assert csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_no_name_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one DNS name, IP address or URI"):
        make_csr(EC_KEY, Names())


@given(
    dns=st.lists(DNS, min_size=1, max_size=5, unique=True),
    ips=st.lists(IPS, max_size=3, unique=True),
    uris=st.lists(URIS, max_size=2, unique=True),
)
def test_any_names_come_back_from_the_csr_as_they_were(dns: list[str], ips: list[str], uris: list[str]) -> None:
    common_name = next((name for name in dns if len(name) <= 64), None)
    names = Names(tuple(dns), tuple(ips), tuple(uris), common_name)
    csr = x509.load_pem_x509_csr(make_csr(EC_KEY, names).encode())
    found = [one.value for one in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    assert found == ([] if common_name is None else [common_name])
    sans = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in sans] == [*dns, *(str(ipaddress.ip_address(ip)) for ip in ips), *uris]


def _sans(value: x509.SubjectAlternativeName) -> frozenset[str]:
    return Names(
        dns=tuple(value.get_values_for_type(x509.DNSName)),
        ips=tuple(str(ip) for ip in value.get_values_for_type(x509.IPAddress)),
        uris=tuple(value.get_values_for_type(x509.UniformResourceIdentifier)),
    ).sans()
