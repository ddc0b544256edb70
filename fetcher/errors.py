"""The ways in which fetching can go wrong, so that each caller knows what to do: wait, stop, or stop later.

Everything else that is raised is a bug. No message here ever carries a byte of a token, a key or a Secret's body.
"""

import enum


class Waiting(enum.Enum):
    """What the fetcher waits for; `progress` has the words of advice for each."""

    START = "start"
    FORBIDDEN = "forbidden"  # 403: the Role is not there yet
    ABSENT = "absent"  # 404: the Secret is not there yet
    FOREIGN = "foreign"  # a Secret of that name, but not this pod's
    INVALID = "invalid"  # the pod's Secret, but its bundle fails the checks
    UNAUTHORIZED = "unauthorized"  # 401: the token is refused
    THROTTLED = "throttled"  # 429
    SERVER = "server"  # the API server is away, slow, or answers with an error or with garbage


class NotYetError(Exception):
    """Wait and try again: the pod must not start without its certificate.

    `waiting` says what for, the message says it in words, `retry_after` (seconds) is set when the server asked for it.
    """

    def __init__(self, waiting: Waiting, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.waiting = waiting
        self.retry_after = retry_after


class SettingsError(Exception):
    """No until somebody changes the pod: a setting is missing or wrong (exit status 2)."""


class VolumeError(Exception):
    """No until somebody changes the pod: the files cannot be written into the volume (exit status 3)."""


class ReloadError(Exception):
    """Retry soon: one try to make the application read its new files has failed. At most 200 characters, no content."""


class ReloadFailedError(Exception):
    """The tries are used up (exit status 4): the application may still use the old files. `reason` is the last failure."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the files are there, but the application could not be reloaded: {reason}")
        self.reason = reason


class TimeLimitReached(BaseException):
    """The time limit that the user set is over (exit status 1). Not an Exception: no retry may swallow it."""
