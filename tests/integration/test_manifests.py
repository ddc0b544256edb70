"""Everything under manifests/ is accepted by a real API server, to the last field, in namespaces that enforce `restricted`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
import yaml

from tests.cluster.running import LocalCluster
from tests.integration.installation import KUSTOMIZATIONS, MANIFESTS, PLAIN, build, of_kind

pytestmark = pytest.mark.cluster

TRIAL = "manifests-trial"
VALIDATE = (
    "apply",
    "--server-side",
    "--dry-run=server",
    "--force-conflicts",
    "--validate=strict",
    "--field-manager=manifests",
)


@pytest.fixture(scope="module")
def server(control_plane: LocalCluster) -> Iterator[LocalCluster]:
    """The namespaces that manifests are for exist (a dry run makes none) and enforce the restricted profile."""
    for name in ("podcert", "vault", TRIAL):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(body))
        levels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
        control_plane.kubectl("label", "namespace", name, "--overwrite", *levels)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": TRIAL}}
    control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(account))
    yield control_plane
    control_plane.kubectl("delete", "namespace", TRIAL, "--wait=false")


def validate(server: LocalCluster, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """What the API server says of an apply that it does not carry out."""
    return server.kubectl(*VALIDATE, *arguments, stdin=stdin, check=False)


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_a_kustomization_builds_and_is_valid_without_a_warning(server: LocalCluster, kustomization: str) -> None:
    # The parts that name no namespace of their own are tried in one that enforces `restricted`.
    done = validate(server, f"--namespace={TRIAL}", "-k", str(MANIFESTS / kustomization))
    if "does not match the namespace" in done.stderr:
        done = validate(server, "-k", str(MANIFESTS / kustomization))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("file", PLAIN)
def test_a_plain_manifest_is_valid_without_a_warning(server: LocalCluster, file: str) -> None:
    objects = list(yaml.safe_load_all((MANIFESTS / file).read_text()))
    named = any("namespace" in each["metadata"] for each in objects)
    where = [] if named else [f"--namespace={TRIAL}"]
    for each in of_kind(objects, "Pod"):
        # A dry run makes no ServiceAccounts, and a Pod is refused without its own; the tests of real pods have them.
        each["spec"]["serviceAccountName"] = "default"
    done = validate(server, *where, "-f", "-", stdin=yaml.safe_dump_all(objects))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("kind", ["Pod", "Deployment"])
def test_what_these_tests_would_tell_of_a_privileged_pod(server: LocalCluster, kind: str) -> None:
    (pod,) = [each for each in build(server, "base") if each["kind"] == "Deployment"]
    spec = pod["spec"]["template"]["spec"]
    spec["containers"][0]["securityContext"] = {"privileged": True}
    if kind == "Pod":
        spec["serviceAccountName"] = "default"
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    pod["metadata"]["namespace"] = TRIAL
    done = validate(server, "-f", "-", stdin=yaml.safe_dump(pod))
    assert "violate" in done.stderr
    assert 'PodSecurity "restricted' in done.stderr
    assert (done.returncode != 0) is (kind == "Pod")


def test_a_misspelt_field_would_be_told(server: LocalCluster) -> None:
    (budget,) = of_kind(build(server, "overlays/default"), "PodDisruptionBudget")
    budget["spec"]["maxUnavailible"] = 1
    done = validate(server, "-f", "-", stdin=yaml.safe_dump(budget))
    assert done.returncode != 0
    assert ".spec.maxUnavailible: field not declared" in done.stderr
