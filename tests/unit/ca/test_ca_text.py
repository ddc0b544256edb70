"""What `podcert ca` prints: whole remedies, nothing that moves the cursor, and the terms of a new root."""

from __future__ import annotations

from dataclasses import replace

import pytest

from certmanager.ca.command import lifetime
from certmanager.ca.look import Picture
from certmanager.ca.terms import NewRoot
from certmanager.ca.text import as_dict, as_text, progress
from certmanager.ca.vault import make_default, new_root, set_state
from certmanager.domain.ca_change import Authorities, Issuer, change_of
from certmanager.domain.ca_pods import Standing, Verdict
from certmanager.domain.trust import State

ROOT = Issuer(
    "1", "", "CN=root", 0.0, 3600.0, State.ISSUING, "f" * 64, frozenset({"f" * 64}), frozenset({"f" * 64}), default=True
)
REMEDY = "replace it: " + "kubectl -n default delete pod web " * 5


def picture(*verdicts: Verdict, **fields: object) -> Picture:
    authorities = Authorities("pki", (replace(ROOT, **fields),))  # type: ignore[arg-type]
    change = change_of(authorities, ())
    return Picture(authorities, change, change.phase, verdicts)


def test_a_remedy_is_printed_whole() -> None:
    stuck = Verdict("default", "web", "Pod/web", "none", Standing.STUCK, "nothing replaces it", REMEDY)
    assert REMEDY in as_text(picture(stuck))
    assert as_dict(picture(stuck))["pods"][0]["remedy"] == REMEDY


def test_nothing_that_others_have_named_moves_the_cursor() -> None:
    evil = "x\x1b[2J\u202e\n"
    waiting = Verdict(evil, evil, evil, "none", Standing.WAITING, evil, evil)
    stuck = replace(waiting, standing=Standing.STUCK)
    shown = picture(waiting, stuck, name=evil, subject=evil)
    assert as_text(shown).replace("\n", "").isprintable()
    assert len(as_text(shown).splitlines()) == len(as_text(picture(waiting, stuck)).splitlines())
    assert progress(shown).isprintable()


def test_of_many_pods_the_first_are_listed_and_json_has_all() -> None:
    many = [Verdict("a", f"p{number}", "Pod/p", "none", Standing.WAITING, "why") for number in range(30)]
    assert "and 10 more (-o json lists all)" in as_text(picture(*many))
    assert len(as_dict(picture(*many))["pods"]) == 30


@pytest.mark.parametrize(("seconds", "expected"), [(315360030, 315360000), (3630, 3600), (1800, 1800), (59, 59)])
def test_a_new_root_lives_as_long_as_the_one_before_and_not_a_moment_longer(seconds: int, expected: int) -> None:
    assert lifetime(replace(ROOT, not_before=0.0, not_after=float(seconds))) == expected


def test_each_write_comes_with_the_command_that_does_the_same() -> None:
    made = new_root("pki", NewRoot("the root", "ed25519", 7200))
    assert made.command == "vault write pki/root/rotate/internal 'common_name=the root' key_type=ed25519 ttl=2h"
    assert made.payload == {"common_name": "the root", "key_type": "ed25519", "ttl": "2h"}
    assert (
        set_state("pki", ROOT, State.CLOSING).command
        == "vault patch pki/issuer/1 usage=read-only,crl-signing,ocsp-signing"
    )
    assert make_default("pki", ROOT).command == "vault write pki/config/issuers default=1"
