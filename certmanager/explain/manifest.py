"""What is in a manifest before it is applied: pods, also those that its workloads would make, Services and namespaces.

In the flow of `podcert explain -f`: *manifest* → domain.explain. The objects become the same views as on the way from the API
server (`kube.project`); what a controller or the API server would add (names, uid, owner) is put in here, and only that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from certmanager.domain.model import Pod, Service
from certmanager.kube import project
from certmanager.kube.fields import mapping, mappings, metadata, name, strings, text

UID: Final = "xxxxxxxx"
"""Stands for the uid that a pod does not have yet."""
GENERATED: Final = "xxxxx"
"""Stands for the part of a pod's name that its controller makes up."""
SIZE_LIMIT: Final = 16 * 1024 * 1024

_OWNERS: Final = {
    "Deployment": ("apps/v1", "ReplicaSet"),
    "ReplicaSet": ("apps/v1", "ReplicaSet"),
    "StatefulSet": ("apps/v1", "StatefulSet"),
    "DaemonSet": ("apps/v1", "DaemonSet"),
    "ReplicationController": ("v1", "ReplicationController"),
    "Job": ("batch/v1", "Job"),
    "CronJob": ("batch/v1", "Job"),
}


class ManifestError(Exception):
    """A file that cannot be read as a manifest; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A pod that a manifest would make; `source` is the object that says so, as `Deployment/web`."""

    source: str
    pod: Pod


@dataclass(slots=True)
class Manifest:
    """What was found. `namespaces` has the labels of the Namespace objects."""

    subjects: list[Subject] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)


def read_manifest(path: Path, namespace: str, into: Manifest) -> None:
    """Adds what is in a YAML or JSON file. `namespace` is for objects that name none. Raises `ManifestError`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: it cannot be read: {error.strerror}") from None
    if len(content) > SIZE_LIMIT:
        raise ManifestError(f"{path}: it has more than {SIZE_LIMIT} bytes")
    why: str
    try:
        documents = list(yaml.safe_load_all(content.decode("utf-8")))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        why = f" (line {mark.line + 1})" if mark else ""
    except (ValueError, RecursionError):
        why = ""
    else:
        for document in documents:
            for item in _objects(document):
                _add(item, namespace, into)
        return
    raise ManifestError(f"{path}: it is not a manifest in YAML or JSON{why}")


def _objects(document: object) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        return
    if document.get("kind") == "List" or str(document.get("kind", "")).endswith("List"):
        yield from (item for item in mappings(document, "items") if isinstance(item, dict))
    else:
        yield document


def _add(item: dict[str, Any], namespace: str, into: Manifest) -> None:
    meta = dict(metadata(item))
    kind = text(item, "kind")
    if kind == "Namespace":
        into.namespaces[text(meta, "name")] = strings(meta, "labels")
        return
    meta["namespace"] = name(meta, "namespace") or namespace
    if kind == "Service":
        into.services.append(project.service({**item, "metadata": meta}))
    elif kind == "Pod":
        meta.setdefault("name", f"{text(meta, 'generateName')}{GENERATED}")
        meta["uid"] = UID
        into.subjects.append(
            Subject(f"Pod/{meta['name']}", project.pod({"metadata": meta, "spec": mapping(item, "spec")}))
        )
    elif kind in _OWNERS:
        into.subjects.append(_of_template(item, kind, meta))


def _of_template(item: dict[str, Any], kind: str, meta: Mapping[str, Any]) -> Subject:
    """The first pod of a workload."""
    outer = (
        mapping(mapping(mapping(item, "spec"), "jobTemplate"), "spec") if kind == "CronJob" else mapping(item, "spec")
    )
    template = mapping(outer, "template")
    owner = text(meta, "name")
    spec = dict(mapping(template, "spec"))
    pod_name = f"{owner}-{GENERATED}"
    if kind == "StatefulSet":
        # The controller sets both on each pod (k8s.io/kubernetes/pkg/controller/statefulset, initIdentity).
        pod_name = f"{owner}-{mapping(outer, 'ordinals').get('start', 0)}"
        spec |= {"hostname": pod_name, "subdomain": text(outer, "serviceName")}
    version, direct = _OWNERS[kind]
    made = {
        **metadata(template),
        "name": pod_name,
        "namespace": meta["namespace"],
        "uid": UID,
        "ownerReferences": [{"apiVersion": version, "kind": direct, "name": owner, "uid": UID, "controller": True}],
    }
    return Subject(f"{kind}/{owner}", project.pod({"metadata": made, "spec": spec}))
