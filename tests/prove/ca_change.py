"""The root CA is replaced by one of the same name under continuous TLS between real pods, by `podcert ca rotate` alone.

`make prove-identity` runs it with a mounted Secret, which makes each phase two minutes long; the end-to-end test without.
What pods trust afterwards is read in the pods, and judged by openssl's own reading of the files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.cluster.paths import ClusterError
from tests.e2e.rotating import EXAMPLES, Change, Place, until
from tests.e2e.scenario import CERTS, ROOT, Scenario
from tests.prove.parts import say
from tests.prove.proof import Shown
from tests.prove.side_by_side import ask_vault, between, handshakes

RATE = 25
REFRESH = 5
"""Seconds in which the manager sees a change in Vault; the default of a minute would only make this longer."""

MANAGER = ("-n", "podcert", "deployment/certificate-manager")
DAY = Change("24h")

MOUNTED_SERVER = """
import ssl, sys
sys.path.insert(0, "/opt/example")
import tls_server
class Following(tls_server.Server):
    def get_request(self):
        plain, address = self.socket.accept()
        for attempt in (1, 2, 3):
            try:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile="/mounted/ca.crt")
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_cert_chain("/mounted/tls.crt", "/mounted/tls.key")
                break
            except ssl.SSLError:
                if attempt == 3:
                    raise
        return context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address
Following(("", 8443), tls_server.Hello).serve_forever()
"""


@dataclass(frozen=True)
class Plan:
    """`mounted`: with a pod that mounts its Secret."""

    namespace: str = "prove-ca"
    mounted: bool = True


@dataclass(frozen=True)
class Run:
    """One run of `podcert ca rotate`: status and lines."""

    status: int
    lines: tuple[str, ...]


def run(scenario: Scenario, plan: Plan = Plan()) -> dict[str, Shown]:
    """The lines `handshakes`, `gone`, `named`, `stopped`, `order`, `again`."""
    say("the root CA is replaced under continuous TLS")
    scenario.kubectl("set", "env", *MANAGER, f"PODCERT_CA_REFRESH={REFRESH}")
    scenario.kubectl("rollout", "status", *MANAGER, "--timeout=120s", timeout=130)
    try:
        with Place(scenario, plan.namespace) as place:
            return _replaced(place, plan)
    finally:
        scenario.kubectl("set", "env", *MANAGER, "PODCERT_CA_REFRESH-")
        scenario.kubectl("rollout", "status", *MANAGER, "--timeout=120s", timeout=130)


def _replaced(place: Place, plan: Plan) -> dict[str, Shown]:
    targets = _deployed(place, plan)
    until("the client's first report", lambda: set(place.seen()) >= set(targets), 60)
    old = issuers(place.scenario)
    began, first = time.time(), place.seen()
    stopped = rotate(place.scenario)
    between_phases = issuers(place.scenario)
    say("it has stopped at those who cannot follow; without them now")
    done = rotate(place.scenario, "--leave-behind")
    # Two reports of the client: what comes after the last phase is seen too.
    time.sleep(5)
    took, seen = time.time() - began, place.seen()
    new = issuers(place.scenario)
    figures = {name: handshakes(between(first[name], seen[name]), took) for name in targets}
    return {
        "handshakes": Shown(
            all(shown.holds for shown in figures.values()),
            f"in {took:.0f} s " + "; ".join(f"{name}: {shown.figure}" for name, shown in figures.items()),
        ),
        "gone": gone(place, new),
        "named": named(stopped),
        "stopped": early(stopped, default(between_phases) == default(old)),
        "order": order(done, old, new),
        "again": again(place.scenario, new),
    }


def _deployed(place: Place, plan: Plan) -> tuple[str, ...]:
    """The pods; returns the names of the servers that the client connects to."""
    place.example("mutual-tls.yaml", DAY, only=["greeter"])
    place.example("nginx-refresh.yaml", DAY)
    bystanders(place)
    servers = {"greeter": "greeter:8443", "nginx": "nginx:443"}
    if plan.mounted:
        place.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(mounted()))
        place.kubectl("wait", "--for=condition=Ready", "pod/mounted", "--timeout=120s", timeout=130)
        servers["mounted"] = "mounted:8443"
    place.rolled_out("deployment/greeter", "deployment/nginx", "deployment/stays")
    place.kubectl("wait", "--for=condition=Ready", "pod/bare", "--timeout=120s", timeout=130)
    place.example("mutual-tls.yaml", Change("24h", 1, _client(place, servers)), only=["caller"])
    place.rolled_out("deployment/caller")
    return tuple(servers)


def _client(place: Place, servers: Mapping[str, str]) -> tuple[str, ...]:
    hosts = [f"{name}.{place.namespace}.svc.cluster.local:{at.partition(':')[2]}" for name, at in servers.items()]
    return (*hosts, "--rate", str(RATE), "--present")


def bystanders(place: Place) -> None:
    """Two that cannot follow, and talk to nobody: a bare pod, and a Deployment of strategy `none`, whose fetchers have ended."""
    items = [item for item in yaml.safe_load_all((EXAMPLES / "mutual-tls.yaml").read_text()) if item]
    greeter = next(item for item in items if item["kind"] == "Deployment" and item["metadata"]["name"] == "greeter")
    template = greeter["spec"]["template"]
    notes = {"podcert.io/rotation": "none", "podcert.io/ttl": "24h"}
    labels = {"app": "stays", "podcert.io/enroll": "true"}
    stays = {"metadata": {"labels": labels, "annotations": notes}, "spec": template["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "stays"}}, "template": stays}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "stays"}, "spec": spec}
    about = {"name": "bare", "labels": {**labels, "app": "bare"}, "annotations": {"podcert.io/ttl": "24h"}}
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": template["spec"]}
    place.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([deployment, bare]))


def mounted() -> list[dict[str, Any]]:
    """A server that mounts its Secret, reads it for each connection and asks for a client's certificate."""
    port = {"port": 8443, "targetPort": 8443}
    container = {
        "name": "mounted",
        "image": "podcert-example:0.1.0",
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-B", "-c", MOUNTED_SERVER],
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "certs", "mountPath": "/mounted", "readOnly": True}],
    }
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "certs", "secret": {"secretName": "mounted-certificate"}}],
    }
    notes = {"podcert.io/secret-name": "mounted-certificate", "podcert.io/rotation": "none", "podcert.io/ttl": "24h"}
    about = {"name": "mounted", "labels": {"app": "mounted", "podcert.io/enroll": "true"}, "annotations": notes}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "mounted"},
            "spec": {"selector": {"app": "mounted"}, "ports": [port]},
        },
        {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec},
    ]


def rotate(scenario: Scenario, *options: str) -> Run:
    """`podcert ca rotate` as an administrator runs it."""
    command = [sys.executable, "-m", "certmanager", "ca", "rotate", "--timeout", "8m", *options]
    with scenario.vault() as vault:
        environment = {**os.environ, **vault, "KUBECONFIG": str(scenario.cluster.kubeconfig)}
        lines = []
        with subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    lines.append(line.rstrip("\n"))
                    say(f"  {lines[-1]}")
                status = process.wait(30)
            finally:
                process.kill()
    return Run(status, tuple(lines))


def issuers(scenario: Scenario) -> dict[str, dict[str, Any]]:
    """Vault's issuers by their id, the default one marked."""
    listed, config = ask_vault(scenario, "pki/issuers?list=true", "pki/config/issuers")
    found = ask_vault(scenario, *(f"pki/issuer/{key}" for key in listed["keys"]))
    return {one["issuer_id"]: {**one, "default": one["issuer_id"] == config["default"]} for one in found}


def default(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The default issuer's id."""
    return next(key for key, one in found.items() if one["default"])


def fingerprint(pem: str) -> str:
    """SHA-256 of a certificate."""
    return x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()


def gone(place: Place, new: Mapping[str, Mapping[str, Any]]) -> Shown:
    """In the files of every pod that could follow there is the new root and nothing else."""
    wanted = {fingerprint(str(new[default(new)]["certificate"]))}
    wrong, looked = [], 0
    for pod in place.get("pods"):
        name = pod["metadata"]["name"]
        if "deletionTimestamp" in pod["metadata"] or name.startswith(("bare", "stays")):
            continue
        file = "/mounted/ca.crt" if name == "mounted" else f"{CERTS}/ca-cert.pem"
        container = pod["spec"]["containers"][0]["name"]
        pem = place.kubectl("exec", name, "-c", container, "--", "cat", file)
        found = {one.fingerprint(hashes.SHA256()).hex() for one in x509.load_pem_x509_certificates(pem.encode())}
        looked += 1
        if found != wanted:
            wrong.append(f"{name} trusts {len(found)} anchors")
    return Shown(not wrong and looked >= 5, f"{looked} pods read, the old anchor in {len(wrong)} {wrong or ''}".strip())


def named(stopped: Run) -> Shown:
    """The bare pod and the one of strategy `none` are named, each with what to do, and nobody else is."""
    lines = [line for line in stopped.lines if "nothing replaces the pod" in line or "cannot follow:" in line]
    bare = [line for line in lines if "/bare (" in line and "delete pod bare" in line]
    none = [line for line in lines if "/stays-" in line and "rollout restart deployment/stays" in line]
    others = [line for line in lines if "/bare (" not in line and "/stays-" not in line]
    good = len(bare) == len(none) == 1 and not others
    return Shown(good, f"bare pod {len(bare)}, rotation=none {len(none)}, others {len(others)} {others or ''}".strip())


def early(stopped: Run, kept: bool) -> Shown:
    """It has stopped before anything was switched."""
    return Shown(
        stopped.status == 1 and kept, f"exit status {stopped.status}, the old issuer still the default: {kept}"
    )


def order(done: Run, old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> Shown:
    """The new root is the default and has the old one's name, the old one is only `read-only`; each phase came in its turn."""
    before, after = old[default(old)], new[default(new)]
    names = {x509.load_pem_x509_certificate(str(one["certificate"]).encode()).subject for one in (before, after)}
    retired = new[default(old)]["usage"] == "read-only"
    phases = list(
        dict.fromkeys(line.partition(":")[0] for line in done.lines if ": " in line and " with a certificate" in line)
    )
    good = done.status == 0 and len(names) == 1 and retired and before["issuer_id"] != after["issuer_id"]
    good = good and phases[:2] == ["distributing", "issuing"]
    return Shown(
        good, f"exit status {done.status}, phases {', '.join(phases)}, {len(names)} name, old one retired: {retired}"
    )


def again(scenario: Scenario, new: Mapping[str, Mapping[str, Any]]) -> Shown:
    """Afterwards `podcert ca status` names those who were left behind, and nothing else is under way."""
    command = [sys.executable, "-m", "certmanager", "ca", "status", "-o", "json"]
    with scenario.vault() as vault:
        environment = {**os.environ, **vault, "KUBECONFIG": str(scenario.cluster.kubeconfig)}
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )
    if done.returncode != 0:
        raise ClusterError(f"podcert ca status: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    left = sorted(pod["pod"].partition("-")[0] for pod in found["pods"])
    issuing = [one["id"] for one in found["issuers"] if one["state"] == "issuing"]
    return Shown(left == ["bare", "stays"] and issuing == [default(new)], f"left behind: {', '.join(left)}")


WITHOUT_MOUNT = replace(Plan(), namespace="ca-test", mounted=False)
