"""Provider existing on a real API server: it is left as it was found, and what is in use is not touched."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.cluster import images, local
from tests.cluster.existing import ENFORCE, Existing
from tests.cluster.paths import ClusterError
from tests.cluster.provider import Spec
from tests.cluster.running import LocalCluster
from tests.conftest import need
from tests.integration.installation import MANIFESTS

pytestmark = pytest.mark.cluster

KINDS = ("namespaces", "pods", "services", "serviceaccounts", "clusterroles", "clusterrolebindings", "deployments.apps")


@pytest.fixture(scope="module")
def theirs() -> Iterator[LocalCluster]:
    """Somebody's cluster, with something of theirs in it; of its own, because Podcert must not be installed there."""
    need(local.missing(node=False), "a control plane")
    with local.cluster(f"their-{os.getpid()}", node=False, quiet=True) as cluster:
        cluster.kubectl("label", "namespace", "default", f"{ENFORCE}=baseline")
        cluster.kubectl("create", "serviceaccount", "server")
        yield cluster


def contents(cluster: LocalCluster) -> set[tuple[str, str, str, str]]:
    """Kind, namespace, name and uid of what is in the cluster."""
    found = json.loads(cluster.kubectl("get", ",".join(KINDS), "--all-namespaces", "--output=json").stdout)["items"]
    metas = [(each["kind"], each["metadata"]) for each in found]
    return {(kind, meta.get("namespace", ""), meta["name"], meta["uid"]) for kind, meta in metas}


def test_a_cluster_is_left_as_it_was_found(theirs: LocalCluster) -> None:
    before = contents(theirs)
    running = Existing(theirs.kubeconfig, load=False).up(Spec("found", images=images.NAMES))
    running.kubectl("label", "namespace", "default", "--overwrite", f"{ENFORCE}=restricted")
    running.kubectl("apply", "-f", str(MANIFESTS / "vault-dev-deployment.yaml"))
    running.kubectl("apply", "-k", str(MANIFESTS / "overlays" / "default"))
    running.kubectl("apply", "-f", str(MANIFESTS / "automatic-certificate-enrollment-2.yaml"))
    running.kubectl("apply", "--dry-run=server", "-f", str(MANIFESTS / "vault-token-review.yaml"))
    running.kubectl("create", "configmap", "mine", "-n", "vault")
    names = {name for _, _, name, _ in contents(theirs) - before}
    assert {"podcert", "vault", "certificate-manager", "podcert-certificate-manager", "client", "server"} <= names
    running.down()
    after = contents(theirs)
    assert after == before  # the ServiceAccount `server` too, which was there and was only configured
    labels = json.loads(theirs.kubectl("get", "namespace", "default", "--output=json").stdout)["metadata"]["labels"]
    assert labels[ENFORCE] == "baseline"


def test_what_somebody_made_anew_under_the_same_name_is_not_deleted(theirs: LocalCluster) -> None:
    running = Existing(theirs.kubeconfig, load=False).up(Spec("found"))
    running.kubectl("create", "namespace", "ours")
    running.kubectl("create", "serviceaccount", "contested")
    theirs.kubectl("delete", "serviceaccount", "contested")
    theirs.kubectl("create", "serviceaccount", "contested")
    running.down()
    names = {(kind, name) for kind, _, name, _ in contents(theirs)}
    assert ("ServiceAccount", "contested") in names
    assert ("Namespace", "ours") not in names
    theirs.kubectl("delete", "serviceaccount", "contested")


def test_an_installation_that_is_in_use_is_refused(theirs: LocalCluster) -> None:
    theirs.kubectl("create", "namespace", "podcert")
    with pytest.raises(ClusterError, match="has namespace/podcert already"):
        Existing(theirs.kubeconfig, load=False).up(Spec("found"))
    theirs.kubectl("delete", "namespace", "podcert")


def test_images_that_nodes_cannot_get_from_here_are_told(theirs: LocalCluster) -> None:
    with pytest.raises(ClusterError, match=r"certificate-manager:0\.1\.0.* then say --no-load"):
        Existing(theirs.kubeconfig).up(Spec("found", images=images.NAMES))


def test_the_context_is_the_one_that_was_named_even_when_another_is_current(theirs: LocalCluster) -> None:
    config: dict[str, Any] = yaml.safe_load(theirs.kubeconfig.read_text())
    config["contexts"].append({"name": "other", "context": {"cluster": "other", "user": "podcert"}})
    config["clusters"].append({"name": "other", "cluster": {"server": "https://127.0.0.1:1"}})
    config["current-context"] = "other"
    file = theirs.folder / "conf" / "two.kubeconfig"
    file.write_text(json.dumps(config))
    running = Existing(file, "podcert", load=False).up(Spec("found"))
    assert running.apiserver_url == theirs.apiserver_url
    assert running.ca_file.read_bytes() == theirs.ca_file.read_bytes()
    assert running.token("default", "server").count(".") == 2
    running.down()
    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:1"):
        Existing(file, load=False).up(Spec("found"))
