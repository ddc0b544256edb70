"""The administrator's policy on the real API server and OpenBao: grants by labels of a namespace, changed while the manager runs.

Everything here happens in one run of one manager: what it is about is that nothing has to be started again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.paths import REPOSITORY
from tests.integration.manager import Manager, running
from tests.integration.world import RBAC, World, eventually

pytestmark = pytest.mark.cluster

NAME = "web.example.com"


def policy(team: str) -> str:
    return f"rules: [{{name: team, namespace_labels: {{team: {team}}}, dns_names: ['*.example.com'], max_ttl: 1h}}]"


def let_namespace_be_read(world: World) -> None:
    """The rule of manifests/components/namespace-labels, in a Role of this namespace alone."""
    name = "namespace-labels"
    where = f"{RBAC}/namespaces/{world.namespace}"
    rules = [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}]
    world.create(f"{where}/roles", {"metadata": {"name": name}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "certificate-manager", "namespace": "podcert"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    world.create(f"{where}/rolebindings", {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]})


def explained(world: World, file: Path, pod: str) -> subprocess.CompletedProcess[str]:
    """`podcert explain`, with all rights, as the administrator runs it."""
    given = [pod, "-n", world.namespace, "--policy", str(file), "--kubeconfig", str(world.cluster.kubeconfig)]
    command = [sys.executable, "-m", "certmanager", "explain", *given]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def test_a_name_is_granted_by_a_label_while_the_manager_runs_and_a_wrong_policy_changes_nothing(world: World) -> None:
    world.role("pods", key_type="any", allowed_domains="svc.cluster.local,example.com")
    file = world.folder / "policy.yaml"
    file.write_text(policy("shop"))
    launch = world.launch(PODCERT_POLICY_FILE=str(file), PODCERT_REFUSAL_RETRY="1s")
    with running(launch) as manager:
        world.pod("web", annotations={"dns-names": NAME})
        assert "the policy goes by labels of namespaces" in world.warned("web", "KubernetesForbidden")
        let_namespace_be_read(world)
        told = world.warned("web", "NameNotAllowed")
        assert f'"{NAME}"' in told
        assert f"no rule of the policy matches namespace {world.namespace}" in told
        world.patch(f"namespace/{world.namespace}", {"metadata": {"labels": {"team": "shop"}}})
        world.enrolled("web", seconds=60)
        leaf = world.leaf("web")
        assert NAME in str(leaf.subject)
        assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() <= 3600 + 60
        _explain_agrees(world, file)
        _wrong_policy_changes_nothing(world, manager, file)


def _explain_agrees(world: World, file: Path) -> None:
    done = explained(world, file, "web")
    assert done.returncode == 0, done.stderr
    assert "rule team of the policy: *.example.com" in done.stdout
    assert "it ends 20" in done.stdout


def _wrong_policy_changes_nothing(world: World, manager: Manager, file: Path) -> None:
    before = world.leaf("web").serial_number
    file.write_text("rules: [{name: team, dns_names: example.com}]")
    eventually(lambda: manager.readiness()[0] == 503, what="readiness tells of the wrong policy")
    assert "dns_names: must be a list" in manager.readiness()[1]
    assert manager.metric("podcert_policy_valid") == 0
    world.pod("late", annotations={"dns-names": "late.example.com"})
    world.enrolled("late", seconds=60)
    assert world.leaf("web").serial_number == before
    file.write_text(policy("shop"))
    manager.wait_ready()
    assert manager.metric("podcert_policy_valid") == 1
