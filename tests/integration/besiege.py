"""A siege: hostile pods on the real API server, with well-behaved ones among them, and a Vault that refuses nothing.

Only the manager and its policy stand between the pods' annotations and a certificate: the Vault role allows every name,
and the manager's token may do everything in Vault.
"""

from __future__ import annotations

import base64
import json
import statistics
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from tests.bench.http11 import Endpoint
from tests.bench.seen import Watcher
from tests.integration import hostile
from tests.integration.hostile import Hostile
from tests.integration.manager import Manager, running
from tests.integration.world import World

LOOSE = {"allow_any_name": True, "allow_ip_sans": True, "allowed_uri_sans": "*", "enforce_hostnames": False}
LOOSE |= {"allow_wildcard_certificates": True, "allow_glob_domains": True, "require_cn": False, "max_ttl": "87600h"}
EVERYTHING = 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }'
KINDS: dict[type, str] = {x509.DNSName: "dns", x509.IPAddress: "ip", x509.UniformResourceIdentifier: "uri"}
KNOWN_RULES = ("must", "is not known", "no pod of namespace", "is left untouched")


@dataclass
class Siege:
    """What came of it. Empty lists are what everybody hopes for.

    Attributes:
        refused: pods that are to be refused.
        outside: certificates with a name outside the policy, in Secrets and in Vault's store.
        unexplained: certificates in Vault's store that no Secret holds.
        enrolled: refused pods that have a certificate all the same; lies that led to none.
        silent: refused pods without an Event that names value and rule.
        touched: what was not theirs and has changed.
        longest: characters of the log's longest line; `unprintable`: its lines with a control character.
        alone, among: seconds from a well-behaved pod's creation to its Secret, without and with hostile pods.
    """

    refused: int = 0
    certificates: int = 0
    outside: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    enrolled: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)
    longest: int = 0
    unprintable: int = 0
    alone: list[float] = field(default_factory=list)
    among: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The median well-behaved pod's wait among hostile ones, by that of the others."""
        return statistics.median(self.among) / statistics.median(self.alone)


class Besieged:
    """A world with something to steal."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.bank = f"{world.namespace}-bank"
        self.owner: dict[str, Any] = {}
        self._valuables: dict[str, Any] = {}

    def set_up(self) -> None:
        """The bank's namespace, Services, a Secret and a Deployment of others, roles that allow everything, the policy."""
        world = self.world
        world.create("/api/v1/namespaces", {"metadata": {"name": self.bank}})
        bank = f"/api/v1/namespaces/{self.bank}"
        world.create(f"{bank}/serviceaccounts", {"metadata": {"name": "web"}})
        ports: dict[str, Any] = {"ports": [{"port": 443}]}
        specs = {
            "payments": {"selector": {"app": "payments"}, **ports},
            "headless": {"selector": {"app": "payments"}, "clusterIP": "None", **ports},
            "outside": {"type": "ExternalName", "externalName": "bank.example.com"},
            "manual": ports,
        }
        for name in hostile.SERVICES:
            world.create(f"{world.core}/services", {"metadata": {"name": name}, "spec": specs[name]})
        world.create(f"{world.core}/secrets", {"metadata": {"name": "victim"}, "stringData": {"tls.key": "not yours"}})
        world.create(f"/apis/apps/v1/namespaces/{world.namespace}/deployments", _deployment())
        made = world.get(f"/apis/apps/v1/namespaces/{world.namespace}/deployments/payments")
        uid = made["metadata"]["uid"]
        self.owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "payments", "uid": uid, "controller": True}
        for role in ("pods", "pods-issue", "admin", "root"):
            world.role(role, **LOOSE, key_type="ec" if role == "pods-issue" else "any")
        world.policy(EVERYTHING)
        text = hostile.POLICY.format(shop=world.namespace, bank=self.bank)
        (world.folder / "policy.yaml").write_text(text)
        self._valuables = self._all_valuables()

    def run(self, count: int, well_behaved: int) -> Siege:
        """So many hostile pods, with well-behaved ones of the bank before and among them."""
        pods = hostile.hostile_pods(count, self.world.namespace)
        siege = Siege(refused=sum(bool(one.names) for one in pods))
        settings = {"PODCERT_POLICY_FILE": str(self.world.folder / "policy.yaml")}
        settings["PODCERT_NAMESPACES"] = f"{self.world.namespace},{self.bank}"
        with running(self.world.launch(**settings)) as manager:  # type: ignore[arg-type]
            with Watcher(self._endpoint()) as watcher:
                self.good("warm", 3, watcher)
                siege.alone = self.good("alone", well_behaved, watcher)
                with ThreadPoolExecutor(2) as pool:
                    done = pool.submit(self.send, pods)
                    siege.among = self.good("among", well_behaved, watcher)
                    done.result()
            self._settle(pods)
            self._judge(siege, pods)
            _read_log(siege, manager)
            assert manager.metric("podcert_bugs_total") == 0
        return siege

    def send(self, pods: list[Hostile]) -> None:
        """Creates hostile pods; the API server has to take them, or it is no test."""
        for one in pods:
            status, answer = self.world.cluster.api.call("POST", f"{self.world.core}/pods", one.body(self.owner))
            assert status == 201, (one.name, answer)
            if "podcert.io/ip-sans" in one.annotations:
                # As its node would: until then a pod that asks for an address is waited for.
                status, answer = self._run(answer, "10.99.0.1")
                assert status == 200, (one.name, answer)

    def _run(self, pod: dict[str, Any], address: str) -> tuple[int, Any]:
        body = pod | {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}
        path = f"{self.world.core}/pods/{pod['metadata']['name']}/status"
        return self.world.cluster.api.call("PUT", path, body)

    def good(self, prefix: str, count: int, watcher: Watcher) -> list[float]:
        """Well-behaved pods of the bank, one after another; how long each waited for its Secret."""
        waits = []
        for number in range(count):
            app = f"{prefix}-{number}"
            body = Hostile(app, labels={"app": app}).body({})
            spec = {"selector": {"app": app}, "ports": [{"port": 443}]}
            bank = f"/api/v1/namespaces/{self.bank}"
            self.world.create(f"{bank}/services", {"metadata": {"name": app}, "spec": spec})
            began = time.monotonic()
            made = self.world.create(f"{bank}/pods", body)
            name = f"{app}-cert-{made['metadata']['uid'][:8]}"
            waits.append(watcher.wait_for(name, 60) - began)
        return waits

    def _endpoint(self) -> Endpoint:
        cluster = self.world.cluster
        parts = urlsplit(cluster.apiserver_url)
        admin = cluster.admin
        return Endpoint(
            parts.hostname or "", parts.port or 443, str(cluster.ca_file), str(admin.certificate), str(admin.key)
        )

    def _settle(self, pods: list[Hostile]) -> None:
        """Until every refused pod has an Event, and every other its Secret; the judgement says what is missing."""
        refused = {one.name for one in pods if one.names}
        others = {one.name for one in pods} - refused
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if refused <= self.events().keys() and others <= {_note(one, "pod") for one in self.world.secrets()}:
                return
            time.sleep(0.2)

    def events(self) -> dict[str, list[str]]:
        """The messages of each pod's Warnings."""
        found: dict[str, list[str]] = {}
        for item in self.world.get(f"{self.world.core}/events?limit=5000")["items"]:
            if item["type"] == "Warning" and item["source"].get("component") == "podcert":
                found.setdefault(item["involvedObject"]["name"], []).append(item["message"])
        return found

    def _judge(self, siege: Siege, pods: list[Hostile]) -> None:
        secrets = {_note(one, "pod"): one for one in self.world.secrets()}
        events = self.events()
        for one in pods:
            if bool(one.names) == (one.name in secrets):
                siege.enrolled.append(one.name)
            if one.names and not any(_explains(message, one) for message in events.get(one.name, [])):
                siege.silent.append(f"{one.name} ({one.names}): {events.get(one.name)}"[:600])
        leaves = {_leaf(secret).serial_number: (pod, _leaf(secret)) for pod, secret in secrets.items()}
        stored = {_number(key): key for key in self._stored()}
        siege.certificates = len(leaves)
        for pod, leaf in leaves.values():
            own = f"{pod}.{self.world.namespace}.svc.cluster.local"
            siege.outside += [f"{pod}: {name}" for name in names(leaf) if not hostile.permitted(*name, own)]
        siege.unexplained = [key for serial, key in stored.items() if serial not in leaves | self._bank_leaves()]
        siege.touched = [key for key, value in self._all_valuables().items() if value != self._valuables[key]]

    def _bank_leaves(self) -> dict[int, str]:
        path = f"/api/v1/namespaces/{self.bank}/secrets?labelSelector=podcert.io%2Fmanaged%3Dtrue"
        return {_leaf(one).serial_number: _note(one, "pod") for one in self.world.get(path)["items"]}

    def _stored(self) -> list[str]:
        """Every certificate in Vault's store but the root's own."""
        mount = self.world.mount
        root = self.world.ask("GET", f"{mount}/cert/ca")["data"]["certificate"]
        serial = x509.load_pem_x509_certificate(root.encode()).serial_number
        keys = self.world.ask("LIST", f"{mount}/certs")["data"]["keys"]
        return [key for key in keys if _number(key) != serial]

    def _all_valuables(self) -> dict[str, Any]:
        """What must be as it was: others' objects, and Vault itself."""
        world = self.world
        deployment = world.get(f"/apis/apps/v1/namespaces/{world.namespace}/deployments/payments")
        return {
            "Secret victim": world.get(f"{world.core}/secrets/victim"),
            "Deployment payments": deployment["spec"],
            "Vault's mounts": sorted(world.ask("GET", "sys/mounts")["data"]),
            "Vault's seal": world.ask("GET", "sys/seal-status")["sealed"],
            "Vault's roles": world.ask("LIST", f"{world.mount}/roles")["data"]["keys"],
        }


def names(leaf: x509.Certificate) -> list[tuple[str, str]]:
    """Kind and value of every name in a certificate, its common names included."""
    found = [("dns", str(one.value)) for one in leaf.subject]
    try:
        sans = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return found
    return found + [(KINDS.get(type(name), "other"), str(name.value)) for name in sans]


def _explains(message: str, one: Hostile) -> bool:
    return all(name in message for name in one.names) and any(rule in message for rule in KNOWN_RULES)


def _leaf(secret: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificates(base64.b64decode(secret["data"]["tls.crt"]))[0]


def _number(serial: str) -> int:
    """Of a serial as Vault writes it; some versions write dashes between the bytes."""
    return int(serial.replace("-", "").replace(":", ""), 16)


def _note(secret: dict[str, Any], name: str) -> str:
    return str(secret["metadata"]["annotations"][f"podcert.io/{name}"])


def _deployment() -> dict[str, Any]:
    labels = {"app": "payments"}
    template = {
        "metadata": {"labels": labels | {"podcert.io/enroll": "true"}},
        "spec": {"containers": [{"name": "application", "image": "none"}]},
    }
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "payments"}, "spec": spec}


def _read_log(siege: Siege, manager: Manager) -> None:
    lines: Iterable[str] = manager.log_file.read_bytes().decode("utf-8", "replace").split("\n")
    for line in lines:
        siege.longest = max(siege.longest, len(line))
        told = json.loads(line)["message"] if line.startswith("{") else line
        siege.unprintable += not (line.isascii() and line.isprintable() and str(told).isprintable())
