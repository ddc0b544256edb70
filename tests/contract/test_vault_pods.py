"""The servers' pods through a port-forward that the API server refuses, or that leads nowhere: over a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certmanager.domain.errors import NotYet, Refused
from certmanager.kube.forward import Forwarder
from certmanager.servers.keys import KeysFile
from certmanager.servers.reach import Pods
from certmanager.servers.steps import Pace, initialise
from certmanager.vault.config import VaultConfig
from certmanager.vault.seal import State
from tests.contract.kube_server import Connection, Request, Server, client, serving

POD: dict[str, Any] = {
    "metadata": {"name": "vault-0", "namespace": "vault", "uid": "u"},
    "spec": {"containers": [{"env": [{"name": "VAULT_API_ADDR", "value": "http://vault-0:8200"}]}]},
    "status": {"phase": "Running"},
}


def api(forward: Callable[[Connection], None], pods: list[dict[str, Any]]) -> Callable[[Connection, Request], None]:
    """Lists pods and no StatefulSet; a port-forward is answered by `forward`."""

    def answer(connection: Connection, request: Request) -> None:
        if request.path.endswith("/portforward"):
            forward(connection)
        else:
            connection.answer(200, {"items": pods if request.path.endswith("/pods") else []})

    return answer


def refuse(connection: Connection) -> None:
    connection.answer(403, {"kind": "Status", "status": "Failure", "message": "pods is forbidden", "code": 403})


def vanish(connection: Connection) -> None:
    connection.sock.close()


@pytest.fixture
def reach(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pods]:
    forward, pods = request.param
    with serving(list=[api(forward, pods)]) as server:
        found = Pods(client(server), Forwarder(kubeconfig(server, tmp_path)), ("vault", "a=b"), VaultConfig("http://h"))
        yield found
        found.close()


def kubeconfig(server: Server, folder: Path) -> Path:
    file = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "u", "user": {"token": "token-of-this-test"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file.write_text(json.dumps(config))
    return file


def start(reach: Pods, folder: Path, news: list[str]) -> None:
    ticks = iter(range(100))
    pace = Pace(2, news.append, lambda: float(next(ticks)), lambda _seconds: None)
    initialise(reach, KeysFile(folder / "k"), (1, 1), pace)


@pytest.mark.parametrize("reach", [(refuse, [POD])], indirect=True)
def test_a_right_that_the_person_lacks_is_told_at_once(reach: Pods, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="needs get and create on pods/portforward") as raised:
        start(reach, tmp_path, [])
    assert "token-of-this-test" not in str(raised.value)


@pytest.mark.parametrize("reach", [(vanish, [POD])], indirect=True)
def test_a_way_that_breaks_is_tried_again_until_the_time_is_over(reach: Pods, tmp_path: Path) -> None:
    news: list[str] = []
    with pytest.raises(NotYet, match=r"not within 2 s: vault-0: does not answer: .*no answer from the API server"):
        start(reach, tmp_path, news)
    assert news[0].startswith(f"vault-0  {State.UNREACHABLE.value}")


@pytest.mark.parametrize("reach", [(vanish, [])], indirect=True)
def test_without_a_pod_it_is_said_how_to_get_one(reach: Pods, tmp_path: Path) -> None:
    with pytest.raises(NotYet, match="no server runs yet; is one installed there"):
        start(reach, tmp_path, [])
    assert not (tmp_path / "k").exists()


def test_a_server_that_is_on_its_way_out_is_none(tmp_path: Path) -> None:
    leaving = {**POD, "metadata": {**POD["metadata"], "uid": "v", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    waiting = {**POD, "metadata": {**POD["metadata"], "uid": "w"}, "status": {"phase": "Pending"}}
    tenth = {**POD, "metadata": {**POD["metadata"], "uid": "x", "name": "vault-10"}}
    second = {**POD, "metadata": {**POD["metadata"], "uid": "y", "name": "vault-2"}}
    with serving(list=[api(vanish, [leaving, tenth, waiting, second, POD])]) as server:
        found = Pods(client(server), Forwarder(kubeconfig(server, tmp_path)), ("vault", "a=b"), VaultConfig("http://h"))
        assert [each.name for each in found.servers()] == ["vault-0", "vault-2", "vault-10"]
        found.close()
