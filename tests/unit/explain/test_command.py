"""`podcert explain -f`, as a user runs it, without a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from certmanager.cli import main

MANIFESTS = Path(__file__).parents[3] / "manifests"
POLICY = """
rules:
  - name: shop
    namespaces: [shop]
    sign_role: shop
    issuer: team-shop
    dns_names: ["*.shop.example.com"]
  - name: team
    namespace_labels: {team: a}
    max_ttl: 1h
"""
POD = """
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: {podcert.io/enroll: "true"}
  annotations: {podcert.io/dns-names: "%s"}
spec: {serviceAccountName: web}
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["explain", *map(str, arguments)])


def asking(tmp_path: Path, names: str) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    file = tmp_path / "pod.yaml"
    file.write_text(POD % names)
    return file


@pytest.mark.parametrize(("number", "secret"), [(1, "server-certificate"), (2, "server-cert-xxxxxxxx")])
def test_the_demos_manifests_are_explained_with_names_rule_and_role(number: int, secret: str) -> None:
    result = run("-f", MANIFESTS / f"automatic-certificate-enrollment-{number}.yaml", "--offline")
    assert result.exit_code == 0, result.output
    for part in (
        "Pod/server in default: allowed",
        "no policy: a pod's own names only",
        "server.default.svc.cluster.local",
        "Service server selects the pod",
        "client.default.svc.cluster.local",
        "its own name, as no Service selects it",
        "pods of mount pki, mode sign",
        "issuer       as the Vault role says",
        secret,
    ):
        assert part in result.output


def test_every_example_is_allowed() -> None:
    examples = [
        file for file in sorted((MANIFESTS / "examples").glob("*.yaml")) if "podcert.io/enroll" in file.read_text()
    ]
    assert len(examples) > 3
    for file in examples:
        result = run("-f", file, "--offline")
        assert result.exit_code == 0, f"{file.name}: {result.output}"
        assert "NoDelivery" not in result.output


def test_a_granted_name_is_allowed_and_its_rule_named(tmp_path: Path) -> None:
    result = run("-f", asking(tmp_path, "a.shop.example.com"), "--offline", "--policy", tmp_path / "policy.yaml")
    assert result.exit_code == 0, result.output
    assert "rule shop of the policy: *.shop.example.com" in result.output
    assert "shop of mount pki" in result.output
    assert "issuer       team-shop" in result.output


def test_a_refused_name_gives_status_1_the_value_and_the_rule(tmp_path: Path) -> None:
    result = run("-f", asking(tmp_path, "evil.example.com"), "--offline", "--policy", tmp_path / "policy.yaml")
    assert result.exit_code == 1
    assert "evil.example.com  REFUSED" in result.output
    assert "NameNotAllowed" in result.output
    assert "rule shop of the policy" in result.output


def test_the_answer_for_programs_has_the_same(tmp_path: Path) -> None:
    result = run(
        "-f", asking(tmp_path, "evil.example.com"), "--offline", "--policy", tmp_path / "policy.yaml", "-o", "json"
    )
    (pod,) = json.loads(result.stdout)["pods"]
    assert (pod["verdict"], pod["reason"], pod["rule"]) == ("refused", "NameNotAllowed", "rule shop of the policy")
    assert [(name["value"], name["allowed"]) for name in pod["names"]] == [("evil.example.com", False)]


def test_nothing_in_a_manifest_moves_the_cursor(tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text('kind: Pod\nmetadata: {name: "x\\e[2J\\u202e", labels: {podcert.io/enroll: "true"}}\n')
    output = run("-f", file, "--offline").output
    assert output.replace("\n", "").isprintable()


def test_a_pod_that_does_not_take_part_gives_status_1(tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text("kind: Pod\nmetadata: {name: x}\n")
    result = run("-f", file, "--offline")
    assert result.exit_code == 1
    assert "not enrolled" in result.output


def test_labels_of_a_namespace_come_from_the_file_or_are_asked_for(tmp_path: Path) -> None:
    file = asking(tmp_path, "x.other.svc")
    file.write_text(file.read_text().replace("namespace: shop", "namespace: other"))
    arguments = ("-f", file, "--offline", "--policy", tmp_path / "policy.yaml")
    unknown = run(*arguments)
    assert unknown.exit_code == 2
    assert "those of other are not known" in unknown.output
    file.write_text("kind: Namespace\nmetadata: {name: other, labels: {team: a}}\n---" + file.read_text())
    assert "rule team of the policy" in run(*arguments).output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name either a pod or, with -f, a manifest"),
        (("web", "-f", "x.yaml"), "name either a pod or, with -f, a manifest"),
        (("web", "--offline"), "--offline is for manifests"),
        (("web",), "there is no kubeconfig"),
        (("-f", "none.yaml", "--offline"), "none.yaml: it cannot be read"),
        (("-f", MANIFESTS / "base" / "service.yaml", "--offline"), "have no pod"),
        (("-f", MANIFESTS / "base" / "service.yaml", "--policy", "none.yaml", "--offline"), "there is no such file"),
    ],
)
def test_wrong_usage_gives_status_2_and_says_why(arguments: tuple[object, ...], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_without_a_cluster_the_answer_says_what_was_not_looked_at() -> None:
    result = run("-f", MANIFESTS / "automatic-certificate-enrollment-2.yaml")
    assert result.exit_code == 0
    assert "the Services of the cluster were not looked at" in result.stderr


def test_a_kubeconfig_list_is_not_guessed_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "a:b")
    result = run("web")
    assert result.exit_code == 2
    assert "name one by --kubeconfig" in result.output
