"""First process of a sandbox: starts the parts it is asked to start, reaps, and dies with its driver.

Run as a script (`python -I -S supervisor.py SOCKET LIFELINE_FD DRIVER_PIDFD`), standard library only. Inside a PID
namespace it is process 1, so its end is the end of everything; without one, each part gets a parent-death signal.

The lifeline is a pipe whose write end only the driver holds, with the driver's pidfd beside it (a fork of the driver
may have inherited the pipe): when either says that the driver is gone, however it died, this process ends, except
after the request `keep`.

Requests come over a Unix socket, one JSON object in, one out, then the connection is closed:
`start`, `signal`, `stop`, `status`, `keep`, `end`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import sys
import time
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 10.0
MAX_REQUEST_BYTES = 1 << 20


class Supervisor:
    """Holds the parts by name; single-threaded, so fork is safe and no lock is needed."""

    def __init__(self, socket_path: str, lifeline: int, driver: int) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.listener.bind(socket_path)
        os.chmod(socket_path, 0o600)  # noqa: PTH101 - pathlib's import costs start-up time here
        self.listener.listen(16)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, "request")
        self.lifeline, self.driver = lifeline, driver
        self.selector.register(lifeline, selectors.EVENT_READ, "lifeline")
        self.selector.register(driver, selectors.EVENT_READ, "lifeline")
        self.child_pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self.child_pipe[1], warn_on_full_buffer=False)
        self.selector.register(self.child_pipe[0], selectors.EVENT_READ, "child")
        self.specs: dict[str, dict[str, Any]] = {}
        self.pids: dict[str, int] = {}
        self.exits: dict[str, int] = {}
        self.ending = False

    def run(self) -> None:
        """Serve until `end` is asked for or the driver is gone."""
        while not self.ending:
            for key, _ in self.selector.select():
                if key.data == "lifeline":
                    return
                if key.data == "child":
                    with contextlib.suppress(BlockingIOError):
                        os.read(self.child_pipe[0], 512)
                    self.reap()
                else:
                    self.serve()

    def serve(self) -> None:
        """Answer one connection; a broken request never ends the supervisor."""
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(5)
            try:
                request = json.loads(_read_line(connection))
                answer = getattr(self, "do_" + str(request["do"]))(request)
            except Exception as error:  # noqa: BLE001 - the asker gets to know, the sandbox lives on
                answer = {"error": f"{type(error).__name__}: {error}"}
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps(answer).encode() + b"\n")

    def do_start(self, request: dict[str, Any]) -> dict[str, Any]:
        """Start a part: `name`, and at its first start `argv`, `env`, `log` (a path)."""
        name = request["name"]
        if name in self.pids:
            return {"error": f"part {name} runs already"}
        if "argv" in request:
            self.specs[name] = request
        if name not in self.specs:
            return {"error": f"no part {name}; there are: {', '.join(sorted(self.specs)) or 'none'}"}
        self.exits.pop(name, None)
        self.pids[name] = _spawn(self.specs[name])
        return {"pid": self.pids[name]}

    def do_signal(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send `signal` (a number) to the part `name`."""
        pid = self.pids.get(request["name"])
        if pid is None:
            return {"error": f"part {request['name']} does not run"}
        os.kill(pid, int(request["signal"]))
        return {"pid": pid}

    def do_stop(self, request: dict[str, Any]) -> dict[str, Any]:
        """End the part `name`: SIGTERM, and SIGKILL when `seconds` are over; returns when it is gone."""
        pid = self.pids.get(request["name"])
        if pid is None:
            return {"exit": self.exits.get(request["name"])}
        for number, seconds in ((signal.SIGTERM, float(request.get("seconds", STOP_SECONDS))), (signal.SIGKILL, 5.0)):
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, number)
            end = time.monotonic() + seconds
            while request["name"] in self.pids and time.monotonic() < end:
                time.sleep(0.01)
                self.reap()
            if request["name"] not in self.pids:
                break
        return {"exit": self.exits.get(request["name"])}

    def do_status(self, request: dict[str, Any]) -> dict[str, Any]:
        """Say which parts run (name to pid, in this PID namespace) and which ended (name to wait status)."""
        return {"running": self.pids, "ended": self.exits}

    def do_keep(self, request: dict[str, Any]) -> dict[str, Any]:
        """Outlive the driver, until `end`."""
        for fd in (self.lifeline, self.driver):
            with contextlib.suppress(KeyError):
                self.selector.unregister(fd)
        return {"kept": True}

    def do_end(self, request: dict[str, Any]) -> dict[str, Any]:
        """Leave the loop after the answer."""
        self.ending = True
        return {"ending": True}

    def reap(self) -> None:
        """Collect every ended child; in a PID namespace also the orphans of containers."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name in [name for name, running in self.pids.items() if running == pid]:
                del self.pids[name]
                self.exits[name] = status

    def kill_all(self) -> None:
        """Kill the parts and wait for their end; as process 1 the kernel would, without a namespace we must."""
        for pid in self.pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self.pids.values():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _read_line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        chunk = connection.recv(65536)
        if not chunk or len(data) > MAX_REQUEST_BYTES:
            msg = "the request is not one line of JSON"
            raise ValueError(msg)
        data += chunk
    return data


def _spawn(spec: dict[str, Any]) -> int:
    log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        _become(spec, log, parent)
    os.close(log)
    return pid


def _become(spec: dict[str, Any], log: int, parent: int) -> NoReturn:
    """Turn the forked child into the part; never returns, whatever happens."""
    try:
        signal.set_wakeup_fd(-1)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(125)
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.closerange(3, 1024)
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - the part itself, no shell
    except BaseException as error:  # noqa: BLE001 - a forked child must never run on as a second supervisor
        os.write(2, f"cannot start {spec['argv'][0]}: {error}\n".encode())
    finally:
        os._exit(127)


def main(arguments: list[str]) -> int:
    """Run a supervisor on `arguments`: socket path, lifeline fd, driver pidfd."""
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    supervisor = Supervisor(arguments[0], int(arguments[1]), int(arguments[2]))
    signal.signal(signal.SIGTERM, lambda _number, _frame: setattr(supervisor, "ending", True))
    try:
        supervisor.run()
    finally:
        supervisor.kill_all()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
