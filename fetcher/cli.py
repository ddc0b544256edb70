"""The command `podcert-fetcher`: settings, signals, the one pass from Secret to files, the exit status.

Exit status: 0 the files are there; 1 the time limit is over; 2 a setting is missing or wrong; 3 the files cannot be
written; 70 a defect of ours (sysexits.h, EX_SOFTWARE); 130 SIGINT; 143 SIGTERM. Waiting is not an error: without a time
limit it lasts as long as the pod, because an application must not start without its certificate.
"""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from fetcher import bundle, publish, settings, verify, wait
from fetcher.api import Json, SecretApi
from fetcher.errors import NotYetError, SettingsError, TimeLimitReached, VolumeError
from fetcher.progress import Progress

_EX_TIME_LIMIT = 1
_EX_SETTINGS = 2
_EX_VOLUME = 3
_EX_SOFTWARE = 70
_EX_SIGINT = 130
_EX_SIGTERM = 143
_MAX_TERMINATION_MESSAGE = 4096  # bytes; the kubelet cuts there


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch this pod's certificate and return the exit status; `arguments` are the process's own by default."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        run(settings.read(sys.argv[1:] if arguments is None else arguments, os.environ))
    except SettingsError as error:
        _say(f"error: {error}")
        return _EX_SETTINGS
    except VolumeError as error:
        _say(f"error: {error}")
        return _EX_VOLUME
    except TimeLimitReached as error:
        _say(f"error: {error}")
        return _EX_TIME_LIMIT
    except KeyboardInterrupt:
        return _EX_SIGINT
    except Exception as error:  # noqa: BLE001 - the last stop; its message could quote what it choked on, so it is not shown
        _say(f"error: a defect of the fetcher, please report it: {_place(error)}")
        return _EX_SOFTWARE
    return 0


def run(options: settings.Settings) -> None:
    """Wait for the pod's Secret, publish its files, and say so. Raises VolumeError and TimeLimitReached."""
    names = {"namespace": options.namespace, "pod": options.pod, "secret": options.secret}
    progress = Progress(names, _say, time.monotonic, options.message_interval)
    publish.check(options.directory)
    if warning := publish.group_warning(options.directory):
        _say(f"warning: {warning}")
    clock = wait.Clock(time.monotonic, time.sleep, lambda: os.urandom(1)[0] / 256)
    api = SecretApi(options.server, options.namespace, options.secret)
    _start_timer(progress, options)
    try:
        for secret in wait.secrets(api, progress, clock):
            try:
                leaf, version = deliver(secret, options)
            except NotYetError as reason:
                progress.failed(reason)
            else:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        api.close()
    _write_termination_message(options, leaf, version)
    _say(
        f"wrote the certificate of Secret {options.namespace}/{options.secret} to {options.directory}: "
        f"{', '.join(leaf.names) or 'no names'}; serial {leaf.serial}; expires {leaf.not_after}; "
        f"took {progress.waited() * 1000:.0f} ms",
        descriptor=1,
    )


def deliver(secret: Json, options: settings.Settings) -> tuple[verify.Leaf, str]:
    """Publish `secret`'s files if they prove good; return the leaf and the Secret's resourceVersion.

    Raises NotYetError when the Secret is not this pod's or its bundle fails, VolumeError when it cannot be written.
    """
    bundle.require_own(secret, options.uid)
    decoded = bundle.decode(secret)
    files = {"cert.pem": decoded.certificate, "key.pem": decoded.key, "ca-cert.pem": decoded.anchors}
    with publish.staged(options.directory, files) as staged:
        path = staged.path
        leaf = verify.verify(path / "cert.pem", path / "key.pem", path / "ca-cert.pem")
        staged.commit()
    return leaf, decoded.resource_version


def termination_message(secret: str, leaf: verify.Leaf, version: str) -> bytes:
    """Return the line by which the manager learns, through the pod's status, which certificate the files hold."""
    fields = {"serial": leaf.serial, "notAfter": leaf.not_after, "secret": secret, "resourceVersion": version}
    return (json.dumps(fields) + "\n").encode()


def _write_termination_message(options: settings.Settings, leaf: verify.Leaf, version: str) -> None:
    message = termination_message(options.secret, leaf, version)
    try:
        with options.termination_log.open("wb") as file:  # of fields with small limits: far below 4096 bytes
            file.write(message[:_MAX_TERMINATION_MESSAGE])
    except OSError as error:
        _say(f"warning: the termination message cannot be written to {options.termination_log}: {error.strerror}")


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


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(_EX_SIGTERM)


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
