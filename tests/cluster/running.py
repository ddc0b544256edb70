"""A running cluster of provider `local`: what tests do with it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import images, node
from tests.cluster.api import Api, wait
from tests.cluster.kubectl import ByKubectl
from tests.cluster.paths import ClusterError
from tests.cluster.pki import Identity
from tests.cluster.provider import Spec
from tests.cluster.sandbox import Sandbox

PARTS = ("etcd", "apiserver", "controller-manager", "scheduler", "containerd", "kubelet", "proxy", "coredns")


@dataclass(frozen=True)
class LocalCluster(ByKubectl):
    """See `provider.Cluster`; on top of that, outages and the inside of the sandbox."""

    spec: Spec
    sandbox: Sandbox
    apiserver_url: str
    kube: Path

    @property
    def name(self) -> str:
        """Return the cluster's name."""
        return self.spec.name

    @property
    def folder(self) -> Path:
        """Return the folder that the cluster lives in, mode 0700."""
        return self.sandbox.folder

    @property
    def kubeconfig(self) -> Path:
        """Return a kubeconfig with all rights."""
        return self.folder / "conf" / "admin.kubeconfig"

    @property
    def ca_file(self) -> Path:
        """Return the cluster's CA certificate."""
        return self.folder / "pki" / "ca.crt"

    @property
    def admin(self) -> Identity:
        """Return the client certificate and key with all rights."""
        return Identity(self.folder / "pki" / "admin.crt", self.folder / "pki" / "admin.key")

    @property
    def logs_dir(self) -> Path:
        """Return the folder with one log for each part; it stays until a cluster of the same name starts."""
        return self.sandbox.logs

    @property
    def api(self) -> Api:
        """Return plain calls to the API server with all rights."""
        return Api(self.apiserver_url, self.ca_file, self.admin)

    def kubectl_command(self) -> list[str]:
        """Return the words that start kubectl with all rights, for programs that run it themselves."""
        return [str(self.kube), "kubectl", f"--kubeconfig={self.kubeconfig}"]

    def token(self, namespace: str, service_account: str, seconds: int = 3600) -> str:
        """Return a token of a ServiceAccount, valid for `seconds` (600 at least).

        Raises:
            ClusterError: there is no such ServiceAccount.
        """
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        return str(self.api.create(path, body)["status"]["token"])

    def load_images(self, names: Iterable[str | Path]) -> None:
        """Bring images to the node: names of this project's (built if need be), or paths of image archives.

        Raises:
            ClusterError: no such image, no node, or containerd refused it.
        """
        if not self.spec.node:
            message = f"cluster {self.name!r} has no node to load images into: start it with node=True"
            raise ClusterError(message)
        wanted = list(names)
        for archive in [each for each in wanted if isinstance(each, Path)]:
            with archive.open("rb") as source:
                self._import(source.fileno())
        built = images.build([each for each in wanted if isinstance(each, str)])
        if built:
            with images.stream(built) as source:
                self._import(source)

    def _import(self, source: int) -> None:
        command = ["ctr", "--address", node.SOCKET, "--namespace", "k8s.io", "images", "import", "-"]
        done = subprocess.run(
            self.sandbox.command(command), stdin=source, capture_output=True, text=True, check=False, timeout=300
        )
        if done.returncode != 0:
            message = f"containerd refused an image: {done.stderr.strip()[-500:]}"
            raise ClusterError(message)

    def exec_in_sandbox(
        self, command: Sequence[str], stdin: str | None = None, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside the sandbox (without a node: beside it); it ends with the sandbox."""
        words = self.sandbox.command(command)
        return subprocess.run(words, input=stdin or "", capture_output=True, text=True, check=False, timeout=timeout)

    def pause(self, part: str) -> None:
        """Freeze a part (SIGSTOP): connections to it hang."""
        self.sandbox.signal(part, signal.SIGSTOP)

    def resume(self, part: str) -> None:
        """Let a frozen part go on."""
        self.sandbox.signal(part, signal.SIGCONT)

    @contextlib.contextmanager
    def paused(self, part: str) -> Iterator[None]:
        """Freeze a part for the length of a `with` block."""
        self.pause(part)
        try:
            yield
        finally:
            self.resume(part)

    def stop_part(self, part: str) -> None:
        """End a part: connections to it are refused. etcd's data stay."""
        self.sandbox.stop(part)

    def start_part(self, part: str) -> None:
        """Start a part that has ended, with the same command line."""
        self.sandbox.run_again(part)

    def stop_apiserver(self) -> None:
        """End the API server."""
        # Two seconds: its own graceful end waits a minute for watches, which nobody here does.
        self.sandbox.stop("apiserver", seconds=2)

    def start_apiserver(self) -> None:
        """Start the API server again and wait until it is ready."""
        self.start_part("apiserver")
        wait("the API server", self.api.ready, 60, self.check)

    def check(self) -> None:
        """Raise ClusterError with the end of its log if a part has ended by itself."""
        for name, status in self.sandbox.status()["ended"].items():
            log = (self.logs_dir / f"{name}.log").read_text(errors="replace").strip()
            message = f"{name} ended with wait status {status}; its log ({self.logs_dir}/{name}.log) ends with:\n"
            raise ClusterError(message + log[-1500:])

    def keep(self) -> None:
        """Let the cluster outlive this process; `python -m tests.cluster down` ends it."""
        self.sandbox.keep()

    def down(self) -> None:
        """End the cluster; returns when nothing of it is left but its logs."""
        self.sandbox.end()

    def describe(self) -> str:
        """Return what runs, as JSON."""
        return json.dumps({"name": self.name, "url": self.apiserver_url, **self.sandbox.status()}, indent=1)
