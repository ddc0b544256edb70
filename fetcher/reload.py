"""How an application is told that its files are new: a signal, a request to its loopback address, or a command.

What is done comes from the sidecar's own arguments and from nowhere else: an annotation can be written by those who
may not write the pod's containers. `refresh` performs it after each swap, `flags` and `settings` make it from words.
"""

import contextlib
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fetcher import processes
from fetcher.connection import HttpError, Response, Stream
from fetcher.errors import ReloadError, ReloadFailedError
from fetcher.wait import Clock

SIGNALS = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH")
_FIRST_PAUSE_S = 1.0
_LAST_PAUSE_S = 30.0
_LEAST_S = 1.0  # what a last try gets when the time is over
_HTTP_LIMIT_S = 10.0
_COMMAND_LIMIT_S = 30.0
_POLL_S = 0.02
_MAX_WORDS = 200
_URL = re.compile(
    r"http://(?P<host>127\.[0-9.]{5,11}|localhost|\[::1\])(?::(?P<port>[0-9]{1,5}))?(?P<path>/[!-\"$-~]*)?"
)


class Action(Protocol):
    """One way to tell an application."""

    def perform(self, limit: float) -> str:
        """Do it within `limit` seconds and return in words what was done. Raises ReloadError."""
        ...


@dataclass(frozen=True)
class SignalProcess:
    """Send a signal to the main process of that name. It must run under this UID: no capability is needed then."""

    name: str
    process: str

    def perform(self, limit: float) -> str:  # noqa: ARG002 - a signal takes no time
        """See Action."""
        found = processes.main_process(self.process)
        if found is None:
            alone = "; only this container's processes are seen: set the pod's shareProcessNamespace: true"
            raise ReloadError(
                f"no process is called {self.process}{alone if processes.is_alone() else ''}"[:_MAX_WORDS]
            )
        try:
            os.kill(found.pid, signal.Signals[f"SIG{self.name}"])
        except ProcessLookupError:
            reason = "has just ended"
        except PermissionError:
            reason = f"runs under another UID than {os.geteuid()}: give both containers the same runAsUser"
        else:
            return f"sent SIG{self.name} to {self.process} (process {found.pid})"
        raise ReloadError(f"process {found.pid}, {self.process}, {reason}"[:_MAX_WORDS])


@dataclass(frozen=True)
class CallHttp:
    """Send one request without a body to a loopback address; an answer of 200 to 299 is success (RFC 9110, 15.3)."""

    method: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"http://{self.host}:{self.port}{self.path}"

    def perform(self, limit: float) -> str:
        """See Action."""
        limit = min(limit, _HTTP_LIMIT_S)
        try:
            with self._connect(limit) as connected, connected.makefile("rb") as file:
                lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
                lines += ["User-Agent: podcert-fetcher", "Content-Length: 0", "Connection: close", "", ""]
                connected.sendall("\r\n".join(lines).encode("ascii"))
                status = Response(Stream(file)).status
        except TimeoutError:
            reason = f"gave no answer within {limit:g} s"
        except HttpError as error:
            reason = f"answered with something else than HTTP: {error}"
        except OSError as error:
            reason = f"cannot be reached: {error.strerror or type(error).__name__}"
        else:
            if 200 <= status < 300:
                return f"{self.method} {self.url} was answered with status {status}"
            reason = f"was answered with status {status}"
        raise ReloadError(f"{self.method} {self.url[:80]} {reason}"[:_MAX_WORDS])

    def _connect(self, limit: float) -> socket.socket:
        """Connect without asking any resolver: `localhost` is what it has to be (RFC 6761, 6.3)."""
        if self.host != "localhost":
            return socket.create_connection((self.host.strip("[]"), self.port), limit)
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", self.port), limit)
        return socket.create_connection(("::1", self.port), limit)


@dataclass(frozen=True)
class RunCommand:
    """Run a program of this container without a shell; status 0 is success. What it prints goes to this container's log."""

    arguments: tuple[str, ...]

    def perform(self, limit: float) -> str:
        """See Action. Nothing that the program leaves in its process group outlives it."""
        limit, program = min(limit, _COMMAND_LIMIT_S), self.arguments[0]
        try:
            status = _run(self.arguments, limit)
        except OSError as error:
            status, ended = -1, f"cannot be run: {error.strerror}"
        else:
            ended = f"did not end within {limit:g} s" if status is None else f"ended with status {status}"
        if status == 0:
            return f"ran {program}"
        raise ReloadError(f"{program[:120]} {ended}"[:_MAX_WORDS])


def persist(action: Action, timeout: float, clock: Clock, say: Callable[[str], None]) -> str:
    """Perform `action` until it succeeds and return its words; pauses grow from 1 to 30 s. Each failure is one line.

    Raises ReloadFailedError with the last failure when `timeout` seconds are over.
    """
    deadline, pause = clock.now() + timeout, _FIRST_PAUSE_S
    while True:
        try:
            return action.perform(max(_LEAST_S, deadline - clock.now()))
        except ReloadError as error:
            reason = str(error)
        left = deadline - clock.now()
        if left <= 0:
            raise ReloadFailedError(reason)
        wait = min(pause, left)
        say(f"the reload failed: {reason}; next try in {wait:.3g} s")
        clock.sleep(wait)
        pause = min(_LAST_PAUSE_S, pause * 2)


def signal_process(name: str, process: str) -> SignalProcess:
    """Return the action of `--signal NAME --process PROCESS`; raises ValueError with the rule."""
    short = name.upper().removeprefix("SIG")
    if short not in SIGNALS:
        raise ValueError(f"--signal is {ascii(name)[:80]}; it must be one of {', '.join(SIGNALS)}; correct it")
    if not process or "/" in process or not process.isprintable() or len(process) > 200:
        raise ValueError(
            f"--process is {ascii(process)[:80]}; it must be the name of a program without its folder, such as nginx "
            "(`ps -o comm` shows it); correct it"
        )
    return SignalProcess(short, process)


def call_http(method: str, url: str) -> CallHttp:
    """Return the action of `--http METHOD URL`; raises ValueError with the rule."""
    if method not in {"GET", "POST"}:
        raise ValueError(f"--http's method is {ascii(method)[:80]}; it must be GET or POST; correct it")
    found = _URL.fullmatch(url)
    port = int(found["port"] or 80) if found else 0
    if not found or not 1 <= port <= 65535 or not _is_loopback(found["host"]):
        raise ValueError(
            f"--http's URL is {ascii(url)[:80]}; it must be like http://127.0.0.1:8080/reload, its host 127.0.0.1 (or "
            "another of 127.0.0.0/8), [::1] or localhost: the application runs in the same pod; correct it"
        )
    return CallHttp(method, found["host"], port, found["path"] or "/")


def run_command(arguments: list[str]) -> RunCommand:
    """Return the action of `--exec PROGRAM ARGUMENT…`; raises ValueError with the rule."""
    program = arguments[0] if arguments else ""
    if not program.startswith("/") or not os.access(program, os.X_OK):
        raise ValueError(
            f"--exec's program is {ascii(program)[:80]}; it must be the absolute path of a program in this container's "
            "image; correct it, or put the program into an image made FROM this one"
        )
    return RunCommand(tuple(arguments))


def _is_loopback(host: str) -> bool:
    if not host.startswith("127."):
        return True
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return False
    return True


def _run(arguments: Sequence[str], limit: float) -> int | None:
    """Return the exit status of a program, negative for a signal, None if it had to be ended; raises OSError.

    SIGTERM is held back until the program can be ended with this process. `subprocess` knows no way for that, and
    costs a sidecar memory.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        pid = os.posix_spawn(
            arguments[0],
            list(arguments),
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setpgroup=0,
            setsigmask=before,
            setsigdef=[signal.SIGPIPE],
        )
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return _wait(pid, limit)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            _reap(pid)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(pid: int, limit: float) -> int | None:
    end = time.monotonic() + limit
    while True:
        # WNOWAIT: its id stays taken until its process group has been ended.
        done = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if done is not None:
            return done.si_status if done.si_code == os.CLD_EXITED else -done.si_status
        if time.monotonic() >= end:
            return None
        time.sleep(_POLL_S)


def _reap(pid: int) -> None:
    """Take the ended program, and the orphans that it has left to a container's first process: nobody else can."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
