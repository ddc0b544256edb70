"""`podcert explain`: from options to an exit status. 0 allowed, 1 refused or nothing enrolled, 2 wrong usage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from certmanager.console import Console, Target, UsageError
from certmanager.domain.errors import PodcertError
from certmanager.domain.explain import Explanation, explain
from certmanager.domain.model import Service
from certmanager.domain.policy import IdentityPolicy
from certmanager.domain.terms import Defaults
from certmanager.explain.cluster import Cluster
from certmanager.explain.manifest import Manifest, ManifestError, Subject, read_manifest
from certmanager.explain.text import as_dict, as_text
from certmanager.kube.kubeconfig import client, usual
from certmanager.policy.file import NO_POLICY, load_policy
from certmanager.policy.parse import PolicyError
from certmanager.settings import SettingsError, load


@dataclass(frozen=True, slots=True)
class Options:
    """As given on the command line."""

    pod: str | None = None
    namespace: str = "default"
    files: tuple[Path, ...] = ()
    offline: bool = False
    as_json: bool = False
    kubeconfig: Path | None = None
    context: str | None = None
    config: Path | None = None
    policy: Path | None = None


@dataclass(slots=True)
class _World:
    """What is known: the cluster if there is one, what the manifests say, and what could not be looked at."""

    cluster: Cluster | None
    manifest: Manifest = field(default_factory=Manifest)
    notes: list[str] = field(default_factory=list)

    def labels(self, namespace: str) -> Mapping[str, str]:
        """Labels of a namespace. Raises `UsageError` when nobody can tell."""
        if namespace in self.manifest.namespaces:
            return self.manifest.namespaces[namespace]
        if self.cluster is None:
            raise UsageError(
                f"the policy goes by labels of namespaces, and those of {namespace} are not known: put the Namespace into "
                "the file, or leave --offline out"
            )
        return self.cluster.labels(namespace)

    def services(self, namespace: str) -> list[Service]:
        """The file's Services of a namespace, then those of the cluster that the file does not replace."""
        own = {service.name: service for service in self.manifest.services if service.namespace == namespace}
        if self.cluster is not None:
            try:
                own = {service.name: service for service in self.cluster.services(namespace)} | own
            except PodcertError as error:
                if not self.manifest.subjects:
                    raise
                self.notes.append(f"the Services of the cluster were not looked at: {error.message}")
                self.cluster = None
        return list(own.values())


def main(options: Options, console: Console) -> int:
    """Explains; returns the exit status."""
    try:
        found, notes = _explain(options, console)
    except UsageError as error:
        console.err(f"podcert: {error}")
        return 2
    except PodcertError as error:
        console.err(f"podcert: {error.message}")
        return 2
    if options.as_json:
        console.out(json.dumps({"pods": [as_dict(each, source) for source, each in found], "notes": notes}, indent=2))
    else:
        console.out("\n".join(as_text(each, source) for source, each in found).rstrip("\n"))
        for note in notes:
            console.err(f"podcert: {note}")
    verdicts = {each.verdict for _, each in found}
    return 1 if "refused" in verdicts or verdicts <= {"not enrolled"} else 0


def _explain(options: Options, console: Console) -> tuple[list[tuple[str, Explanation]], list[str]]:
    if (options.pod is None) == (not options.files):
        raise UsageError("name either a pod or, with -f, a manifest")
    if options.pod is not None and options.offline:
        raise UsageError("--offline is for manifests (-f): a pod is in the cluster")
    settings, policy = _terms(options)
    world = _World(None if options.offline else _cluster(options, console))
    if world.cluster is None and not options.offline:
        if options.pod is not None:
            raise UsageError("there is no kubeconfig; name one by --kubeconfig or KUBECONFIG")
        world.notes.append("there is no kubeconfig, so the Services of the cluster were not looked at")
    subjects = _in_cluster(options, world) if options.pod is not None else _in_files(options, world)
    found = []
    for subject in subjects:
        services = world.services(subject.pod.namespace)
        defaults = policy.defaults(settings, subject.pod.namespace, world.labels)
        secret = world.cluster.secret(subject.pod) if world.cluster and options.pod is not None else None
        found.append((subject.source, explain(subject.pod, services, defaults, secret)))
    return found, world.notes


def _terms(options: Options) -> tuple[Defaults, IdentityPolicy]:
    """The manager's settings, as far as they matter here: how it logs in does not."""
    try:
        settings = load(options.config, auth="kubernetes", policy_file=options.policy)
    except SettingsError as error:
        raise UsageError(f"the settings cannot be used:\n{error}") from None
    try:
        policy = NO_POLICY if settings.policy_file is None else load_policy(settings.policy_file)
    except PolicyError as error:
        raise UsageError(f"policy file {settings.policy_file}: {error}") from None
    return settings.defaults(), policy


def _cluster(options: Options, console: Console) -> Cluster | None:
    target = Target(options.kubeconfig, options.context)
    return None if usual(target, console) is None else Cluster(client(target, console))


def _in_cluster(options: Options, world: _World) -> list[Subject]:
    name = options.pod or ""
    pod = world.cluster.pod(options.namespace, name) if world.cluster else None
    if pod is None:
        raise UsageError(f"there is no pod {name} in namespace {options.namespace}; name another by -n")
    return [Subject(f"Pod/{name}", pod)]


def _in_files(options: Options, world: _World) -> list[Subject]:
    try:
        for path in options.files:
            read_manifest(path, options.namespace, world.manifest)
    except ManifestError as error:
        raise UsageError(str(error)) from None
    if not world.manifest.subjects:
        raise UsageError("the files have no pod, and no workload that would make one")
    return world.manifest.subjects
