"""Starts a supervisor, with or without namespaces of its own, and talks to it.

The driver holds a `Sandbox`; another process reaches the same one by its folder (`Sandbox.attach`). Nothing is recorded
by process id: the supervisor is whoever listens on the socket in the folder, and the kernel says who that is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.paths import ClusterError

HERE = Path(__file__).parent
NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--cgroup", "--propagation", "private")
ENVIRONMENT = ("PATH", "LANG", "TZ")


@dataclass(frozen=True)
class Part:
    """One process of the cluster; `environment` is added to PATH, LANG and TZ of the driver."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Keep:
    """What a new sandbox takes over.

    Attributes:
        locks: open descriptors to hold.
        interfaces: network interfaces, cgroups: cgroup folders, paths: files and folders, to remove at its end.
        enter: words put before its command, for what has to happen before its namespaces exist.
    """

    locks: Sequence[int] = ()
    interfaces: Sequence[str] = ()
    cgroups: Sequence[str] = ()
    paths: Sequence[str] = ()
    enter: Sequence[str] = ()


class Sandbox:
    """Parts that live and die together."""

    def __init__(self, folder: Path, *, namespaces: bool) -> None:
        self.folder = folder
        self.namespaces = namespaces
        self.logs = folder / "logs"
        self._lifeline = -1
        self._keeper: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, folder: Path, *, namespaces: bool, keep: Keep) -> Sandbox:
        """Start a supervisor in `folder`; it ends with this process unless `keep()` is called.

        Raises:
            ClusterError: it did not start within 20 s (no right to make namespaces, for example).
        """
        sandbox = cls(folder, namespaces=namespaces)
        sandbox.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        reading, sandbox._lifeline = os.pipe()
        driver = os.pidfd_open(os.getpid())
        python = [sys.executable, "-I", "-S"]
        supervisor = [*python, str(HERE / "supervisor.py"), str(sandbox._socket), str(reading), str(driver)]
        paths = [*keep.paths, str(sandbox._socket)]
        cleanup = json.dumps({"interfaces": list(keep.interfaces), "cgroups": list(keep.cgroups), "paths": paths})
        inner = [*keep.enter, *NAMESPACES, *supervisor] if namespaces else supervisor
        with (sandbox.logs / "sandbox.log").open("ab") as log:
            sandbox._keeper = subprocess.Popen(
                [*python, str(HERE / "keeper.py"), cleanup, *inner],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(reading, driver, *keep.locks),
                start_new_session=True,
            )
        os.close(reading)
        os.close(driver)
        sandbox._wait()
        return sandbox

    @classmethod
    def attach(cls, folder: Path, *, namespaces: bool) -> Sandbox:
        """Return the sandbox that runs in `folder`, or raise ClusterError."""
        sandbox = cls(folder, namespaces=namespaces)
        sandbox.status()
        return sandbox

    @property
    def _socket(self) -> Path:
        return self.folder / "control.sock"

    def _wait(self) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self._keeper and self._keeper.poll() is not None:
                break
            with contextlib.suppress(ClusterError):
                self.status()
                return
            time.sleep(0.01)
        self.kill()
        log = (self.logs / "sandbox.log").read_text(errors="replace")[-500:]
        message = f"the sandbox did not start; its log ends with: {log.strip() or '(nothing)'}"
        raise ClusterError(message)

    def ask(self, do: str, timeout: float = 30.0, **arguments: object) -> dict[str, object]:
        """Send a request to the supervisor and return its answer; raise ClusterError on its error or absence."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            try:
                connection.connect(str(self._socket))
                connection.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
                data = b""
                while chunk := connection.recv(65536):
                    data += chunk
            except OSError as error:
                message = f"no sandbox answers in {self.folder}: {error.strerror or error}"
                raise ClusterError(message) from error
        if not data:
            message = f"the sandbox in {self.folder} ended"
            raise ClusterError(message)
        answer: dict[str, object] = json.loads(data)
        if "error" in answer:
            raise ClusterError(str(answer["error"]))
        return answer

    def run(self, part: Part) -> None:
        """Start `part`; its output goes to `logs/NAME.log`."""
        environment = {key: os.environ[key] for key in ENVIRONMENT if key in os.environ} | dict(part.environment)
        log = str(self.logs / f"{part.name}.log")
        self.ask("start", name=part.name, argv=list(part.command), env=environment, log=log)

    def run_again(self, name: str) -> None:
        """Start a part that has ended, as it was started before."""
        self.ask("start", name=name)

    def stop(self, name: str, seconds: float = 10.0) -> None:
        """End a part with SIGTERM, after `seconds` with SIGKILL; it can be started again."""
        self.ask("stop", name=name, seconds=seconds)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a part: SIGSTOP and SIGCONT make an outage with connections that hang."""
        self.ask("signal", name=name, signal=int(number))

    def status(self) -> dict[str, dict[str, int]]:
        """Return `{"running": {name: pid}, "ended": {name: wait status}}`; the pids are the sandbox's own."""
        return self.ask("status", timeout=15)  # type: ignore[return-value]

    def keep(self) -> None:
        """Let the sandbox outlive this process; end it with `attach(...).end()`."""
        self.ask("keep")

    def pid(self) -> int:
        """Return the supervisor's process id as this process sees it, told by the kernel."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self._socket))
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            return int(struct.unpack("3i", peer)[0])

    def command(self, command: Iterable[str]) -> list[str]:
        """Return `command` as it has to be run from outside to run in the sandbox."""
        if not self.namespaces:
            return list(command)
        return ["nsenter", "--target", str(self.pid()), "--net", "--mount", "--pid", "--cgroup", "--", *command]

    def end(self) -> None:
        """Ask for the end, then kill; returns when the supervisor no longer listens."""
        with contextlib.suppress(ClusterError):
            self.ask("end", timeout=3)
        self.kill(grace=2.0)

    def kill(self, grace: float = 0.0) -> None:
        """Kill the supervisor after `grace` seconds, which ends everything in the sandbox, and wait for the keeper."""
        self._let_go()
        end = time.monotonic() + grace
        while time.monotonic() < end and self._listens():
            time.sleep(0.01)
        with contextlib.suppress(OSError):
            os.kill(self.pid(), signal.SIGKILL)
        if self._keeper:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.wait(15)

    def _let_go(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _listens(self) -> bool:
        try:
            self.pid()
        except OSError:
            return False
        return True
