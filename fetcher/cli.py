"""The command `podcert-fetcher`: settings, signals, the pass from Secret to files, the exit status.

Exit status: 0 the files are there; 1 the time limit is over, or `--check` finds no good files; 2 a setting is missing
or wrong; 3 the files cannot be written; 4 the application could not be reloaded; 70 a defect of ours (sysexits.h,
EX_SOFTWARE); 130 SIGINT; 143 SIGTERM (a sidecar: 0). Waiting is not an error: without a time limit it lasts as long as
the pod, because an application must not start without its certificate.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn

from fetcher import delivery, publish, settings, wait
from fetcher.api import SecretApi
from fetcher.errors import NotYetError, ReloadFailedError, SettingsError, TimeLimitReached, VolumeError
from fetcher.progress import Progress

_EX_NO_FILES = 1
_STATUS: Mapping[type[BaseException], int] = {
    TimeLimitReached: 1,
    SettingsError: 2,
    VolumeError: 3,
    ReloadFailedError: 4,
}
_EX_SOFTWARE = 70
_EX_SIGINT = 130
_EX_SIGTERM = 143
_END_WITHIN_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch this pod's certificate and return the exit status; `arguments` are the process's own by default."""
    signal.signal(signal.SIGTERM, _terminate)
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if given[:1] == ["--check"]:
            return check(given[1:])
        run(settings.read(given, os.environ))
    except tuple(_STATUS) as error:
        _say(f"error: {error}")
        return _STATUS[type(error)]
    except KeyboardInterrupt:
        return _EX_SIGINT
    except Exception as error:  # noqa: BLE001 - the last stop; its message could quote what it choked on, so it is not shown
        _say(f"error: a defect of the fetcher, please report it: {_place(error)}")
        return _EX_SOFTWARE
    return 0


def check(arguments: Sequence[str]) -> int:
    """Return 0 if good files are there, 1 if not: the sidecar's startup probe, run by the kubelet once a second."""
    try:
        delivery.inspect(settings.directory(arguments, os.environ))
    except NotYetError as reason:
        _say(str(reason).replace("the Secret is there, but its", "the files are there, but their"))
        return _EX_NO_FILES
    return 0


def run(options: settings.Settings) -> None:
    """Wait for the pod's Secret, publish its files, and say so; a sidecar then follows it until it is ended.

    Raises VolumeError, TimeLimitReached and ReloadFailedError.
    """
    names = {"namespace": options.namespace, "pod": options.pod, "secret": options.secret}
    progress = Progress(names, _say, time.monotonic, options.message_interval)
    publish.check(options.directory)
    if warning := publish.group_warning(options.directory):
        _say(f"warning: {warning}")
    clock = wait.Clock(time.monotonic, time.sleep, lambda: os.urandom(1)[0] / 256)
    api = SecretApi(options.server, options.namespace, options.secret)
    _start_timer(progress, options)
    try:
        if options.refresh:
            _follow(options, api, progress, clock)
        else:
            _fetch(options, api, progress, clock)
    finally:
        _stop_timer()
        api.close()


def _fetch(options: settings.Settings, api: SecretApi, progress: Progress, clock: wait.Clock) -> None:
    for secret in wait.secrets(api, progress, clock):
        try:
            delivered = delivery.deliver(secret, options)
        except NotYetError as reason:
            progress.failed(reason)
        else:
            break
    _stop_timer()
    if warning := delivery.write_termination_message(options, delivered):
        _say(f"warning: {warning}")
    leaf = delivered.leaf
    _tell(
        f"wrote the certificate of Secret {options.namespace}/{options.secret} to {options.directory}: "
        f"{', '.join(leaf.names) or 'no names'}; serial {leaf.serial}; expires {leaf.not_after}; "
        f"took {progress.waited() * 1000:.0f} ms"
    )


def _follow(options: settings.Settings, api: SecretApi, progress: Progress, clock: wait.Clock) -> None:
    from fetcher import refresh  # a fetcher that ends does not pay for it

    signal.signal(signal.SIGTERM, _end_well)
    surroundings = refresh.Surroundings(_say, _tell, clock, time.time, _stop_timer)
    refresh.Follower(options, api, progress, surroundings).run()


def _start_timer(progress: Progress, options: settings.Settings) -> None:
    """Interrupt whatever the process is stuck in, to say what it waits for and to keep the time limit."""
    limit = options.timeout
    deadline = None if limit is None else time.monotonic() + limit

    def arm() -> None:
        left = options.message_interval if deadline is None else max(0.001, deadline - time.monotonic())
        signal.setitimer(signal.ITIMER_REAL, min(options.message_interval, left))

    def ring(_signal: int, _frame: FrameType | None) -> None:
        arm()  # before the rest: should the exception get lost in a destructor, the next ring raises it again
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeLimitReached(f"gave up after {limit:g} s (PODCERT_TIMEOUT): {progress.summary()}")
        progress.tick()

    signal.signal(signal.SIGALRM, ring)
    arm()


def _stop_timer() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(_EX_SIGTERM)


def _end_well(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End a sidecar: its pod is done. Should the exception get lost in a destructor, the alarm ends it all the same."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, _END_WITHIN_S)
    raise SystemExit(0)


def _tell(line: str) -> None:
    _say(line, descriptor=1)


def _say(line: str, descriptor: int = 2) -> None:
    """Write one line at once; safe in a signal handler, where a buffered stream is not. Nobody may be listening."""
    with contextlib.suppress(OSError):
        os.write(descriptor, f"certificate-fetcher: {line}\n".encode(errors="backslashreplace"))


def _place(error: BaseException) -> str:
    """Type and places of an exception, without its message."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__} at {' > '.join(places)}"
