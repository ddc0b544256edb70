"""Events against an API server that is away, slow or forgetful: Warnings are merged and never lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from certmanager.domain.model import Pod
from certmanager.kube.events import EventLimits, EventRecorder
from tests.contract.kube_server import Connection, Request, Server, client, fails, says, serving

POD = Pod("shop", "web-0", "uid-1", 41, "web", {}, {}, 0.0)


@contextmanager
def recording(server: Server, limits: EventLimits) -> Iterator[EventRecorder]:
    recorder = EventRecorder(client(server), limits)
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.stop()


def eventually(fact: Callable[[], bool]) -> None:
    for _ in range(1000):
        if fact():
            return
        time.sleep(0.005)
    pytest.fail("it did not come about")


def bodies(server: Server, method: str) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in server.of(method)]


QUICK = EventLimits(normals_per_second=1000.0, repeat=30.0, first_retry=0.01, longest_retry=0.05)


def test_a_warning_that_comes_again_is_one_event_and_a_changed_message_is_told_at_once() -> None:
    with serving(POST=[says({})], PATCH=[says({})]) as server, recording(server, QUICK) as recorder:
        recorder.warning(POD, "Refused", "one")
        eventually(lambda: len(server.of("POST")) == 1)
        for _ in range(20):
            recorder.warning(POD, "Refused", "one")
        recorder.warning(POD, "Refused", "two")
        eventually(lambda: len(server.of("PATCH")) == 1)
        (posted,), (patched,) = bodies(server, "POST"), bodies(server, "PATCH")
        assert posted["involvedObject"]["uid"] == "uid-1"
        assert posted["involvedObject"]["resourceVersion"] == "41"
        assert posted["source"] == {"component": "podcert"}
        assert (patched["count"], patched["message"]) == (22, "two")
        assert server.of("PATCH")[0].path.endswith(posted["metadata"]["name"])


def test_a_normal_event_stands_back_while_pods_wait_and_a_warning_does_not() -> None:
    busy = threading.Event()
    busy.set()
    with serving(POST=[says({})]) as server:
        recorder = EventRecorder(client(server), QUICK, busy=busy.is_set)
        recorder.start()
        recorder.normal(POD, "CertificateIssued", "one")
        recorder.warning(POD, "Refused", "two")
        eventually(lambda: bool(server.of("POST")))
        busy.clear()
        eventually(lambda: len(server.of("POST")) == 2)
        recorder.stop()
        assert [body["message"] for body in bodies(server, "POST")] == ["two", "one"]


def test_a_warning_is_kept_until_the_api_server_is_back() -> None:
    with serving(POST=[fails(503), fails(500), says({})]) as server, recording(server, QUICK) as recorder:
        recorder.warning(POD, "Refused", "one")
        eventually(lambda: len(server.of("POST")) == 3)
        assert bodies(server, "POST")[2]["message"] == "one"


def test_a_warning_whose_event_has_expired_is_written_anew() -> None:
    with serving(POST=[says({})], PATCH=[fails(404)]) as server, recording(server, QUICK) as recorder:
        recorder.warning(POD, "Refused", "one")
        eventually(lambda: len(server.of("POST")) == 1)
        recorder.warning(POD, "Refused", "two")
        eventually(lambda: len(server.of("POST")) == 2)


def test_a_warning_that_waits_is_written_at_the_stop() -> None:
    release = threading.Event()

    def slow(connection: Connection, _request: Request) -> None:
        release.wait(5)
        connection.answer(201, {})

    with serving(POST=[slow]) as server, recording(server, QUICK) as recorder:
        recorder.warning(POD, "First", "one")
        recorder.warning(POD, "Second", "two")
        release.set()
        recorder.stop()
        assert {body["reason"] for body in bodies(server, "POST")} == {"First", "Second"}


def test_normal_events_beyond_the_limit_are_dropped_and_counted_and_warnings_go_first() -> None:
    slow = EventLimits(normals_waiting=3, normals_per_second=0.001)
    with serving(POST=[says({})]) as server:
        recorder = EventRecorder(client(server), slow)
        for number in range(10):
            recorder.normal(POD, "Issued", str(number))
        recorder.warning(POD, "Refused", "w")
        recorder.start()
        eventually(lambda: len(server.of("POST")) == 2)
        recorder.stop()
        assert recorder.dropped == 7
        assert [body["type"] for body in bodies(server, "POST")] == ["Warning", "Normal"]


def test_written_warnings_of_a_pod_that_is_gone_are_forgotten() -> None:
    with serving(POST=[says({})]) as server, recording(server, QUICK) as recorder:
        recorder.warning(POD, "Refused", "one")
        eventually(lambda: len(server.of("POST")) == 1)

        def forgotten() -> bool:
            recorder.forget("uid-1")
            return not recorder._warnings

        eventually(forgotten)
