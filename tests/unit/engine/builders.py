"""Pods, Services and Secrets for the engine's tests, with what a test does not care about filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from certmanager.domain.model import Bundle, Delivery, Leaf, Names, Pod, Service, StoredSecret
from certmanager.domain.names import secret_name

NOW = 1_800_000_000.0


def pod(name: str = "web", uid: str = "12345678-aaaa", **fields: object) -> Pod:
    """An enrolled pod in `default`, labelled `app: <name>`."""
    base = Pod(
        namespace="default",
        name=name,
        uid=uid,
        resource_version=10,
        service_account="web",
        labels={"app": name, "podcert.io/enroll": "true"},
        annotations={},
        created_at=NOW,
        delivery=Delivery(fetcher=True),
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def service(name: str = "web", selector: Mapping[str, str] | None = None, **fields: object) -> Service:
    """A Service in `default` that selects `app: <name>`."""
    base = Service("default", name, 10, {"app": name} if selector is None else selector)
    return replace(base, **fields)  # type: ignore[arg-type]


def secret(of: Pod, **fields: object) -> StoredSecret:
    """Our Secret for a pod, valid for a day from NOW."""
    names = Names(dns=("web.default.svc.cluster.local",), common_name="web.default.svc.cluster.local")
    leaf = Leaf("01:02", NOW - 30, NOW + 86400, names, "ec-256", "00")
    base = StoredSecret(
        namespace=of.namespace,
        name=secret_name(of.name, of.uid),
        uid=f"secret-of-{of.uid}",
        resource_version=20,
        managed=True,
        pod_name=of.name,
        pod_uid=of.uid,
        owner_uids=frozenset({of.uid}),
        annotations={},
        bundle=Bundle(leaf, key_fits=True, chain_ok=True, anchors=frozenset({"aa"}), anchor="aa", issuer="aa"),
    )
    return replace(base, **fields)  # type: ignore[arg-type]
