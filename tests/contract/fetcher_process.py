"""The fetcher as a process, beside a fake API server, in a pod that is a temporary directory."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.contract.fetcher_certificates import UID
from tests.contract.fetcher_server import FakeApiServer

ROOT = Path(__file__).parents[2]
TOKEN = "the-token-that-must-not-leak"
FILES = ("cert.pem", "key.pem", "ca-cert.pem")
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Ended:
    """What a finished fetcher left: its status and its lines."""

    status: int
    out: str
    err: str


@dataclass
class Pod:
    """A place for the fetcher: its volume, its ServiceAccount and its variables."""

    root: Path
    server: FakeApiServer

    def __post_init__(self) -> None:
        self.volume.mkdir()
        (self.root / "token").write_text(TOKEN + "\n")
        self.server.ca.cert_pem.write_to_path(self.root / "ca.crt")

    @property
    def volume(self) -> Path:
        """Where the files go."""
        return self.root / "certs"

    def environment(self, **changes: str) -> dict[str, str]:
        """The variables of the fetcher's container."""
        return {
            "PATH": os.environ["PATH"],
            "POD_NAME": "server",
            "POD_NAMESPACE": "default",
            "POD_UID": UID,
            "PODCERT_DIRECTORY": str(self.volume),
            "PODCERT_TERMINATION_LOG": str(self.root / "termination-log"),
            "PODCERT_TOKEN_FILE": str(self.root / "token"),
            "PODCERT_CA_FILE": str(self.root / "ca.crt"),
            "PODCERT_MESSAGE_INTERVAL": "50ms",
            "PODCERT_REQUEST_TIMEOUT": "500ms",
            "KUBERNETES_SERVICE_HOST": self.server.host,
            "KUBERNETES_SERVICE_PORT": str(self.server.port),
            **changes,
        }

    def start(self, *arguments: str, **changes: str) -> "subprocess.Popen[str]":
        """Start the fetcher; end it with `finish`."""
        return subprocess.Popen(
            [sys.executable, "-m", "fetcher", *arguments],
            cwd=ROOT,
            env=self.environment(**changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear_interrupts,  # noqa: PLW1509 - one call between fork and exec
        )

    def run(self, *arguments: str, **changes: str) -> Ended:
        """Run the fetcher to its end."""
        return finish(self.start(*arguments, **changes))

    def contents(self) -> list[bytes]:
        """The bytes of the three files."""
        return [(self.volume / name).read_bytes() for name in FILES]

    def termination_message(self) -> dict[str, Any]:
        """What the manager would read in the pod's status."""
        return dict(json.loads((self.root / "termination-log").read_text()))

    def is_untouched(self) -> bool:
        """True if nothing at all is in the volume."""
        return not list(self.volume.iterdir())


def _hear_interrupts() -> None:
    """A job in the background inherits an ignored SIGINT from its shell; a container does not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def finish(process: "subprocess.Popen[str]") -> Ended:
    """Wait for the fetcher to end; it is killed, and the test fails, when it does not. No secret is in its lines."""
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert TOKEN not in out + err
    assert "PRIVATE KEY" not in out + err
    assert "Traceback" not in out + err
    return Ended(process.returncode, out, err)


def read_until(process: "subprocess.Popen[str]", words: str) -> str:
    """Return the fetcher's stderr up to `words`; the test fails when they do not come."""
    assert process.stderr is not None
    descriptor, found, end = process.stderr.fileno(), "", time.monotonic() + PATIENCE_S
    while words not in found:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        piece = os.read(descriptor, 65536).decode() if ready else ""
        if not piece:
            process.kill()
            process.communicate()
            raise AssertionError(f"{words!r} never came; what came: {found[-2000:]}")
        found += piece
    return found
