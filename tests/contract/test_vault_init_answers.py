"""`podcert vault init` when its one answer is lost, and `unseal` when a server hangs: over a real socket."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from certmanager.domain.errors import NotYet
from certmanager.servers.keys import KeysFile
from certmanager.servers.reach import OneServer
from certmanager.servers.steps import Pace, initialise, unseal
from certmanager.servers.unsafe_secret import KEY, NOTE, UnsafeSecret
from certmanager.vault.config import VaultConfig
from certmanager.vault.seal import Keys, State, seal_status
from certmanager.vault.transport import Transport
from tests.contract.kube_server import Connection, Request, client, serving
from tests.contract.vault_server import SERVERS, FakeVault, Reply, Seen, fake_vault, recorded

SHARE, TOKEN = "c2hhcmUtb2YtdGhpcy10ZXN0", "root-token-of-this-test"
ANSWER = {"keys": ["7368"], "keys_base64": [SHARE], "root_token": TOKEN}
FRESH = {"type": "shamir", "initialized": False, "sealed": True, "t": 0, "n": 0, "progress": 0}
SEALED = {"type": "shamir", "initialized": True, "sealed": True, "t": 1, "n": 1, "progress": 0}


def server(fake: FakeVault) -> OneServer:
    return OneServer(Transport(VaultConfig(fake.url, read_timeout=0.5)))


def pace(news: list[str]) -> Pace:
    """Rounds that take no time; two of them."""
    ticks = iter(range(100))
    return Pace(2, news.append, lambda: float(next(ticks)), lambda _seconds: None)


@pytest.mark.parametrize("reply", [Reply(reset=True), Reply(200, b"<html>"), Reply(200, {"root_token": TOKEN})])
def test_a_lost_answer_is_told_with_what_to_do_and_leaves_no_file(tmp_path: Path, reply: Reply) -> None:
    with fake_vault() as fake:
        fake.routes |= {"sys/seal-status": Reply(200, FRESH), "sys/init": reply}
        with pytest.raises(NotYet, match="If the server is initialised now, nobody has its keys: delete") as raised:
            initialise(server(fake), KeysFile(tmp_path / "k"), (1, 1), pace([]))
    assert TOKEN not in str(raised.value)
    assert not (tmp_path / "k").exists()


def test_the_file_is_there_with_room_in_it_before_vault_is_asked(tmp_path: Path) -> None:
    sizes: list[int] = []

    def init(_seen: Seen) -> Reply:
        sizes.append((tmp_path / "k").stat().st_size)
        return Reply(200, ANSWER)

    news: list[str] = []
    with fake_vault() as fake:
        fake.routes |= {"sys/seal-status": Reply(200, FRESH), "sys/init": init}
        initialise(server(fake), KeysFile(tmp_path / "k"), (1, 1), pace(news))
    assert sizes == [65536]
    assert json.loads((tmp_path / "k").read_text())["root_token"] == TOKEN
    assert SHARE not in "".join(news)


def test_ctrl_c_while_vault_makes_the_keys_waits_until_they_are_kept(tmp_path: Path) -> None:
    def init(_seen: Seen) -> Reply:
        os.kill(os.getpid(), signal.SIGINT)
        return Reply(200, ANSWER)

    with fake_vault() as fake:
        fake.routes |= {"sys/seal-status": Reply(200, FRESH), "sys/init": init}
        with pytest.raises(KeyboardInterrupt):
            initialise(server(fake), KeysFile(tmp_path / "k"), (1, 1), pace([]))
    assert json.loads((tmp_path / "k").read_text())["root_token"] == TOKEN


def test_a_server_that_stays_sealed_is_named_with_how_far_it_is() -> None:
    news: list[str] = []
    with fake_vault() as fake:
        status = SEALED | {"t": 3, "n": 5, "progress": 1}
        fake.routes |= {"sys/seal-status": Reply(200, status), "sys/unseal": Reply(200, status)}
        with pytest.raises(NotYet, match=r"not within 2 s: .*: sealed, 1 of 3 keys shown") as raised:
            unseal(server(fake), Keys((SHARE,), 1, TOKEN), pace(news))
        assert fake.count("sys/unseal") == 1, "not again and again: a server that joins takes seconds"
        assert fake.last("sys/unseal").token is None
    assert SHARE not in str(raised.value) + "".join(news)


def test_a_key_service_is_waited_for_and_shown_nothing() -> None:
    with fake_vault() as fake:
        fake.routes |= {"sys/seal-status": Reply(200, SEALED | {"type": "awskms"})}
        with pytest.raises(NotYet, match="sealed, to be unsealed by its key service"):
            unseal(server(fake), Keys((SHARE,), 1, TOKEN), pace([]))
        assert fake.count("sys/unseal") == 0


def test_a_secret_that_cannot_be_written_for_a_moment_is_tried_again() -> None:
    asked: list[Request] = []

    def ok(connection: Connection, request: Request) -> None:
        asked.append(request)
        connection.answer(200, {"kind": "Secret"})

    def busy(connection: Connection, request: Request) -> None:
        asked.append(request)
        connection.answer(503, {"kind": "Status", "status": "Failure", "code": 503})

    with fake_vault() as fake, serving(POST=[ok], PATCH=[busy, ok]) as kube:
        fake.routes |= {"sys/seal-status": Reply(200, FRESH), "sys/init": Reply(200, ANSWER)}
        store = UnsafeSecret(client(kube), "vault", "unsafe-keys")
        initialise(server(fake), store, (1, 1), pace([]))
    assert [request.method for request in asked] == ["POST", "PATCH", "PATCH"]
    made = json.loads(asked[0].body)
    assert "whoever can read this Secret owns that Vault" in made["metadata"]["annotations"][NOTE]
    assert "data" not in made
    assert KEY in json.loads(asked[2].body)["data"]


@pytest.mark.parametrize("version", SERVERS)
def test_what_both_servers_say_of_themselves_is_understood(version: str) -> None:
    with fake_vault() as fake:
        fake.routes |= {
            path: recorded(version, path.removeprefix("sys/")) for path in ("sys/seal-status", "sys/leader")
        }
        status = seal_status(Transport(VaultConfig(fake.url)))
        assert status.state is State.ACTIVE
        assert not status.automatic
        assert status.version
