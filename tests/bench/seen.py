"""The benchmark's own watch on the manager's Secrets: when did each appear?

The request is the manager's own (same selector, same encoding), so that the API server encodes each object once for both.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Self

from tests.bench.http11 import Endpoint, connect

_PATH = "/api/v1/secrets?labelSelector=podcert.io%2Fmanaged%3Dtrue"
_ADDED = re.compile(rb'\{"type":"ADDED","object":\{"kind":"Secret","apiVersion":"v1","metadata":\{"name":"([^"]+)"')
_TAIL = 400
"""Bytes kept of what was searched: longer than anything that the pattern matches."""


class Watcher:
    """Remembers the moment (CLOCK_MONOTONIC) at which each Secret's ADDED event arrived."""

    def __init__(self, api: Endpoint) -> None:
        listing = connect(api, 1)[0]
        version = listing.call(api, "GET", f"{_PATH}&limit=1")["metadata"]["resourceVersion"]
        listing.close()
        self._connection = connect(api, 1)[0]
        path = f"{_PATH}&watch=true&resourceVersion={version}&timeoutSeconds=3600"
        self._connection.socket.settimeout(None)
        self._connection.send(api.request("GET", path))
        self._seen: dict[str, float] = {}
        self._change = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._connection.socket.shutdown(2)
        self._thread.join(10)
        self._connection.close()

    def count(self) -> int:
        """Secrets that have appeared."""
        return len(self._seen)

    def wait_for(self, name: str, seconds: float) -> float:
        """When the Secret appeared. Raises TimeoutError."""
        with self._change:
            if not self._change.wait_for(lambda: name in self._seen, seconds):
                raise TimeoutError(f"no Secret {name} within {seconds:.0f} s")
            return self._seen[name]

    def wait_for_count(self, count: int, seconds: float) -> float:
        """When the last of so many Secrets appeared. Raises TimeoutError."""
        with self._change:
            if not self._change.wait_for(lambda: len(self._seen) >= count, seconds):
                raise TimeoutError(f"{len(self._seen)} of {count} Secrets within {seconds:.0f} s")
            return max(self._seen.values())

    def _read(self) -> None:
        kept = b""
        while not self._ended:
            try:
                piece = self._connection.socket.recv(1 << 16)
            except OSError:
                break
            if not piece:
                break
            now = time.monotonic()
            kept += piece
            end = 0
            for found in _ADDED.finditer(kept):
                end = found.end()
                self._seen.setdefault(found[1].decode(), now)
            kept = kept[max(end, len(kept) - _TAIL) :]
            if end:
                with self._change:
                    self._change.notify_all()
