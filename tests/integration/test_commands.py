"""`podcert status`, `renew` and `revoke` as a user runs them, on the real API server and OpenBao."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certmanager.vault.bootstrap import BootstrapPlan
from certmanager.vault.bootstrap.steps import policy_text
from tests.cluster.paths import REPOSITORY
from tests.integration.manager import running
from tests.integration.test_manager_revocation import enrolled, replaced, revoked, serial, serves
from tests.integration.world import RBAC, World, eventually

pytestmark = pytest.mark.cluster

NONE = {"rotation": "none"}
RULES = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "patch"]},
]


class Shell:
    """Runs `podcert` as a user with the rights of docs/commands.md, and no others."""

    def __init__(self, world: World) -> None:
        self._world = world
        role = {"metadata": {"name": "user"}, "rules": RULES}
        world.create(f"{RBAC}/namespaces/{world.namespace}/roles", role)
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "user"}
        subject = {"kind": "ServiceAccount", "name": "db", "namespace": world.namespace}
        binding = {"metadata": {"name": "user"}, "roleRef": ref, "subjects": [subject]}
        world.create(f"{RBAC}/namespaces/{world.namespace}/rolebindings", binding)
        self._kubeconfig = world.folder / "user.kubeconfig"
        config = json.loads(world.kubeconfig.read_text())
        config["users"][0]["user"]["token"] = world.cluster.token(world.namespace, "db", 3600)
        self._kubeconfig.write_text(json.dumps(config))

    def __call__(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self._world.folder), "PYTHONPATH": str(REPOSITORY),
            "KUBECONFIG": str(self._kubeconfig), **variables,
        }  # fmt: skip
        command = [sys.executable, "-m", "certmanager", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    def here(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """In the world's namespace."""
        done = self(*arguments, "-n", self._world.namespace)
        print(f"$ podcert {' '.join(arguments)}\n{done.stdout}{done.stderr}({done.returncode})")
        return done


@pytest.fixture
def shell(world: World) -> Shell:
    return Shell(world)


def test_status_shows_who_serves_what_until_when_and_what_is_wrong(world: World, shell: Shell) -> None:
    with running(world.launch()):
        leaf = enrolled(world, "web")
        world.pod("worker", {"role": "not-mine"})
        world.warned("worker", "RoleNotAllowed")
        lines = shell.here("status").stdout.splitlines()
        assert lines[0].split() == ["POD", "STATE", "REASON", "SERVED", "UNTIL", "RENEWAL", "STRATEGY", "SERIAL"]
        assert lines[1].split()[:2] == ["web", "Ready"]
        assert leaf.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ") in lines[1]
        assert lines[2].split()[:3] == ["worker", "Refused", "RoleNotAllowed"]
        first, second = json.loads(shell.here("status", "-o", "json").stdout)["pods"]
        assert (first["state"], first["serial"]) == ("Ready", serial(leaf))
        assert (first["strategy"], first["inPlace"]) == ("restart", True)
        assert "not-mine" in second["message"]
        wide = shell.here("status", "web", "-o", "wide")
        assert f"web.{world.namespace}.svc.cluster.local" in wide.stdout
        assert len(wide.stdout.splitlines()) == 2
        missing = shell.here("status", "nobody")
        assert (missing.returncode, "no enrolled pod nobody" in missing.stderr) == (1, True)
        forbidden = shell("status", "-A")
        assert (forbidden.returncode, "forbidden" in forbidden.stderr) == (1, True)


def test_renew_makes_one_new_certificate_however_often_it_is_asked(world: World, shell: Shell) -> None:
    with running(world.launch()) as manager:
        first = enrolled(world, "web", NONE)
        done = shell.here("renew", "web", "--wait")
        assert done.returncode == 0
        assert f"certificate {serial(first)} is out of use" in done.stdout
        second = replaced(world, "web", first)
        assert f"certificate {serial(first)} is to be replaced" in done.stdout
        assert manager.signs() == 2
        secret = world.secret_of("web")
        assert secret is not None
        world.kubectl("annotate", "secret", secret["metadata"]["name"], f"podcert.io/renew={serial(first)}")
        eventually(lambda: manager.metric("podcert_queue_depth") == 0)
        assert world.leaf("web") == second
        assert manager.signs() == 2
        for wrong in (("renew",), ("renew", "web", "--all"), ("renew", "web", "--wait", "--timeout", "soon")):
            assert shell.here(*wrong).returncode == 2
        nobody = shell.here("renew", "nobody", "web")
        assert (nobody.returncode, "there is no pod nobody" in nobody.stderr) == (1, True)
        assert replaced(world, "web", second) != second


def test_renew_all_asks_for_every_enrolled_pod_and_waits_until_they_serve_another(world: World, shell: Shell) -> None:
    with running(world.launch()):
        leaves = {name: enrolled(world, name, NONE) for name in ("a", "b", "c")}
        for name, leaf in leaves.items():
            serves(world, name, leaf)
        late = shell.here("renew", "--all", "--wait", "--timeout", "2s")
        assert late.returncode == 1
        assert "pod a still serves certificate" in late.stderr
        for name, leaf in leaves.items():
            serves(world, name, replaced(world, name, leaf))
        assert {one["state"] for one in json.loads(shell.here("status", "-o", "json").stdout)["pods"]} == {"Ready"}


def test_revoke_replaces_first_and_now_does_not_wait(world: World, shell: Shell) -> None:
    world.policy(policy_text(BootstrapPlan(mount=world.mount, revoke=True)))
    with running(world.launch()):
        first = enrolled(world, "web", NONE)
        serves(world, "web", first)
        assert shell.here("revoke", "web").returncode == 0
        second = replaced(world, "web", first)
        assert not revoked(world, first)
        serves(world, "web", second)
        eventually(lambda: revoked(world, first))
        assert shell.here("revoke", "web", "--now").returncode == 0
        eventually(lambda: revoked(world, second))
        replaced(world, "web", second)
        assert shell.here("revoke").returncode == 2
        assert shell.here("revoke", "web", "--serial", "aa").returncode == 2


@pytest.mark.parametrize("no_store", [False, True])
def test_a_certificate_that_no_secret_holds_is_revoked_with_the_users_own_token(
    world: World, shell: Shell, no_store: bool, tmp_path: Path
) -> None:
    world.role("pods", key_type="any", no_store=no_store)
    with running(world.launch()):
        leaf = enrolled(world, "web")
    variables = {"VAULT_ADDR": world.vault.url, "VAULT_TOKEN": world.vault.root_token, "PODCERT_MOUNT": world.mount}
    done = shell("revoke", "--serial", serial(leaf).upper(), **variables)
    if no_store:
        assert done.returncode == 1
        assert "give the certificate by --certificate" in done.stderr
        file = tmp_path / "cert.pem"
        file.write_bytes(leaf.public_bytes(Encoding.PEM))
        done = shell("revoke", "--certificate", file, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert "is revoked since 20" in done.stdout
    assert revoked(world, leaf)
    again = shell("revoke", "--serial", serial(leaf), **variables)
    assert again.returncode == 0, "twice is no error"
    assert shell("revoke", "--serial", "not a number", **variables).returncode == 2
    assert shell("revoke", "--certificate", tmp_path / "nothing", **variables).returncode == 2
    variables["VAULT_TOKEN"] = world.new_token()
    forbidden = shell("revoke", "--serial", serial(leaf), **variables)
    assert (forbidden.returncode, f"update on {world.mount}/revoke" in forbidden.stderr) == (1, True)


def test_a_user_without_rights_is_told_which_he_lacks(world: World, shell: Shell) -> None:
    with running(world.launch()):
        enrolled(world, "web")
    world.cluster.api.call("DELETE", f"{RBAC}/namespaces/{world.namespace}/rolebindings/user")
    for command in (("status",), ("renew", "web"), ("revoke", "web")):
        done = shell.here(*command)
        assert (done.returncode, "your rights do not allow it" in done.stderr) == (1, True)
        assert "Traceback" not in done.stderr
