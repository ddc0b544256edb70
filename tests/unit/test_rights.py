"""The manager's rights are said in the ClusterRole, in the namespaced Role, in the docs and in the code: all agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from certmanager.kube.role_names import role_name
from certmanager.kube.roles import VERBS
from certmanager.settings import load

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
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


def test_a_policy_by_labels_needs_to_get_namespaces_and_nothing_else() -> None:
    component = MANIFESTS / "components" / "namespace-labels" / "rbac.yaml"
    assert allowed(component) == {("namespaces", "get")}
    (binding,) = [each for each in objects(component) if "subjects" in each]
    assert binding["subjects"] == objects(MANIFESTS / "base" / "rbac.yaml")[1]["subjects"]
