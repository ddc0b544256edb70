"""Probes and scrapes, over a real socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection

import pytest

from certmanager.observe.health import Endpoints, HealthServer


@dataclass
class State:
    live: dict[str, str | None] = field(default_factory=lambda: {"workers": None})
    ready: dict[str, str | None] = field(default_factory=lambda: {"kubernetes": None, "vault": None})
    broken: bool = False

    def read_live(self) -> Mapping[str, str | None]:
        if self.broken:
            raise RuntimeError("hvs.secret-of-a-bug")
        return self.live


@contextmanager
def serving(state: State, host: str = "127.0.0.1") -> Iterator[HealthServer]:
    server = HealthServer(host, 0, Endpoints(state.read_live, lambda: state.ready, lambda: b"podcert_up 1\n"))
    server.start()
    try:
        yield server
    finally:
        server.stop()
        server.stop()


def get(server: HealthServer, path: str, host: str = "127.0.0.1", accept: str = "*/*") -> tuple[int, str]:
    connection = HTTPConnection(host, server.port, timeout=5)
    try:
        connection.request("GET", path, headers={"Accept": accept})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_live_and_ready_answer_ok() -> None:
    with serving(State()) as server:
        assert get(server, "/livez") == (200, "ok\n")
        assert get(server, "/readyz") == (200, "ok\n")


def test_readiness_names_what_is_missing_and_liveness_does_not_care() -> None:
    with serving(State(ready={"kubernetes": None, "vault": "is sealed"})) as server:
        assert get(server, "/readyz") == (503, "[-] vault: is sealed\nnot ok\n")
        assert get(server, "/readyz?verbose") == (503, "[+] kubernetes: ok\n[-] vault: is sealed\nnot ok\n")
        status, body = get(server, "/readyz", accept="application/json")
        assert (status, json.loads(body)) == (503, {"ok": False, "checks": {"kubernetes": "ok", "vault": "is sealed"}})
        assert get(server, "/livez")[0] == 200


def test_metrics_are_served_and_anything_else_is_not_found() -> None:
    with serving(State()) as server:
        assert get(server, "/metrics") == (200, "podcert_up 1\n")
        assert get(server, "/secrets")[0] == 404


def test_a_check_that_fails_is_an_answer_without_the_error_s_text() -> None:
    with serving(State(broken=True)) as server:
        status, body = get(server, "/livez")
        assert status == 500
        assert "hvs" not in body


def test_a_client_that_says_nothing_does_not_hold_up_the_others() -> None:
    with serving(State()) as server, socket.create_connection(("127.0.0.1", server.port)):
        assert get(server, "/livez")[0] == 200


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 on this machine")
def test_an_empty_host_is_reached_by_both_kinds_of_address() -> None:
    with serving(State(), "") as server:
        assert get(server, "/livez")[0] == 200
        assert get(server, "/livez", "::1")[0] == 200


def test_a_port_in_use_is_known_at_once() -> None:
    with serving(State()) as server, pytest.raises(OSError, match="in use"):
        HealthServer("127.0.0.1", server.port, Endpoints(dict, dict, bytes))
