"""The loop that brings Secrets for as long as somebody waits: read, then watch, then again; never given up here.

It stands between `api` (one try) and `cli` (which takes the first Secret that proves good). The start of a pod waits
for it, so it is quick where the manager is about to deliver and patient where a server is in trouble.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from fetcher.api import Json
from fetcher.errors import NotYetError, Waiting
from fetcher.progress import Progress

_QUICK = frozenset({Waiting.FORBIDDEN, Waiting.ABSENT})
_FLOOR_S = 0.05
_QUICK_CAP_S = 1.0
_PATIENT_FLOOR_S = 0.25
_PATIENT_CAP_S = 5.0
_RUSH_S = 1.0  # the first second, in which a Role or a Secret that is being made usually appears
_CALM_S = 10.0  # after so long without a failure the next one counts as the first


@dataclass(frozen=True)
class Clock:
    """Time as the loop sees it: monotonic seconds, a sleep in seconds, and a random number in [0, 1)."""

    now: Callable[[], float]
    sleep: Callable[[float], None]
    random: Callable[[], float]


class Source(Protocol):
    """Where a Secret comes from: `fetcher.api.SecretApi`."""

    def get(self) -> Json: ...
    def watch(self, resource_version: str) -> Iterator[Json]: ...


@dataclass
class Backoff:
    """How long to pause before the next try, in seconds.

    For a Role or Secret that is not there yet: 0.05 in the first second, then doubled up to 1. For a server in trouble:
    0.25, doubled up to 5, and never less than it asked for. Jitter takes away up to a quarter of the doubled part.
    `patience` may allow more than 1 and 5: for one who has a certificate already and waits for the next.
    """

    started: float
    random: Callable[[], float]
    patience: Callable[[], float] = lambda: 0.0
    _tries: dict[bool, int] = field(default_factory=dict)
    _paused_until: float | None = None

    def pause(self, reason: NotYetError, now: float) -> float:
        """Return the pause after a try that failed for `reason` at `now`."""
        if self._paused_until is not None and now - self._paused_until > _CALM_S:
            self._tries.clear()
        pause = self._next(reason, now)
        self._paused_until = now + pause
        return pause

    def _next(self, reason: NotYetError, now: float) -> float:
        quick = reason.waiting in _QUICK
        if quick and now - self.started < _RUSH_S:
            return _FLOOR_S
        tries = self._tries.get(quick, 0)
        self._tries[quick] = tries + 1
        floor, cap = (_FLOOR_S, _QUICK_CAP_S) if quick else (_PATIENT_FLOOR_S, _PATIENT_CAP_S)
        pause = min(max(cap, self.patience()), floor * 2.0 ** min(tries, 16)) * (1 - self.random() / 4)
        return max(_FLOOR_S, pause, reason.retry_after or 0.0)


def _nothing() -> None:
    """What a caller does about a Secret that cannot be read, unless it says otherwise."""


def secrets(
    source: Source,
    progress: Progress,
    clock: Clock,
    patience: Callable[[], float] = lambda: 0.0,
    missed: Callable[[], None] = _nothing,
) -> Iterator[Json]:
    """Yield the Secret whenever it is there or has changed, and again at each new watch; never ends by itself.

    The same state can come twice: a certificate that is not valid yet may be valid at the next look.
    `patience` is the longest pause in seconds that whoever takes the Secrets can stand by now (see `Backoff`).
    `missed` is called whenever the Secret could not be read, before the pause; what it raises ends the loop.
    """
    backoff = Backoff(clock.now(), clock.random, patience)
    while True:
        try:
            version = ""
            try:
                secret = source.get()
            except NotYetError as reason:
                missed()
                if reason.waiting is not Waiting.ABSENT:
                    raise
                progress.failed(reason)
            else:
                yield secret
                version = str(secret["metadata"].get("resourceVersion", ""))
            opened = clock.now()
            yield from source.watch(version)
            if clock.now() - opened < _RUSH_S:  # or a server that ends each watch at once would be asked in a storm
                raise NotYetError(Waiting.SERVER, "the API server ended the watch at once")
        except NotYetError as reason:
            progress.failed(reason)
            clock.sleep(backoff.pause(reason, clock.now()))
