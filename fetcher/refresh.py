"""The sidecar's loop: each new Secret becomes files, and then the application is told, for as long as the pod lives.

It stands where `cli` stands for a fetcher that ends: `wait` brings Secrets, `delivery` publishes them, `reload` tells
the application. Whatever is away (manager, Secret, API server), the files that are there stay. A reload that fails
loses nothing either: the volume keeps a note of the last set that the application was told of, and a restarted
sidecar tries again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fetcher import delivery, publish, reload, wait
from fetcher.api import Json, SecretApi
from fetcher.errors import NotYetError, ReloadFailedError
from fetcher.progress import Progress
from fetcher.settings import Settings

_PATIENCE_SHARE = 20  # a twentieth of the life that is left may pass between two tries of a server in trouble
_MAX_PATIENCE_S = 30.0
_WATCH_SHARE = 10
_MAX_WATCH_S = 300.0


@dataclass(frozen=True)
class Surroundings:
    """What the loop needs from outside.

    `say` writes a line for who looks for trouble, `tell` one of success; `wall` is the time in seconds since the epoch;
    `settled` is called when the first files are there.
    """

    say: Callable[[str], None]
    tell: Callable[[str], None]
    clock: wait.Clock
    wall: Callable[[], float]
    settled: Callable[[], None]


class Follower:
    """Follows one Secret into one volume."""

    def __init__(self, options: Settings, api: SecretApi, progress: Progress, surroundings: Surroundings) -> None:
        self._options = options
        self._api = api
        self._progress = progress
        self._around = surroundings
        self._delivered: delivery.Delivered | None = None
        self._expires = 0.0

    def run(self) -> None:
        """Never ends by itself. Raises VolumeError and ReloadFailedError."""
        if publish.published(self._options.directory):
            self._resume()
        for secret in wait.secrets(self._api, self._progress, self._around.clock, self._patience):
            try:
                self._take(secret)
            except NotYetError as reason:
                self._progress.failed(reason)
            else:
                self._reload()

    def _resume(self) -> None:
        """Go on where an earlier sidecar of this pod ended: the newest files first, then the reload that is owed.

        In this order, because a reload that fails again and again must not keep a new certificate from its files.
        """
        volume = self._options.directory
        try:
            self._settle(delivery.Delivered(delivery.inspect(volume), "", swapped=False))
        except NotYetError as reason:
            self._around.say(f"the files of an earlier run stay until there are new ones: {reason}")
        try:
            self._take(self._api.get())
        except NotYetError as reason:
            self._progress.failed(reason)
        self._reload()

    def _take(self, secret: Json) -> None:
        delivered = delivery.deliver(secret, self._options)
        before = self._delivered
        self._settle(delivered)
        if delivered.swapped or before is None or not before.version:
            leaf, options = delivered.leaf, self._options
            done = "wrote" if delivered.swapped else "found in place"
            self._around.tell(
                f"{done} the certificate of Secret {options.namespace}/{options.secret} in {options.directory}: "
                f"{', '.join(leaf.names) or 'no names'}; serial {leaf.serial}; expires {leaf.not_after}"
            )

    def _settle(self, delivered: delivery.Delivered) -> None:
        """The files are there: note what they hold, where the kubelet finds it should the sidecar end."""
        self._delivered = delivered
        self._expires = datetime.fromisoformat(delivered.leaf.not_after).timestamp()
        floor = self._options.server.watch_timeout
        self._api.watch_timeout = max(floor, min(_MAX_WATCH_S, self._left() / _WATCH_SHARE))
        self._progress.settled()
        self._around.settled()
        self._write_message()

    def _reload(self) -> None:
        """Tell the application, if it has not been told of the files that are there now."""
        volume, action = self._options.directory, self._options.action
        if publish.is_reloaded(volume):
            return
        done = None
        if action is not None:
            try:
                done = reload.persist(action, self._options.reload_timeout, self._around.clock, self._around.say)
            except ReloadFailedError as error:
                self._write_message(error.reason)
                raise
        publish.remember_reload(volume)
        if done is not None:
            self._around.tell(f"reloaded: {done}")

    def _write_message(self, problem: str | None = None) -> None:
        if self._delivered is None:
            return
        if warning := delivery.write_termination_message(self._options, self._delivered, problem):
            self._around.say(f"warning: {warning}")

    def _left(self) -> float:
        return self._expires - self._around.wall()

    def _patience(self) -> float:
        """Seconds that a pause may last: many pods with a long time left do not hurry a server that is in trouble."""
        return min(_MAX_PATIENCE_S, self._left() / _PATIENCE_SHARE)
