"""The sidecar's loop: each new Secret becomes files, and then the application is told, for as long as the pod lives.

It stands where `cli` stands for a fetcher that ends: `wait` brings Secrets, `delivery` publishes them, `reload` tells
the application. Whatever is away (manager, Secret, API server), the files that are there stay. A reload that fails
loses nothing either: the volume keeps a note of the last set that the application was told of, and a restarted
sidecar tries again. An application that the certificates depend on cannot wait for its own: a seed, where there is one,
is what it starts with, and what takes the place of files that have expired.
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
_SEED_PATIENCE_S = 5.0  # a seed has a long life, but it is not what is wanted
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
        self._seed_problem = ""

    def run(self) -> None:
        """Never ends by itself. Raises VolumeError and ReloadFailedError."""
        if publish.published(self._options.directory):
            self._resume()
        for secret in wait.secrets(self._api, self._progress, self._around.clock, self._patience, self._missed):
            try:
                self._take(secret)
            except NotYetError as reason:
                self._progress.failed(reason)
                self._missed()
            else:
                self._reload()

    def _resume(self) -> None:
        """Go on where an earlier sidecar of this pod ended: the newest files first, then the reload that is owed.

        In this order, because a reload that fails again and again must not keep a new certificate from its files.
        """
        volume = self._options.directory
        try:
            leaf = delivery.inspect(volume)
            self._settle(delivery.Delivered(leaf, "", swapped=False, seed=publish.is_seed(volume)))
        except NotYetError as reason:
            self._around.say(f"the files of an earlier run stay until there are new ones: {reason}")
        try:
            self._take(self._api.get())
        except NotYetError as reason:
            self._progress.failed(reason)
            self._sow()
        self._reload()

    def _missed(self) -> None:
        """There is no good Secret now: the seed, if that is better than what is there."""
        if self._sow():
            self._reload()

    def _sow(self) -> bool:
        """Publish the seed if the files are missing or expired, or the seed's own of earlier; True if that changed them."""
        options = self._options
        if options.seed is None or not (self._left() <= 0 or publish.is_seed(options.directory)):
            return False
        try:
            delivered = delivery.sow(options.seed, options)
        except NotYetError as reason:
            if self._seed_problem != str(reason):
                self._seed_problem = str(reason)
                self._around.say(self._seed_problem)
            return False
        self._seed_problem = ""
        self._settle(delivered)
        if delivered.swapped:
            self._around.tell(
                f"wrote the certificate of the seed {options.seed} to {options.directory}: {_words(delivered)}; "
                f"it serves until Secret {options.namespace}/{options.secret} is there"
            )
        return delivered.swapped

    def _take(self, secret: Json) -> None:
        delivered = delivery.deliver(secret, self._options)
        before = self._delivered
        self._settle(delivered)
        if delivered.swapped or before is None or not before.version:
            options = self._options
            done = "wrote" if delivered.swapped else "found in place"
            self._around.tell(
                f"{done} the certificate of Secret {options.namespace}/{options.secret} in {options.directory}: "
                f"{_words(delivered)}"
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
        if self._delivered is None or (self._delivered.seed and problem is None):
            return
        if warning := delivery.write_termination_message(self._options, self._delivered, problem):
            self._around.say(f"warning: {warning}")

    def _left(self) -> float:
        return self._expires - self._around.wall()

    def _patience(self) -> float:
        """Seconds that a pause may last: many pods with a long time left do not hurry a server that is in trouble."""
        most = _SEED_PATIENCE_S if self._delivered is not None and self._delivered.seed else _MAX_PATIENCE_S
        return min(most, self._left() / _PATIENCE_SHARE)


def _words(delivered: delivery.Delivered) -> str:
    leaf = delivered.leaf
    return f"{', '.join(leaf.names) or 'no names'}; serial {leaf.serial}; expires {leaf.not_after}"
