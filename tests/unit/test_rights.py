"""The manager's rights are said in the ClusterRole, in the namespaced Role, in the docs and in the code: all agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from certmanager.domain.model import ENROLL_LABEL, MANAGED_LABEL, PREFIX
from certmanager.domain.names import secret_name
from certmanager.kube.project_workload import RESTARTED_FOR
from certmanager.kube.role_names import role_name
from certmanager.kube.roles import VERBS
from certmanager.settings import load

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
FENCE = MANIFESTS / "components" / "fence"
NAMESPACED = MANIFESTS / "overlays" / "namespaced"


def objects(path: Path) -> list[dict[str, Any]]:
    """The YAML documents of a manifest."""
    return list(yaml.safe_load_all(path.read_text()))


def allowed(path: Path) -> set[tuple[str, str]]:
    """Every pair of resource and verb in a manifest with one Role or ClusterRole."""
    (role,) = [each for each in objects(path) if "rules" in each]
    rules = role["rules"]
    return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def table(heading: str) -> list[list[str]]:
    """The rows of the table below a heading of docs/rbac.md."""
    text = (ROOT / "docs" / "rbac.md").read_text()
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_the_table_in_the_docs_has_each_right_of_the_manager_once_and_with_a_reason() -> None:
    rows = [(resource.strip("`"), verb.strip("`")) for resource, verb, _ in table("The manager")]
    assert len(rows) == len(set(rows))
    assert set(rows) == allowed(MANIFESTS / "base" / "rbac.yaml")
    assert all(len(reason) > 10 for _, _, reason in table("The manager"))


def test_the_table_in_the_docs_has_what_a_pods_service_account_gets() -> None:
    assert [verb.strip("`") for _, verb, _ in table("A pod's ServiceAccount")] == list(VERBS)


def test_the_namespaced_role_has_the_rules_of_the_cluster_wide_one() -> None:
    wide = objects(MANIFESTS / "base" / "rbac.yaml")[0]
    narrow = objects(NAMESPACED / "namespaces" / "served" / "rbac.yaml")[0]
    assert (wide["kind"], narrow["kind"]) == ("ClusterRole", "Role")
    assert narrow["rules"] == wide["rules"]


def test_no_rule_has_a_wildcard_or_a_verb_that_goes_round_the_rules() -> None:
    for resource, verb in allowed(MANIFESTS / "base" / "rbac.yaml"):
        assert "*" not in resource + verb
        assert verb not in {"escalate", "bind", "impersonate", "deletecollection"}
        assert re.fullmatch("[a-z]+|pods/eviction", resource)  # no other subresource either


def test_the_namespaces_that_the_manager_serves_are_those_in_which_it_has_rights() -> None:
    (deployment,) = objects(NAMESPACED / "manager.yaml")
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    (value,) = [each["value"] for each in environment if each["name"] == "PODCERT_NAMESPACES"]
    (kustomization,) = objects(NAMESPACED / "kustomization.yaml")
    folders = [each for each in kustomization["resources"] if each.startswith("namespaces/")]
    served = [objects(NAMESPACED / folder / "kustomization.yaml")[0]["namespace"] for folder in folders]
    assert list(load(token_file=Path("t"), namespaces=value).namespaces) == served


def test_the_namespaced_roles_name_is_none_that_the_manager_gives_a_service_account() -> None:
    for each in objects(NAMESPACED / "namespaces" / "served" / "rbac.yaml"):
        assert not each["metadata"]["name"].startswith(role_name("", 1))


READS = {"get", "list", "watch"}


def policies() -> dict[str, dict[str, Any]]:
    """The specs of the admission policies around the manager, by name."""
    found = [each for path in sorted(FENCE.glob("*.yaml")) for each in objects(path)]
    return {each["metadata"]["name"]: each["spec"] for each in found if each["kind"] == "ValidatingAdmissionPolicy"}


def test_each_policy_of_the_fence_is_bound_and_refuses_when_in_doubt() -> None:
    bindings = [each for path in FENCE.glob("*.yaml") for each in objects(path) if "policyName" in each.get("spec", {})]
    assert {each["spec"]["policyName"] for each in bindings} == set(policies())
    assert all("Deny" in each["spec"]["validationActions"] for each in bindings)
    assert {each["failurePolicy"] for each in policies().values()} == {"Fail"}


def test_the_fence_is_around_the_user_that_has_the_rights_and_nobody_else() -> None:
    (subject,) = objects(MANIFESTS / "base" / "rbac.yaml")[1]["subjects"]
    user = f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
    for spec in policies().values():
        (condition,) = spec["matchConditions"]
        assert f"== '{user}'" in condition["expression"]


def test_what_the_manager_may_write_has_a_policy_or_is_free_and_everything_else_is_refused() -> None:
    specs = policies()
    rest = specs.pop("podcert-fence-rest")
    fenced = {
        name
        for spec in specs.values()
        for rule in spec["matchConstraints"]["resourceRules"]
        for name in rule["resources"]
    }
    left_out = {name for rule in rest["matchConstraints"]["excludeResourceRules"] for name in rule["resources"]}
    assert left_out == fenced | {"events", "leases"}
    written = {resource for resource, verb in allowed(MANIFESTS / "base" / "rbac.yaml") if verb not in READS}
    assert written == fenced | {"events"}
    (everything,) = rest["matchConstraints"]["resourceRules"]
    assert (everything["apiGroups"], everything["resources"], everything["operations"]) == (["*"], ["*/*"], ["*"])


def test_the_fence_writes_the_names_as_the_code_does() -> None:
    text = "\n".join(path.read_text() for path in FENCE.glob("*.yaml"))
    assert role_name("x", 1).startswith("podcert-")
    assert all(
        f"'{each}'" in text for each in (MANAGED_LABEL, ENROLL_LABEL, PREFIX + RESTARTED_FOR, PREFIX + "pod-uid")
    )
    (pattern,) = set(re.findall(r"matches\('([^']+)'\)", text))
    assert re.search(pattern, secret_name("p" * 253, "1a2b3c4d-0000-0000-0000-000000000000"))
    assert f"verb in {list(VERBS)}" in text


def test_a_policy_by_labels_needs_to_get_namespaces_and_nothing_else() -> None:
    component = MANIFESTS / "components" / "namespace-labels" / "rbac.yaml"
    assert allowed(component) == {("namespaces", "get")}
    (binding,) = [each for each in objects(component) if "subjects" in each]
    assert binding["subjects"] == objects(MANIFESTS / "base" / "rbac.yaml")[1]["subjects"]
