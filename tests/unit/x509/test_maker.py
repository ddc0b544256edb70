"""Nothing that Vault returns is stored unless key, names, validity and chain are what was decided."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.errors import NotYet, PodcertError, Refused
from certmanager.domain.model import KeyType, Mode, Names, Signed
from certmanager.domain.secret_notes import annotations_for
from certmanager.domain.supersede import superseded
from certmanager.domain.trust import trust_in
from certmanager.x509.inspect import fingerprints, inspect_bundle, roots_in
from certmanager.x509.keys import load_key, to_pkcs8
from certmanager.x509.maker import X509KeyMaker
from tests.unit.domain.builders import pod, secret
from tests.unit.x509.builders import (
    NAMES,
    NOW,
    LeafOptions,
    TestAuthority,
    authority,
    leaf,
    new_key,
    request,
    signed,
    to_pem,
)

MAKER = X509KeyMaker()
ROOT = authority("root")
MIDDLE = authority("middle", ROOT)
KEY = new_key()
PEM = to_pkcs8(KEY)


def refusal(answer: Signed, mode: Mode = Mode.SIGN, key_type: KeyType | None = KeyType.EC_256) -> PodcertError:
    with pytest.raises((Refused, NotYet)) as raised:
        MAKER.bundle(request(mode, key_type), PEM, answer, [], NOW)
    assert "PRIVATE" not in str(raised.value)
    return raised.value


def test_a_request_makes_a_key_and_a_csr_that_belong_together() -> None:
    key, csr = MAKER.request(request(key_type=KeyType.EC_384))
    assert load_key(key).public_key() == x509.load_pem_x509_csr(csr.encode()).public_key()


def test_without_a_key_type_the_key_is_p256() -> None:
    key, _ = MAKER.request(request(key_type=None))
    assert inspect_bundle(to_pem(leaf(ROOT, load_key(key))), key, ROOT.pem).leaf.key_type == "ec-256"


def test_a_name_that_no_csr_can_hold_is_refused_with_the_name_and_the_remedy() -> None:
    with pytest.raises(Refused) as raised:
        MAKER.request(request(names=Names(dns=("münchen.example",))))
    assert raised.value.reason == "NameInvalid"


def test_under_an_intermediate_the_root_is_the_anchor_and_the_file_holds_leaf_and_intermediate() -> None:
    material, facts = MAKER.bundle(request(), PEM, signed(leaf(MIDDLE, KEY), MIDDLE, ROOT), [], NOW)
    assert material.ca == ROOT.pem
    assert material.certificate.endswith(MIDDLE.pem)
    assert material.certificate.count("BEGIN CERTIFICATE") == 2
    assert facts == inspect_bundle(material.certificate, material.key, material.ca)
    assert facts.chain_ok
    assert facts.key_fits


def test_a_root_that_vault_leaves_out_of_the_chain_comes_from_the_anchors() -> None:
    material, _ = MAKER.bundle(request(), PEM, signed(leaf(MIDDLE, KEY), MIDDLE), [ROOT.pem], NOW)
    assert material.ca == ROOT.pem


def test_a_root_that_is_not_among_the_anchors_comes_before_them_each_once() -> None:
    other = authority("other")
    answer = signed(leaf(MIDDLE, KEY), MIDDLE, ROOT)
    material, _ = MAKER.bundle(request(), PEM, answer, [other.pem, other.pem.strip()], NOW)
    assert material.ca == ROOT.pem + other.pem


def test_when_no_root_is_known_the_last_of_the_chain_is_the_anchor_and_stays_in_the_file() -> None:
    material, facts = MAKER.bundle(request(), PEM, signed(leaf(MIDDLE, KEY), MIDDLE), [], NOW)
    assert material.ca == MIDDLE.pem
    assert material.certificate.endswith(MIDDLE.pem)
    assert facts == inspect_bundle(material.certificate, material.key, material.ca)


def test_certificates_that_lead_nowhere_do_not_reach_the_file() -> None:
    stray = authority("stray", authority("elsewhere"))
    material, _ = MAKER.bundle(request(), PEM, signed(leaf(MIDDLE, KEY), stray, MIDDLE, ROOT), [], NOW)
    assert stray.pem not in material.certificate


def test_in_mode_issue_the_key_is_vaults_as_pkcs8() -> None:
    old = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
    answer = signed(leaf(ROOT, KEY), ROOT, private_key=old)
    material, _ = MAKER.bundle(request(Mode.ISSUE, None), "", answer, [], NOW)
    assert material.key == PEM


def test_in_mode_issue_an_answer_without_a_key_is_not_yet() -> None:
    assert refusal(signed(leaf(ROOT, KEY), ROOT), Mode.ISSUE).reason == "VaultAnswerUnreadable"


def test_in_mode_issue_a_key_type_that_the_role_does_not_give_is_refused() -> None:
    found = refusal(signed(leaf(ROOT, KEY), ROOT, private_key=PEM), Mode.ISSUE, KeyType.RSA_2048)
    assert found.reason == "KeyTypeDiffers"
    assert "rsa-2048" in found.message
    assert "ec-256" in found.message


def test_a_certificate_for_another_key_is_refused() -> None:
    assert refusal(signed(leaf(ROOT, new_key()), ROOT)).reason == "KeyMismatch"


NAME_CHANGES = {
    "one more DNS name": Names((*NAMES.dns, "evil.example.com"), NAMES.ips, NAMES.uris, NAMES.common_name),
    "one less DNS name": Names(NAMES.dns[:1], NAMES.ips, NAMES.uris, NAMES.common_name),
    "another IP address": Names(NAMES.dns, ("10.1.2.4", "fd00::7"), NAMES.uris, NAMES.common_name),
    "no URI": Names(NAMES.dns, NAMES.ips, (), NAMES.common_name),
    "another common name": Names(NAMES.dns, NAMES.ips, NAMES.uris, "web.shop.svc"),
    "no common name": Names(NAMES.dns, NAMES.ips, NAMES.uris, None),
    "no names": Names(),
}


@pytest.mark.parametrize("got", NAME_CHANGES.values(), ids=NAME_CHANGES.keys())
def test_names_other_than_the_decided_ones_are_refused(got: Names) -> None:
    found = refusal(signed(leaf(ROOT, KEY, got), ROOT))
    assert isinstance(found, Refused)
    assert found.reason == "NamesDiffer"
    assert "use_csr_sans=true" in found.message


def test_the_differing_name_is_named() -> None:
    assert "dns:evil.example.com" in refusal(signed(leaf(ROOT, KEY, NAME_CHANGES["one more DNS name"]), ROOT)).message


def test_many_differing_names_are_cut() -> None:
    many = Names(tuple(f"{number}.example.com" for number in range(90)), (), (), None)
    assert len(refusal(signed(leaf(ROOT, KEY, many), ROOT)).message) < 1000


def test_the_order_of_names_is_no_difference() -> None:
    turned = Names(NAMES.dns[::-1], NAMES.ips[::-1], NAMES.uris, NAMES.common_name)
    MAKER.bundle(request(), PEM, signed(leaf(ROOT, KEY, turned), ROOT), [], NOW)


def test_a_name_of_another_kind_is_refused_as_a_name() -> None:
    mail = LeafOptions(general_names=[x509.RFC822Name("a@example.com")])
    assert refusal(signed(leaf(ROOT, KEY, options=mail), ROOT)).reason == "NamesDiffer"


@pytest.mark.parametrize(
    ("begins", "lasts", "reason"),
    [
        (-30, 90, None),
        (60, 90, None),
        (61, 90, "ClockSkew"),
        (-90, 91, None),
        (-90, 90, "CertificateExpired"),
        (-9000, 90, "CertificateExpired"),
    ],
)
def test_validity_makes_sense_now(begins: int, lasts: int, reason: str | None) -> None:
    answer = signed(leaf(ROOT, KEY, options=LeafOptions(begins, lasts)), ROOT)
    if reason is None:
        MAKER.bundle(request(), PEM, answer, [], NOW)
    else:
        assert refusal(answer).reason == reason


def test_a_chain_that_reaches_no_anchor_is_refused() -> None:
    assert refusal(signed(leaf(MIDDLE, KEY), ROOT)).reason == "ChainIncomplete"
    assert refusal(signed(leaf(MIDDLE, KEY))).reason == "ChainIncomplete"
    assert refusal(signed(leaf(MIDDLE, KEY), authority("middle", ROOT), ROOT)).reason == "ChainIncomplete"


@given(text=st.text(max_size=200))
def test_garbage_instead_of_certificates_is_not_yet(text: str) -> None:
    good = signed(leaf(ROOT, KEY), ROOT)
    assert refusal(Signed(text, good.chain)).reason == "VaultAnswerUnreadable"
    assert refusal(Signed(good.certificate, (text,))).reason == "ChainIncomplete"


def test_nothing_shows_the_key() -> None:
    material, _ = MAKER.bundle(request(), PEM, signed(leaf(ROOT, KEY), ROOT), [], NOW)
    shown = repr(material) + repr(MAKER) + repr(signed(leaf(ROOT, KEY), ROOT, private_key=PEM))
    assert PEM.splitlines()[1] not in shown


OTHERS = [authority("root"), authority("root", key=ROOT.key), authority("other"), authority("middle", authority("far"))]


@given(known=st.lists(st.sampled_from([ROOT, *OTHERS[:3]]), max_size=6), through=st.booleans())
def test_with_any_trust_that_the_certificate_reaches_the_anchors_are_exactly_that_and_it_is_not_superseded(
    known: list[TestAuthority], through: bool
) -> None:
    """Else a certificate would be made again and again: what is in `ca.crt` depends on Vault's word alone."""
    trust = trust_in(roots_in([one.pem for one in known]), fingerprints([OTHERS[3].pem]))
    answer = signed(leaf(MIDDLE, KEY), MIDDLE, ROOT) if through else signed(leaf(ROOT, KEY), ROOT)
    material, facts = MAKER.bundle(request(), PEM, answer, trust.anchors, NOW)
    assert facts.issuer == next(iter(fingerprints([answer.chain[0]])))
    reached = {ROOT, OTHERS[1]} & set(known)  # the second is the same root, issued anew for the same key
    if not reached:
        assert facts.anchors == trust.fingerprints | fingerprints([ROOT.pem])
        return
    assert (facts.anchors, material.ca) == (trust.fingerprints, "".join(trust.anchors))
    notes = annotations_for(request(), facts, pod(), NOW)
    for found in (facts, inspect_bundle(material.certificate, material.key, material.ca)):
        assert superseded(secret(annotations=notes, bundle=found), trust) is None


def test_the_issuer_of_a_root_that_was_issued_anew_for_its_key_is_the_one_that_vault_names() -> None:
    trust = trust_in(roots_in([ROOT.pem, OTHERS[1].pem]), fingerprints([ROOT.pem]))
    for issuer, closed in ((ROOT, True), (OTHERS[1], False)):
        _, facts = MAKER.bundle(request(), PEM, signed(leaf(issuer, KEY), issuer), trust.anchors, NOW)
        assert (facts.issuer in trust.closing) == closed


def test_trust_is_the_same_in_whatever_order_vault_tells_it() -> None:
    pems = [ROOT.pem, OTHERS[0].pem, ROOT.pem.strip()]
    assert trust_in(roots_in(pems)) == trust_in(roots_in(reversed(pems)))
    assert len(trust_in(roots_in(pems)).anchors) == 2
