"""What is read from a Secret's three files."""

from __future__ import annotations

import base64
import contextlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.model import KeyType
from certmanager.x509 import chain
from certmanager.x509.inspect import fingerprints, format_serial, inspect_bundle, roots_in
from certmanager.x509.keys import MAX_PEM_BYTES, to_pkcs8
from tests.unit.x509.builders import NAMES, NOW, LeafOptions, authority, leaf, new_key, to_pem

ROOT = authority("root")
MIDDLE = authority("middle", ROOT)
KEY = new_key()
LEAF = leaf(MIDDLE, KEY)
FILE = to_pem(LEAF) + MIDDLE.pem


def test_a_bundle_under_an_intermediate_tells_all_its_facts() -> None:
    found = inspect_bundle(FILE.encode(), to_pkcs8(KEY).encode(), ROOT.pem.encode())
    assert found.key_fits
    assert found.chain_ok
    assert found.anchors == fingerprints([ROOT.pem])
    assert found.anchor in found.anchors
    assert found.leaf.names == NAMES
    assert (found.leaf.not_before, found.leaf.not_after) == (NOW - 30, NOW + 3570)
    assert found.leaf.key_type == "ec-256"
    assert found.leaf.serial == format_serial(LEAF.serial_number)


@pytest.mark.parametrize("key_type", [KeyType.EC_384, KeyType.ED25519, KeyType.RSA_2048])
def test_every_kind_of_key_is_recognised_as_the_certificates(key_type: KeyType) -> None:
    key = new_key(key_type)
    found = inspect_bundle(to_pem(leaf(ROOT, key)), to_pkcs8(key), ROOT.pem)
    assert (found.key_fits, found.leaf.key_type) == (True, key_type.value)


def test_another_key_does_not_fit() -> None:
    assert not inspect_bundle(FILE, to_pkcs8(new_key()), ROOT.pem).key_fits
    assert not inspect_bundle(FILE, to_pkcs8(new_key(KeyType.ED25519)), ROOT.pem).key_fits


def test_a_root_of_the_same_name_and_another_key_is_no_anchor() -> None:
    found = inspect_bundle(FILE, to_pkcs8(KEY), authority("root").pem)
    assert not found.chain_ok
    assert found.anchor is None


def test_without_the_intermediate_no_anchor_is_reached() -> None:
    assert not inspect_bundle(to_pem(LEAF), to_pkcs8(KEY), ROOT.pem).chain_ok


def test_the_anchor_that_is_reached_is_told_from_the_others() -> None:
    found = inspect_bundle(FILE, to_pkcs8(KEY), authority("other").pem + ROOT.pem)
    assert len(found.anchors) == 2
    assert found.anchor == next(iter(fingerprints([ROOT.pem])))


def test_a_certificate_that_is_no_ca_cannot_be_in_between() -> None:
    server = leaf(ROOT, KEY)
    forged = leaf(type(ROOT)(server, KEY), KEY)
    found = inspect_bundle(to_pem(forged) + to_pem(server), to_pkcs8(KEY), ROOT.pem)
    assert not found.chain_ok


def test_intermediates_that_sign_each_other_in_circles_end() -> None:
    key = new_key()
    circle = [authority("same", key=key) for _ in range(40)]
    found = inspect_bundle(to_pem(leaf(circle[0], KEY)) + "".join(one.pem for one in circle), to_pkcs8(KEY), ROOT.pem)
    assert not found.chain_ok


@pytest.mark.parametrize(
    ("certificate", "key", "ca", "message"),
    [
        ("", to_pkcs8(KEY), ROOT.pem, "tls.crt: holds no PEM certificate"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            to_pkcs8(KEY),
            ROOT.pem,
            "tls.crt: .*not an X.509",
        ),
        ("-----BEGIN CERTIFICATE-----\n" + FILE, to_pkcs8(KEY), ROOT.pem, "tls.crt: .*damaged"),
        (FILE, "", ROOT.pem, "tls.key: the private key cannot be read"),
        (FILE, "x" * (MAX_PEM_BYTES + 1), ROOT.pem, "tls.key: .*more than 32768"),
        (FILE, to_pkcs8(KEY), "", "ca.crt: holds no PEM certificate"),
        (FILE, to_pkcs8(KEY), "x" * (chain.MAX_PEM_BYTES + 1), "ca.crt: .*more than 65536"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(certificate: str, key: str, ca: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect_bundle(certificate, key, ca)


def test_a_name_of_a_kind_that_nobody_decides_is_an_error() -> None:
    mail = LeafOptions(general_names=[x509.RFC822Name("a@example.com")])
    with pytest.raises(ValueError, match="RFC822Name"):
        inspect_bundle(to_pem(leaf(ROOT, KEY, options=mail)), to_pkcs8(KEY), ROOT.pem)


def test_two_common_names_are_an_error() -> None:
    two = LeafOptions(common_names=["a.b", "c.d"])
    with pytest.raises(ValueError, match="more than one common name"):
        inspect_bundle(to_pem(leaf(ROOT, KEY, options=two)), to_pkcs8(KEY), ROOT.pem)


@given(certificate=st.binary(max_size=300), key=st.binary(max_size=300), ca=st.binary(max_size=300))
def test_garbage_is_a_value_error_and_nothing_else(certificate: bytes, key: bytes, ca: bytes) -> None:
    with pytest.raises(ValueError, match=r"tls\.crt"):
        inspect_bundle(certificate, key, ca)


@given(cut=st.integers(0, len(FILE)), junk=st.binary(max_size=20))
def test_a_damaged_file_is_read_or_a_value_error(cut: int, junk: bytes) -> None:
    damaged = FILE.encode()[:cut] + junk + FILE.encode()[cut:]
    with contextlib.suppress(ValueError):
        assert inspect_bundle(damaged, to_pkcs8(KEY), ROOT.pem).anchors == fingerprints([ROOT.pem])


@pytest.mark.parametrize(("byte", "value"), [(4, 7), (7, 0x80)], ids=["unknown version", "negative serial"])
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_what_only_a_forger_writes_into_a_certificate_is_a_value_error(byte: int, value: int) -> None:
    forged = bytearray(LEAF.public_bytes(Encoding.DER))
    version = forged.index(bytes.fromhex("a003020102"))  # [0] INTEGER 2 (X.509 version 3), then the serial number
    forged[version + byte] = value
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(forged).decode()}-----END CERTIFICATE-----\n"
    with pytest.raises(ValueError, match=r"tls\.crt: "):
        inspect_bundle(pem, to_pkcs8(KEY), ROOT.pem)
    with contextlib.suppress(ValueError):
        inspect_bundle(FILE + pem, to_pkcs8(KEY), ROOT.pem)


@given(st.integers(1, 2**160 - 1))
def test_a_serial_is_whole_bytes_with_colons(serial: int) -> None:
    text = format_serial(serial)
    assert int(text.replace(":", ""), 16) == serial
    assert all(len(byte) == 2 for byte in text.split(":"))


def test_self_signed_ones_are_picked_and_a_key_beside_them_is_left_out() -> None:
    text = MIDDLE.pem + to_pkcs8(KEY) + ROOT.pem
    assert roots_in([text]) == {next(iter(fingerprints([ROOT.pem]))): ROOT.pem}
