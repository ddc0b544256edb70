"""From an HTTP answer of the API server, or from no answer, to the domain's three kinds of error.

Called by `client` only. What is quoted is the `message` of a `Status` object, cut, and never anything that a request
carried: Secret bodies go through the same client. Sources: the API conventions' section on error codes, and
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import urllib3

from certmanager.domain.errors import AlreadyExists, Conflict, NotFound, NotYet, PodcertError, Refused

QUOTE_LIMIT: Final = 300
"""Characters of the API server's own words that are quoted."""

FENCE: Final = "podcert-fence"
"""How the names of the admission policies begin that limit the manager's own writes (manifests/components/fence)."""

VERBS: Final = {"GET": "read", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

_SECRET_MARKS: Final = ("-----BEGIN", "LS0tLS1", "PRIVATE KEY")
"""PEM, and PEM in base64 (whose first six letters do not depend on what follows)."""


class Expired(NotYet):
    """The resourceVersion or the continue token is too old (HTTP 410): list again."""


class Garbled(NotYet):
    """The answer is not what the API promises."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a request was about, in words for a user: `create secrets in namespace shop`."""

    method: str
    path: str

    @property
    def is_eviction(self) -> bool:
        """It was a call of the Eviction API: not the pod's creation, although it is a POST."""
        return self.method == "POST" and self.path.endswith("/eviction")

    def __str__(self) -> str:
        parts = self.path.strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        verb = VERBS.get(self.method, self.method.lower())
        if len(rest) >= 3 and rest[0] == "namespaces":
            name = f" {rest[3]}" if len(rest) > 3 else ""
            if self.is_eviction:
                verb = "evict"
            return f"{verb} {rest[2]}{name} in namespace {rest[1]}"
        return f"{verb} {'/'.join(rest) or self.path}"


def translate(target: Target, status: int, headers: Mapping[str, str], body: bytes) -> PodcertError:
    """The error that an answer with a status of 300 or more means.

    Args:
        target: what was asked.
        status: the HTTP status.
        headers: the answer's headers (`Retry-After` is read).
        body: the answer's body; used only when it is a `Status` object.
    """
    answer = _status_object(body)
    words = _quote(answer)
    if target.is_eviction and (error := _eviction(target, answer, headers)) is not None:
        return error
    if status == 429 or status >= 500:
        message = f"cannot {target}: the API server is busy or not ready (HTTP {status}){words}"
        return NotYet("KubernetesBusy", message, retry_after=_retry_after(headers), shared=True)
    creates = target.method == "POST" and not target.is_eviction
    if status == 409 and creates and answer.get("reason") != "Conflict":
        return AlreadyExists("KubernetesAlreadyExists", f"cannot {target}: one of that name exists")
    build = _BY_STATUS.get(status)
    if build is None:
        return Refused("KubernetesInvalid", f"cannot {target}: the API server refuses it (HTTP {status}){words}")
    return build(str(target), words)


def _eviction(target: Target, answer: Mapping[str, Any], headers: Mapping[str, str]) -> PodcertError | None:
    """What a PodDisruptionBudget says to an eviction; None when it is not a budget that speaks.

    A budget says no with 429, by a cause that names it; but also with 403 (too many evictions are unconfirmed) and with
    409 or 504 (others write the budget at the same time), all of them soon over. Several budgets for one pod are an error of
    the configuration. A 429 without such a cause is the API server's own load.
    Source: k8s.io/kubernetes, pkg/registry/core/pod/storage/eviction.go (1.36).
    """
    words = _quote(answer)
    if "more than one PodDisruptionBudget" in words:
        remedy = "let one of them alone select it; until then it is not evicted"
        return Refused("DisruptionBudgetsOverlap", f"cannot {target}{words.rstrip('.')}; {remedy}")
    details = answer.get("details")
    details = details if isinstance(details, dict) else {}
    told = [_quote(each) for each in _objects(details, "causes") if each.get("reason") == "DisruptionBudget"]
    of_budget = str(details.get("kind")).startswith("poddisruptionbudget") or "PodDisruptionBudget" in words
    if not told and not of_budget:
        return None
    message = f"cannot {target}{told[0] if told else words}"
    return NotYet("DisruptionBudget", message, retry_after=_retry_after(headers))


def _unauthorized(target: str, _words: str) -> PodcertError:
    rule = "the API server does not accept our token; it is read again, check the manager's ServiceAccount"
    return NotYet("KubernetesUnauthorized", f"cannot {target}: {rule}", shared=True)


def _forbidden(target: str, words: str) -> PodcertError:
    return Refused("KubernetesForbidden", f"cannot {target}{words}; {_remedy(words)}")


def _not_found(target: str, words: str) -> PodcertError:
    return NotFound("KubernetesNotFound", f"cannot {target}: it is not there{words}")


def _conflict(target: str, _words: str) -> PodcertError:
    return Conflict("KubernetesConflict", f"cannot {target}: it has changed meanwhile")


def _expired(target: str, _words: str) -> PodcertError:
    return Expired("KubernetesExpired", f"cannot {target}: the resourceVersion is too old")


_BY_STATUS: Final[Mapping[int, Callable[[str, str], PodcertError]]] = {
    401: _unauthorized,
    403: _forbidden,
    404: _not_found,
    409: _conflict,
    410: _expired,
}


def cause_of(error: Exception) -> str:
    """Why there is no answer, in a few words. Only a TLS error's own text is quoted: it names no request."""
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"TLS: {str(error)[:160]}"
    for kind, words in _CAUSES:
        if isinstance(error, kind):
            return words
    return type(error).__name__


_CAUSES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (urllib3.exceptions.NameResolutionError, "its host name is unknown"),
    (urllib3.exceptions.NewConnectionError, "connection refused or no route"),
    (urllib3.exceptions.ConnectTimeoutError, "time-out of the connection"),
    (urllib3.exceptions.ReadTimeoutError, "time-out of the answer"),
    (urllib3.exceptions.ProtocolError, "connection broken"),
)


def unreachable(target: Target, cause: str) -> NotYet:
    """No answer: refused, reset, timed out, or not TLS. `cause` comes from `cause_of`."""
    return NotYet("KubernetesUnreachable", f"cannot {target}: no answer from the API server ({cause})", shared=True)


def garbage(target: Target) -> Garbled:
    """An answer that is not the JSON that the API promises: something else answered, or the answer was cut."""
    return Garbled(
        "KubernetesUnreachable",
        f"cannot {target}: the answer is not a JSON object; check what stands between the manager and the API server",
        shared=True,
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a `Retry-After` header; the API server sends whole seconds, never a date (RFC 9110, 10.2.3)."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def _status_object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) and value.get("kind") == "Status" else {}


def _objects(item: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = item.get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _quote(status: Mapping[str, Any]) -> str:
    """`: <the API server's words>`, on one line and cut; empty without words, withheld when they quote an object."""
    message = status.get("message")
    if not isinstance(message, str) or not message:
        return ""
    if any(mark in message for mark in _SECRET_MARKS):
        return ": (the API server's words are withheld: they quote the object)"
    line = "".join(char if char.isprintable() else " " for char in message)
    return f": {line if len(line) <= QUOTE_LIMIT else line[: QUOTE_LIMIT - 1] + '…'}"


def _remedy(words: str) -> str:
    if "being terminated" in words:
        return "the namespace is being deleted, nothing is to do"
    if "quota" in words:
        return "raise the namespace's ResourceQuota"
    if FENCE in words:
        return (
            "that policy limits what the manager may write; bring manager and fence to the same release, and see whether a"
            " webhook or a mutating policy changes what the manager writes (docs/rbac.md)"
        )
    if not words or " cannot " in words:
        return "compare the manager's ClusterRole with the manifests"
    return "an admission rule of the cluster forbids it: change the rule or the object"
