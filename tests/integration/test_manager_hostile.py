"""Hostile pods, generated, on the real API server, before a Vault that refuses nothing: only the policy stands between."""

from __future__ import annotations

import pytest

from tests.integration.besiege import Besieged, Siege
from tests.integration.hostile import SEED, hostile_pods
from tests.integration.world import World

pytestmark = pytest.mark.cluster

PODS, WELL_BEHAVED = 300, 30


@pytest.fixture(scope="module")
def siege(shared_world: World) -> Siege:
    """One siege for all tests."""
    place = Besieged(shared_world)
    place.set_up()
    return place.run(PODS, WELL_BEHAVED)


def test_no_certificate_has_a_name_outside_the_policy(siege: Siege) -> None:
    assert siege.outside == []
    assert siege.unexplained == []
    assert siege.certificates > 0


def test_who_asks_for_too_much_gets_nothing_and_who_lies_gets_its_own_name(siege: Siege) -> None:
    assert siege.enrolled == []


def test_every_refusal_has_an_event_that_names_value_and_rule(siege: Siege) -> None:
    assert siege.silent == []


def test_nothing_of_others_is_touched(siege: Siege) -> None:
    assert siege.touched == []


def test_the_log_has_no_long_line_and_no_control_character(siege: Siege) -> None:
    assert siege.longest <= 4096
    assert siege.unprintable == 0


def test_every_well_behaved_pod_among_them_is_enrolled(siege: Siege) -> None:
    assert len(siege.among) == WELL_BEHAVED


def test_the_generated_pods_are_the_same_in_every_run() -> None:
    assert hostile_pods(60, "shop") == hostile_pods(60, "shop")
    assert hostile_pods(60, "shop") != hostile_pods(60, "shop", SEED + 1)
