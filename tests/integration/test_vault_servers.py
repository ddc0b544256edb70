"""`podcert vault init` and `unseal` on real OpenBao servers with integrated storage: one, three, and one that unseals itself."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from certmanager.console import Console
from certmanager.domain.errors import NotYet, Refused
from certmanager.servers import command, steps
from certmanager.servers.keys import KeysFile, to_dict
from certmanager.servers.reach import look
from certmanager.servers.steps import Pace
from certmanager.vault import TokenValue, Vault, VaultConfig, connect
from certmanager.vault.errors import Call
from certmanager.vault.seal import Keys, State
from tests.cluster.running import LocalCluster
from tests.integration.raft_servers import RaftServers, raft_servers
from tests.integration.world import eventually

pytestmark = pytest.mark.cluster


@dataclass
class Shell:
    """A person's shell, with VAULT_ADDR."""

    url: str
    home: Path
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    def run(self, do: Callable[[command.Options, Console], int], **options: Any) -> int:
        """A command; what it prints is in `out` and `err` afterwards."""
        self.out.clear()
        self.err.clear()
        environment = {"VAULT_ADDR": self.url}
        console = Console(self.out.append, self.err.append, environment, self.home)
        return do(command.Options(timeout=60, **options), console)


def told(news: list[str]) -> Pace:
    return Pace(60, news.append)


def test_one_server_from_an_empty_volume_to_active_and_again_after_its_death(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with raft_servers(1) as servers:
        shell = Shell(servers.url(0), tmp_path)
        assert shell.run(command.init, keys_file=file) == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        kept = json.loads(file.read_text())
        assert (len(kept["unseal_keys_b64"]), kept["unseal_threshold"]) == (1, 1)
        printed = "\n".join(shell.out + shell.err)
        assert kept["root_token"] not in printed
        assert kept["unseal_keys_b64"][0] not in printed
        assert f"keys and root token: {file}" in printed

        assert shell.run(command.unseal, keys_file=file) == 0
        assert shell.out[-1].endswith("unsealed, active")
        assert shell.run(command.unseal, keys_file=file, as_json=True) == 0
        document = json.loads(shell.out[0])
        assert document["servers"][0] | {"version": ""} == {"name": servers.url(0), "state": "active", "version": ""}

        assert shell.run(command.root_token, keys_file=file) == 0
        assert shell.out == [kept["root_token"]]

        servers.kill(0)
        eventually(lambda: "openbao-0" in servers.sandbox.status()["ended"])
        servers.start(0)
        assert shell.run(command.unseal, keys_file=file) == 0
        assert [line.split("  ")[1] for line in shell.out][-2:] in (
            ["sealed", "unsealed, active"],
            ["unsealed, no server is active yet", "unsealed, active"],
        )


def test_a_vault_that_is_initialised_is_left_as_it_is(tmp_path: Path) -> None:
    file, other = tmp_path / "keys.json", tmp_path / "other.json"
    with raft_servers(1) as servers:
        shell = Shell(servers.url(0), tmp_path)
        assert shell.run(command.init, keys_file=file, key_shares=3, key_threshold=2) == 0
        before = file.read_bytes()
        assert shell.run(command.init, keys_file=file) == 0
        assert "since then" in shell.out[-1]
        assert file.read_bytes() == before
        assert shell.run(command.init, keys_file=other, as_json=True) == 1
        assert "delete the StatefulSet and its PersistentVolumeClaims" in shell.err[0]
        assert json.loads(shell.out[0])["error"]["reason"] == "VaultInitialisedBefore"
        assert not other.exists()
        # Two of three keys are enough, and the third is not shown.
        assert shell.run(command.unseal, keys_file=file) == 0


def test_keys_of_another_vault_are_refused_without_a_word_of_them(tmp_path: Path) -> None:
    with raft_servers(1) as servers:
        shell = Shell(servers.url(0), tmp_path)
        assert shell.run(command.unseal, keys_file=tmp_path / "none.json") == 2
        foreign = tmp_path / "foreign.json"
        share = base64.b64encode(bytes(range(32))).decode()
        foreign.write_text(json.dumps(to_dict(Keys((share,), 1, "token"))))
        foreign.chmod(0o600)
        assert shell.run(command.unseal, keys_file=foreign) == 1
        assert "no server is initialised: run `podcert vault init` first" in shell.err[0]
        assert shell.run(command.init, keys_file=foreign) == 1
        assert "is there already, and is never overwritten" in shell.err[0]
        assert shell.run(command.init, keys_file=tmp_path / "keys.json") == 0
        foreign.chmod(0o644)
        assert shell.run(command.unseal, keys_file=foreign) == 1
        assert "chmod 600" in shell.err[0]
        assert "are the keys those of another Vault" in shell.err[1]
        assert share not in "\n".join(shell.err + shell.out)


def test_three_servers_join_and_one_takes_over_when_the_active_one_dies(tmp_path: Path) -> None:
    store = KeysFile(tmp_path / "keys.json")
    with raft_servers(3) as servers:
        done = steps.initialise(servers, store, (1, 1), told([]))
        assert (done.server, done.already) == (servers.url(0), False)
        keys = store.read()
        assert keys is not None
        news: list[str] = []
        seen = steps.unseal(servers, keys, told(news))
        assert sorted(each.state.name for each in seen) == ["ACTIVE", "STANDBY", "STANDBY"]
        assert news[-1] == "3 servers  1 may be away"

        active = _active(servers)
        assert active is not None
        servers.kill(active)
        eventually(lambda: _active(servers) not in {active, None}, 30, "another server is active")
        servers.start(active)
        assert [each.state.unsealed for each in steps.unseal(servers, keys, told(news))] == [True] * 3
        assert f"{servers.url(active)}  unsealed, standby" in news
        assert news[-1] == "3 servers  1 may be away"


def test_the_managers_client_signs_through_a_standby_and_goes_on_when_the_active_server_dies(tmp_path: Path) -> None:
    store = KeysFile(tmp_path / "keys.json")
    with raft_servers(3) as servers:
        steps.initialise(servers, store, (1, 1), told([]))
        keys = store.read()
        assert keys is not None
        steps.unseal(servers, keys, told([]))
        active = _active(servers)
        assert active is not None
        one, other = (number for number in range(3) if number != active)
        admin = servers.transport(one)
        for path, body in SET_UP.items():
            # Through a standby, and at once through the other one: neither answers from an old copy.
            assert admin.request(Call("POST", path), keys.root_token, body).status < 300
        client = connect(VaultConfig(servers.url(other)), TokenValue(keys.root_token))
        client.start()
        try:
            client.session.call(ISSUE, NAME)
            servers.kill(active)
            failures: list[NotYet] = []
            eventually(lambda: _issued(client, failures), 60, "a certificate from another server")
        finally:
            client.stop()
        assert {error.reason for error in failures} <= {"VaultStandby", "VaultUnreachable", "VaultError"}
        assert failures, "there was a moment without an active server"


SET_UP: dict[str, dict[str, object]] = {
    "sys/mounts/pki": {"type": "pki"},
    "pki/root/generate/internal": {"common_name": "root", "key_type": "ec", "ttl": "700h"},
    "pki/roles/pods": {"allow_any_name": True, "key_type": "ec", "ttl": "1h"},
}
ISSUE = Call("POST", "pki/issue/pods", "pki", "pods")
NAME = {"common_name": "web.shop.svc"}


def _issued(client: Vault, failures: list[NotYet]) -> bool:
    """Anything but a `NotYet` is an error of the test: nobody would be refused for minutes because a server died."""
    try:
        client.session.call(ISSUE, NAME)
    except NotYet as error:
        failures.append(error)
        return False
    return True


def test_a_server_that_is_away_is_waited_for_before_another_is_initialised(tmp_path: Path) -> None:
    with raft_servers(2) as servers:
        servers.kill(1)
        store = KeysFile(tmp_path / "keys.json")
        with pytest.raises(NotYet, match=r"not within 3 s: .*does not answer"):
            steps.initialise(servers, store, (1, 1), Pace(3, lambda _news: None))
        assert not (tmp_path / "keys.json").exists()
        assert look(servers.servers())[0].state is State.UNINITIALISED


def test_a_server_with_a_key_service_keeps_recovery_keys_and_is_only_waited_for(tmp_path: Path) -> None:
    key = base64.b64encode(os.urandom(32)).decode()
    stanza = f'seal "static" {{\n current_key_id = "one"\n current_key = "{key}"\n}}\n'
    file = tmp_path / "keys.json"
    with raft_servers(1, stanza) as servers:
        shell = Shell(servers.url(0), tmp_path)
        assert shell.run(command.init, keys_file=file) == 0
        kept = json.loads(file.read_text())
        assert kept["unseal_keys_b64"] == []
        assert len(kept["recovery_keys_b64"]) == 1
        assert "1 recovery key, 1 needed" in shell.out[-2]
        assert shell.run(command.unseal, keys_file=file) == 0


def test_keys_in_a_secret_that_says_that_it_is_unsafe(control_plane: LocalCluster, tmp_path: Path) -> None:
    with raft_servers(1) as servers:
        shell = Shell(servers.url(0), tmp_path)
        given: dict[str, Any] = {"kubeconfig": control_plane.kubeconfig, "unsafe_secret": "default/unsafe-vault-keys"}
        assert shell.run(command.init, **given) == 0
        assert shell.run(command.init, **given) == 0
        assert shell.run(command.unseal, **given) == 0
        assert shell.run(command.root_token, **given) == 0
        path = "/api/v1/namespaces/default/secrets/unsafe-vault-keys"
        secret = control_plane.api.call("GET", path)[1]
        assert "Never for production" in secret["metadata"]["annotations"]["podcert.io/unsafe"]
        assert json.loads(base64.b64decode(secret["data"]["vault-keys.json"]))["root_token"] == shell.out[0]
    with raft_servers(1) as another:
        shell = Shell(another.url(0), tmp_path)
        assert shell.run(command.init, **given) == 1
        assert "never overwritten" in shell.err[0]
        # A Secret without keys in it: somebody else's, and one that an init which was killed has left.
        control_plane.kubectl("create", "secret", "generic", "unsafe-of-others")
        assert shell.run(command.init, **(given | {"unsafe_secret": "default/unsafe-of-others"})) == 1
        assert "never overwritten" in shell.err[0]
        control_plane.kubectl("annotate", "secret", "unsafe-of-others", "podcert.io/unsafe=x")
        assert shell.run(command.init, **(given | {"unsafe_secret": "default/unsafe-of-others"})) == 0
        assert shell.run(command.unseal, **(given | {"unsafe_secret": "default/unsafe-of-others"})) == 0
    control_plane.kubectl("delete", "secret", "unsafe-of-others", "unsafe-vault-keys")


def test_numbers_that_vault_would_refuse_are_refused_before_it_is_asked(tmp_path: Path) -> None:
    shell = Shell("http://127.0.0.1:9", tmp_path)
    for shares, threshold, field_ in ((0, 1, "shares"), (256, 2, "shares"), (3, 1, "threshold"), (3, 4, "threshold")):
        numbers = {"key_shares": shares, "key_threshold": threshold}
        assert shell.run(command.init, keys_file=tmp_path / "k", **numbers) == 2
        assert f"--key-{field_}=" in shell.err[0]
    with pytest.raises(Refused):
        KeysFile(tmp_path / "not-there" / "k").reserve()


def _active(servers: RaftServers) -> int | None:
    with contextlib.suppress(StopIteration):
        return next(n for n, each in enumerate(look(servers.servers())) if each.state is State.ACTIVE)
    return None
