"""From the API server's JSON to the domain's views, the moment it arrives: the JSON is dropped, the view is kept.

Used by the watches (`watch`) and the Secret store (`secrets`). Pure, and tolerant, as `fields` is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from certmanager.domain.model import MANAGED_LABEL, Bundle, Pod, Service, StoredSecret
from certmanager.domain.names import is_subdomain
from certmanager.kube.fields import (
    Obj,
    controller,
    finalizers,
    is_true,
    mapping,
    mappings,
    metadata,
    name,
    own_annotations,
    resource_version,
    strings,
    text,
    timestamp,
)
from certmanager.kube.project_delivery import delivery
from certmanager.x509.inspect import inspect_bundle


def pod(item: Obj) -> Pod:
    """A Pod (core/v1) as decisions need it."""
    meta, spec, status = metadata(item), mapping(item, "spec"), mapping(item, "status")
    return Pod(
        namespace=name(meta, "namespace"),
        name=text(meta, "name"),
        uid=text(meta, "uid"),
        resource_version=resource_version(item),
        service_account=name(spec, "serviceAccountName") or "default",
        labels=strings(meta, "labels"),
        annotations=own_annotations(meta),
        created_at=timestamp(meta.get("creationTimestamp")) or 0.0,
        finished=status.get("phase") in ("Succeeded", "Failed"),
        deleting=bool(meta.get("deletionTimestamp")),
        hostname=text(spec, "hostname") or None,
        subdomain=text(spec, "subdomain") or None,
        ips=_ips(status),
        host_network=spec.get("hostNetwork") is True,
        owner=controller(meta),
        delivery=delivery(spec, status),
        ready=is_true(status, "Ready"),
    )


def service(item: Obj) -> Service:
    """A Service (core/v1): what it selects."""
    meta, spec = metadata(item), mapping(item, "spec")
    return Service(
        namespace=name(meta, "namespace"),
        name=text(meta, "name"),
        resource_version=resource_version(item),
        selector=strings(spec, "selector"),
        external=spec.get("type") == "ExternalName",
        headless=spec.get("clusterIP") == "None",
    )


class SecretReader:
    """Secrets (core/v1) with the facts of their files.

    A bundle that this process has just made comes back through the watch: its facts are kept for a while under a hash
    of the Secret's data, so that no certificate is parsed twice.

    Args:
        inspect: facts of certificate, key and anchors; raises `ValueError` with a message that has no content.
        capacity: facts that are kept.
    """

    def __init__(self, inspect: Callable[[bytes, bytes, bytes], Bundle] = inspect_bundle, capacity: int = 2048) -> None:
        self._inspect = inspect
        self._capacity = capacity
        self._known: OrderedDict[bytes, Bundle] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, data: Mapping[str, str], bundle: Bundle) -> None:
        """The facts of a Secret's data (base64 values by key), known before it is written."""
        with self._lock:
            self._known[_digest(data)] = bundle
            while len(self._known) > self._capacity:
                self._known.popitem(last=False)

    def __call__(self, item: Obj) -> StoredSecret:
        """The view of a Secret; unreadable files give a `problem`, never an exception."""
        data = strings(item, "data")
        bundle, problem = self._bundle(data)
        return stored(item, bundle, problem)

    def _bundle(self, data: Mapping[str, str]) -> tuple[Bundle | None, str | None]:
        digest = _digest(data)
        with self._lock:
            known = self._known.get(digest)
        if known is not None:
            return known, None
        files: list[bytes] = []
        for key in ("tls.crt", "tls.key", "ca.crt"):
            if not data.get(key):
                return None, f"{key} is missing or empty"
            try:
                files.append(base64.b64decode(data[key], validate=True))
            except (binascii.Error, ValueError):
                return None, f"{key} is not base64"
        try:
            return self._inspect(files[0], files[1], files[2]), None
        except ValueError as error:
            return None, str(error)
        except Exception as error:  # noqa: BLE001 - anybody may fill a Secret; what a parser makes of it must end no watch
            return None, f"its files cannot be read ({type(error).__name__})"


def stored(item: Obj, bundle: Bundle | None, problem: str | None = None) -> StoredSecret:
    """The view of a Secret whose files are judged already; `item` may be its metadata only (PartialObjectMetadata)."""
    meta = metadata(item)
    annotations = own_annotations(meta)
    return StoredSecret(
        namespace=name(meta, "namespace"),
        name=text(meta, "name"),
        uid=text(meta, "uid"),
        resource_version=resource_version(item),
        managed=strings(meta, "labels").get(MANAGED_LABEL) == "true",
        pod_name=_pod_name(annotations.get("pod", "")),
        pod_uid=annotations.get("pod-uid", ""),
        owner_uids=frozenset(text(owner, "uid") for owner in mappings(meta, "ownerReferences")) - {""},
        annotations=annotations,
        bundle=bundle,
        problem=problem,
        finalizers=finalizers(meta),
        deleting_since=timestamp(meta.get("deletionTimestamp")),
    )


def _pod_name(text: str) -> str:
    """What a Secret says of its pod, or nothing when no pod can have that name: it becomes part of a request's path."""
    return text if is_subdomain(text) else ""


def _ips(status: Obj) -> tuple[str, ...]:
    addresses = [text(entry, "ip") for entry in mappings(status, "podIPs")] or [text(status, "podIP")]
    return tuple(address for address in addresses if address)


def _digest(data: Mapping[str, str]) -> bytes:
    digest = hashlib.sha256()
    for key in ("tls.crt", "tls.key", "ca.crt"):
        digest.update(data.get(key, "").encode("utf-8", "replace") + b"\0")
    return digest.digest()
