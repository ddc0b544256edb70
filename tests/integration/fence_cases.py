"""Every kind of write that the fence forbids to the manager, each with the words that its refusal must have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.integration.fence import ENROLL, LABEL, RESTARTED, Write, binding, certificate, role, workload

CORE, APPS = "/api/v1/namespaces/{ns}", "/apis/apps/v1/namespaces/{ns}"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"

Cases = Mapping[str, tuple[Write, str]]
"""What is tried, in words: the write, and what its refusal says."""


def _secret(**changes: Any) -> Write:
    return Write("POST", f"{CORE}/secrets", certificate("new", "{uid}", **changes))


def _owners(*owners: tuple[str, str]) -> list[dict[str, str]]:
    return [{"apiVersion": "v1", "kind": kind, "name": "x", "uid": uid} for kind, uid in owners]


def _put(name: str, **changes: Any) -> Write:
    return Write("PUT", f"{CORE}/secrets/{name}", certificate(name, "{uid}", **changes))


_FILES = {"tls.crt": "", "tls.key": ""}
_OPAQUE = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "new"}, "type": "Opaque"}
_STRANGERS: Final = {"labelSelector": f"!{LABEL}"}
_ACCOUNT_TOKEN = {"podcert.io/pod-uid": "{uid}", "kubernetes.io/service-account.name": "web"}

SECRETS: Final[Cases] = {
    "a Secret of another type": (_secret(type="Opaque"), "type kubernetes.io/tls, not Opaque"),
    "a token of a ServiceAccount": (
        _secret(type="kubernetes.io/service-account-token", annotations=_ACCOUNT_TOKEN, data=None),
        "not kubernetes.io/service-account-token",
    ),
    "no label": (_secret(labels=None), "must have the label"),
    "the label with another value": (_secret(labels={LABEL: "false"}), "must have the label"),
    "another key": (_secret(data={**_FILES, "password": ""}), "this one has password"),
    "another key, as a string": (_secret(stringData={"config": "x"}), "this one has config"),
    "no pod's uid": (
        _secret(annotations=None),
        'owned by one Pod, the one that its annotation podcert.io/pod-uid names; that says ""',
    ),
    "no owner": (_secret(ownerReferences=None), "owned by one Pod"),
    "another pod as owner": (_secret(ownerReferences=_owners(("Pod", "other"))), "owned by one Pod"),
    "an owner that is no pod": (_secret(ownerReferences=_owners(("ConfigMap", "{uid}"))), "owned by one Pod"),
    "two owners": (_secret(ownerReferences=_owners(("Pod", "{uid}"), ("ConfigMap", "x"))), "owned by one Pod"),
    "somebody's finalizer": (_secret(finalizers=["example.com/keep"]), "not example.com/keep"),
    "a Secret by apply": (
        Write("PATCH", f"{CORE}/secrets/new", _OPAQUE, APPLY, {"fieldManager": "x"}),
        "must have the label",
    ),
    "a stranger's Secret, taken over by its label": (_put("strangers"), "is not Podcert's"),
    "a label on a stranger's Secret": (
        Write("PATCH", f"{CORE}/secrets/strangers", {"metadata": {"labels": {LABEL: "true"}}}, MERGE),
        "is not Podcert's",
    ),
    "the end of a stranger's Secret": (Write("DELETE", f"{CORE}/secrets/strangers"), "is not Podcert's"),
    "the end of all Secrets": (Write("DELETE", f"{CORE}/secrets", query=_STRANGERS), "is not Podcert's"),
    "our label taken away": (_put("ours", labels={"a": "b"}), "must have the label"),
    "another key in ours": (_put("ours", data={**_FILES, "ca.crt": "", "kubeconfig": ""}), "this one has kubeconfig"),
    "our owner taken away": (_put("ours", ownerReferences=None), "owned by one Pod"),
    "somebody's finalizer on ours": (_put("ours", finalizers=["podcert.io/revoke", "kubernetes"]), "not kubernetes"),
}


def _rolls(body: object, content_type: str = STRATEGIC, kind: str = "deployments", name: str = "web") -> Write:
    return Write("PATCH", f"{APPS}/{kind}/{name}", body, content_type)


def _template(**fields: Any) -> dict[str, Any]:
    return {"spec": {"template": fields}}


_ROLL: Final = {"annotations": {RESTARTED: "r1"}}
_ONLY = "may only change the annotation podcert.io/restarted-for of the pod template, not "

WORKLOADS: Final[Cases] = {
    "an image": (
        _rolls(_template(spec={"containers": [{"name": "c", "image": "evil"}]})),
        _ONLY + "spec.template.spec",
    ),
    "an image, beside a roll": (
        _rolls(_template(metadata=_ROLL, spec={"containers": [{"name": "c", "image": "evil"}]})),
        _ONLY + "spec.template.spec",
    ),
    "a command": (
        _rolls([{"op": "add", "path": "/spec/template/spec/containers/0/command", "value": ["sh"]}], JSON_PATCH),
        _ONLY + "spec.template.spec",
    ),
    "a further container": (
        _rolls(_template(spec={"containers": [{"name": "more", "image": "i"}]}), kind="statefulsets"),
        _ONLY + "spec.template.spec",
    ),
    "another ServiceAccount": (
        _rolls(_template(spec={"serviceAccountName": "admin"}), kind="daemonsets"),
        _ONLY + "spec.template.spec",
    ),
    "the number of replicas": (_rolls({"spec": {"replicas": 0}}), _ONLY + "spec.replicas"),
    "a pause": (_rolls({"spec": {"paused": True}}), _ONLY + "spec.paused"),
    "a field that is taken away": (
        _rolls([{"op": "remove", "path": "/spec/template/spec/nodeSelector"}], JSON_PATCH),
        _ONLY + "spec.template.spec",
    ),
    "a StatefulSet's strategy": (
        _rolls({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}}, MERGE, "statefulsets"),
        _ONLY + "spec.updateStrategy",
    ),
    "a label of the template": (
        _rolls(_template(metadata={"labels": {"more": "x"}})),
        _ONLY + "spec.template.metadata.labels",
    ),
    "another annotation of the template": (
        _rolls(_template(metadata={"annotations": {"podcert.io/ttl": "1h"}})),
        _ONLY + "the annotation podcert.io/ttl of the template",
    ),
    "a new annotation of the template": (
        _rolls(_template(metadata={"annotations": {RESTARTED: "r1", "more": "x"}}), kind="daemonsets"),
        _ONLY + "the annotation more of the template",
    ),
    "an annotation of the template that is taken away": (
        _rolls(_template(metadata={"annotations": {"note": None}}), kind="statefulsets"),
        _ONLY + "the annotation note of the template",
    ),
    "a label": (_rolls({"metadata": {"labels": {"team": "evil"}}}), _ONLY + "metadata.labels"),
    "an annotation": (_rolls({"metadata": {"annotations": {"note": "x"}}}), _ONLY + "its own annotation note"),
    "an annotation that is taken away": (
        _rolls({"metadata": {"annotations": {"note": None}}}, kind="daemonsets"),
        _ONLY + "its own annotation note",
    ),
    "an owner": (
        _rolls({"metadata": {"ownerReferences": _owners(("Pod", "{uid}"))}}),
        _ONLY + "metadata.ownerReferences",
    ),
    "a finalizer": (_rolls({"metadata": {"finalizers": ["podcert.io/x"]}}), _ONLY + "metadata.finalizers"),
    "labels that are taken away": (_rolls({"metadata": {"labels": None}}, MERGE), _ONLY + "metadata.labels"),
    "a roll of a workload that is not enrolled": (
        _rolls(_template(metadata=_ROLL), name="plain"),
        "has the label podcert.io/enroll=true",
    ),
    "a workload that is enrolled by the way": (
        _rolls(_template(metadata={**_ROLL, "labels": {ENROLL: "true"}}), name="plain"),
        "has the label podcert.io/enroll=true",
    ),
    "a new workload": (
        Write("POST", f"{APPS}/deployments", workload("Deployment", "new")),
        "neither create nor delete",
    ),
    "a new workload by apply": (
        Write("PATCH", f"{APPS}/daemonsets/new", workload("DaemonSet", "new"), APPLY, {"fieldManager": "x"}),
        "neither create nor delete",
    ),
    "the end of a workload": (Write("DELETE", f"{APPS}/statefulsets/web"), "neither create nor delete"),
    "the end of all workloads": (Write("DELETE", f"{APPS}/daemonsets"), "neither create nor delete"),
    "a workload's scale": (
        Write("PATCH", f"{APPS}/deployments/web/scale", {"spec": {"replicas": 9}}, MERGE),
        "nothing of this kind (UPDATE deployments/scale)",
    ),
    "a workload's status": (
        Write("PATCH", f"{APPS}/deployments/web/status", {"status": {"replicas": 9}}, MERGE),
        "nothing of this kind (UPDATE deployments/status)",
    ),
}


def _role(**changes: Any) -> Write:
    return Write("POST", f"{RBAC}/roles", role("podcert-new", **changes))


def _bind(**changes: Any) -> Write:
    return Write("POST", f"{RBAC}/rolebindings", binding("podcert-new", "{ns}", **changes))


def _subject(kind: str, **fields: str) -> dict[str, str]:
    group = {} if kind == "ServiceAccount" else {"apiGroup": "rbac.authorization.k8s.io"}
    return {"kind": kind, "name": "x", **group, **fields}


_RULE, _ONE = "one rule, which allows get and watch", "one ServiceAccount of its own namespace"
_SELF = _subject("ServiceAccount", namespace="{ns}")

ROLES: Final[Cases] = {
    "a Role without the label": (_role(labels={"a": "b"}), "must have the label"),
    "a Role of another name": (Write("POST", f"{RBAC}/roles", role("mine")), "begins with podcert-"),
    "a Role for other things": (_role(resources=["configmaps"]), _RULE),
    "a Role for more things": (_role(resources=["secrets", "pods"]), _RULE),
    "a Role for another group": (_role(apiGroups=["*"]), _RULE),
    "a Role for list": (_role(verbs=["get", "list"]), _RULE),
    "a Role for everything": (_role(verbs=["*"]), _RULE),
    "a Role for all Secrets": (_role(resourceNames=None), _RULE),
    "a Role without rules": (
        Write("POST", f"{RBAC}/roles", {**role("podcert-new"), "rules": []}),
        _RULE,
    ),
    "a Role with two rules": (
        Write("POST", f"{RBAC}/roles", {**role("podcert-new"), "rules": role("x")["rules"] * 2}),
        _RULE,
    ),
    "a Role for a stranger's Secret": (
        _role(resourceNames=["web-0-cert-1a2b3c4d", "db-password"]),
        "whose names it made (…-cert-xxxxxxxx), not db-password",
    ),
    "a stranger's Role": (
        Write("PUT", f"{RBAC}/roles/podcert-strangers", role("podcert-strangers")),
        "is not Podcert's",
    ),
    "the end of a stranger's Role": (Write("DELETE", f"{RBAC}/roles/podcert-strangers"), "is not Podcert's"),
    "the end of all Roles": (Write("DELETE", f"{RBAC}/roles", query=_STRANGERS), "is not Podcert's"),
    "our label taken from a Role": (
        Write("PUT", f"{RBAC}/roles/podcert-ours", role("podcert-ours", labels={})),
        "must have the label",
    ),
    "more rights in our Role": (
        Write("PUT", f"{RBAC}/roles/podcert-ours", role("podcert-ours", verbs=["delete"])),
        _RULE,
    ),
    "a ClusterRole": (
        Write("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {"metadata": {"name": "fence-{ns}"}}),
        "nothing of this kind (CREATE clusterroles)",
    ),
}

BINDINGS: Final[Cases] = {
    "a RoleBinding without the label": (_bind(labels={}), "must have the label"),
    "a RoleBinding of another name": (
        Write("POST", f"{RBAC}/rolebindings", binding("mine", "{ns}")),
        "begins with podcert-",
    ),
    "a ClusterRole": (_bind(role=("ClusterRole", "cluster-admin")), "not for ClusterRole cluster-admin"),
    "a ClusterRole of our name": (_bind(role=("ClusterRole", "podcert-new")), "not for ClusterRole podcert-new"),
    "another Role": (_bind(role=("Role", "podcert-ours")), "not for Role podcert-ours"),
    "a user": (_bind(subjects=[_subject("User")]), _ONE),
    "a group": (_bind(subjects=[_subject("Group", name="system:authenticated")]), _ONE),
    "a ServiceAccount elsewhere": (_bind(subjects=[_subject("ServiceAccount", namespace="default")]), _ONE),
    "two subjects": (_bind(subjects=[_SELF, {**_SELF, "name": "y"}]), _ONE),
    "nobody": (_bind(subjects=[]), _ONE),
    "a change": (
        Write("PUT", f"{RBAC}/rolebindings/podcert-ours", binding("podcert-ours", "{ns}", subjects=[_SELF])),
        "and not change one",
    ),
    "the end of a stranger's": (Write("DELETE", f"{RBAC}/rolebindings/podcert-strangers"), "may not delete it"),
    "the end of all": (Write("DELETE", f"{RBAC}/rolebindings", query=_STRANGERS), "may not delete it"),
    "a ClusterRoleBinding": (
        Write(
            "POST",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            {
                "metadata": {"name": "fence-{ns}-x"},
                "roleRef": binding("x", "", role=("ClusterRole", "view"))["roleRef"],
            },
        ),
        "nothing of this kind (CREATE clusterrolebindings)",
    ),
}


def _evict(**options: object) -> Write:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web-0", "namespace": "{ns}"}}
    return Write("POST", f"{CORE}/pods/web-0/eviction", {**body, "deleteOptions": options} if options else body)


_UID = {"uid": "{uid}"}

EVICTIONS: Final[Cases] = {
    "an eviction of whoever has that name": (_evict(), "must name the pod's uid"),
    "an eviction by version only": (_evict(preconditions={"resourceVersion": "1"}), "must name the pod's uid"),
    "an eviction without time to end": (_evict(preconditions=_UID, gracePeriodSeconds=0), "its own time to end"),
    "an eviction that leaves what the pod owns": (
        _evict(preconditions=_UID, propagationPolicy="Orphan"),
        "its own time to end",
    ),
}

_TOKEN = {"spec": {"audiences": ["x"], "expirationSeconds": 600}}
_POD = {"spec": {"serviceAccountName": "web", "containers": [{"name": "c", "image": "i"}]}}

REST: Final[Cases] = {
    "a ConfigMap": (Write("POST", f"{CORE}/configmaps", {"metadata": {"name": "x"}}), "(CREATE configmaps)"),
    "a pod": (Write("POST", f"{CORE}/pods", {"metadata": {"name": "x"}, **_POD}), "(CREATE pods)"),
    "a pod's end": (Write("DELETE", f"{CORE}/pods/web-0"), "(DELETE pods)"),
    "a pod's label": (
        Write("PATCH", f"{CORE}/pods/web-0", {"metadata": {"labels": {ENROLL: None}}}, MERGE),
        "(UPDATE pods)",
    ),
    "a command in a pod": (
        Write("POST", f"{CORE}/pods/web-0/exec", query={"command": "sh", "stdout": "true"}),
        "(CONNECT pods/exec)",
    ),
    "a pod's ephemeral container": (
        Write("PATCH", f"{CORE}/pods/web-0/ephemeralcontainers", {"spec": {"ephemeralContainers": []}}, MERGE),
        "(UPDATE pods/ephemeralcontainers)",
    ),
    "a pod's status": (
        Write("PATCH", f"{CORE}/pods/web-0/status", {"status": {"message": "x"}}, MERGE),
        "(UPDATE pods/status)",
    ),
    "a ServiceAccount": (
        Write("POST", f"{CORE}/serviceaccounts", {"metadata": {"name": "x"}}),
        "(CREATE serviceaccounts)",
    ),
    "a ServiceAccount's token": (
        Write("POST", f"{CORE}/serviceaccounts/web/token", _TOKEN),
        "(CREATE serviceaccounts/token)",
    ),
    "a job": (
        Write(
            "POST",
            "/apis/batch/v1/namespaces/{ns}/jobs",
            {
                "metadata": {"name": "x"},
                "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
            },
        ),
        "(CREATE jobs)",
    ),
    "a ReplicaSet's end": (Write("DELETE", f"{APPS}/replicasets"), "(DELETE replicasets)"),
    "a namespace": (Write("DELETE", "/api/v1/namespaces/{ns}"), "(DELETE namespaces)"),
    "a namespace's label": (
        Write("PATCH", "/api/v1/namespaces/{ns}", {"metadata": {"labels": {"a": "b"}}}, MERGE),
        "(UPDATE namespaces)",
    ),
    "a kind of object": (
        Write(
            "POST",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            {
                "metadata": {"name": "xs.{ns}.io"},
                "spec": {
                    "group": "{ns}.io",
                    "scope": "Namespaced",
                    "versions": [
                        {
                            "name": "v1",
                            "served": True,
                            "storage": True,
                            "schema": {"openAPIV3Schema": {"type": "object"}},
                        }
                    ],
                    "names": {"plural": "xs", "kind": "X"},
                },
            },
        ),
        "(CREATE customresourcedefinitions)",
    ),
}

ALL: Final[dict[str, tuple[Write, str]]] = {
    f"{policy}: {name}": case
    for policy, cases in (
        ("secrets", SECRETS),
        ("workloads", WORKLOADS),
        ("roles", ROLES),
        ("rolebindings", BINDINGS),
        ("evictions", EVICTIONS),
        ("rest", REST),
    )
    for name, case in cases.items()
}
