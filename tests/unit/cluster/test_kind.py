"""Provider kind up to the commands that it runs: `docker` and `kind` on PATH are scripts that write down what they are asked."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import gobuild, kind
from tests.cluster.kind import Kind
from tests.cluster.paths import ClusterError
from tests.cluster.provider import Spec

OURS = ("certificate-manager", "certificate-fetcher", "podcert-example", "openbao")
RECORD = """#!/bin/sh
printf '%s' "$(basename "$0")" >> {folder}/asked
for word in "$@"; do printf ' %s' "$word" >> {folder}/asked; done
echo >> {folder}/asked
"""
DOCKER = (
    RECORD
    + """
case "$1" in info) cat {folder}/engine; [ -s {folder}/engine ] ;; esac
"""
)
KIND = (
    RECORD
    + r"""
name() {{ while [ $# -gt 0 ]; do [ "$1" = --name ] && echo "$2"; shift; done; }}
case "$1 $2" in
  "get clusters") cat {folder}/clusters ;;
  "create cluster") [ ! -e {folder}/broken ] || {{ echo "node image is missing"; exit 1; }}
                    name "$@" >> {folder}/clusters ;;
  "delete cluster") grep -v "^$(name "$@")\$" {folder}/clusters > {folder}/rest; mv {folder}/rest {folder}/clusters ;;
esac
"""
)


@dataclass(frozen=True)
class Fakes:
    """The two programs and what they were asked."""

    folder: Path

    def asked(self) -> list[str]:
        """Their command lines, oldest first, without the folders of this machine."""
        run = str(self.folder / "run" / ".kind")
        return [line.replace(run, "RUN") for line in (self.folder / "asked").read_text().splitlines()]

    def clusters(self) -> list[str]:
        """What kind has."""
        return (self.folder / "clusters").read_text().split()


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in (("docker", DOCKER), ("kind", KIND)):
        (programs / name).write_text(script.format(folder=tmp_path))
        (programs / name).chmod(0o755)
    (tmp_path / "engine").write_text("28.2.2\n")
    (tmp_path / "clusters").write_text("kind\nsomebodys\n")
    (tmp_path / "asked").write_text("")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("PODCERT_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("PODCERT_CACHE", str(tmp_path / "cache"))
    return Fakes(tmp_path)


def test_a_cluster_is_created_and_gets_our_images_but_not_the_public_one(fakes: Fakes) -> None:
    running = Kind().up(Spec("demo", images=OURS))
    asked = [line for line in fakes.asked() if not line.startswith(("docker info", "kind get"))]
    assert asked == [
        "kind create cluster --name podcert-demo --kubeconfig RUN/demo/kubeconfig --config RUN/demo/kind.json --wait 180s",
        "docker build --quiet --tag certificate-manager:0.1.0 --file Dockerfile.manager .",
        "docker build --quiet --tag certificate-fetcher:0.1.0 --file Dockerfile.fetcher .",
        "docker build --quiet --tag podcert-example:0.1.0 --file manifests/examples/Dockerfile .",
        "kind load docker-image certificate-manager:0.1.0 certificate-fetcher:0.1.0 podcert-example:0.1.0 --name podcert-demo",
    ]
    command = running.kubectl_command()[1:]
    assert command == [f"--kubeconfig={running.kubeconfig}", "--context=kind-podcert-demo"]
    assert Kind().names() == ["demo"]
    running.down()
    assert fakes.asked()[-1] == "kind delete cluster --name podcert-demo --kubeconfig RUN/demo/kubeconfig"
    assert fakes.clusters() == ["kind", "somebodys"]


def test_other_peoples_clusters_are_neither_seen_nor_ended(fakes: Fakes) -> None:
    assert Kind().names() == []
    assert Kind().down("somebodys") is False
    assert not any("delete" in line for line in fakes.asked())


def test_native_pod_certificates_are_switched_on_by_kinds_own_configuration(fakes: Fakes) -> None:
    running = Kind().up(Spec("demo", pod_certificates=True))
    config = json.loads((running.folder / "kind.json").read_text())
    assert config["featureGates"]["PodCertificateRequest"] is True
    assert config["runtimeConfig"] == {"certificates.k8s.io/v1beta1": "true"}
    running.down()


def test_a_cluster_that_does_not_start_is_deleted_and_kinds_own_words_are_told(fakes: Fakes) -> None:
    (fakes.folder / "broken").touch()
    with pytest.raises(ClusterError, match="node image is missing"):
        Kind().up(Spec("demo"))
    assert "kind delete cluster --name podcert-demo --kubeconfig RUN/demo/kubeconfig" in fakes.asked()
    (fakes.folder / "broken").unlink()
    Kind().up(Spec("demo")).down()


def test_two_of_one_name_are_refused(fakes: Fakes) -> None:
    running = Kind().up(Spec("demo"))
    with pytest.raises(ClusterError, match="'demo' runs already"):
        Kind().up(Spec("demo"))
    assert Kind().names() == ["demo"]
    running.down()


def test_what_a_killed_process_left_is_deleted_by_the_next_one_and_what_is_kept_is_not(fakes: Fakes) -> None:
    left, kept, used = (Kind().up(Spec(name)) for name in ("left", "kept", "used"))
    kept.keep()
    for each in (left, kept):
        os.close(each.locks.pop())  # as the kernel does when a process ends
    other = Kind().up(Spec("other"))
    assert Kind().names() == ["kept", "other", "used"]
    assert Kind().attach("kept").kubeconfig == kept.kubeconfig
    with pytest.raises(ClusterError, match="no cluster 'left' runs"):
        Kind().attach("left")
    for each in (used, other):
        each.down()
    assert Kind().down("kept") is True
    assert fakes.clusters() == ["kind", "somebodys"]


def test_a_docker_without_an_engine_is_told(fakes: Fakes) -> None:
    (fakes.folder / "engine").write_text("")
    assert "docker has no engine" in (Kind().missing() or "")
    with pytest.raises(ClusterError, match="install Docker and start it"):
        Kind().up(Spec("demo"))
    assert not any("create" in line for line in fakes.asked())


def test_without_kind_and_go_it_is_said_how_to_get_one(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    (fakes.folder / "bin" / "kind").unlink()
    monkeypatch.setenv("PATH", str(fakes.folder / "bin"))
    (fakes.folder / "bin" / "cat").symlink_to("/bin/cat")
    (fakes.folder / "bin" / "basename").symlink_to("/usr/bin/basename")
    assert Kind().missing() == gobuild.missing_go()
    assert "Go" in (Kind().missing() or "")


def test_kind_is_built_from_its_module_once(fakes: Fakes) -> None:
    (fakes.folder / "bin" / "kind").unlink()
    go = fakes.folder / "bin" / "go"
    build = 'case "$1" in env) echo go1.26.0 ;; install) printf "#!/bin/sh\\n" > "$GOBIN/kind"; chmod 755 "$GOBIN/kind" ;; esac\n'
    go.write_text(RECORD.format(folder=fakes.folder) + build)
    go.chmod(0o755)
    Kind().names()
    Kind().names()
    built = [line for line in fakes.asked() if line.startswith("go install")]
    assert built == [f"go install -trimpath -ldflags -s -w sigs.k8s.io/kind@{kind.VERSION}"]


def test_an_audit_log_is_refused(fakes: Fakes) -> None:
    with pytest.raises(ClusterError, match="keeps no audit log"):
        Kind().up(Spec("demo", audit=True))
