"""Pods, Services, requests, Secrets and situations for the domain's tests, with what a test does not care about filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from certmanager.domain.decide import Situation
from certmanager.domain.model import (
    Bundle,
    KeyType,
    Leaf,
    Mode,
    Names,
    Pod,
    Request,
    Rotation,
    Service,
    StoredSecret,
    Workload,
)
from certmanager.domain.request import Defaults, decide_request
from certmanager.domain.secret_notes import annotations_for
from certmanager.domain.trust import Trust

NOW = 1_800_000_000.0
DAY = 86_400.0
UID = "12345678-aaaa-bbbb-cccc-1234567890ab"
LONG_NAME = "web.default.svc.cluster.local"

DEFAULTS = Defaults(
    mode=Mode.SIGN,
    key_type=KeyType.EC_256,
    mount="pki",
    sign_role="pods",
    issue_role="pods-issue",
    ttl=None,
    rotation=Rotation.RESTART,
    renew_before_fraction=1 / 3,
    cluster_domain="cluster.local",
    trust_domain=None,
    roles=frozenset({"pods", "pods-issue"}),
)


def pod(name: str = "web-0", **fields: Any) -> Pod:
    """An enrolled pod in `default`, labelled `app: web`."""
    base = Pod(
        namespace="default",
        name=name,
        uid=UID,
        resource_version=10,
        service_account="web",
        labels={"app": "web", "podcert.io/enroll": "true"},
        annotations={},
        created_at=NOW,
    )
    return replace(base, **fields)


def service(name: str = "web", selector: Mapping[str, str] | None = None, **fields: Any) -> Service:
    """A Service in `default` that selects `app: web`."""
    return replace(Service("default", name, 10, {"app": "web"} if selector is None else selector), **fields)


def deployment(name: str = "web", **fields: Any) -> Workload:
    """A Deployment in `default` whose one pod is labelled `app: <name>` and enrolled; its last roll is over."""
    base = Workload(
        namespace="default",
        kind="Deployment",
        name=name,
        uid=f"deployment-{name}",
        resource_version=1,
        selector={"app": name},
        selector_is_simple=True,
        template_labels={"app": name, "podcert.io/enroll": "true"},
        template_annotations={},
        paused=False,
        on_delete=False,
        partition=0,
        replicas=1,
        settled=True,
        restarted_for=None,
    )
    return replace(base, **fields)


def annotated(**annotations: str) -> Pod:
    """An enrolled pod with annotations; `_` in a keyword stands for `-`."""
    return pod(annotations={name.replace("_", "-"): value for name, value in annotations.items()})


def request(of: Pod | None = None, **fields: Any) -> Request:
    """What a pod with the Service `web` gets."""
    decided = decide_request(of or pod(), [service()], DEFAULTS)
    assert isinstance(decided, Request)
    return replace(decided, **fields)


def leaf(**fields: Any) -> Leaf:
    """A certificate that was issued at NOW for a day, for the Service `web`."""
    names = Names(dns=(LONG_NAME,), common_name=LONG_NAME)
    return replace(Leaf("01:02", NOW - 30, NOW + DAY, names, "ec-256", "00"), **fields)


def bundle(**fields: Any) -> Bundle:
    """Files in which all is well; the chain ends at the anchor `aa`."""
    base = Bundle(leaf(), key_fits=True, chain_ok=True, anchors=frozenset({"aa"}), anchor="aa", issuer="aa")
    return replace(base, **fields)


def trust(*anchors: str, closing: Sequence[str] = ()) -> Trust:
    """What Vault says of its CAs, by their fingerprints."""
    return Trust(tuple(sorted(anchors)), frozenset(anchors), frozenset(closing))


def secret(of: Pod | None = None, **fields: Any) -> StoredSecret:
    """The Secret that we wrote for `of` at NOW."""
    owner = of or pod()
    wanted = request()
    base = StoredSecret(
        namespace=owner.namespace,
        name=wanted.secret_name,
        uid="secret-uid",
        resource_version=20,
        managed=True,
        pod_name=owner.name,
        pod_uid=owner.uid,
        owner_uids=frozenset({owner.uid}),
        annotations=annotations_for(wanted, bundle(), owner, NOW),
        bundle=bundle(),
    )
    return replace(base, **fields)


def situation(**fields: Any) -> Situation:
    """A pod with its Secret, an hour after its certificate was issued: nothing is to be done."""
    base = Situation(
        pod=pod(),
        request=request(),
        secret=secret(),
        trust=trust("aa"),
        settles_in=0.0,
        other_pod_alive=False,
        now=NOW + 3600,
    )
    return replace(base, **fields)
