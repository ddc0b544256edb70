"""The name of a pod's Secret, which the fetcher must know before anything tells it.

The manager has the same algorithm in `certmanager.domain.names`; the two packages never import each other, and a test
compares them. The uid is in the name because a StatefulSet recreates its pods under the same name.
"""

import hashlib
import re

MAX_NAME = 253
_INFIX = "-cert-"
_UID_CHARACTERS = 8
_HASH_CHARACTERS = 10
_POD_LIMIT = MAX_NAME - len(_INFIX) - _UID_CHARACTERS
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_UID = re.compile(r"[0-9a-f]{8}[-0-9a-f]*")


def is_dns_subdomain(name: str) -> bool:
    """True if `name` is what Kubernetes takes as the name of a pod or Secret: RFC 1123, at most 253 characters."""
    return len(name) <= MAX_NAME and _SUBDOMAIN.fullmatch(name) is not None


def is_uid(uid: str) -> bool:
    """True if `uid` can be the uid of a pod: lower-case hexadecimal digits and dashes, at least 8 digits first."""
    return _UID.fullmatch(uid) is not None


def secret_name(pod: str, uid: str) -> str:
    """Return `<pod>-cert-<first 8 of uid>`, a DNS subdomain of at most 253 characters.

    A pod name longer than 239 characters is cut to 228 (dashes and dots at the cut's end are dropped) and gets the
    first 10 hexadecimal digits of its SHA-256, so that two long names with the same beginning stay apart.
    Raises ValueError when `pod` is not a DNS subdomain or `uid` not a pod's uid.
    """
    if not is_dns_subdomain(pod):
        raise ValueError(f"{pod!r} is not the name of a pod: a DNS subdomain (RFC 1123) of at most 253 characters")
    if not is_uid(uid):
        raise ValueError(f"{uid!r} is not the uid of a pod: at least 8 lower-case hexadecimal digits, then also dashes")
    if len(pod) > _POD_LIMIT:
        digest = hashlib.sha256(pod.encode("ascii")).hexdigest()[:_HASH_CHARACTERS]
        cut = pod[: _POD_LIMIT - 1 - _HASH_CHARACTERS].rstrip("-.")
        pod = f"{cut}-{digest}"
    return f"{pod}{_INFIX}{uid[:_UID_CHARACTERS]}"
