"""Kills the manager from the node again and again, and blocks its way to Vault: what real outages look like to it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from tests.cluster import node
from tests.cluster.paths import ClusterError
from tests.cluster.running import LocalCluster
from tests.e2e.rotating import MANAGER


class Killer:
    """SIGKILL for the manager's process every `period` seconds within a `with` block.

    Its pod is deleted right after: else the kubelet would start the container later and later (CrashLoopBackOff).
    """

    def __init__(self, cluster: LocalCluster, period: float = 20.0) -> None:
        self._cluster = cluster
        self._period = period
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.kills: list[float] = []
        """When, seconds since the epoch."""
        self.problems: list[str] = []

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        began, turn = time.monotonic(), 1
        while not self._stop.wait(max(0.0, began + turn * self._period - time.monotonic())):
            turn += 1
            try:
                self.kill()
            except (ClusterError, LookupError, OSError) as error:
                self.problems.append(f"{type(error).__name__}: {error}")

    def kill(self) -> None:
        """Kills it now."""
        pods = json.loads(self._cluster.kubectl("get", "pods", "-n", "podcert", "-l", MANAGER, "-o", "json").stdout)
        for pod in pods["items"]:
            for status in pod["status"].get("containerStatuses", []):
                if "running" in status["state"]:
                    kill_container(self._cluster, str(status["containerID"]))
                    self.kills.append(time.time())
            flags = ("--wait=false", "--grace-period=1", "--ignore-not-found")
            self._cluster.kubectl("delete", "pod", "-n", "podcert", pod["metadata"]["name"], *flags)


def kill_container(cluster: LocalCluster, container: str) -> None:
    """SIGKILL for a container by its id, as the kubelet tells it (`containerd://…`)."""
    words = ["ctr", "--address", node.SOCKET, "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL"]
    done = cluster.exec_in_sandbox([*words, container.removeprefix("containerd://")])
    if done.returncode != 0:
        raise ClusterError(f"ctr tasks kill: {done.stderr.strip()}")


@dataclass(frozen=True)
class Blocked:
    """Vault's address while packets to it are dropped."""

    cluster: LocalCluster
    address: str

    def tries(self) -> int:
        """Packets so far that were to open a connection; one that is not answered sends three more within ten seconds."""
        listing = self._iptables("--numeric", "--verbose", "--exact", "--list", "FORWARD")
        lines = [line.split() for line in listing.splitlines() if self.address in line and "tcp" in line]
        return int(lines[0][0])

    def change(self, how: str) -> None:
        """`--insert` or `--delete` for both rules: the second one counts, and comes first."""
        to = ("FORWARD", "--destination", self.address)
        self._iptables(how, *to, "--jump", "DROP")
        self._iptables(how, *to, "--protocol", "tcp", "--syn", "--jump", "DROP")

    def _iptables(self, *arguments: str) -> str:
        done = self.cluster.exec_in_sandbox(["iptables", "--wait", *arguments])
        if done.returncode != 0:
            raise ClusterError(f"iptables: {done.stderr.strip()}")
        return done.stdout


@contextlib.contextmanager
def vault_blocked(cluster: LocalCluster) -> Iterator[Blocked]:
    """Every packet to Vault's pod is dropped on its way: connections hang. Its own probes, from the node, get through."""
    path = "jsonpath={.items[0].status.podIP}"
    blocked = Blocked(cluster, cluster.kubectl("get", "pods", "-n", "vault", "-o", path).stdout.strip())
    blocked.change("--insert")
    try:
        yield blocked
    finally:
        blocked.change("--delete")
