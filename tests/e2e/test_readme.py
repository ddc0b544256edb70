"""The examples in README.md are what they look like: applied as they stand, their pods run with certificates."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.e2e.scenario import CERTS, ROOT, Scenario

pytestmark = pytest.mark.e2e

NAMESPACE = "readme"
PAGE = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def examples(podcert: Scenario) -> Iterator[Scenario]:
    """Both examples in a namespace of their own. Only the image of the application, which is any image, is another."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    manifests = "---\n".join(blocks).replace("image: debian:13-slim", "image: podcert-example:0.1.0")
    podcert.kubectl("create", "namespace", NAMESPACE)
    podcert.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=manifests)
    podcert.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod", "web", "--timeout=90s")
    podcert.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/shop", "--timeout=90s")
    yield podcert
    podcert.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def names_in(scenario: Scenario, pod: str, file: str) -> str:
    command = ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", f"{CERTS}/{file}"]
    return scenario.kubectl("exec", "-n", NAMESPACE, pod, "--", *command)


def test_the_pod_that_mounts_its_secret_has_a_certificate_for_its_own_name(examples: Scenario) -> None:
    assert f"DNS:web.{NAMESPACE}.svc.cluster.local" in names_in(examples, "web", "tls.crt")


def test_each_replica_has_the_services_name_and_a_secret_of_its_own(examples: Scenario) -> None:
    selector = ("-n", NAMESPACE, "-l", "app=shop", "-o", "jsonpath={.items[*].metadata.name}")
    pods = examples.kubectl("get", "pods", *selector).split()
    assert len(pods) == 2
    for pod in pods:
        assert f"DNS:shop.{NAMESPACE}.svc.cluster.local" in names_in(examples, pod, "cert.pem")
    secrets = examples.kubectl("get", "secrets", "-n", NAMESPACE, "-o", "name").split()
    assert sum("shop-" in secret for secret in secrets) == 2


def test_the_install_commands_name_files_that_are_there() -> None:
    paths = re.findall(r"(?:-[fk]|--file) (manifests/\S+|Dockerfile\.\w+)", PAGE)
    assert len(paths) >= 4
    assert [path for path in paths if not (ROOT / path).exists()] == []
