"""From a manifest to the pods that it would make."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.explain.manifest import GENERATED, UID, Manifest, ManifestError, read_manifest

TEMPLATE = (
    "template: {metadata: {labels: {app: web}, annotations: {podcert.io/ttl: 1h}}, spec: {serviceAccountName: web}}"
)


def read(tmp_path: Path, text: str, namespace: str = "shop") -> Manifest:
    file = tmp_path / "manifest.yaml"
    file.write_text(text)
    found = Manifest()
    read_manifest(file, namespace, found)
    return found


@pytest.mark.parametrize(
    ("kind", "owner"),
    [("Deployment", "ReplicaSet"), ("StatefulSet", "StatefulSet"), ("DaemonSet", "DaemonSet"), ("Job", "Job")],
)
def test_a_workloads_pod_is_made_from_its_template(tmp_path: Path, kind: str, owner: str) -> None:
    text = f"kind: {kind}\nmetadata: {{name: web}}\nspec: {{serviceName: all, {TEMPLATE}}}"
    (subject,) = read(tmp_path, text).subjects
    pod = subject.pod
    assert subject.source == f"{kind}/web"
    assert (pod.namespace, pod.service_account, pod.uid) == ("shop", "web", UID)
    assert (dict(pod.labels), dict(pod.annotations)) == ({"app": "web"}, {"ttl": "1h"})
    assert pod.owner is not None
    assert pod.owner.kind == owner
    stateful = kind == "StatefulSet"
    assert pod.name == ("web-0" if stateful else f"web-{GENERATED}")
    assert (pod.hostname, pod.subdomain) == (("web-0", "all") if stateful else (None, None))


def test_a_cron_jobs_pod_is_found(tmp_path: Path) -> None:
    text = f"kind: CronJob\nmetadata: {{name: night, namespace: jobs}}\nspec: {{jobTemplate: {{spec: {{{TEMPLATE}}}}}}}"
    (subject,) = read(tmp_path, text).subjects
    assert (subject.source, subject.pod.namespace) == ("CronJob/night", "jobs")


def test_services_namespaces_and_lists_are_read_and_the_rest_is_left_out(tmp_path: Path) -> None:
    text = """
kind: List
items:
  - {kind: Service, metadata: {name: web}, spec: {selector: {app: web}}}
  - {kind: Namespace, metadata: {name: shop, labels: {team: a}}}
  - {kind: ConfigMap, metadata: {name: x}}
  - {kind: Pod, metadata: {generateName: one-}, spec: {}}
---
just a text
"""
    found = read(tmp_path, text)
    assert [(service.namespace, service.name) for service in found.services] == [("shop", "web")]
    assert found.namespaces == {"shop": {"team": "a"}}
    assert [subject.pod.name for subject in found.subjects] == [f"one-{GENERATED}"]


@pytest.mark.parametrize("text", ["a: [", "\x00", "!!python/object:os.system x"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ManifestError, match="is not a manifest"):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        read_manifest(tmp_path / "none.yaml", "default", Manifest())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "spec", "template", "name", "items", "labels", "ordinals"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["Pod", "Deployment", "StatefulSet", "CronJob", "Service", "Namespace", "List"]), VALUES, VALUES)
def test_objects_of_any_shape_are_read_without_a_crash(kind: str, metadata: object, spec: object) -> None:
    import json
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"kind": kind, "metadata": metadata, "spec": spec, "items": spec}, file)
        file.flush()
        read_manifest(Path(file.name), "default", Manifest())
