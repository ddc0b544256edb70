"""Provider `existing`: somebody's own cluster, only when its kubeconfig is named, and left as it was found.

A kubeconfig is taken from --kubeconfig or PODCERT_TEST_KUBECONFIG, never from KUBECONFIG or ~/.kube/config: tests that run
by accident on the cluster that a shell happens to point at do harm. What kubectl says it has *created* is noted with its
uid, and only that is deleted at the end; the label that the tests put on namespace `default` gets its old value back.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import images, paths
from tests.cluster.paths import ClusterError
from tests.cluster.progress import say
from tests.cluster.provider import Spec
from tests.cluster.remote import Remote, kubectl_program

VARIABLE = "PODCERT_TEST_KUBECONFIG"
NEEDED_FREE = ("namespace/podcert", "namespace/vault", "clusterrole/podcert-certificate-manager")
"""What must not be there yet: the tests would change somebody's installation."""
ENFORCE = "pod-security.kubernetes.io/enforce"
CREATED = re.compile(r"^(?P<kind>[a-z]+)(\.[a-z0-9.]+)?/(?P<name>\S+) (created|serverside-applied)$", re.MULTILINE)
ORDER = ("pod", "deployment", "namespace")
"""Kinds that are deleted first; all others follow."""


@dataclass(frozen=True)
class Made:
    """An object that kubectl created for us; `namespace` is empty for those that have none."""

    kind: str
    name: str
    namespace: str
    uid: str


@dataclass(frozen=True)
class ExistingCluster(Remote):
    """See `provider.Cluster`; `down` removes what was created through this object, and nothing else."""

    load: bool = True
    made: list[Made] = field(default_factory=list)
    enforced: str | None = None

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl with all rights, and note what it creates. Raises ClusterError as `Remote.kubectl`."""
        done = super().kubectl(*arguments, stdin=stdin, check=False, timeout=timeout)
        # Also of an apply that failed half-way.
        for found in CREATED.finditer(done.stdout):
            if not any(each.startswith("--dry-run") for each in arguments):
                self._note(found["kind"], found["name"], _namespace(arguments))
        if check and done.returncode != 0:
            message = f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}"
            raise ClusterError(message)
        return done

    def load_images(self, names: Iterable[str]) -> None:
        """Nodes of somebody else's cluster are out of reach: raises ClusterError, unless told that images are there."""
        wanted = [images.SOURCES[name].reference for name in names if name in images.SOURCES]
        if wanted and self.load:
            message = (
                f"the nodes of context {self.context} get images from a registry or from you, not from here: make "
                f"{', '.join(wanted)} available there (docs/install.md#images), then say --no-load"
            )
            raise ClusterError(message)

    def down(self) -> None:
        """Delete what was created, and wait until it is gone; the cluster stays."""
        in_order = sorted(
            self.made, key=lambda each: ORDER.index(each.kind) if each.kind in ORDER else len(ORDER), reverse=False
        )
        for each in in_order:
            where = [f"--namespace={each.namespace}"] if each.namespace else []
            asked = ["get", each.kind, each.name, *where, "--ignore-not-found", "--output=jsonpath={.metadata.uid}"]
            if super().kubectl(*asked, check=False).stdout == each.uid:
                super().kubectl("delete", each.kind, each.name, *where, "--ignore-not-found", "--wait", timeout=300)
        self.made.clear()
        if self.enforced is not None:
            label = f"{ENFORCE}={self.enforced}" if self.enforced else f"{ENFORCE}-"
            super().kubectl("label", "namespace", "default", "--overwrite", label)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _note(self, kind: str, name: str, namespace: str) -> None:
        """Note an object with its uid. One in a namespace that we made goes with that, so its place does not matter."""
        where = [f"--namespace={namespace}"] if namespace else []
        asked = super().kubectl("get", kind, name, *where, "--output=json", check=False)
        if asked.returncode == 0:
            meta = json.loads(asked.stdout)["metadata"]
            self.made.append(Made(kind, name, meta.get("namespace", ""), meta["uid"]))


@dataclass(frozen=True)
class Existing:
    """The provider; see `provider.Provider`.

    Attributes:
        kubeconfig: named by the user; None when nobody did.
        context: one of its contexts; None for the one that the file itself calls current.
        load: False when the user says that the images are there.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    load: bool = True

    @property
    def name(self) -> str:
        """What --provider calls it."""
        return "existing"

    def missing(self, *, node: bool = True) -> str | None:
        """Return what is not given, or None."""
        if self.kubeconfig is None:
            return (
                f"provider existing: no kubeconfig is named; say --kubeconfig FILE or {VARIABLE}=FILE (KUBECONFIG and "
                "~/.kube/config are not used, so that no test runs on a cluster by accident)"
            )
        if not self.kubeconfig.is_file():
            return f"provider existing: kubeconfig {self.kubeconfig} is not a file; name an existing one"
        try:
            kubectl_program()
        except ClusterError as error:
            return str(error)
        return None

    def up(self, spec: Spec) -> ExistingCluster:
        """Return the cluster, after a look whether the tests would change somebody's installation.

        Raises:
            ClusterError: no kubeconfig, no answer, an installation that is there already, or images that are not.
        """
        cluster = self.attach(spec.name)
        if spec.audit or spec.pod_certificates:
            message = "provider existing: audit log and feature gates are the cluster's own; use --provider local"
            raise ClusterError(message)
        taken = cluster.kubectl("get", *NEEDED_FREE, "--ignore-not-found", "--output=name").stdout.split()
        if taken:
            message = (
                f"context {cluster.context} has {', '.join(taken)} already: the tests would change an installation that is in "
                "use; uninstall it first (docs/install.md#uninstall), or name another cluster"
            )
            raise ClusterError(message)
        cluster.load_images(spec.images)
        say(f"cluster {cluster.apiserver_url} (context {cluster.context}): it will be left as it was found")
        return cluster

    def attach(self, name: str) -> ExistingCluster:
        """Return the cluster without a look at what is in it. Raises ClusterError when nobody answers."""
        if problem := self.missing():
            raise ClusterError(problem)
        assert self.kubeconfig is not None
        context = self.context or self._current(self.kubeconfig)
        folder = paths.run_root() / ".existing" / paths.check_name(name)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        cluster = ExistingCluster(name, self.kubeconfig, context, folder, load=self.load)
        escaped = ENFORCE.replace(".", r"\.")
        asked = ["get", "namespace", "default", f"--output=jsonpath={{.metadata.labels.{escaped}}}"]
        enforced = cluster.kubectl(*asked, timeout=30).stdout
        return ExistingCluster(name, self.kubeconfig, context, folder, load=self.load, enforced=enforced)

    def down(self, name: str) -> bool:
        """Nothing: the cluster is somebody else's, and what a run created it has deleted itself."""
        return False

    def names(self) -> list[str]:
        """Return the one name there is, when a kubeconfig was named."""
        return [] if self.missing() else ["existing"]

    def _current(self, kubeconfig: Path) -> str:
        command = [kubectl_program(), f"--kubeconfig={kubeconfig}", "config", "current-context"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode != 0:
            message = f"kubeconfig {kubeconfig}: {done.stderr.strip()}; name a context with --context"
            raise ClusterError(message)
        return done.stdout.strip()


def _namespace(arguments: tuple[str, ...]) -> str:
    """Return the namespace that kubectl's arguments name, or an empty string."""
    for position, each in enumerate(arguments):
        if each.startswith("--namespace="):
            return each.partition("=")[2]
        if each in {"-n", "--namespace"}:
            with contextlib.suppress(IndexError):
                return arguments[position + 1]
    return ""
