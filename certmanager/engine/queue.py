"""The queue of keys, with the semantics of client-go's work queue (k8s.io/client-go/util/workqueue).

A key is in it once, however often it is added; a key that is being worked on is not handed to a second worker, but
comes back when it is added meanwhile; a key added with a delay waits outside, and the earliest of several delays counts.
All waiting is here: workers never sleep.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Thread-safe. `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._condition = threading.Condition()
        self._ready: deque[K] = deque()
        self._ready_since: dict[K, float] = {}
        self._processing: set[K] = set()
        self._again: set[K] = set()
        self._delayed: list[tuple[float, int, K]] = []
        self._delayed_at: dict[K, float] = {}
        self._order = itertools.count()
        self._stopped = False

    def add(self, key: K, delay: float = 0.0) -> None:
        """Puts `key` on the queue, after `delay` seconds. Does nothing once the queue is stopped."""
        with self._condition:
            if self._stopped:
                return
            if delay > 0:
                self._add_later(key, self._monotonic() + delay)
            else:
                self._add_now(key)

    def get(self, timeout: float | None = None) -> K | None:
        """The next key, or None when the queue is stopped or `timeout` seconds have passed.

        The caller owes a `done(key)`.
        """
        deadline = None if timeout is None else self._monotonic() + timeout
        with self._condition:
            while True:
                self._promote()
                if self._stopped:
                    return None
                if self._ready:
                    key = self._ready.popleft()
                    del self._ready_since[key]
                    self._processing.add(key)
                    return key
                now = self._monotonic()
                if deadline is not None and now >= deadline:
                    return None
                ends = [at for at in (deadline, self._delayed[0][0] if self._delayed else None) if at is not None]
                self._condition.wait(min(ends) - now if ends else None)

    def done(self, key: K) -> None:
        """The worker is through with `key`; if it was added meanwhile, it is ready again now."""
        with self._condition:
            self._processing.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._add_now(key)

    def stop(self) -> None:
        """Wakes every waiting worker with None; keys still queued are dropped (they are derived from the API's state)."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    def depth(self) -> int:
        """Number of keys that are ready and not yet taken."""
        with self._condition:
            self._promote()
            return len(self._ready)

    def oldest(self) -> float:
        """Seconds that the longest-waiting ready key has waited; 0 when there is none."""
        with self._condition:
            self._promote()
            return self._monotonic() - self._ready_since[self._ready[0]] if self._ready else 0.0

    def waiting(self) -> int:
        """Number of keys that wait for their time."""
        with self._condition:
            return len(self._delayed_at)

    def idle(self) -> bool:
        """Nothing ready and nothing being worked on."""
        with self._condition:
            self._promote()
            return not self._ready and not self._processing

    def _add_now(self, key: K) -> None:
        self._delayed_at.pop(key, None)
        if key in self._processing:
            self._again.add(key)
        elif key not in self._ready_since:
            self._ready.append(key)
            self._ready_since[key] = self._monotonic()
            self._condition.notify()

    def _add_later(self, key: K, at: float) -> None:
        if key in self._ready_since or at >= self._delayed_at.get(key, float("inf")):
            return
        self._delayed_at[key] = at
        heapq.heappush(self._delayed, (at, next(self._order), key))
        self._condition.notify()

    def _promote(self) -> None:
        now = self._monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            at, _, key = heapq.heappop(self._delayed)
            # An entry whose time is not the recorded one was overtaken by an earlier or an immediate add.
            if self._delayed_at.get(key) == at:
                self._add_now(key)
