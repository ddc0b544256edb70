"""A pod's readiness, its sidecar, and what the sidecar reports."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.model import Delivery
from certmanager.kube import project
from certmanager.kube.project_delivery import PROBLEM_LIMIT

REPORT = {
    "serial": "0a:0b",
    "notAfter": "2026-11-23T12:00:00Z",
    "secret": "web-0-cert-uid1",
    "resourceVersion": "9",
    "reload": "signal HUP to nginx: no such process",
}
MESSAGE = json.dumps(REPORT) + "\n"
ENDED = {"terminated": {"exitCode": 4, "reason": "Error", "message": MESSAGE}}
BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
RUNNING = {"running": {"startedAt": "2026-11-22T12:00:00Z"}}


def pod(
    state: object, last: object = None, policy: str | None = "Always", name: str = "certificate-fetcher"
) -> Delivery:
    """The delivery of a pod with one init container in that state."""
    init = {"name": name} if policy is None else {"name": name, "restartPolicy": policy}
    status = {"name": name, "state": state, "lastState": last if last is not None else {}}
    return project.pod({"spec": {"initContainers": [init]}, "status": {"initContainerStatuses": [status]}}).delivery


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        ([{"type": "Ready", "status": "True"}], True),
        ([{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "False"}], False),
        ([{"type": "ContainersReady", "status": "True"}], False),
        ([{"type": "Ready", "status": True}], False),
        ([], False),
        (None, False),
        ("Ready", False),
    ],
)
def test_a_pod_is_ready_when_its_condition_says_so(conditions: object, ready: bool) -> None:
    assert project.pod({"status": {"conditions": conditions}}).ready is ready


@pytest.mark.parametrize(
    ("name", "policy", "fetcher", "sidecar"),
    [
        ("certificate-fetcher", "Always", True, True),
        ("certificate-fetcher", None, True, False),
        ("certificate-fetcher", "Never", True, False),
        ("proxy", "Always", False, False),
    ],
)
def test_a_fetcher_that_is_always_restarted_is_a_sidecar(
    name: str, policy: str | None, fetcher: bool, sidecar: bool
) -> None:
    delivery = pod(RUNNING, policy=policy, name=name)
    assert (delivery.fetcher, delivery.sidecar) == (fetcher, sidecar)


@pytest.mark.parametrize(("state", "last"), [(ENDED, None), (RUNNING, ENDED), (BACK_OFF, ENDED)])
def test_a_sidecar_follows_the_secret_whatever_it_said_when_it_ended(state: object, last: object) -> None:
    delivery = pod(state, last)
    assert (delivery.served_serial, delivery.served_not_after) == (None, None)


@pytest.mark.parametrize(("state", "last"), [(ENDED, None), (BACK_OFF, ENDED), (ENDED, ENDED)])
def test_a_sidecar_that_is_down_says_why_the_reload_failed(state: object, last: object) -> None:
    assert pod(state, last).reload_problem == REPORT["reload"]


def test_a_sidecar_that_runs_again_is_not_blamed_for_its_last_end() -> None:
    assert pod(RUNNING, ENDED).reload_problem is None


@pytest.mark.parametrize(
    ("state", "last"),
    [
        ({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, ENDED),
        ({"terminated": {"exitCode": 0, "message": json.dumps({**REPORT, "reload": ""})}}, None),
        ({"terminated": {"message": json.dumps({key: REPORT[key] for key in ("serial", "notAfter")})}}, None),
        ({"waiting": {"reason": "ImagePullBackOff"}}, None),
        ({}, ENDED),
        (None, None),
    ],
)
def test_an_end_that_no_reload_caused_is_no_reload_problem(state: object, last: object) -> None:
    assert pod(state, last).reload_problem is None


@pytest.mark.parametrize("message", ["", "no JSON", "[]", "null", '{"reload": 7}', '{"reload": {}}', "[" * 100_000])
def test_a_malformed_report_says_nothing(message: str) -> None:
    assert pod({"terminated": {"message": message}}).reload_problem is None


@pytest.mark.parametrize(
    "end",
    [999999999999, 253402300800, "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", -1, 0, True, float("nan")],
)
def test_a_fetcher_that_lies_about_an_end_that_no_certificate_can_have_says_nothing(end: object) -> None:
    ended = {"terminated": {"exitCode": 0, "message": json.dumps({"serial": "0a", "notAfter": end})}}
    found = pod(ended, policy=None)
    assert (found.served_serial, found.served_not_after) == (None, None)


def test_the_report_of_a_one_shot_fetcher_or_of_another_container_is_no_reload_problem() -> None:
    assert pod(ENDED, policy=None).reload_problem is None
    assert pod(ENDED, policy=None).served_serial == "0a:0b"
    assert pod(ENDED, name="proxy").reload_problem is None


@given(st.text(max_size=600))
def test_a_problem_is_one_short_printable_line(problem: str) -> None:
    ended: dict[str, Any] = {"terminated": {"message": json.dumps({**REPORT, "reload": problem})}}
    found = pod(ended).reload_problem
    if not problem:
        assert found is None
    else:
        assert found is not None
        assert found.isprintable()
        assert len(found) <= PROBLEM_LIMIT
