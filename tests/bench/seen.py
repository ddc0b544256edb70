"""The benchmark's own watch on the manager's Secrets: when did each appear?

The request is the manager's own (same selector, same encoding), so that the API server encodes each object once for both.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Self

from tests.bench.http11 import Connection, Endpoint

_PATH = "/api/v1/secrets?labelSelector=podcert.io%2Fmanaged%3Dtrue"
_ADDED = re.compile(rb'\{"type":"ADDED","object":\{"kind":"Secret","apiVersion":"v1","metadata":\{"name":"([^"]+)"')
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_TAIL = 400
"""Bytes kept of what was searched: longer than anything that the pattern matches."""


class Watcher:
    """Remembers the moment (CLOCK_MONOTONIC) at which each Secret's ADDED event arrived.

    The API server ends a watch that cannot keep up on a busy machine; then the Secrets are listed once, what is new counts
    as seen at that moment (late, never early), and the watch goes on from there.

    Attributes:
        resumed: how often that happened.
    """

    def __init__(self, api: Endpoint) -> None:
        self.resumed = 0
        self._api = api
        self._context = api.tls()
        self._seen: dict[str, float] = {}
        self._change = threading.Condition()
        self._ended = False
        self._connection = self._follow(self._list())
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        with contextlib.suppress(OSError):
            self._connection.socket.shutdown(socket.SHUT_RDWR)
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

    def _run(self) -> None:
        while not self._ended:
            self._read()
            if not self._ended:
                self.resumed += 1
                self._connection.close()
                self._connection = self._follow(self._list())

    def _list(self) -> str:
        """Notes what is there; returns the resourceVersion to watch from."""
        connection = Connection(self._api, self._context)
        answer = json.loads(connection.exchange(self._api.request("GET", _PATH, accept=_METADATA)))
        connection.close()
        self._note(item["metadata"]["name"] for item in answer["items"] or ())
        return str(answer["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> Connection:
        connection = Connection(self._api, self._context)
        connection.socket.settimeout(None)
        path = f"{_PATH}&watch=true&resourceVersion={version}&timeoutSeconds=3600"
        # Closed at its end: the server would keep the connection otherwise, and raw bytes do not tell the end of a watch.
        closing = replace(self._api, headers=(*self._api.headers, ("Connection", "close")))
        connection.send(closing.request("GET", path))
        return connection

    def _read(self) -> None:
        """Until the watch ends."""
        kept = b""
        while True:
            try:
                piece = self._connection.socket.recv(1 << 16)
            except OSError:
                return
            if not piece or b'"type":"ERROR"' in piece:
                return
            kept += piece
            end = 0
            names = []
            for found in _ADDED.finditer(kept):
                end = found.end()
                names.append(found[1].decode())
            kept = kept[max(end, len(kept) - _TAIL) :]
            self._note(names)

    def _note(self, names: Iterable[str]) -> None:
        now = time.monotonic()
        with self._change:
            for name in names:
                self._seen.setdefault(name, now)
            self._change.notify_all()
