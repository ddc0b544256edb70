"""The manager as users run it: a process with its own ServiceAccount's rights and its own Vault token, never more.

Its rights in the cluster are exactly those of manifests/base/rbac.yaml, in Vault those of manifests/policies/pods.hcl: what
works here proves that both are enough.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.counters import total
from tests.cluster.paths import REPOSITORY, ClusterError

READY_SECONDS = 60.0


@dataclass(frozen=True)
class Launch:
    """How a manager is started.

    Attributes:
        kubeconfig: with the manager's own ServiceAccount token.
        vault_url: of OpenBao, or of a proxy before it.
        token_file: with the manager's Vault token.
        folder: where its log goes.
        settings: further `PODCERT_*` variables.
    """

    kubeconfig: Path
    vault_url: str
    token_file: Path
    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)


class Manager:
    """One manager; killed and started again it appends to the same log."""

    def __init__(self, launch: Launch, name: str = "manager") -> None:
        self.launch = launch
        self.log_file = launch.folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0
        self._url = ""

    def start(self) -> None:
        """Starts the process; returns at once."""
        launch = self.launch
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "VAULT_ADDR": launch.vault_url,
            "PODCERT_TOKEN_FILE": str(launch.token_file),
            "PODCERT_KUBECONFIG": str(launch.kubeconfig),
            "PODCERT_LISTEN": "127.0.0.1:0",
            "PODCERT_LOG_LEVEL": "debug",
            **launch.settings,
        }
        self._url = ""
        with self.log_file.open("ab") as log:
            self._began = log.tell()
            command = [sys.executable, "-m", "certmanager", "run"]
            self._process = subprocess.Popen(command, env=environment, cwd=launch.folder, stderr=log, stdout=log)

    @property
    def alive(self) -> bool:
        """The process runs."""
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, seconds: float = READY_SECONDS) -> float:
        """Waits until /readyz says 200; returns how long it took. Raises ClusterError with the log's end."""
        began = time.monotonic()
        while time.monotonic() - began < seconds and self.alive:
            if self.readiness()[0] == 200:
                return time.monotonic() - began
            time.sleep(0.02)
        raise ClusterError(f"the manager is not ready: {self.readiness()}; its log ends with: {self.log()[-1500:]}")

    def readiness(self) -> tuple[int, str]:
        """Status and text of /readyz; 0 when nobody answers."""
        return self._get("/readyz")

    def liveness(self) -> int:
        """Status of /livez; 0 when nobody answers."""
        return self._get("/livez")[0]

    def metrics(self) -> str:
        """Its /metrics."""
        return self._get("/metrics")[1]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        return total(self.metrics(), name, **labels)

    def certificates(self) -> int:
        """Number of certificates in its metrics."""
        name = "podcert_certificate_expiration_timestamp_seconds{"
        return sum(line.startswith(name) for line in self.metrics().splitlines())

    def signs(self) -> float:
        """Its calls to `sign` and `issue` since its start, whatever came of them."""
        return self.metric("podcert_vault_requests_total")

    def log(self) -> str:
        """Everything that it and its predecessors have logged."""
        return self.log_file.read_text(errors="replace")

    def lines(self) -> Iterator[dict[str, Any]]:
        """The log's lines that are JSON."""
        for line in self.log().splitlines():
            with contextlib.suppress(ValueError):
                yield json.loads(line)

    def kill(self) -> None:
        """SIGKILL, as the kernel's out-of-memory killer does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)

    def stop(self) -> int:
        """SIGTERM; returns the exit status, or kills after 20 s."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
            raise

    def _address(self) -> str:
        with self.log_file.open("rb") as log:
            log.seek(self._began)
            text = log.read().decode(errors="replace")
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                fields = json.loads(line)
                if fields.get("message") == "started":
                    return f"http://127.0.0.1:{fields['port']}"
        return ""

    def _get(self, path: str) -> tuple[int, str]:
        self._url = self._url or self._address()
        if not self._url:
            return 0, "it has not said its port yet"
        try:
            with urllib.request.urlopen(self._url + path, timeout=10) as answer:  # noqa: S310 - http, loopback
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(errors="replace")
        except OSError as error:
            return 0, str(error)


@contextlib.contextmanager
def running(launch: Launch, name: str = "manager", *, ready: bool = True) -> Iterator[Manager]:
    """A manager for the length of a `with` block."""
    manager = Manager(launch, name)
    manager.start()
    try:
        if ready:
            manager.wait_ready()
        yield manager
    finally:
        manager.stop()
