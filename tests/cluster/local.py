"""Provider `local`: the cluster from parts on this machine.

`cluster()` is what tests, benchmark and demo use: a control plane on the loopback in seconds (`node=False`, no root
needed), or with a node, in one sandbox of namespaces, where pods run in containers (root on Linux).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster import addresses, controlplane, gobuild, machine, node, paths
from tests.cluster.api import wait
from tests.cluster.paths import ClusterError
from tests.cluster.progress import say
from tests.cluster.provider import Spec
from tests.cluster.running import LocalCluster
from tests.cluster.sandbox import Keep, Sandbox

READY_SECONDS = 120.0
NODE_SECONDS = 180.0


@dataclass
class _Start:
    """What is gathered while a cluster starts."""

    spec: Spec
    folder: Path
    locks: list[int] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        if not self.spec.quiet:
            say(f"[{time.monotonic() - self.began:5.1f} s] cluster {self.spec.name}: {text}")


class Local:
    """The provider; see `provider.Provider`."""

    name = "local"

    def missing(self, *, node: bool) -> str | None:
        """Return what this machine lacks and how to get it, or None."""
        return missing(node=node)

    def up(self, spec: Spec) -> LocalCluster:
        """Start the cluster `spec` describes; it ends with this process unless kept.

        Raises:
            ClusterError: one of that name runs, something is missing, or a part does not start; nothing is left then.
        """
        paths.check_name(spec.name)
        kube = prepare(node=spec.node)
        paths.sweep()
        folder = paths.run_root() / spec.name
        held = paths.try_lock(folder.with_suffix(".lock"))
        if held is None:
            message = f"a cluster {spec.name!r} runs already: `python -m tests.cluster down --name {spec.name}` ends it"
            raise ClusterError(message)
        start = _Start(spec, folder, [held])
        try:
            return _up(start, kube)
        finally:
            for lock in start.locks:
                os.close(lock)

    def attach(self, name: str) -> LocalCluster:
        """Return the running cluster `name`, or raise ClusterError."""
        folder = paths.run_root() / paths.check_name(name)
        try:
            record = json.loads((folder / "cluster.json").read_text())
        except (OSError, ValueError) as error:
            message = f"no cluster {name!r} runs: `python -m tests.cluster up --name {name}` starts one"
            raise ClusterError(message) from error
        sandbox = Sandbox.attach(folder, namespaces=record["node"])
        return LocalCluster(Spec(**record["spec"]), sandbox, record["url"], Path(record["kube"]))

    def down(self, name: str) -> bool:
        """End the cluster `name`, wait until nothing of it is left, and say whether it ran."""
        folder = paths.run_root() / paths.check_name(name)
        sandbox = Sandbox(folder, namespaces=False)
        free = paths.try_lock(folder.with_suffix(".lock"))
        if free is None:
            sandbox.end()
            with paths.lock(folder.with_suffix(".lock"), seconds=30):
                pass  # free: its keeper has removed everything
        else:
            os.close(free)
        paths.sweep()
        return free is None

    def names(self) -> list[str]:
        """Return the names of the clusters that run."""
        running = []
        for record in sorted(paths.run_root().glob("*/cluster.json")):
            free = paths.try_lock(record.parent.with_suffix(".lock"))
            if free is None:
                running.append(record.parent.name)
            else:
                os.close(free)
        return running


def missing(*, node: bool) -> str | None:
    """Return what this machine lacks and how to get it, or None."""
    problems = [None if gobuild.built() else gobuild.missing_go(), machine.missing() if node else None]
    return "; ".join(each for each in problems if each) or None


def prepare(*, node: bool) -> Path:
    """Install missing Debian packages (as root), build the binary of all parts, and return its path.

    Raises:
        ClusterError: something is missing that cannot be had here; the message says what and how to get it.
    """
    if node and machine.can_install():
        machine.install()
    if problem := missing(node=node):
        raise ClusterError(problem)
    return gobuild.kube()


@contextlib.contextmanager
def cluster(name: str = "podcert", **options: Any) -> Iterator[LocalCluster]:
    """Run a cluster for the length of a `with` block.

    Args:
        name: 1 to 20 lower-case letters, digits, dashes.
        options: the other fields of `provider.Spec`: `node` (default True), `images`, `pod_certificates`, `audit`, `quiet`.
    """
    provider = Local()
    running = provider.up(Spec(name, **options))
    try:
        yield running
    finally:
        running.down()
        paths.sweep()


def _up(start: _Start, kube: Path) -> LocalCluster:
    spec, folder = start.spec, start.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    claim = addresses.claim_link() if spec.node else addresses.claim_port()
    start.locks.append(claim.lock)
    link = addresses.link(claim.number)
    address, port = (link.inside, 6443) if spec.node else ("127.0.0.1", claim.number)
    data = Path(node.DATA) if spec.node else folder / "data"
    plan = controlplane.Plan(kube, folder, data, address, port, spec.pod_certificates, spec.audit)
    made = controlplane.credentials(plan, datetime.datetime.now(datetime.UTC), node.USERS if spec.node else {})
    left = [str(folder / each) for each in ("data", "pki", "conf", "cluster.json", "etcd.sock", "etcd-peer.sock")]
    keep = Keep(start.locks, paths=left)
    if spec.node:
        enter = node.enter(paths.cgroup_name(spec.name))
        keep = Keep(start.locks, [link.interface], paths.cgroup_folders(spec.name), left, enter)
    sandbox = Sandbox.start(folder, namespaces=spec.node, keep=keep)
    running = LocalCluster(spec, sandbox, plan.url, kube)
    try:
        if spec.node:
            node.prepare(sandbox, link, paths.cgroup_name(spec.name))
            sandbox.run(node.containerd(folder))
        _start_control_plane(start, running, plan, made)
        if spec.node:
            _start_node(start, running, plan, made)
    except BaseException:
        sandbox.end()
        raise
    record = {"spec": dataclasses.asdict(spec), "node": spec.node, "url": plan.url, "kube": str(kube)}
    (folder / "cluster.json").write_text(json.dumps(record))
    start.say("ready")
    return running


def _start_control_plane(
    start: _Start, running: LocalCluster, plan: controlplane.Plan, made: controlplane.Credentials
) -> None:
    sandbox = running.sandbox
    start.say("starting etcd, the API server and its controllers")
    sandbox.run(controlplane.etcd(plan))
    sandbox.run(controlplane.apiserver(plan, made))
    wait("the API server", running.api.ready, READY_SECONDS, running.check)
    sandbox.run(controlplane.controller_manager(plan, made, node=start.spec.node))
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    wait("the controller manager", lambda: running.api.exists(account), READY_SECONDS, running.check)


def _start_node(start: _Start, running: LocalCluster, plan: controlplane.Plan, made: controlplane.Credentials) -> None:
    sandbox = running.sandbox
    start.say("starting scheduler, kubelet, kube-proxy and DNS")
    node.register(running.api)
    for part in (
        node.kubelet(plan, made),
        controlplane.scheduler(plan, made),
        node.proxy(plan, made),
        node.dns(plan, made),
    ):
        sandbox.run(part)
    wanted = ["pause", *start.spec.images]
    start.say(f"loading images: {', '.join(wanted)}")
    running.load_images(wanted)
    start.say("waiting for the node")
    wait("the node", lambda: running.api.node_ready(node.NAME), NODE_SECONDS, running.check)
