"""From the API server's JSON to the domain's views, the moment it arrives: the JSON is dropped, the view is kept.

Used by the watches (`watch`) and the Secret store (`secrets`). Pure, and tolerant: a field that is missing or of
another shape is read as absent, because an object that somebody else wrote must never end a watch.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from certmanager.domain.model import (
    FETCHER_CONTAINER,
    MANAGED_LABEL,
    PREFIX,
    Bundle,
    Delivery,
    Owner,
    Pod,
    Service,
    StoredSecret,
)
from certmanager.x509.inspect import inspect_bundle

Obj = Mapping[str, Any]
_T = TypeVar("_T")

_NOTHING: Final[Mapping[str, Any]] = {}


def pod(item: Obj) -> Pod:
    """A Pod (core/v1) as decisions need it."""
    meta, spec, status = _metadata(item), _dict(item, "spec"), _dict(item, "status")
    return Pod(
        namespace=_name(meta, "namespace"),
        name=_text(meta, "name"),
        uid=_text(meta, "uid"),
        resource_version=resource_version(item),
        service_account=_name(spec, "serviceAccountName") or "default",
        labels=_strings(meta, "labels"),
        annotations=_own(meta),
        created_at=timestamp(meta.get("creationTimestamp")) or 0.0,
        finished=status.get("phase") in ("Succeeded", "Failed"),
        deleting=bool(meta.get("deletionTimestamp")),
        hostname=_text(spec, "hostname") or None,
        subdomain=_text(spec, "subdomain") or None,
        ips=_ips(status),
        host_network=spec.get("hostNetwork") is True,
        owner=_owner(meta),
        delivery=_delivery(spec, status),
    )


def service(item: Obj) -> Service:
    """A Service (core/v1): what it selects."""
    meta, spec = _metadata(item), _dict(item, "spec")
    return Service(
        namespace=_name(meta, "namespace"),
        name=_text(meta, "name"),
        resource_version=resource_version(item),
        selector=_strings(spec, "selector"),
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
        data = _strings(item, "data")
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


def stored(item: Obj, bundle: Bundle | None, problem: str | None = None) -> StoredSecret:
    """The view of a Secret whose files are judged already; `item` may be its metadata only (PartialObjectMetadata)."""
    meta = _metadata(item)
    annotations = _own(meta)
    return StoredSecret(
        namespace=_name(meta, "namespace"),
        name=_text(meta, "name"),
        uid=_text(meta, "uid"),
        resource_version=resource_version(item),
        managed=_strings(meta, "labels").get(MANAGED_LABEL) == "true",
        pod_name=annotations.get("pod", ""),
        pod_uid=annotations.get("pod-uid", ""),
        owner_uids=frozenset(_text(owner, "uid") for owner in _dicts(meta, "ownerReferences")) - {""},
        annotations=annotations,
        bundle=bundle,
        problem=problem,
    )


def resource_version(item: Obj) -> int:
    """`metadata.resourceVersion` as a number (ordered since KEP-5504), 0 when it is absent or not one."""
    text = _metadata(item).get("resourceVersion")
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else 0


def timestamp(value: object) -> float | None:
    """Seconds since the epoch of an RFC 3339 time with a zone, or None."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.timestamp()


def rfc3339(seconds: float) -> str:
    """A time as the API server writes it: UTC, whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _delivery(spec: Obj, status: Obj) -> Delivery:
    mounts: set[str] = set()
    for volume in _dicts(spec, "volumes"):
        mounts.add(_text(_dict(volume, "secret"), "secretName"))
        for source in _dicts(_dict(volume, "projected"), "sources"):
            mounts.add(_text(_dict(source, "secret"), "name"))
    serial, not_after = _served(status)
    return Delivery(
        fetcher=any(init.get("name") == FETCHER_CONTAINER for init in _dicts(spec, "initContainers")),
        mounts=frozenset(mounts - {""}),
        served_serial=serial,
        served_not_after=not_after,
    )


def _served(status: Obj) -> tuple[str | None, float | None]:
    """Serial and end from the fetcher's termination message; nothing if it is malformed or not there yet."""
    for container in _dicts(status, "initContainerStatuses"):
        if container.get("name") != FETCHER_CONTAINER:
            continue
        for state in (_dict(container, "state"), _dict(container, "lastState")):
            message = _text(_dict(state, "terminated"), "message")
            if message:
                return _termination(message)
    return None, None


def _termination(message: str) -> tuple[str | None, float | None]:
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(value, dict):
        return None, None
    serial, end = value.get("serial"), value.get("notAfter")
    not_after = timestamp(end)
    if not_after is None and isinstance(end, int | float) and not isinstance(end, bool) and 0 < end < 1e12:
        not_after = float(end)
    if not isinstance(serial, str) or not serial or not_after is None:
        return None, None
    return serial, not_after


def _owner(meta: Obj) -> Owner | None:
    for owner in _dicts(meta, "ownerReferences"):
        if owner.get("controller") is True:
            return Owner(
                api_version=_name(owner, "apiVersion"),
                kind=_name(owner, "kind"),
                name=_name(owner, "name"),
                uid=_name(owner, "uid"),
            )
    return None


def _ips(status: Obj) -> tuple[str, ...]:
    addresses = [_text(entry, "ip") for entry in _dicts(status, "podIPs")] or [_text(status, "podIP")]
    return tuple(address for address in addresses if address)


def _own(meta: Obj) -> dict[str, str]:
    """The annotations that are ours, without the prefix."""
    return {
        sys.intern(key.removeprefix(PREFIX)): value
        for key, value in _strings(meta, "annotations").items()
        if key.startswith(PREFIX)
    }


def _digest(data: Mapping[str, str]) -> bytes:
    digest = hashlib.sha256()
    for key in ("tls.crt", "tls.key", "ca.crt"):
        digest.update(data.get(key, "").encode("utf-8", "replace") + b"\0")
    return digest.digest()


def _metadata(item: Obj) -> Obj:
    return _dict(item, "metadata")


def _dict(item: Obj, key: str) -> Obj:
    value = item.get(key)
    return value if isinstance(value, dict) else _NOTHING


def _dicts(item: Obj, key: str) -> Iterable[Obj]:
    value = item.get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else ()


def _text(item: Obj, key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def _name(item: Obj, key: str) -> str:
    """A text that many objects share (namespace, ServiceAccount, owner): kept once in memory."""
    return sys.intern(_text(item, key))


def _strings(item: Obj, key: str) -> dict[str, str]:
    return {sys.intern(name): value for name, value in _dict(item, key).items() if isinstance(value, str)}
