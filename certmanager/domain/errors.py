"""The three kinds of error, and no others: retry later, no until something changes, or a bug.

Clients (`kube`, `vault`) translate what they meet into these; the engine decides by the kind alone. Anything else that is
raised is a bug and is reported as one. Messages are shown to users in Events: they never hold a key, a token or a body.
"""

from __future__ import annotations


class PodcertError(Exception):
    """Base of every expected error.

    Attributes:
        reason: CamelCase word, the same in the Event, the metric's label and the log's field.
        message: one sentence for a user; names the thing, the rule and what to do.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class NotYet(PodcertError):
    """Retry later: the other side is away, busy, sealed or not ready.

    Attributes:
        retry_after: seconds that the other side asked to wait, or None.
        shared: True if the whole service is away (then one probe asks for all), False if only this request failed.
    """

    def __init__(self, reason: str, message: str, *, retry_after: float | None = None, shared: bool = False) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after
        self.shared = shared


class Refused(PodcertError):
    """No, until the pod, the policy or the role changes. Tried again after minutes, not seconds.

    Attributes:
        shared: True if not this request alone is refused, but whatever needs our token's policies or that Vault role: tried
            again at once when there is another token, or the role has been changed.
    """

    def __init__(self, reason: str, message: str, *, shared: bool = False) -> None:
        super().__init__(reason, message)
        self.shared = shared


class AlreadyExists(PodcertError):
    """A create met an object of that name (HTTP 409 on POST)."""


class Conflict(NotYet):
    """An update or delete named a resourceVersion or uid that is no longer there (HTTP 409 on PUT, PATCH, DELETE)."""


class NotFound(PodcertError):
    """The object is not there (HTTP 404)."""
