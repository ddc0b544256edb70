"""What was refused a short while ago: the same request is not sent again before its time, for it would only hammer Vault.

A shortcut that a restart may lose. Thread-safe as long as no two threads work on the same key, which the queue guarantees.
"""

from __future__ import annotations

from certmanager.domain.errors import Refused
from certmanager.domain.model import Request
from certmanager.engine.clock import Clock
from certmanager.engine.keys import PodKey


class Refusals:
    """By pod: its request, until when the refusal stands, and the refusal.

    Args:
        clock: now.
        seconds: how long one stands.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._known: dict[PodKey, tuple[Request, float, Refused]] = {}

    def note(self, key: PodKey, request: Request, refusal: Refused) -> None:
        """This request was refused just now."""
        self._known[key] = (request, self._clock.monotonic() + self._seconds, refusal)

    def check(self, key: PodKey, request: Request) -> None:
        """Raises the `Refused` that still stands for this very request."""
        before = self._known.get(key)
        if before is None:
            return
        refused, until, refusal = before
        if refused == request and self._clock.monotonic() < until:
            raise refusal
        self.forget(key)

    def forget(self, key: PodKey) -> None:
        """The pod has its certificate, or is gone."""
        self._known.pop(key, None)

    def forgive(self, key: PodKey) -> None:
        """What was refused for reasons that are not this request's alone may be asked again. Called from any thread."""
        before = self._known.get(key)
        if before is not None and before[2].shared:
            self._known.pop(key, None)
