"""How many workloads may roll at once, in the cluster and in one namespace."""

from __future__ import annotations

import threading

from certmanager.engine.keys import WorkloadKey


class Slots:
    """Thread-safe. A manager that has just started knows of no roll; it learns of those under way as it looks at them.

    Args:
        total: rolls at once in the cluster.
        per_namespace: rolls at once in one namespace.
    """

    def __init__(self, total: int, per_namespace: int) -> None:
        self._total = total
        self._per_namespace = per_namespace
        self._lock = threading.Lock()
        self._held: set[WorkloadKey] = set()

    def take(self, key: WorkloadKey) -> bool:
        """A slot for `key`; True also when it has one already."""
        with self._lock:
            if key in self._held:
                return True
            beside = sum(other.namespace == key.namespace for other in self._held)
            if len(self._held) >= self._total or beside >= self._per_namespace:
                return False
            self._held.add(key)
            return True

    def hold(self, key: WorkloadKey) -> None:
        """`key` rolls already, limits or not."""
        with self._lock:
            self._held.add(key)

    def free(self, key: WorkloadKey) -> None:
        """`key` does not roll any more."""
        with self._lock:
            self._held.discard(key)

    def __len__(self) -> int:
        return len(self._held)
