"""docs/offline-root.md works: its commands in order, on a real OpenBao with the manager at work; openssl judges what pods get."""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.openbao import binary, dev_server
from tests.cluster.paths import REPOSITORY
from tests.cluster.running import LocalCluster
from tests.e2e.walkthrough import Place, problem, run, steps
from tests.integration.manager import running
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster

PAGE = (REPOSITORY / "docs" / "offline-root.md").read_text("utf-8")
PARTS = ("## A new intermediate below the same root", "## A new root")


@pytest.fixture
def empty(installed: LocalCluster, tmp_path: Path) -> Iterator[World]:
    """A namespace, and a server of its own without a PKI mount."""
    with dev_server() as server:
        world = World(installed, server, f"offline-{os.getpid()}", "pki", tmp_path)
        world.create("/api/v1/namespaces", {"metadata": {"name": world.namespace}})
        world.create(f"{world.core}/serviceaccounts", {"metadata": {"name": "web"}})
        world.write_kubeconfig(world.kubeconfig, installed.apiserver_url)
        yield world
        installed.api.call("DELETE", f"/api/v1/namespaces/{world.namespace}")


def place(world: World) -> Place:
    """A folder with the page's programs, and the environment of an administrator."""
    programs = world.folder / "bin"
    programs.mkdir(exist_ok=True)
    for name, command in {"vault": [str(binary())], "podcert": [sys.executable, "-m", "certmanager"]}.items():
        file = programs / name
        file.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        file.chmod(0o755)
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "HOME": str(world.folder),
        "VAULT_ADDR": world.vault.url,
        "VAULT_TOKEN": world.vault.root_token,
        "KUBECONFIG": str(world.cluster.kubeconfig),
    }
    return Place(world.folder, environment, 1)


def follow(world: World, page: str) -> None:
    """Runs the commands of a part of the page."""
    blocks = steps(page)
    assert blocks
    outputs = run(blocks, place(world), seconds=150)
    assert problem(blocks, outputs) is None


def verified(world: World, pod: str, root: str) -> None:
    """Only the root is in `ca-cert.pem`, and by it alone openssl verifies what the pod serves, however strict."""
    secret = world.secret_of(pod)
    assert secret is not None
    for name, file in {"tls.crt": "cert.pem", "ca.crt": "ca-cert.pem"}.items():
        (world.folder / file).write_bytes(base64.b64decode(secret["data"][name]))
    assert (world.folder / "ca-cert.pem").read_text().strip() == (world.folder / root).read_text().strip()
    name = f"{pod}.{world.namespace}.svc.cluster.local"
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca-cert.pem"]
    command += ["-no-CApath", "-no-CAstore", "-untrusted", "cert.pem", "-verify_hostname", name, "cert.pem"]
    done = subprocess.run(command, cwd=world.folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "cert.pem: OK\n"), done.stderr


def issued_by(world: World, pod: str) -> str:
    return world.leaf(pod).issuer.rfc4514_string()


def test_the_pages_commands_work_in_order_and_openssl_verifies_what_a_pod_serves_by_the_root_alone(
    empty: World,
) -> None:
    world = empty
    beginning, rest = PAGE.split(PARTS[0])
    renewal, replacement = rest.split(PARTS[1])
    follow(world, beginning)
    world.policy()
    world.put_token(world.new_token())
    with running(world.launch(PODCERT_CA_REFRESH="1")):
        world.pod("web")
        world.enrolled("web")
        verified(world, "web", "offline/root.pem")
        assert issued_by(world, "web") == "CN=Example Intermediate CA 1"
        follow(world, renewal)
        verified(world, "web", "offline/root.pem")
        assert issued_by(world, "web") == "CN=Example Intermediate CA 2"
        follow(world, replacement)
        verified(world, "web", "offline/root-2.pem")
        assert issued_by(world, "web") == "CN=Example Intermediate CA 3"
        eventually(lambda: len(world.ask("LIST", "pki/issuers")["data"]["keys"]) == 5)
        usages = [
            world.ask("GET", f"pki/issuer/{issuer}")["data"]["usage"]
            for issuer in world.ask("LIST", "pki/issuers")["data"]["keys"]
        ]
        assert usages.count("read-only") == 3, "two intermediates and the root that only they needed"
    print("FIGURE openssl verify -CAfile ca-cert.pem with the root alone: OK, for 3 intermediates below 2 roots")


def test_the_private_key_of_the_root_never_reaches_vault() -> None:
    sent = [line for line in PAGE.splitlines() if line.startswith("vault ")]
    assert len(sent) > 8
    assert [line for line in sent if ".key" in line or "passphrase" in line] == []
