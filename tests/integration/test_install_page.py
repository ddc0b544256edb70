"""What docs/install.md has people write themselves builds: an overlay of their own, and a further namespace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.paths import REPOSITORY
from tests.cluster.running import LocalCluster
from tests.integration.installation import MANIFESTS, of_kind

pytestmark = pytest.mark.cluster

PAGE = (REPOSITORY / "docs" / "install.md").read_text()


def section(heading: str) -> str:
    """The text below a heading of the page."""
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def built(cluster: LocalCluster, folder: Path) -> list[dict[str, Any]]:
    """The objects of a kustomization, which a real API server takes to the last field."""
    cluster.kubectl("apply", "-f", str(MANIFESTS / "base" / "namespace.yaml"))
    text = cluster.kubectl("kustomize", str(folder)).stdout
    cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "--force-conflicts", "--field-manager=page", "-f", "-", stdin=text
    )
    return list(yaml.safe_load_all(text))


def manager(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The manager's container."""
    (deployment,) = of_kind(objects, "Deployment")
    container: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


def test_the_overlay_of_ones_own_combines_the_variants(control_plane: LocalCluster, tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    (tmp_path / "podcert").mkdir()
    (block,) = re.findall(r"```yaml\n(.*?)```", section("An overlay of your own"), re.DOTALL)
    (tmp_path / "podcert" / "kustomization.yaml").write_text(block)
    objects = built(control_plane, tmp_path / "podcert")
    container = manager(objects)
    assert container["image"] == "registry.example.com/certificate-manager:0.1.0"
    values = {each["name"]: each["value"] for each in container["env"]}
    assert values["VAULT_ADDR"] == "https://vault.example.com:8200"
    assert (values["PODCERT_AUTH"], values["PODCERT_NAMESPACES"]) == ("kubernetes", "default")
    assert "PODCERT_TOKEN_FILE" not in values
    assert of_kind(objects, "ClusterRole", "ClusterRoleBinding") == []
    mounts = {each["name"] for each in container["volumeMounts"]}
    assert mounts == {"vault-login", "vault-ca"}


def test_the_commands_for_a_further_namespace_serve_it(control_plane: LocalCluster, tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    control_plane.kubectl("create", "namespace", "shop", check=False)
    blocks = re.findall(r"(?:^    .+\n)+", section("Named namespaces only"), re.MULTILINE)
    (commands,) = [block for block in blocks if "namespaces/shop" in block]
    script = "\n".join(line.strip() for line in commands.splitlines() if "kubectl" not in line)
    environment = {"PATH": os.environ["PATH"]}
    subprocess.run(["sh", "-euc", script], cwd=tmp_path, env=environment, check=True, timeout=30)
    objects = built(control_plane, tmp_path / "manifests" / "overlays" / "namespaced")
    assert {each["metadata"]["namespace"] for each in of_kind(objects, "Role")} == {"default", "shop"}
    for binding in of_kind(objects, "RoleBinding"):
        assert binding["subjects"][0]["namespace"] == "podcert"
    values = {each["name"]: each["value"] for each in manager(objects)["env"]}
    assert values["PODCERT_NAMESPACES"] == "default,shop"
