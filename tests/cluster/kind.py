"""Provider `kind`: Kubernetes in Docker (https://kind.sigs.k8s.io), where Docker has an engine.

kind comes from the PATH, or is built from its Go module into the cache. This project's images are built by Docker from
the same Dockerfiles as everywhere; the nodes pull OpenBao's public image themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import children, gobuild, images, paths
from tests.cluster.controlplane import POD_CERTIFICATE_GATES
from tests.cluster.paths import REPOSITORY, ClusterError
from tests.cluster.progress import say
from tests.cluster.provider import Spec
from tests.cluster.remote import Remote

MODULE = "sigs.k8s.io/kind"
VERSION = "v0.33.0"
PREFIX = "podcert-"
PULLED = ("openbao",)
"""Images that are public: a node gets them itself when a pod needs them."""
WAIT = "180s"
HOW_TO_GET_DOCKER = "install Docker and start it (https://docs.docker.com/engine/install/), or use --provider local"


@dataclass(frozen=True)
class KindCluster(Remote):
    """A running kind cluster; `locks` are held while this process owns it."""

    program: str = "kind"
    locks: list[int] = field(default_factory=list, repr=False)

    def load_images(self, names: Iterable[str]) -> None:
        """Build images of this project with Docker and bring them to the nodes. Raises ClusterError with its words."""
        wanted = [name for name in names if name not in (*PULLED, "pause")]
        if unknown := [name for name in wanted if name not in images.NAMES]:
            message = f"no image {unknown[0]!r}: there are {', '.join(images.NAMES)}"
            raise ClusterError(message)
        references = []
        for number, name in enumerate(wanted, 1):
            source = images.SOURCES[name]
            references.append(source.reference.removeprefix("docker.io/library/"))
            say(f"building image {name} with Docker: {number} of {len(wanted)}")
            build = ["docker", "build", "--quiet", "--tag", references[-1], "--file", source.dockerfile, "."]
            children.run(build, children.Surroundings(REPOSITORY))
        if references:
            children.run([self.program, "load", "docker-image", *references, "--name", PREFIX + self.name])

    def down(self) -> None:
        """Delete the cluster; returns when nothing of it is left."""
        _delete(self.program, self.name, self.kubeconfig)
        while self.locks:
            os.close(self.locks.pop())


class Kind:
    """The provider; see `provider.Provider`."""

    name = "kind"

    def missing(self, *, node: bool = True) -> str | None:
        """Return what this machine lacks and how to get it, or None."""
        if shutil.which("docker") is None:
            return f"docker is not on PATH: {HOW_TO_GET_DOCKER}"
        # A client without an engine answers `docker version`, and even `docker info` with status 0 in some releases.
        asked = ["docker", "info", "--format", "{{.ServerVersion}}"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode != 0 or not done.stdout.strip():
            said = (done.stderr.strip().splitlines() or ["no answer"])[-1]
            return f"docker has no engine ({said}): {HOW_TO_GET_DOCKER}"
        if shutil.which("kind") is None and not _built().exists():
            return gobuild.missing_go()
        return None

    def up(self, spec: Spec) -> KindCluster:
        """Create a cluster; `down` deletes it, and so does the next `up` when this process was killed.

        Raises:
            ClusterError: one of that name runs, something is missing, or kind failed (with its own words).
        """
        paths.check_name(spec.name)
        if problem := self.missing():
            raise ClusterError(problem)
        if spec.audit:
            message = "provider kind keeps no audit log: use --provider local"
            raise ClusterError(message)
        program = _program()
        self._sweep(program)
        folder = _folder(spec.name)
        held = paths.try_lock(folder.with_suffix(".lock"))
        if held is None or spec.name in self.names():
            message = (
                f"a cluster {spec.name!r} runs already: "
                f"`python -m tests.cluster down --provider kind --name {spec.name}` ends it"
            )
            raise ClusterError(message)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        cluster = KindCluster(
            spec.name, folder / "kubeconfig", f"kind-{PREFIX}{spec.name}", folder, program=program, locks=[held]
        )
        say(f"cluster {spec.name}: kind creates it")
        config = folder / "kind.json"
        config.write_text(json.dumps(_config(spec)))
        flags = ["--name", PREFIX + spec.name, "--kubeconfig", str(cluster.kubeconfig), "--config", str(config)]
        try:
            children.run([program, "create", "cluster", *flags, "--wait", WAIT])
            cluster.load_images(spec.images)
        except BaseException:
            cluster.down()
            raise
        return cluster

    def attach(self, name: str) -> KindCluster:
        """Return the running cluster `name`, or raise ClusterError."""
        if name not in self.names():
            message = f"no cluster {name!r} runs: `python -m tests.cluster up --provider kind --name {name}` starts one"
            raise ClusterError(message)
        folder = _folder(name)
        return KindCluster(name, folder / "kubeconfig", f"kind-{PREFIX}{name}", folder, program=_program())

    def down(self, name: str) -> bool:
        """Delete the cluster `name` and say whether it ran."""
        ran = paths.check_name(name) in self.names()
        if ran:
            _delete(_program(), name, _folder(name) / "kubeconfig")
        return ran

    def names(self) -> list[str]:
        """Return the names of this project's kind clusters; others are not ours to see."""
        found = children.run([_program(), "get", "clusters"]).splitlines()
        return sorted(each.removeprefix(PREFIX) for each in found if each.startswith(PREFIX))

    def _sweep(self, program: str) -> None:
        """Delete clusters whose process was killed: their lock is free, and nobody asked to keep them."""
        for name in self.names():
            folder = _folder(name)
            free = paths.try_lock(folder.with_suffix(".lock")) if folder.exists() else None
            if free is None:
                continue
            if not (folder / "kept").exists():
                say(f"cluster {name}: left over from a process that was killed; deleting it")
                _delete(program, name, folder / "kubeconfig")
            os.close(free)


@contextlib.contextmanager
def cluster(spec: Spec) -> Iterator[KindCluster]:
    """Run a kind cluster for the length of a `with` block."""
    running = Kind().up(spec)
    try:
        yield running
    finally:
        running.down()


def _config(spec: Spec) -> dict[str, object]:
    """Return kind's configuration (JSON, which is YAML)."""
    config: dict[str, object] = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4"}
    if spec.pod_certificates:
        config["featureGates"] = dict.fromkeys(POD_CERTIFICATE_GATES, True)
        config["runtimeConfig"] = {"certificates.k8s.io/v1beta1": "true"}
    return config


def _folder(name: str) -> Path:
    return paths.run_root() / ".kind" / name


def _delete(program: str, name: str, kubeconfig: Path) -> None:
    children.run([program, "delete", "cluster", "--name", PREFIX + name, "--kubeconfig", str(kubeconfig)])
    shutil.rmtree(_folder(name), ignore_errors=True)


def _built() -> Path:
    return paths.cache() / "bin" / f"kind-{VERSION}"


def _program() -> str:
    """Return kind: from the PATH, or built from its Go module (under a minute). Raises ClusterError without Go."""
    if found := shutil.which("kind"):
        return found
    target = _built()
    if target.exists():
        return str(target)
    if problem := gobuild.missing_go():
        raise ClusterError(problem)
    with paths.lock(target.with_suffix(".lock"), lambda: say("waiting for another process that builds kind")):
        if not target.exists():
            say(f"building kind {VERSION} from its Go module (about a minute)")
            with paths.temporary(paths.cache() / "tmp", "kind") as folder:
                environment = {"GOTOOLCHAIN": "local", "GOBIN": str(folder), "GOFLAGS": "", "GOTMPDIR": str(folder)}
                install = ["go", "install", "-trimpath", "-ldflags", "-s -w", f"{MODULE}@{VERSION}"]
                children.run(install, children.Surroundings(folder, environment))
                (folder / "kind").replace(target)
    return str(target)
