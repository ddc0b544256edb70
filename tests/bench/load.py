"""The plain load generator: a process of its own, one thread, one request in flight on each connection.

`python -m tests.bench.load` reads one line of JSON from its standard input (`Task`), prepares everything (keys, CSRs,
bodies, connections), prints `ready`, waits for a line, works, and prints `Report` as JSON. Two kinds of work: `enrol`
(one `pki/sign`, then one Secret: the ceiling) and `pods` (labelled pods).

The time it takes for itself is a part of its report, so that nobody need believe that it is not the bottleneck.
"""

from __future__ import annotations

import base64
import json
import selectors
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.bench.http11 import Connection, Endpoint, connect

Step = tuple[Connection, bytes]
Lane = Generator[Step, bytes, None]
"""What one connection does, one request after the other: yields a request, is sent the answer's body."""


@dataclass(frozen=True)
class Task:
    """What to do.

    Attributes:
        work: `enrol` or `pods`.
        api, vault: the servers.
        namespace: where.
        count: of enrolments or pods.
        lanes: connections to each server.
        accounts: the pods' ServiceAccounts, in turn.
        prefix: of the names; `<prefix>-<number>`.
    """

    work: str
    api: Endpoint
    vault: Endpoint | None
    namespace: str
    count: int
    lanes: int = 16
    accounts: tuple[str, ...] = ("web",)
    prefix: str = "pod"


@dataclass(frozen=True)
class Report:
    """`began` and `ended` are seconds of CLOCK_MONOTONIC, which all processes share; `cpu` the generator's own seconds."""

    began: float
    ended: float
    cpu: float
    count: int
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Done in a second."""
        return self.count / (self.ended - self.began)


def run(lanes: list[Lane]) -> None:
    """Drives all lanes until each has ended. Raises what a lane raises, `Unexpected` for an answer that is not 2xx."""
    selector = selectors.DefaultSelector()
    waiting: dict[int, tuple[Lane, Connection]] = {}

    def go_on(lane: Lane, body: bytes | None) -> None:
        try:
            connection, request = next(lane) if body is None else lane.send(body)
        except StopIteration:
            return
        connection.send(request)
        descriptor = connection.socket.fileno()
        if descriptor not in selector.get_map():  # once for each connection: a registration is a call into the kernel
            selector.register(descriptor, selectors.EVENT_READ)
        waiting[descriptor] = (lane, connection)

    for lane in lanes:
        go_on(lane, None)
    while waiting:
        for key, _ in selector.select(30):
            lane, connection = waiting[key.fd]
            body = connection.receive()
            if body is not None:
                del waiting[key.fd]
                go_on(lane, body)
    selector.close()


def enrolments(task: Task, work: Iterator[tuple[int, bytes, bytes]], api: Connection, vault: Connection) -> Lane:
    """The ceiling's lane. `work` (number, request to Vault, key in base64) is shared: a fast lane does more."""
    path = f"/api/v1/namespaces/{task.namespace}/secrets"
    for number, request, key in work:
        data = json.loads((yield vault, request))["data"]
        body = _SECRET % (
            f"{task.prefix}-{number}".encode(),
            base64.b64encode(data["certificate"].encode()),
            key,
            base64.b64encode(data["issuing_ca"].encode()),
        )
        yield api, task.api.request("POST", path, body)


def posts(task: Task, work: Iterator[bytes], api: Connection) -> Lane:
    """A lane that sends prepared requests."""
    for request in work:
        yield api, request


_SECRET = (
    b'{"apiVersion":"v1","kind":"Secret","type":"kubernetes.io/tls","metadata":{"name":"%s"},'
    b'"data":{"tls.crt":"%s","tls.key":"%s","ca.crt":"%s"}}'
)


def signing_requests(task: Task, vault: Endpoint) -> list[tuple[int, bytes, bytes]]:
    """For each enrolment: number, the finished request to `pki/sign`, the key (PKCS#8 PEM in base64)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    name = f"web.{task.namespace}.svc.cluster.local"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    made = []
    for number in range(task.count):
        key = ec.generate_private_key(ec.SECP256R1())
        csr = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        pkcs8 = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        request = vault.request("POST", "/v1/pki/sign/pods", json.dumps({"csr": csr}).encode())
        made.append((number, request, base64.b64encode(pkcs8)))
    return made


def pod(name: str, account: str, app: str) -> dict[str, Any]:
    """A labelled pod in the shape of manifests/automatic-certificate-enrollment-2.yaml: a fetcher and an application."""
    fields = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid"}
    environment = [
        {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": path}}} for variable, path in fields.items()
    ]
    mounts = [{"name": "certs", "mountPath": "/var/run/secrets/certs"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": app, "podcert.io/enroll": "true"}},
        "spec": {
            "serviceAccountName": account,
            "initContainers": [
                {
                    "name": "certificate-fetcher",
                    "image": "certificate-fetcher:0.1.0",
                    "env": environment,
                    "volumeMounts": mounts,
                }
            ],
            "containers": [{"name": "application", "image": "podcert-example:0.1.0", "volumeMounts": mounts}],
            "volumes": [{"name": "certs", "emptyDir": {"medium": "Memory"}}],
        },
    }


def _lanes(task: Task) -> list[Lane]:
    api = connect(task.api, task.lanes)
    if task.work == "enrol" and task.vault is not None:
        work = iter(signing_requests(task, task.vault))
        vault = connect(task.vault, task.lanes)
        return [enrolments(task, work, api[lane], vault[lane]) for lane in range(task.lanes)]
    path = f"/api/v1/namespaces/{task.namespace}/pods"
    requests = []
    for number in range(task.count):
        account = task.accounts[number % len(task.accounts)]
        body = json.dumps(pod(f"{task.prefix}-{number}", account, "web")).encode()
        requests.append(task.api.request("POST", path, body))
    shared = iter(requests)
    return [posts(task, shared, connection) for connection in api]


def _endpoint(fields: dict[str, Any] | None) -> Endpoint | None:
    return None if fields is None else Endpoint(**{**fields, "headers": tuple(map(tuple, fields["headers"]))})


def main() -> None:
    """The process."""
    fields = json.loads(sys.stdin.readline())
    api = _endpoint(fields.pop("api"))
    assert api is not None
    vault = _endpoint(fields.pop("vault"))
    task = Task(api=api, vault=vault, **{**fields, "accounts": tuple(fields["accounts"])})
    lanes = _lanes(task)
    print("ready", flush=True)
    if not sys.stdin.readline():
        return
    began, cpu = time.monotonic(), time.process_time()
    run(lanes)
    report = Report(began, time.monotonic(), time.process_time() - cpu, task.count)
    print(json.dumps(asdict(report)), flush=True)


if __name__ == "__main__":
    main()
