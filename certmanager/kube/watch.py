"""List and watch, by hand: the only way in which the manager learns what is in the cluster.

Three layers: `stream.events` yields the events of one watch request; `Reflector._follow` lists in pages, or resumes
from the last resourceVersion, and watches once; `Reflector._forever` does that again and again, relists on 410, and
pauses ever longer while the API server is away. JSON becomes a view at once and goes to a `Sink`.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

import urllib3

from certmanager.domain.errors import NotYet, PodcertError
from certmanager.kube.client import KubeClient, Options
from certmanager.kube.errors import Expired, Garbled
from certmanager.kube.stream import events

V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)
Json = Mapping[str, Any]

GARBLED_LIMIT: Final = 3
"""After so many failures in a row a watch that cannot be read is not resumed but listed anew."""

_log = logging.getLogger(__name__)


class Sink(Protocol[V_contra]):
    """Where views go; called from one thread at a time."""

    def replace(self, items: Sequence[V_contra], version: int) -> None:
        """The whole list, at the start and after each relist: what is not in it has gone.

        `version` is the list's resourceVersion: something newer than that is not in it and has not gone.
        """
        ...

    def upsert(self, view: V_contra) -> None:
        """An object is new or changed."""
        ...

    def delete(self, view: V_contra) -> None:
        """An object is gone, or does not match the selector any more."""
        ...


@dataclass(frozen=True, slots=True)
class Resource(Generic[V]):
    """What is listed and watched.

    Attributes:
        name: plural, for logs and metrics (`pods`).
        path: of the collection.
        project: from JSON to a view.
        selector: label selector, empty for all.
    """

    name: str
    path: str
    project: Callable[[Json], V]
    selector: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of the protocol, in seconds, and the size of a page.

    Attributes:
        page: objects per list request.
        watch: after this the API server ends the watch, and it is resumed (jittered by a tenth).
        silence: a watch without any event or bookmark for so long is resumed: the connection may be half-open. The API
            server sends a bookmark about every minute.
        first, longest: pause after a failure, doubled each time (full jitter on its upper half). The longest is short
            because there is one manager, not a herd: three requests in ten seconds, and pods wait for its return.
        jitter: a number in [0, 1).
        wall: seconds since the epoch.
    """

    page: int = 500
    watch: float = 290.0
    silence: float = 90.0
    first: float = 0.5
    longest: float = 10.0
    jitter: Callable[[], float] = field(default=random.random)
    wall: Callable[[], float] = field(default=time.time)

    def pause(self, failures: int) -> float:
        """The pause after so many failures in a row (1, 2, …)."""
        upper = min(self.longest, self.first * 2.0 ** min(failures - 1, 16))
        return upper * (0.5 + 0.5 * self.jitter())


class Reflector(Generic[V]):
    """Keeps one sink the same as one collection, from `start` to `stop`.

    Args:
        client: the API server.
        resource: what to follow.
        sink: where it goes.
        pace: times.
    """

    def __init__(self, client: KubeClient, resource: Resource[V], sink: Sink[V], pace: Pace | None = None) -> None:
        self.resource = resource
        self.synced = threading.Event()
        """Set when the first list is complete."""
        self.last_seen = 0.0
        """Seconds since the epoch of the last list, event or bookmark; 0 before the first."""
        self.problem: str | None = None
        """Why there is no watch right now, in words; None while there is one."""
        self._client = client
        self._sink = sink
        self._pace = pace or Pace()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._live: urllib3.BaseHTTPResponse | None = None
        self._failures = 0
        self._expired = 0
        self._version = ""
        self._thread = threading.Thread(target=self._forever, name=f"watch-{resource.name}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Ends the watch at once, also between two events; waits up to `timeout` seconds for the thread."""
        self._stop.set()
        with self._lock:
            live = self._live
        if live is not None:
            # The socket may be gone already.
            with suppress(OSError, ValueError, RuntimeError, AttributeError):
                live.shutdown()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        """The thread runs."""
        return self._thread.is_alive()

    def _forever(self) -> None:
        """Lists and watches until stopped; nothing that a server does ends it."""
        while not self._stop.is_set():
            wait: float | None = None
            try:
                self._follow()
                continue
            except Expired as error:
                # The API server is there: what failed before does not count, only 410 after 410.
                self._failures = self._expired
                self._expired += 1
                self._version = ""
                self.problem = error.message
            except Garbled as error:
                # An event that cannot be read would come again with every resumption: a list steps over it.
                if self._failures >= GARBLED_LIMIT - 1:
                    self._version = ""
                self.problem = error.message
            except PodcertError as error:
                self.problem = error.message
                wait = error.retry_after if isinstance(error, NotYet) else None
            except Exception as error:  # noqa: BLE001 - a bug in a sink must not end the watch of all pods
                self._version = ""
                self.problem = f"bug: {type(error).__name__}"
                _log.error("watch of %s failed: %s; it lists again", self.resource.name, _where(error))
            if self._stop.is_set():
                return
            self._failures += 1
            pause = max(self._pace.pause(self._failures), wait or 0.0)
            # One failure is daily life (a rolling API server, an idle connection cut by something between): not a warning.
            level = logging.INFO if self._failures == 1 else logging.WARNING
            _log.log(level, "no watch of %s: %s; again in %.1f s", self.resource.name, self.problem, pause)
            self._stop.wait(pause)

    def _follow(self) -> None:
        """Lists when there is no version to resume from, then watches once. Raises what ended it, if it failed."""
        if not self._version:
            self._list()
        if self._stop.is_set():
            return
        began = time.monotonic()
        if not self._watch() and time.monotonic() - began < self._pace.first:
            # Ended at once and without an event: an API server in distress, not to be asked in a tight loop.
            raise NotYet("KubernetesUnreachable", "the API server ends the watch at once", shared=True)
        self._failures = self._expired = 0

    def _list(self) -> None:
        views: list[V] = []
        query = {"limit": str(self._pace.page)} | self._selector()
        while True:
            page = self._client.request("GET", self.resource.path, query)
            items, meta = page.get("items") or [], page.get("metadata") or {}
            views.extend(view for item in items if (view := self._view(item)) is not None)
            more = meta.get("continue")
            if not more:
                break
            query["continue"] = more
            if self._stop.is_set():
                return
        version = str(meta.get("resourceVersion", ""))
        self._sink.replace(views, int(version) if version.isdecimal() else 0)
        self._version = version
        self._seen()
        self.synced.set()

    def _watch(self) -> bool:
        """One watch request; True if it brought anything."""
        pace = self._pace
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, int(pace.watch * (1 - 0.1 * pace.jitter())))),
        }
        response = self._client.open(self.resource.path, query | self._selector(), Options(read_seconds=pace.silence))
        with self._lock:
            self._live = response
        any_event = False
        try:
            self.problem = None
            if self._stop.is_set():
                return True
            for kind, item in events(response, self.resource.path):
                self._deliver(kind, item)
                any_event = True
                self._failures = self._expired = 0
                if self._stop.is_set():
                    break
        finally:
            with self._lock:
                self._live = None
            response.close()
        return any_event

    def _deliver(self, kind: str, item: Json) -> None:
        version = (item.get("metadata") or {}).get("resourceVersion")
        if kind in ("ADDED", "MODIFIED"):
            view = self._view(item)
            if view is not None:
                self._sink.upsert(view)
        elif kind == "DELETED":
            view = self._view(item)
            if view is not None:
                self._sink.delete(view)
        # Only after the sink has it: an event that it could not take comes again.
        if isinstance(version, str) and version:
            self._version = version
        self._seen()

    def _view(self, item: Json) -> V | None:
        """The view, or None for an object that cannot be read: it is left out, the others are not."""
        try:
            return self.resource.project(item)
        except Exception as error:  # noqa: BLE001 - listed again, it would be there again: one object must not end the watch
            _log.error("an object among %s cannot be read: %s", self.resource.name, _where(error))
            return None

    def _selector(self) -> dict[str, str]:
        return {"labelSelector": self.resource.selector} if self.resource.selector else {}

    def _seen(self) -> None:
        self.last_seen = self._pace.wall()


def _where(error: BaseException) -> str:
    """Type and place of an error, never its text: it may quote an object."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = "" if frame is None else f" in {frame.tb_frame.f_code.co_name} line {frame.tb_lineno}"
    return type(error).__name__ + place
