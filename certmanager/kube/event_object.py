"""The JSON of one core/v1 Event about a pod: the pure half of `events`."""

from __future__ import annotations

import random
from typing import Any, Final

from certmanager.domain.model import Pod
from certmanager.kube.fields import rfc3339

COMPONENT: Final = "podcert"
MESSAGE_LIMIT: Final = 1024
"""Characters; the API server refuses longer messages (core/v1 Event validation: 1024 bytes)."""


def cut(message: str) -> str:
    """At most `MESSAGE_LIMIT` bytes of UTF-8, with an ellipsis when something was left out."""
    data = message.encode("utf-8", "replace")
    if len(data) <= MESSAGE_LIMIT:
        return data.decode()
    return data[: MESSAGE_LIMIT - 3].decode("utf-8", "ignore") + "…"


def event_object(pod: Pod, what: tuple[str, str, str], count: int, when: tuple[float, float]) -> dict[str, Any]:
    """The Event's JSON: `what` is type, reason and message; `when` the first and the last time."""
    kind, reason, message = what
    # The API server's own recorders name Events so: the object, then something unique.
    suffix = f".{int(when[0] * 1e6):x}{random.getrandbits(16):04x}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        # Cut where it may not end: `-.` and `..` are in no name (RFC 1123), and the Event would be refused.
        "metadata": {"name": pod.name[: 253 - len(suffix)].rstrip("-.") + suffix, "namespace": pod.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": pod.uid,
            "resourceVersion": str(pod.resource_version),
        },
        "type": kind,
        "reason": reason,
        "message": cut(message),
        "count": count,
        "firstTimestamp": rfc3339(when[0]),
        "lastTimestamp": rfc3339(when[1]),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
    }
