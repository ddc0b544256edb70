"""Why a certificate is due now although its time has not come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.reasons import Reason
from certmanager.domain.supersede import superseded
from certmanager.domain.trust import Trust
from tests.unit.domain.builders import bundle, secret, trust

NOTED = {"issuer": "aa"}
BY_ANOTHER = bundle(issuer="cc")

TABLE: list[tuple[str, dict[str, Any], Trust | None, Reason | None]] = [
    ("the same CAs", {}, trust("aa"), None),
    ("nothing was read yet", {}, None, None),
    ("Vault tells no root", {}, trust(closing=["aa"]), None),
    ("no certificate", {"bundle": None}, trust("bb"), None),
    ("a new anchor", {}, trust("aa", "bb"), Reason.ANCHOR_MISSING),
    ("a new anchor, and the issuer closed", {}, trust("aa", "bb", closing=["aa"]), Reason.ANCHOR_MISSING),
    ("the issuer closed", {}, trust("aa", closing=["aa"]), Reason.ISSUER_CLOSING),
    ("another issuer closed", {}, trust("aa", closing=["bb"]), None),
    (
        "an intermediate closed",
        {"bundle": BY_ANOTHER, "annotations": {}},
        trust("aa", closing=["cc"]),
        Reason.ISSUER_CLOSING,
    ),
    ("the issuer noted counts", {"bundle": BY_ANOTHER, "annotations": NOTED}, trust("aa", closing=["cc"]), None),
    ("an anchor retired", {"bundle": bundle(anchors=frozenset({"aa", "bb"}))}, trust("aa"), Reason.ANCHOR_RETIRED),
    ("a serial that somebody wrote there", {"annotations": {"serial": "de:ad"}}, None, Reason.ANNOTATIONS_CHANGED),
    ("anchors that somebody wrote there", {"annotations": {"anchors": "bb"}}, trust("aa"), Reason.ANNOTATIONS_CHANGED),
    ("annotations of an older release", {"annotations": {}}, trust("aa"), None),
    ("a serial written otherwise", {"annotations": {"serial": bundle().leaf.serial.upper()}}, trust("aa"), None),
    ("all anchors are others", {}, trust("bb"), Reason.ANCHOR_MISSING),
]


@pytest.mark.parametrize(("fields", "known", "reason"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_certificate_is_superseded(fields: dict[str, Any], known: Trust | None, reason: Reason | None) -> None:
    found = superseded(secret(**fields), known)
    assert (None if found is None else found[0]) == reason


def test_the_message_names_the_first_digits_of_the_ca() -> None:
    long = "0123456789abcdef" * 4
    found = superseded(secret(), trust("aa", long))
    assert found is not None
    assert "0123456789ab," in found[1]
    assert "0123456789abc" not in found[1]


NAMES = st.sampled_from(["aa", "bb", "cc", "dd"])


@given(anchors=st.frozensets(NAMES, min_size=1), issuer=NAMES, closing=st.frozensets(NAMES))
def test_a_certificate_with_exactly_vaults_anchors_from_an_open_issuer_never_is(
    anchors: frozenset[str], issuer: str, closing: frozenset[str]
) -> None:
    made = secret(bundle=bundle(anchors=anchors, issuer=issuer), annotations={"issuer": issuer})
    assert superseded(made, trust(*anchors, closing=sorted(closing - {issuer}))) is None
