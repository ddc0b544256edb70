"""Fields of the API server's JSON, read without ever raising: what is missing or of another shape is absent.

Every projection (`project`, `project_delivery`, `project_workload`) reads through these, because an object that somebody
else wrote must never end a watch. Texts that many objects share are kept once in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from certmanager.domain.model import PREFIX, Owner

Obj = Mapping[str, Any]

_NOTHING: Final[Obj] = {}


def metadata(item: Obj) -> Obj:
    """An object's metadata."""
    return mapping(item, "metadata")


def mapping(item: Obj, key: str) -> Obj:
    """A field that is an object; empty when it is none."""
    value = item.get(key)
    return value if isinstance(value, dict) else _NOTHING


def mappings(item: Obj, key: str) -> Sequence[Obj]:
    """The objects in a field that is a list."""
    value = item.get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else ()


def text(item: Obj, key: str) -> str:
    """A field that is a text; empty when it is none."""
    value = item.get(key)
    return value if isinstance(value, str) else ""


def name(item: Obj, key: str) -> str:
    """A text that many objects share (namespace, ServiceAccount, owner): kept once in memory."""
    return sys.intern(text(item, key))


def number(item: Obj, key: str, default: int = 0) -> int:
    """A field that is a whole number; `default` when it is none."""
    value = item.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def strings(item: Obj, key: str) -> dict[str, str]:
    """The texts in a field that is an object."""
    return {sys.intern(each): value for each, value in mapping(item, key).items() if isinstance(value, str)}


SHARED: Final = frozenset({f"{PREFIX}anchors", f"{PREFIX}issuer"})


def own_annotations(meta: Obj) -> dict[str, str]:
    """The annotations that are ours, without the prefix. What is the same on all Secrets is in memory once."""
    return {
        sys.intern(key.removeprefix(PREFIX)): sys.intern(value) if key in SHARED else value
        for key, value in strings(meta, "annotations").items()
        if key.startswith(PREFIX)
    }


def finalizers(meta: Obj) -> tuple[str, ...]:
    """Who has to do something before an object may vanish."""
    value = meta.get("finalizers")
    return tuple(sys.intern(each) for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def controller(meta: Obj) -> Owner | None:
    """The controlling ownerReference, of which an object has at most one."""
    for owner in mappings(meta, "ownerReferences"):
        if owner.get("controller") is True:
            return Owner(
                api_version=name(owner, "apiVersion"),
                kind=name(owner, "kind"),
                name=name(owner, "name"),
                uid=name(owner, "uid"),
            )
    return None


def is_true(status: Obj, condition: str) -> bool:
    """Whether a condition of that type has the status True."""
    return any(
        entry.get("type") == condition and entry.get("status") == "True" for entry in mappings(status, "conditions")
    )


def resource_version(item: Obj) -> int:
    """`metadata.resourceVersion` as a number (ordered since KEP-5504), 0 when it is absent or not one."""
    value = text(metadata(item), "resourceVersion")
    return int(value) if value.isascii() and value.isdigit() else 0


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
