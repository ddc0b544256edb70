"""What the fetcher waits for, in words, every few seconds: the only thing that the user of a pod that hangs can see.

A timer calls `tick` while the rest may be stuck in a read; so lines go out by one `write` each, never through a buffer
that the interrupted code may hold. It stands beside `wait`, which tells it of each failed try.
"""

from collections.abc import Callable

from fetcher.errors import NotYetError, Waiting

ADVISE_AFTER_S = 10.0
FOLLOWING_INTERVAL_S = 60.0

_ADVICE = {
    Waiting.START: "can this pod reach the API server? A NetworkPolicy may forbid it",
    Waiting.FORBIDDEN: "the manager grants it to the pod's ServiceAccount with the certificate: does it run, and "
    "is the pod labelled podcert.io/enroll=true? kubectl -n {namespace} describe pod {pod}",
    Waiting.ABSENT: "is the pod labelled podcert.io/enroll=true, and does the manager run? Its Events tell: "
    "kubectl -n {namespace} describe pod {pod}",
    Waiting.FOREIGN: "who made it? kubectl -n {namespace} describe secret {secret}; delete it, then the manager makes "
    "the pod's own",
    Waiting.INVALID: "the manager may replace it; its log and the pod's Events tell: "
    "kubectl -n {namespace} describe pod {pod}; if a time is wrong, compare the clocks of the node and of Vault",
    Waiting.UNAUTHORIZED: "is this container's token the cluster's, and does the pod's ServiceAccount still exist?",
    Waiting.THROTTLED: "the API server is busy; this ends by itself",
    Waiting.SERVER: "does the API server answer others? A NetworkPolicy may keep this pod from it",
}


class Progress:
    """Says what is waited for: at once when that is new, then every `interval` seconds. Times are in seconds."""

    def __init__(
        self, names: dict[str, str], say: Callable[[str], None], now: Callable[[], float], interval: float
    ) -> None:
        """`names` has `namespace`, `pod` and `secret`; `say` writes one line; `now` is a monotonic clock."""
        self._names = names
        self._say = say
        self._now = now
        self._interval = interval
        self._started = now()
        self._waiting = Waiting.START
        self._text = "no answer from the API server yet"
        self._said: dict[Waiting, float] = {Waiting.START: self._started}
        self._following = False

    def waited(self) -> float:
        """Seconds since the start."""
        return self._now() - self._started

    def failed(self, reason: NotYetError) -> None:
        """Take note of a try's failure; say it at once if nothing of its kind was said in the last interval."""
        self._waiting, self._text = reason.waiting, str(reason)
        last = self._said.get(reason.waiting)
        if last is None or self._now() - last >= self._interval:
            self._speak()

    def settled(self) -> None:
        """The files are there: from now on failures keep nobody waiting, and each kind is said once a minute at most."""
        if not self._following:
            self._following = True
            self._interval = max(self._interval, FOLLOWING_INTERVAL_S)
            self._said.clear()

    def tick(self) -> None:
        """Say what is waited for, whatever was said before."""
        self._speak()

    def summary(self) -> str:
        """What is waited for, with advice: the end of a message that says why waiting is given up."""
        return f"{self._text}; {self._advice()}"

    def _speak(self) -> None:
        now = self._now()
        self._said[self._waiting] = now
        waited = now - self._started
        advice = f" [check: {self._advice()}]" if waited >= ADVISE_AFTER_S else ""
        secret = f"{self._names['namespace']}/{self._names['secret']}"
        if self._following:
            self._say(f"following Secret {secret}; the files stay as they are: {self._text}")
        else:
            self._say(f"waiting for Secret {secret} ({waited:.0f} s): {self._text}{advice}")

    def _advice(self) -> str:
        return _ADVICE[self._waiting].format(**self._names)
