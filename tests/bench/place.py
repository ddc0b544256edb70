"""What is measured on: the real control plane and OpenBao, and the manager as a process with the rights that users give it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from tests.bench.counters import Writes, total, writes
from tests.bench.http11 import Endpoint
from tests.bench.load import Report, Task
from tests.cluster import openbao, pki
from tests.cluster.openbao import DevServer
from tests.cluster.paths import REPOSITORY, ClusterError
from tests.cluster.running import LocalCluster

READY_SECONDS = 60.0
LOAD_SECONDS = 600.0


@dataclass(frozen=True)
class Place:
    """Both servers, ready: `folder` is for files of the benchmark."""

    cluster: LocalCluster
    vault: DevServer
    vault_token: str
    folder: Path

    @property
    def api(self) -> Endpoint:
        """The API server, with all rights."""
        parts = urlsplit(self.cluster.apiserver_url)
        admin = self.cluster.admin
        ca = str(self.cluster.ca_file)
        return Endpoint(parts.hostname or "", parts.port or 443, ca, str(admin.certificate), str(admin.key))

    def api_as(self, token: str) -> Endpoint:
        """The API server, with a ServiceAccount's token."""
        admin = self.api
        return Endpoint(admin.host, admin.port, admin.ca, headers=(("Authorization", f"Bearer {token}"),))

    @property
    def pki(self) -> Endpoint:
        """OpenBao, with the manager's token."""
        parts = urlsplit(self.vault.url)
        return Endpoint(parts.hostname or "", parts.port or 80, headers=(("X-Vault-Token", self.vault_token),))

    def writes(self) -> Writes:
        """The API server's count of writes until now."""
        status, text = self.cluster.api.call("GET", "/metrics", timeout=30)
        if status != 200:
            raise ClusterError(f"GET /metrics of the API server: {status}")
        return writes(text)

    def signs(self) -> float:
        """OpenBao's count of `sign` and `issue` calls until now."""
        address = f"{self.vault.url}/v1/sys/metrics?format=prometheus"
        request = urllib.request.Request(address, headers={"X-Vault-Token": self.vault.root_token})  # noqa: S310 - http, loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
            text = answer.read().decode()
        return total(text, "vault_pki_sign_count") + total(text, "vault_pki_issue_count")

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST of one object with all rights."""
        return self.cluster.api.create(path, dict(body))

    def namespace(self, name: str, accounts: int = 1) -> tuple[str, ...]:
        """A new namespace with ServiceAccounts and one Service that selects `app: web`; returns the accounts' names."""
        self.create("/api/v1/namespaces", {"metadata": {"name": name}})
        core = f"/api/v1/namespaces/{name}"
        names = tuple(f"web-{number}" for number in range(accounts))
        for account in names:
            self.create(f"{core}/serviceaccounts", {"metadata": {"name": account}})
        spec = {"selector": {"app": "web"}, "ports": [{"port": 443}]}
        self.create(f"{core}/services", {"metadata": {"name": "web"}, "spec": spec})
        return names


def set_up_vault(server: DevServer) -> str:
    """The seed's set-up; returns a token of the policy `pods`."""

    def call(method: str, path: str, body: object) -> Any:
        status, answer = server.call(method, path, body)
        if status >= 300:
            raise ClusterError(f"{method} {path}: {status} {answer}")
        return answer

    call("POST", "sys/mounts/pki", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
    root = {"common_name": "my app root CA", "key_type": "ec", "key_bits": 256, "ttl": "87600h"}
    call("POST", "pki/root/generate/internal", root)
    role = {"allowed_domains": "svc.cluster.local", "allow_subdomains": True, "key_type": "any"}
    call("POST", "pki/roles/pods", role | {"require_cn": False, "max_ttl": "72h"})
    policy = (REPOSITORY / "manifests" / "policies" / "pods.hcl").read_text()
    call("PUT", "sys/policies/acl/pods", {"policy": policy})
    return str(call("POST", "auth/token/create", {"policies": ["pods"], "ttl": "24h"})["auth"]["client_token"])


@contextlib.contextmanager
def place(cluster: LocalCluster, folder: Path) -> Iterator[Place]:
    """OpenBao beside the control plane, and the manager's own ServiceAccount in it."""
    with openbao.dev_server() as vault:
        for manifest in ("namespace", "serviceaccount", "rbac"):
            path = REPOSITORY / "manifests" / "base" / f"{manifest}.yaml"
            cluster.kubectl("apply", "--namespace", "podcert", "-f", str(path))
        # As users install it: each write costs a little more with the fence.
        for policy in sorted((REPOSITORY / "manifests" / "components" / "fence").glob("*.yaml")):
            if policy.name != "kustomization.yaml":
                cluster.kubectl("apply", "-f", str(policy))
        yield Place(cluster, vault, set_up_vault(vault), folder)


class Manager:
    """The manager's process; ends with the `with` block."""

    def __init__(self, where: Place, options: list[str]) -> None:
        token = where.cluster.token("podcert", "certificate-manager", 24 * 3600)
        kubeconfig = where.folder / "manager.kubeconfig"
        pki.write(kubeconfig, _kubeconfig(where.api, token).encode())
        self.log = where.folder / "manager.log"
        command = [sys.executable, "-m", "certmanager", "run", "--kubeconfig", str(kubeconfig)]
        environment = {
            "PATH": os.environ["PATH"],
            "VAULT_ADDR": where.vault.url,
            "VAULT_TOKEN": where.vault_token,
            "PYTHONPATH": str(REPOSITORY),
        }
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--listen", "127.0.0.1:0", *options], env=environment, cwd=where.folder, stderr=log
            )
        self._url = ""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def __enter__(self) -> Manager:
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)

    def metrics(self) -> str:
        """Its /metrics."""
        return self._get("/metrics") or ""

    def _wait(self) -> None:
        end = self.started + READY_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if not self._url:
                self._url = self._address()
            elif self._get("/readyz") is not None:
                return
            time.sleep(0.02)
        tail = self.log.read_text(errors="replace")[-1000:]
        raise ClusterError(f"the manager is not ready; its log ends with: {tail}")

    def _address(self) -> str:
        for line in self.log.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                fields = json.loads(line)
                if fields.get("message") == "started":
                    return f"http://127.0.0.1:{fields['port']}"
        return ""

    def _get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(self._url + path, timeout=30) as answer:  # noqa: S310 - http, loopback
                return str(answer.read().decode())
        except OSError:
            return None


def _kubeconfig(api: Endpoint, token: str) -> str:
    server = {"server": f"https://{api.host}:{api.port}", "certificate-authority": api.ca}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bench", "cluster": server}],
            "users": [{"name": "manager", "user": {"token": token}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "manager"}}],
            "current-context": "bench",
        }
    )


class Load:
    """The load generator's process, prepared: `go` lets it work."""

    def __init__(self, task: Task) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        self._write(json.dumps(asdict(task)))  # by the pipe: a command line is readable by every user of the machine
        self._read()

    def go(self) -> None:
        """Starts the work."""
        self._write("go")

    def report(self) -> Report:
        """Waits for its end."""
        found = Report(**json.loads(self._read()))
        self._process.wait(30)
        return found

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(30)

    def _write(self, line: str) -> None:
        pipe = self._pipe(self._process.stdin)
        pipe.write(line + "\n")
        pipe.flush()

    def _read(self) -> str:
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise ClusterError(f"the load generator ended with status {self._process.wait(30)}")
        return line

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe
