"""manifests/vault with HTTPS, as kustomize builds it: what its parts say of each other fits, in each variant of the docs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from certmanager.servers.throwaway import Options, server_names
from tests.cluster.running import LocalCluster
from tests.integration.installation import MANIFESTS, build, of_kind

pytestmark = pytest.mark.cluster

PAGE = MANIFESTS.parent / "docs" / "vault-tls.md"
VARIANTS = ("vault/tls", "vault/ha-tls")


def server(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The pod that the StatefulSet makes."""
    (found,) = of_kind(objects, "StatefulSet")
    return dict(found["spec"]["template"])


def configuration(objects: list[dict[str, Any]]) -> dict[str, str]:
    """The files of the server's configuration."""
    (found,) = [each for each in of_kind(objects, "ConfigMap") if each["metadata"]["name"] == "vault-config"]
    return dict(found["data"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_listener_reads_what_the_sidecar_writes_on_the_servers_volume(
    control_plane: LocalCluster, variant: str
) -> None:
    objects = build(control_plane, variant)
    spec = server(objects)["spec"]
    (sidecar,), (vault,) = spec["initContainers"], spec["containers"]
    folder = next(each["value"] for each in sidecar["env"] if each["name"] == "PODCERT_DIRECTORY")
    listener = configuration(objects)["listener.hcl"]
    assert re.findall(r'"(/\S+)"', listener) == [f"{folder}/cert.pem", f"{folder}/key.pem"]
    assert "tls_disable" not in listener
    data = {"name": "data", "mountPath": str(Path(folder).parent)}
    assert data in sidecar["volumeMounts"]
    assert data in vault["volumeMounts"]
    assert spec["shareProcessNamespace"] is True


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variable_stands_before_those_that_refer_to_it(control_plane: LocalCluster, variant: str) -> None:
    (vault,) = server(build(control_plane, variant))["spec"]["containers"]
    known: set[str] = set()
    for each in vault["env"]:
        assert set(re.findall(r"\$\((\w+)\)", each.get("value", ""))) <= known, each
        known.add(each["name"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_speaks_plain_http_any_more(control_plane: LocalCluster, variant: str) -> None:
    objects = build(control_plane, variant)
    assert "http://" not in yaml.safe_dump_all(objects)
    (vault,) = server(objects)["spec"]["containers"]
    assert {vault[probe]["httpGet"]["scheme"] for probe in ("livenessProbe", "readinessProbe")} == {"HTTPS"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_seed_has_every_name_by_which_servers_are_called(control_plane: LocalCluster, variant: str) -> None:
    """Also the names of the Services: a server that has its own certificate has the same ones."""
    objects = build(control_plane, variant)
    names = server_names(Options(Path("any"))).dns
    for service in of_kind(objects, "Service"):
        assert f"{service['metadata']['name']}.vault.svc.cluster.local" in names
    text = configuration(objects)["storage.hcl"]
    assert len(re.findall("retry_join {", text)) == len(re.findall("leader_ca_cert_file +=", text))
    (vault,) = server(objects)["spec"]["containers"]
    called = re.findall(r'leader_tls_servername += "(\S+)"', text)
    called += [each["value"] for each in vault["env"] if each["name"] == "VAULT_TLS_SERVER_NAME"]
    assert set(called) <= set(names)


def test_the_kustomization_for_hashicorp_vault_signals_the_process_that_it_runs(
    control_plane: LocalCluster, tmp_path: Path
) -> None:
    text = next(
        block for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL) if "hashicorp" in block
    )
    # kustomize takes no absolute paths.
    (tmp_path / "podcert").mkdir()
    (tmp_path / "podcert" / "manifests").symlink_to(MANIFESTS)
    here = tmp_path / "mine"
    here.mkdir()
    (here / "kustomization.yaml").write_text(text)
    done = control_plane.kubectl("kustomize", str(here))
    spec = server(list(yaml.safe_load_all(done.stdout)))["spec"]
    (vault,), (sidecar,) = spec["containers"], spec["initContainers"]
    assert sidecar["args"][-1] == vault["command"][0] == "vault"
