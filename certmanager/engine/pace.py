"""How fast certificates may follow each other for one pod: a net under every loop, whoever drives it.

In the flow: decide → *pace* → act. What is decided from a Secret can be driven by whoever may write that Secret: by deleting
it, or by taking from it what says when it was made. Several changes in a row are served at once, an endless row at a pace
that Vault does not notice. In memory only: a restart forgets it, and no pod is worse off for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

AT_ONCE: Final = 5
"""Certificates for one pod that may follow each other without a pause."""
SECONDS: Final = 5.0
"""Between two certificates of one pod when more than those are asked for."""

_PURGE_AT: Final = 1024


class Pace:
    """The generic cell rate algorithm (ITU-T I.371), one cell for each pod's uid. Safe for threads.

    Args:
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        self._lock = threading.Lock()
        self._full_at: dict[str, float] = {}
        """When all `AT_ONCE` are free again; what lies in the past may be forgotten."""
        self._purge_at = _PURGE_AT

    def wait(self, uid: str) -> float:
        """Seconds until another certificate may be made for the pod; 0 when it may be now."""
        with self._lock:
            return max(0.0, self._full_at.get(uid, 0.0) - self._now() - (AT_ONCE - 1) * SECONDS)

    def made(self, uid: str) -> None:
        """A certificate was made for the pod."""
        with self._lock:
            now = self._now()
            self._full_at[uid] = max(self._full_at.get(uid, 0.0), now) + SECONDS
            if len(self._full_at) >= self._purge_at:
                self._full_at = {pod: full_at for pod, full_at in self._full_at.items() if full_at > now}
                self._purge_at = max(_PURGE_AT, 2 * len(self._full_at))
