"""Rotation in real pods, with certificates of a minute: a shorter cut of `make prove-rotation` (tests/prove/rotation.py).

Both runs take about two minutes, side by side, and begin with the first test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.running import LocalCluster
from tests.e2e.scenario import Scenario
from tests.left_out import leave_out
from tests.prove import refusals, side_by_side
from tests.prove.proof import Shown

pytestmark = pytest.mark.e2e

Show = Callable[[str], None]


@pytest.fixture(scope="module")
def holds(podcert: Scenario) -> Iterator[Show]:
    """Asserts the line of that name of one of the two runs."""
    if not isinstance(podcert.cluster, LocalCluster):
        leave_out("provider local", "the API server is asked several times a second, with plain calls")
    plan = side_by_side.Plan("rotation-side-by-side", seconds=90, rotations=2, kill_every=None)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(side_by_side.run, podcert, plan), pool.submit(refusals.run, podcert, "rotation-refusals")]

        def show(name: str) -> None:
            shown: dict[str, Shown] = {}
            for run in runs:
                shown |= run.result(timeout=400)
            print(f"FIGURE {name}: {shown[name].figure}")
            assert shown[name].holds, shown[name].figure

        yield show


def test_nginx_with_refresh_loses_no_handshake_and_never_shows_an_expired_certificate(holds: Show) -> None:
    holds("refresh")


def test_a_deployment_with_restart_loses_no_handshake_and_never_shows_an_expired_certificate(holds: Show) -> None:
    holds("restart")


def test_every_pod_with_refresh_is_renewed_twice(holds: Show) -> None:
    holds("rotations")


def test_the_deployment_is_rolled_once_per_rotation(holds: Show) -> None:
    holds("rolls")


def test_no_pod_is_restarted_twice_for_one_rotation(holds: Show) -> None:
    holds("twice")


def test_no_certificate_is_issued_that_was_not_due(holds: Show) -> None:
    holds("due")


def test_a_disruption_budget_is_never_violated_and_the_secrets_are_renewed_in_place(holds: Show) -> None:
    holds("budget")


def test_event_and_metric_tell_that_the_files_will_expire(holds: Show) -> None:
    holds("told")


def test_when_the_budget_allows_it_all_pods_are_replaced_one_at_a_time(holds: Show) -> None:
    holds("evicted")


def test_a_paused_deployment_is_not_rolled_and_its_metric_is_what_its_pods_serve(holds: Show) -> None:
    holds("paused")


def test_a_resumed_deployment_is_rolled_once(holds: Show) -> None:
    holds("resumed")
