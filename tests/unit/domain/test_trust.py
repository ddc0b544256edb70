"""From a mount's issuers to whom is trusted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.trust import Issuer, State, state_of, trust_of

ALL = ("read-only", "issuing-certificates", "crl-signing", "ocsp-signing")


def issuer(fingerprint: str, *roots: str, state: State = State.ISSUING) -> Issuer:
    return Issuer(fingerprint, "", state, fingerprint, {root: f"PEM of {root}" for root in roots or (fingerprint,)})


CLOSING, RETIRED = State.CLOSING, State.RETIRED
TABLE = [
    ("no issuer", [], "", ""),
    ("one root", [issuer("a")], "a", ""),
    ("two roots", [issuer("b"), issuer("a")], "ab", ""),
    ("the old one closing", [issuer("a", state=CLOSING), issuer("b")], "ab", "a"),
    ("the old one retired", [issuer("a", state=RETIRED), issuer("b")], "b", "a"),
    ("an intermediate under a root", [issuer("i", "r"), issuer("r")], "r", ""),
    ("its root is only imported", [issuer("i", "r"), issuer("r", state=RETIRED)], "r", "r"),
    ("an intermediate without its root", [Issuer("i", "", State.ISSUING, "i", {})], "", ""),
    ("one of two intermediates retired", [issuer("i", "r", state=RETIRED), issuer("j", "r")], "r", "i"),
    ("cross-signed by a root in use", [issuer("n", "n", "o"), issuer("o", state=CLOSING)], "no", "o"),
    ("cross-signed by a retired root", [issuer("n", "n", "o"), issuer("o", state=RETIRED)], "n", "o"),
]


@pytest.mark.parametrize(("issuers", "anchors", "closing"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_whom_to_trust(issuers: list[Issuer], anchors: str, closing: str) -> None:
    trust = trust_of(issuers)
    assert (trust.fingerprints, trust.closing) == (frozenset(anchors), frozenset(closing))
    assert trust.anchors == tuple(f"PEM of {root}" for root in sorted(anchors))


@given(st.permutations([row for _, issuers, _, _ in TABLE[2:5] for row in issuers]))
def test_the_order_in_which_vault_tells_them_makes_no_difference(issuers: list[Issuer]) -> None:
    assert trust_of(issuers) == trust_of(sorted(issuers, key=lambda one: (one.id, one.state)))


@pytest.mark.parametrize(
    ("usage", "state"),
    [
        (ALL, State.ISSUING),
        (["issuing-certificates"], State.ISSUING),
        (["read-only", "crl-signing"], CLOSING),
        (["ocsp-signing"], CLOSING),
        (["read-only"], RETIRED),
        ([], RETIRED),
        (["something-new"], RETIRED),
    ],
)
def test_a_state_is_what_the_usage_allows(usage: list[str], state: State) -> None:
    assert state_of(usage) is state
