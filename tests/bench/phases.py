"""The measurements of a run, one function each: the ceiling, a burst, lone pods, the fetcher."""

from __future__ import annotations

import compileall
import py_compile
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench import counters
from tests.bench.figures import Fetch, Lone, Round
from tests.bench.http11 import Connection, Endpoint, Unexpected, connect
from tests.bench.load import Report, Task, pod
from tests.bench.place import Load, Manager, Place
from tests.bench.seen import Watcher
from tests.cluster.api import wait
from tests.cluster.paths import REPOSITORY, ClusterError

Say = Callable[[str], None]
"""Tells the person who waits."""

BURST_SECONDS = 300.0
LONE_SECONDS = 30.0


@dataclass(frozen=True)
class Bench:
    """What every measurement needs."""

    place: Place
    manager: Manager
    watcher: Watcher


def ceiling(where: Place, name: str, count: int) -> Report:
    """One `pki/sign` and one Secret, `count` times over 16 connections to each server."""
    namespace = f"ceiling-{name}"
    where.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    with Load(Task("enrol", where.api, where.pki, namespace, count)) as load:
        load.go()
        return load.report()


def measure_round(bench: Bench, name: str, count: int) -> Round:
    """A burst of `count` pods between two measurements of the ceiling."""
    before = ceiling(bench.place, f"{name}-before", count)
    namespace = f"burst-{name}"
    accounts = bench.place.namespace(namespace)
    task = Task("pods", bench.place.api, None, namespace, count, accounts=accounts)
    writes, signs, seen = bench.place.writes(), bench.place.signs(), bench.watcher.count()
    cpu = counters.cpu_seconds(bench.manager.pid)
    with Load(task) as load:
        load.go()
        last = bench.watcher.wait_for_count(seen + count, BURST_SECONDS)
        report = load.report()
    readable = wait_until_readable(bench.place, namespace, count)
    cpu = counters.cpu_seconds(bench.manager.pid) - cpu
    writes = bench.place.writes() - writes
    signs = bench.place.signs() - signs
    after = ceiling(bench.place, f"{name}-after", count)
    return Round(
        ceiling_before=before.rate,
        ceiling_after=after.rate,
        enrollments=count,
        seconds=last - report.began,
        posting_seconds=report.ended - report.began,
        delivery_writes=writes.delivery,
        signs=signs,
        cpu_seconds=cpu,
        readable_seconds=readable - report.began,
    )


def wait_until_readable(where: Place, namespace: str, count: int) -> float:
    """When the namespace's Roles named so many Secrets."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles"

    def named() -> bool:
        roles = where.cluster.api.call("GET", path)[1]["items"]
        return sum(len(rule["resourceNames"]) for role in roles for rule in role["rules"]) >= count

    wait(f"the Roles of {namespace}", named, 60)
    return time.monotonic()


def lone_pods(bench: Bench, count: int, namespace: str) -> list[Lone]:
    """`count` pods, one after another; each has its own ServiceAccount and a Service that is created just before it."""
    where = bench.place
    where.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    core = f"/api/v1/namespaces/{namespace}"
    connection = connect(where.api, 1)[0]
    found = []
    for number in range(count):
        name = f"lone-{number}"
        connection.call(where.api, "POST", f"{core}/serviceaccounts", {"metadata": {"name": name}})
        reader = where.api_as(where.cluster.token(namespace, name))
        reading = connect(reader, 1)[0]
        spec = {"selector": {"app": name}, "ports": [{"port": 443}]}
        connection.call(where.api, "POST", f"{core}/services", {"metadata": {"name": name}, "spec": spec})
        began = time.monotonic()
        made = connection.call(where.api, "POST", f"{core}/pods", pod(name, name, name))
        secret = f"{name}-cert-{made['metadata']['uid'][:8]}"
        appeared = bench.watcher.wait_for(secret, LONE_SECONDS)
        readable = _readable_at(reader, reading, f"{core}/secrets/{secret}")
        found.append(Lone(appeared - began, readable - began))
        reading.close()
    connection.close()
    return found


def _readable_at(reader: Endpoint, connection: Connection, path: str) -> float:
    end = time.monotonic() + LONE_SECONDS
    request = reader.request("GET", path)
    while time.monotonic() < end:
        try:
            connection.exchange(request)
        except Unexpected as error:
            if not str(error).startswith("HTTP 403"):
                raise
            time.sleep(0.002)
        else:
            return time.monotonic()
    raise TimeoutError(f"{path} cannot be read within {LONE_SECONDS:.0f} s")


def fetcher(bench: Bench, count: int) -> list[Fetch]:
    """The fetcher as a process, `count` times, from its start to its end; its Secret is there."""
    where = bench.place
    accounts = where.namespace("fetcher")
    core = "/api/v1/namespaces/fetcher"
    made = where.create(f"{core}/pods", pod("fetched", accounts[0], "web"))
    uid = str(made["metadata"]["uid"])
    bench.watcher.wait_for(f"fetched-cert-{uid[:8]}", LONE_SECONDS)
    token = where.cluster.token("fetcher", accounts[0])
    reader = where.api_as(token)
    connection = connect(reader, 1)[0]
    _readable_at(reader, connection, f"{core}/secrets/fetched-cert-{uid[:8]}")
    connection.close()
    folder = where.folder / "fetcher"
    program = _installed(folder)
    (folder / "token").touch(mode=0o600)
    (folder / "token").write_text(token)
    environment = {
        "POD_NAME": "fetched",
        "POD_NAMESPACE": "fetcher",
        "POD_UID": uid,
        "KUBERNETES_SERVICE_HOST": where.api.host,
        "KUBERNETES_SERVICE_PORT": str(where.api.port),
        "PODCERT_CA_FILE": where.api.ca,
        "PODCERT_TOKEN_FILE": str(folder / "token"),
        "PODCERT_TERMINATION_LOG": str(folder / "termination-log"),
    }
    return [_fetch(program, environment, folder / f"certs-{number}") for number in range(count)]


def _installed(folder: Path) -> Path:
    """The fetcher as Dockerfile.fetcher installs it: compiled, started as a folder."""
    program = folder / "podcert"
    shutil.copytree(REPOSITORY / "fetcher", program / "fetcher", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "fetcher" / "__main__.py", program / "__main__.py")

    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(program, quiet=1, invalidation_mode=mode)
    return program


def _fetch(program: Path, environment: dict[str, str], target: Path) -> Fetch:
    target.mkdir()
    # The interpreter itself, not the virtual environment's link to it: in the image there is none.
    python = Path(sys.executable).resolve()
    used = _children_cpu()
    began = time.perf_counter()
    done = subprocess.run(
        [str(python), "-I", "-S", "-B", str(program)],
        env={**environment, "PODCERT_DIRECTORY": str(target)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    seconds = time.perf_counter() - began
    if done.returncode != 0 or not (target / "key.pem").exists():
        raise ClusterError(f"the fetcher ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
    return Fetch(seconds, _children_cpu() - used)


def _children_cpu() -> float:
    """CPU seconds of the children that have ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime
