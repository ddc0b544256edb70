"""A limit for what may go on at once of the less urgent work, without anybody waiting in a worker.

A thousand pods that are deleted together want a thousand revocations; a pod that starts meanwhile wants its certificate first.
So only a few workers revoke at a time. Who finds the gate full is remembered, and is put on the queue when somebody leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Gate(Generic[K]):
    """Thread-safe. `limit` keys are inside at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._inside: set[K] = set()
        self._waiting: dict[K, None] = {}

    def enter(self, key: K) -> bool:
        """Whether `key` may go on now; else it is remembered."""
        with self._lock:
            if len(self._inside) >= self._limit:
                self._waiting[key] = None
                return False
            self._waiting.pop(key, None)
            self._inside.add(key)
            return True

    def leave(self, key: K) -> K | None:
        """`key` is through; returns who has waited longest, to be put on the queue."""
        with self._lock:
            self._inside.discard(key)
            first = next(iter(self._waiting), None)
            if first is not None:
                del self._waiting[first]
            return first
