"""The fence around the manager, on a real API server that gives the manager's ServiceAccount every right of a cluster-admin.

What is refused here is refused by the fence alone; and it refuses nothing of the manager's daily work, nothing to others.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest
import yaml

from certmanager.domain.errors import Conflict, Refused
from certmanager.domain.model import Bundle, Leaf, Material, Names, Pod, SecretWrite
from certmanager.kube import project
from certmanager.kube.client import namespaced
from certmanager.kube.event_object import event_object
from certmanager.kube.project import SecretReader
from certmanager.kube.role_names import NAMES_PER_ROLE
from certmanager.kube.roles import KubeRoleStore
from certmanager.kube.secrets import KubeSecretStore
from certmanager.kube.workloads import KubeWorkloads
from tests.cluster.paths import REPOSITORY
from tests.cluster.running import LocalCluster
from tests.integration import fence
from tests.integration.fence import ENROLL, POLICIES, RESTARTED, Write, Yard, certificate, workload
from tests.integration.fence_cases import ALL, APPS, CORE, JSON_PATCH, MERGE, STRATEGIC
from tests.integration.manager import running
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster

BUNDLE = Bundle(Leaf("0a", 0.0, 1.0, Names(), "ec-256", "00"), True, True, frozenset(), None)
MATERIAL = Material("certificate", "key", "ca")
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"
ROLL = {"spec": {"template": {"metadata": {"annotations": {RESTARTED: "r1"}}}}}


@pytest.fixture(scope="module")
def yard(installed: LocalCluster) -> Iterator[Yard]:
    """The place where all of these are tried."""
    fence.enforce(installed)
    with fence.yard(installed) as made:
        yield made


@pytest.mark.parametrize("name", ALL)
def test_what_the_manager_may_not_write_is_refused_with_the_object_and_the_rule(yard: Yard, name: str) -> None:
    write, words = ALL[name]
    policy = name.split(":", maxsplit=1)[0]
    with pytest.raises(Refused) as caught:
        yard.send(yard.manager, write)
    message = caught.value.message
    assert caught.value.reason == "KubernetesForbidden"
    assert words in message
    assert "docs/rbac.md" in message, "what to do is said too"
    named = "podcert-fence-rest" if "of this kind" in words or policy == "rest" else f"podcert-fence-{policy}"
    assert named in message


@pytest.mark.parametrize("name", ALL)
def test_nobody_else_is_concerned(yard: Yard, name: str) -> None:
    assert "podcert-fence" not in yard.said(yard.admin, ALL[name][0], dryRun="All")


def test_what_was_tried_has_not_come_about(yard: Yard) -> None:
    for write, _ in ALL.values():
        yard.said(yard.manager, write)
    found = yard.admin.request("GET", f"/api/v1/namespaces/{yard.namespace}/secrets")["items"]
    assert {each["metadata"]["name"] for each in found} == {"ours", "strangers"}
    web = yard.admin.request("GET", f"/apis/apps/v1/namespaces/{yard.namespace}/deployments/web")
    assert web["metadata"]["generation"] == 1


def pod_of(yard: Yard, name: str) -> Pod:
    """A pod that no node runs, as the manager sees it."""
    spec = {"serviceAccountName": "web", "containers": [{"name": "c", "image": "i"}], "nodeSelector": {"no": "no"}}
    body = {"metadata": {"name": name, "labels": {ENROLL: "true"}}, "spec": spec}
    return project.pod(yard.admin.request("POST", f"/api/v1/namespaces/{yard.namespace}/pods", None, body))


def test_a_certificate_is_made_renewed_and_taken_away(yard: Yard) -> None:
    store, pod = KubeSecretStore(yard.manager, SecretReader()), pod_of(yard, "made")
    made = store.create(SecretWrite(pod, "made-cert-0a1b2c3d", {"serial": "1"}, MATERIAL, BUNDLE))
    new = store.replace(SecretWrite(pod, made.name, {"serial": "2"}, MATERIAL, BUNDLE), made)
    store.delete(new)
    assert store.read(yard.namespace, made.name) is None


def test_a_finalizer_of_ours_and_one_that_is_there_already_may_be_written(yard: Yard) -> None:
    path = f"{CORE}/secrets/kept"
    kept = certificate("kept", "{uid}", finalizers=["example.com/theirs"])
    yard.send(yard.admin, Write("POST", f"{CORE}/secrets", kept))
    both = certificate("kept", "{uid}", finalizers=["example.com/theirs", "podcert.io/revoke"])
    both["metadata"]["annotations"]["podcert.io/superseded"] = "x"
    yard.send(yard.manager, Write("PUT", path, both))
    yard.send(yard.manager, Write("DELETE", path))
    yard.send(yard.manager, Write("PUT", path, certificate("kept", "{uid}", finalizers=None)))
    assert "NotFound" in yard.said(yard.admin, Write("GET", path))


def test_a_secret_whose_annotation_somebody_has_changed_may_still_go(yard: Yard) -> None:
    path = f"{CORE}/secrets/changed"

    def body(*finalizers: str, owner: str = "{uid}") -> fence.Object:
        made = certificate("changed", owner, finalizers=list(finalizers) or None)
        made["metadata"]["annotations"]["podcert.io/pod-uid"] = "a lie"
        return made

    yard.send(yard.admin, Write("POST", f"{CORE}/secrets", body("podcert.io/revoke")))
    assert "owned by one Pod" in yard.said(yard.manager, Write("PUT", path, body()))
    yard.send(yard.admin, Write("DELETE", path))
    assert "owned by one Pod" in yard.said(yard.manager, Write("PUT", path, body(owner="another")))
    yard.send(yard.manager, Write("PUT", path, body()))
    assert "NotFound" in yard.said(yard.admin, Write("GET", path))


def test_an_accounts_roles_grow_shrink_and_go(yard: Yard) -> None:
    # The longest names that there can be, and more of them than one Role holds: what the rules cost is limited.
    names = [f"{number:0239d}-cert-1a2b3c4d" for number in range(NAMES_PER_ROLE + 1)]
    roles = KubeRoleStore(yard.manager, (yard.namespace,))
    assert roles.reconcile(yard.namespace, "web", names) == 4
    assert roles.reconcile(yard.namespace, "web", names[1:]) > 0
    assert roles.reconcile(yard.namespace, "web", []) > 0


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_a_workload_is_rolled_and_nothing_else_of_it_is_changed(yard: Yard, kind: str) -> None:
    path, workloads = namespaced("apis/apps/v1", f"{kind.lower()}s", yard.namespace, "web"), KubeWorkloads(yard.manager)
    before = yard.admin.request("GET", path)

    def rolled() -> bool:
        found = workloads.read(yard.namespace, kind, "web")
        assert found is not None
        with contextlib.suppress(Conflict):  # its controller writes too
            workloads.restart(found, "r1")
        template = yard.admin.request("GET", path)["spec"]["template"]
        return bool(template["metadata"]["annotations"].get(RESTARTED) == "r1")

    eventually(rolled, what=f"{kind} is rolled")
    after = yard.admin.request("GET", path)
    del after["spec"]["template"]["metadata"]["annotations"][RESTARTED]
    assert after["spec"] == before["spec"]


def test_a_workload_as_large_as_etcd_takes_it_is_rolled(yard: Yard) -> None:
    body = workload("Deployment", "large")
    body["spec"]["replicas"] = 0
    environment = [{"name": f"V{number}", "value": "x" * 1000} for number in range(1200)]
    body["spec"]["template"]["spec"]["containers"][0]["env"] = environment
    yard.send(yard.admin, Write("POST", f"{APPS}/deployments", body))
    yard.send(yard.manager, Write("PATCH", f"{APPS}/deployments/large", ROLL, STRATEGIC))
    last = [{"op": "replace", "path": "/spec/template/spec/containers/0/env/1199/value", "value": "y"}]
    said = yard.said(yard.manager, Write("PATCH", f"{APPS}/deployments/large", last, JSON_PATCH))
    assert "not spec.template.spec" in said


def test_a_pod_is_evicted(yard: Yard) -> None:
    pod = pod_of(yard, "evicted")
    KubeWorkloads(yard.manager).evict(pod)
    eventually(lambda: "NotFound" in yard.said(yard.admin, Write("GET", f"{CORE}/pods/evicted")))


def test_events_and_leases_are_free_and_so_are_questions_about_oneself(yard: Yard) -> None:
    body = event_object(pod_of(yard, "told"), ("Warning", "Reason", "message"), 1, (0.0, 1.0))
    made = yard.send(yard.manager, Write("POST", f"{CORE}/events", body))
    yard.send(yard.manager, Write("PATCH", f"{CORE}/events/{made['metadata']['name']}", {"count": 2}, MERGE))
    yard.send(yard.manager, Write("POST", LEASES, {"metadata": {"name": "x"}}))
    question = {"spec": {"resourceAttributes": {"resource": "secrets", "verb": "list"}}}
    group = "/apis/authorization.k8s.io/v1"
    assert yard.send(yard.manager, Write("POST", f"{group}/selfsubjectaccessreviews", question))["status"]["allowed"]
    yard.send(yard.manager, Write("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}))


def test_another_service_account_of_the_same_namespace_is_not_concerned(yard: Yard) -> None:
    user = "--as=system:serviceaccount:podcert:certificate-manager-of-another-kind"
    command = ["create", "configmap", "free", f"--namespace={yard.namespace}", user, "--as-group=system:masters"]
    yard.cluster.kubectl(*command, "--dry-run=server")


def test_the_owner_of_a_pod_reads_which_policy_refused_its_certificate(world: World) -> None:
    # A fence that is stricter than ours, as an administrator might write it.
    policy, bound = fence.documents()[:2]
    name = f"podcert-fence-{world.namespace}"
    rule = {"expression": f"request.namespace != '{world.namespace}'", "message": "no TLS in this namespace"}
    policy["metadata"]["name"] = bound["metadata"]["name"] = bound["spec"]["policyName"] = name
    policy["spec"]["validations"], policy["spec"]["variables"] = [{**rule, "reason": "Forbidden"}], []
    both = yaml.safe_dump_all([policy, bound])
    world.cluster.kubectl("apply", "-f", "-", stdin=both)
    try:
        body = certificate("probe", "uid")
        eventually(lambda: name in fence.answer(world.cluster, f"{world.core}/secrets", body), what="it is in force")
        with running(world.launch()):
            world.pod("web-0")
            told = world.warned("web-0", "KubernetesForbidden")
        assert "no TLS in this namespace" in told
        assert name in told
        assert "docs/rbac.md" in told
        assert world.secrets() == []
    finally:
        world.cluster.kubectl("delete", "-f", "-", stdin=both)


@pytest.mark.parametrize("page", ["rbac", "install"])
def test_the_command_in_the_docs_shows_that_the_fence_is_in_force(yard: Yard, page: str) -> None:
    text = (REPOSITORY / "docs" / f"{page}.md").read_text()
    (command,) = [line for line in text.splitlines() if "--as=" in line and "probe" in line]
    said = yard.cluster.kubectl(*command.split()[1:], check=False)
    assert said.returncode != 0
    assert "ValidatingAdmissionPolicy 'podcert-fence-secrets'" in said.stderr


def test_the_policies_have_no_mistake_of_types(yard: Yard) -> None:
    found = yard.cluster.kubectl("get", "validatingadmissionpolicies", "-o", "json").stdout
    checked = {each["metadata"]["name"]: each.get("status", {}) for each in json.loads(found)["items"]}
    for policy in POLICIES:
        assert checked[f"podcert-fence-{policy}"]["typeChecking"] == {}, policy
