"""A sidecar as a process, and the applications that it tells of new files: a process, a web server."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from tests.contract.fetcher_certificates import Pem, secret
from tests.contract.fetcher_process import PATIENCE_S, ROOT, TOKEN, Pod
from tests.contract.fetcher_server import Answer, Call, FakeApiServer, Handler, events, hang

APPLICATION = """
import os, signal, sys
open("/proc/self/comm", "w").write(sys.argv[1])
signal.signal(signal.SIGHUP, lambda *_: os.write(1, b"HUP %d\\n" % os.getpid()))
children = [os.fork() for _ in range(int(sys.argv[2]))] if sys.argv[2] != "0" else []
if 0 not in children:
    os.write(1, b"ready\\n")
while True:
    signal.pause()
"""


class Sidecar:
    """A running `--refresh`; `text` is all that it has said, on both streams."""

    def __init__(self, pod: Pod, *arguments: str, flag: bool = True, **changes: str) -> None:
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fetcher", *(["--refresh"] if flag else []), *arguments],
            cwd=ROOT,
            env=pod.environment(**changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def until(self, words: str) -> str:
        """Return all that was said once `words` were among it; the test fails when they do not come."""
        end = time.monotonic() + PATIENCE_S
        while words not in self.text:
            assert self._read(end), f"{words!r} never came; what came: {self.text[-2000:]}"
        return self.text

    def until_calls(self, server: FakeApiServer, kind: Callable[[Call], bool], count: int) -> None:
        """Wait until the server has had `count` calls of a kind."""
        end = time.monotonic() + PATIENCE_S
        while sum(map(kind, list(server.calls))) < count:
            assert time.monotonic() < end
            time.sleep(0.01)

    def wait(self) -> int:
        """Return its status when it has ended by itself; no secret and no traceback is in what it said."""
        end = time.monotonic() + PATIENCE_S
        while self._read(end):
            pass
        status = self.process.wait(max(0.1, end - time.monotonic()))
        assert TOKEN not in self.text
        assert "PRIVATE KEY" not in self.text
        assert "Traceback" not in self.text
        return status

    def drain(self) -> None:
        """Read what it says until it ends: one that talks much would stop at a full pipe."""
        while self._read(time.monotonic() + PATIENCE_S):
            pass

    def stop(self) -> int:
        """Send SIGTERM and return its status."""
        self.process.terminate()
        return self.wait()

    def kill(self) -> None:
        """End it whatever it does."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self, end: float) -> bool:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        piece = os.read(descriptor, 65536).decode() if ready else ""
        self.text += piece
        return bool(piece)


class Application:
    """A process of a given name that writes a line for each SIGHUP, and children of the same name that do as well."""

    def __init__(self, name: str, workers: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", APPLICATION, name, str(workers)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        assert self.line() == "ready"
        return self

    def line(self) -> str:
        """Return the next line; the test fails when none comes."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        assert ready
        return self.process.stdout.readline().strip()

    def others(self) -> list[str]:
        """Return the lines that nobody has read, now that everything is over."""
        os.killpg(self.pid, signal.SIGKILL)
        assert self.process.stdout is not None
        return self.process.stdout.read().splitlines()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class WebServer:
    """A web server on loopback that notes requests and gives the next of `answers`; the last one for ever."""

    def __init__(self, answers: list[int]) -> None:
        self.answers = answers
        self.requests: list[str] = []
        outer = self

        class Notes(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                outer.requests.append(f"{self.command} {self.path}")
                self.send_response(outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0])
                self.end_headers()

            do_GET = _answer  # noqa: N815 - the name that http.server calls
            do_POST = _answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Keep the tests' output quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Notes)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def version(contents: Pem, number: int) -> dict[str, Any]:
    """The Secret with these contents as of a resourceVersion."""
    made = secret(contents)
    made["metadata"]["resourceVersion"] = str(number)
    return made


def held(pod: Pod, contents: Pem) -> bool:
    """True if the files are these."""
    return pod.contents() == [contents.certificate, contents.key, contents.anchors]


def later(event: threading.Event, *content: tuple[str, dict[str, Any]], inside: bool = False) -> Answer:
    """Answer a watch with nothing before `event`, then with these events, then with nothing more.

    With `inside` it goes on in the middle of a stream that another answer has begun.
    """

    def answer(handler: Handler) -> None:
        while not event.wait(0.02):
            if handler.fake.closing.is_set():
                handler.close_connection = True
                return
        if inside:
            for kind, found in content:
                line = json.dumps({"type": kind, "object": found}).encode() + b"\n"
                handler.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
            hang(handler)
        else:
            events(*content, then=hang)(handler)

    return answer


def without_end(next_secret: Callable[[], dict[str, Any]], done: threading.Event) -> Answer:
    """Answer a watch with one change after the other, as fast as they are taken, until `done`."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not (done.is_set() or handler.fake.closing.is_set()):
            handler.wfile.write(json.dumps({"type": "MODIFIED", "object": next_secret()}).encode() + b"\n")
        handler.close_connection = True

    return answer


def read_pair(volume: Path) -> tuple[bytes, bytes]:
    """Return certificate and key as docs/fetcher.md says: both through one handle of `..data`; raises FileNotFoundError."""
    handle = os.open(volume / "..data", os.O_RDONLY | os.O_DIRECTORY)
    try:
        contents = []
        for name in ("cert.pem", "key.pem"):
            with open(name, "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=handle)) as file:
                contents.append(file.read())
        return contents[0], contents[1]
    finally:
        os.close(handle)
