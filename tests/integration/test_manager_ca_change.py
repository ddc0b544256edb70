"""The root CA changed for pods of every strategy: each phase costs each pod one certificate, and in between nothing happens.

There is no node: what a kubelet would report of the pods is written by the test. What is judged is read back from the API
server and from OpenBao's own counters.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.integration.manager import Launch, running
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster

BARE = 12
REPLICAS = {"rolled": 10, "rolled-too": 10, "evicted": 4}
PODS = 3 * BARE + sum(REPLICAS.values())
SETTINGS: dict[str, Any] = {"PODCERT_CA_REFRESH": "1", "PODCERT_MAX_ROLLING_PER_NAMESPACE": "3"}
CLOSING, RETIRED = "read-only,crl-signing,ocsp-signing", "read-only"
PHASE_SECONDS = 180.0


State = tuple[frozenset[str], str]
"""The anchors in a Secret, and the one among them that signed its leaf."""


class Hands:
    """What the node would do: every pod of a controller is running and ready soon."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            for pod in self.world.get(f"{self.world.core}/pods")["items"]:
                if pod["metadata"].get("ownerReferences") and pod["status"]["phase"] == "Pending":
                    self._ready(pod)

    def _ready(self, pod: dict[str, Any]) -> None:
        """A pod may be gone meanwhile."""
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T12:00:00Z"}
        body = dict(pod, status={"phase": "Running", "conditions": [ready]})
        self.world.cluster.api.call("PUT", f"{self.world.core}/pods/{pod['metadata']['name']}/status", body)


def fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


class Ca:
    """The mount's roots, all of one name, as an administrator changes them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.old_id, self.old = self._issuer("default")

    def _issuer(self, reference: str) -> tuple[str, str]:
        data = self.world.ask("GET", f"{self.world.mount}/issuer/{reference}")["data"]
        return data["issuer_id"], fingerprint(x509.load_pem_x509_certificate(data["certificate"].encode()))

    def add(self) -> None:
        fields = {"common_name": f"root of {self.world.mount}", "key_type": "ec", "ttl": "87600h", "issuer_name": "new"}
        self.world.ask("POST", f"{self.world.mount}/root/rotate/internal", fields)
        self.new_id, self.new = self._issuer("new")

    def switch(self) -> None:
        self.world.ask("POST", f"{self.world.mount}/config/issuers", {"default": self.new_id})
        self.world.ask("POST", f"{self.world.mount}/issuer/{self.old_id}", {"usage": CLOSING})

    def retire(self) -> None:
        self.world.ask("POST", f"{self.world.mount}/issuer/{self.old_id}", {"usage": RETIRED})


class Seen:
    """What is in the Secrets of the pods that live, judged with nothing of the manager's own code."""

    def __init__(self, world: World) -> None:
        listed = world.get(f"{world.core}/pods")["items"]
        uids = {pod["metadata"]["uid"] for pod in listed if "deletionTimestamp" not in pod["metadata"]}
        found = [one for one in world.secrets() if one["metadata"]["annotations"]["podcert.io/pod-uid"] in uids]
        self.whole = len(uids) == PODS == len(found)
        self.states = {self._state(one["data"]) for one in found}
        self.noted = {
            (frozenset(notes["podcert.io/anchors"].split(",")), notes["podcert.io/issuer"])
            for notes in (one["metadata"]["annotations"] for one in found)
        }

    @classmethod
    def states_of(cls, world: World) -> set[State]:
        """Anchors and issuer of each Secret."""
        return cls(world).states

    @staticmethod
    def _state(data: dict[str, str]) -> State:
        anchors = x509.load_pem_x509_certificates(base64.b64decode(data["ca.crt"]))
        leaf = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
        return frozenset(map(fingerprint, anchors)), next(fingerprint(one) for one in anchors if signed(leaf, one))


def signed(leaf: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(by)
    except Exception:  # noqa: BLE001 - InvalidSignature of one of two roots with the same name
        return False
    return True


def enrol(world: World) -> None:
    """Sidecars, pods that are renewed in place, pods that mount their Secret, and workloads that are rolled or evicted."""
    for number in range(BARE):
        world.pod(f"none-{number}", {"rotation": "none"})
        world.pod(f"mounted-{number}", {"rotation": "refresh", "secret-name": f"mounted-{number}"})
        world.pod(f"refresh-{number}", {"rotation": "refresh"})
    for name, replicas in REPLICAS.items():
        labels = {"app": name}
        template = {
            "metadata": {
                "labels": {**labels, "podcert.io/enroll": "true"},
                "annotations": {"podcert.io/rotation": "evict" if name == "evicted" else "restart"},
            },
            "spec": {
                "serviceAccountName": "web",
                "nodeSelector": {"none": "none"},
                "initContainers": [{"name": "certificate-fetcher", "image": "i"}],
                "containers": [{"name": "c", "image": "i"}],
            },
        }
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        body = {"metadata": {"name": name}, "spec": spec}
        world.create(f"/apis/apps/v1/namespaces/{world.namespace}/deployments", body)


def versions(world: World) -> dict[str, str]:
    """The version of everything that the manager may write, its Events aside."""
    apps, rbac = (f"/apis/{group}/v1/namespaces/{world.namespace}" for group in ("apps", "rbac.authorization.k8s.io"))
    return {
        f"{path}/{one['metadata']['name']}": f"{one['metadata']['uid']} {one['metadata']['resourceVersion']}"
        for path in (f"{world.core}/secrets", f"{apps}/deployments", f"{rbac}/roles", f"{rbac}/rolebindings")
        for one in world.get(path)["items"]
    }


def settled(world: World) -> dict[str, str]:
    """`versions`, once the controllers and the manager are done with what was changed."""
    before: dict[str, str] = {}
    while before != (now := versions(world)):
        before = now
        time.sleep(1.5)
    return before


def rests(world: World, launch: Launch, signs: float) -> None:
    """A manager that is started anew looks at every pod and every CA a few times, and neither asks nor writes anything."""
    before = settled(world)
    with running(launch) as manager:
        eventually(lambda: manager.certificates() == PODS, what="every pod's certificate is known")
        time.sleep(3)  # some readings of the CAs (PODCERT_CA_REFRESH)
    assert world.vault_signs() == signs
    assert set(versions(world).items()) ^ set(before.items()) == set()


def test_every_phase_costs_every_pod_one_certificate_and_a_restart_in_between_nothing(world: World) -> None:
    ca, launch = Ca(world), world.launch(**SETTINGS)
    enrol(world)
    both: Callable[[], frozenset[str]] = lambda: frozenset({ca.old, ca.new})  # noqa: E731
    phases: list[tuple[Callable[[], None], Callable[[], State]]] = [
        (lambda: None, lambda: (frozenset({ca.old}), ca.old)),
        (ca.add, lambda: (both(), ca.old)),
        (ca.switch, lambda: (both(), ca.new)),
        (ca.retire, lambda: (frozenset({ca.new}), ca.new)),
    ]
    with Hands(world).at_work():
        for number, (change, wanted) in enumerate(phases, start=1):
            with running(launch):
                change()
                state = wanted()

                def done(state: State = state) -> bool:
                    seen = Seen(world)
                    return seen.whole and seen.states == {state} == seen.noted

                took = eventually(done, PHASE_SECONDS, f"phase {number}: {Seen(world).states}")
                print(f"phase {number}: {PODS} pods in {took:.1f} s")
                settled(world)
            made = world.vault_signs()
            # A pod may be replaced while its certificate is made, which is then made for nothing: one or two, never a round.
            assert number * PODS <= made <= number * (PODS + 2)
            rests(world, launch, int(made))
        world.ask("DELETE", f"{world.mount}/issuer/{ca.old_id}")
        rests(world, launch, int(made))


def test_without_the_right_to_read_issuers_everything_is_as_before_and_the_right_is_named_once(world: World) -> None:
    ca = Ca(world)
    world.policy(
        "".join(
            f'path "{world.mount}/{path}" {{ capabilities = ["{right}"] }}\n'
            for path, right in (("sign/pods", "update"), ("roles/pods", "read"))
        )
    )
    with running(world.launch(**SETTINGS)) as manager:
        world.pod("follower", {"rotation": "refresh"})
        world.enrolled("follower")
        ca.add()
        world.pod("second", {"rotation": "refresh"})
        world.enrolled("second")
        time.sleep(3)
        assert (Seen.states_of(world), world.vault_signs()) == ({(frozenset({ca.old}), ca.old)}, 2)
        ca.switch()
        new = (frozenset({ca.new}), ca.new)
        eventually(lambda: Seen.states_of(world) == {new}, what="the changed default's chain is trusted")
        told = [line for line in manager.lines() if line.get("reason") == "IssuersForbidden"]
        assert len(told) == 1
        assert f'path "{world.mount}/issuer/+"' in told[0]["message"]
    assert world.vault_signs() == 4
