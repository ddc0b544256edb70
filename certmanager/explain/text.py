"""Explanations as text for people and as JSON for programs. Values of manifests are shown escaped: they go to a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from certmanager.domain.explain import Explanation, NameLine, Renewal
from certmanager.domain.model import Request
from certmanager.domain.times import rfc3339
from certmanager.explain.manifest import UID


def as_text(found: Explanation, source: str) -> str:
    """Several lines, the last one ended."""
    pod = found.pod
    head = f"{printable(source)} in {printable(pod.namespace)}: {found.verdict}"
    return "\n".join([head, *(f"  {line}" for line in _lines(found))]) + "\n"


def _lines(found: Explanation) -> Iterator[str]:
    if found.reason:
        yield f"{found.reason}: {printable(found.message)}"
    if found.verdict == "not enrolled":
        return
    yield _row("rule", found.rule)
    for line in found.names:
        yield _row(line.kind, f"{printable(line.value)}{'' if line.allowed else '  REFUSED'}")
        yield _row("", f"from {line.origin}; {printable(line.rule)}")
    if found.request is not None and found.renewal is not None:
        yield from _request_lines(found.request, found.renewal)
    for reason, message in found.warnings:
        yield _row("warning", f"{reason}: {printable(message)}")


def _request_lines(request: Request, renewal: Renewal) -> Iterator[str]:
    yield _row("common name", printable(request.names.common_name or "none: no name has at most 64 characters"))
    yield _row("role", f"{request.role} of mount {request.mount}, mode {request.mode}")
    yield _row("issuer", request.issuer or "as the Vault role says")
    yield _row("key type", str(request.key_type or "as the Vault role says"))
    yield _row("lifetime", _span(request.ttl) if request.ttl else "as the Vault role says")
    note = f" ({UID}: the first 8 of the pod's uid)" if request.secret_name.endswith(f"-cert-{UID}") else ""
    yield _row("Secret", f"{printable(request.secret_name)}{note}")
    yield _row("renewal", _renewal(renewal))
    yield _row("rotation", f"{request.rotation}: {printable(renewal.means)}")


def _renewal(renewal: Renewal) -> str:
    left = f"{renewal.left:.0%}" if renewal.left < 1 else _span(renewal.left)
    text = f"with {left} of the lifetime left, or up to a tenth of the waiting time earlier"
    if renewal.earliest is not None and renewal.latest is not None:
        text += f": {_span(renewal.earliest)} to {_span(renewal.latest)} after the issue"
    if renewal.due is not None and renewal.expires is not None:
        text += f"; the certificate that is there: {rfc3339(renewal.due)}, it ends {rfc3339(renewal.expires)}"
    return text


def as_dict(found: Explanation, source: str) -> dict[str, Any]:
    """For `json.dumps`: times in RFC 3339, durations in seconds."""
    request, renewal = found.request, found.renewal
    result: dict[str, Any] = {
        "source": source,
        "namespace": found.pod.namespace,
        "pod": found.pod.name,
        "verdict": found.verdict,
        "reason": found.reason or None,
        "message": found.message or None,
        "rule": found.rule,
        "names": [_name(line) for line in found.names],
        "warnings": [{"reason": reason, "message": message} for reason, message in found.warnings],
    }
    if request is not None and renewal is not None:
        result |= {
            "commonName": request.names.common_name,
            "mode": request.mode,
            "keyType": request.key_type,
            "mount": request.mount,
            "role": request.role,
            "issuer": request.issuer,
            "ttlSeconds": request.ttl,
            "secret": request.secret_name,
            "rotation": {"strategy": request.rotation, "means": renewal.means},
            "renewal": {
                "left": renewal.left,
                "earliestSeconds": renewal.earliest,
                "latestSeconds": renewal.latest,
                "due": None if renewal.due is None else rfc3339(renewal.due),
                "expires": None if renewal.expires is None else rfc3339(renewal.expires),
            },
        }
    return result


def _name(line: NameLine) -> dict[str, Any]:
    return {
        "kind": line.kind,
        "value": line.value,
        "allowed": line.allowed,
        "from": line.origin,
        "rule": line.rule,
    }


def printable(text: str) -> str:
    """Nothing in it moves the cursor or turns the line round."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _row(label: str, value: str) -> str:
    return f"{label:12} {value}"


def _span(seconds: float) -> str:
    """`1d12h`, `40m`, `90s`: the two largest units."""
    left, parts = round(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"
