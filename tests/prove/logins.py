"""Every login's expiry, revocation and wrong audience: told in its own words, and over without a restart."""

from __future__ import annotations

import pytest

from tests.integration.ways import Place, Told, Way, endure
from tests.integration.ways_given import AppRole, TokenFile, WrappedAppRole
from tests.integration.ways_signed import Certificate, Jwt, Kubernetes
from tests.prove.control import control
from tests.prove.parts import say
from tests.prove.proof import Shown

WAYS: tuple[type[Way], ...] = (TokenFile, Kubernetes, AppRole, WrappedAppRole, Jwt, Certificate)
SOON = 15.0
"""Seconds from a good credential to the waiting pod's certificate: a refused login is tried again every five."""


def run() -> dict[str, Shown]:
    """A line for each login, by its name."""
    lines = {}
    with control("logins") as place:
        for way in WAYS:
            world = place.world(f"prove-{way.name}")
            try:
                lines[way.name] = _line(endure(way(Place(world, place.tls))))
            except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - the other logins have their own lines
                lines[way.name] = Shown(False, f"{type(error).__name__}: {error}")
    return lines


def _line(told: list[Told]) -> Shown:
    for one in told:
        say(f"{one.way}, {one.case.how}: {one.case.reason}: {one.message}; recovered {one.seconds:.1f} s later")
    figure = "; ".join(f"{one.case.how}: {one.case.reason}, recovered after {one.seconds:.1f} s" for one in told)
    return Shown(all(one.seconds <= SOON for one in told), figure)
