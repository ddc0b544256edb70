"""`podcert explain -f` on the demo's manifests: what it prints, what it asks for, and whether it comes true.

Every request that it sends goes through a proxy that counts; the cluster's objects and Vault's store are compared before and
after. Then the manifests are applied, and the certificates have the names that were explained.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cluster.paths import REPOSITORY
from tests.integration.besiege import names
from tests.integration.manager import running
from tests.integration.proxy import Proxy, proxying
from tests.integration.world import World
from tests.prove.control import control
from tests.prove.parts import say
from tests.prove.proof import Shown

MANIFESTS = ("automatic-certificate-enrollment-1.yaml", "automatic-certificate-enrollment-2.yaml")
POLICY = "rules: [{name: demo, namespaces: [prove-explain], modes: [sign], max_ttl: 24h}]"
KINDS = "pods,services,secrets,configmaps,serviceaccounts,roles,rolebindings,events,deployments,replicasets"


def run() -> dict[str, Shown]:
    """The lines `printed`, `untouched`, `true`."""
    with control("explain") as place:
        world = place.world("prove-explain")
        (world.folder / "policy.yaml").write_text(POLICY)
        context = ssl.create_default_context(cafile=str(place.cluster.ca_file))
        with proxying(place.cluster.apiserver_url, context) as api, proxying(world.vault.url) as vault:
            world.write_kubeconfig(world.folder / "explain.kubeconfig", api.url)
            before = state(world)
            told = [explained(world, vault.url, file) for file in MANIFESTS]
            after = state(world)
            untouched = _untouched(api, vault, before == after)
        return {"printed": _printed(told), "untouched": untouched, "true": _true(world, told[1])}


def explained(world: World, vault_url: str, file: str) -> subprocess.CompletedProcess[str]:
    """As an administrator runs it; Vault's address and token are there for it to use, if it would."""
    command = [sys.executable, "-m", "certmanager", "explain", "-f", f"manifests/{file}", "-n", world.namespace]
    command += ["--policy", str(world.folder / "policy.yaml"), "--kubeconfig", str(world.folder / "explain.kubeconfig")]
    environment = {
        "PATH": "",
        "VAULT_ADDR": vault_url,
        "VAULT_TOKEN": world.vault.root_token,
        "PODCERT_MOUNT": world.mount,
    }
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    say(f"podcert explain -f manifests/{file}\n{done.stdout}{done.stderr}")
    return done


def state(world: World) -> dict[str, Any]:
    """The resourceVersion of every object of the namespace, and the certificates in Vault's store."""
    listed = json.loads(world.kubectl("get", KINDS, "-o", "json"))["items"]
    versions = {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in listed}
    return {"objects": versions, "certificates": world.ask("LIST", f"{world.mount}/certs")["data"]["keys"]}


def _untouched(api: Proxy, vault: Proxy, same: bool) -> Shown:
    methods = [asked.method for asked in api.asked]
    holds = same and bool(methods) and set(methods) == {"GET"} and vault.total() == 0
    figure = (
        f"{len(methods)} requests to the API server, all {'/'.join(sorted(set(methods)))}; {vault.total()} to Vault; "
    )
    return Shown(holds, figure + f"objects and certificates {'the same' if same else 'differ'}")


def _printed(told: list[subprocess.CompletedProcess[str]]) -> Shown:
    words = (*(f"{pod}.prove-explain.svc.cluster.local" for pod in ("server", "client")), "rule demo of the policy")
    missing = [word for done in told for word in words if word not in done.stdout]
    lines = [line.split() for line in told[1].stdout.splitlines() if line.startswith(("  rule ", "  dns ", "  role "))]
    holds = (
        not missing and all(done.returncode == 0 for done in told) and {line[0] for line in lines} >= {"role", "dns"}
    )
    return Shown(
        holds, "; ".join(" ".join(line) for line in lines) + "".join(f"; {word} is missing" for word in missing)
    )


def _true(world: World, told: subprocess.CompletedProcess[str]) -> Shown:
    settings = {"PODCERT_POLICY_FILE": str(world.folder / "policy.yaml")}
    with running(world.launch(**settings)):  # type: ignore[arg-type]
        world.kubectl("apply", "-f", str(Path(REPOSITORY) / "manifests" / MANIFESTS[1]))
        world.enrolled("server", "client")
    found = {name for pod in ("server", "client") for _, name in names(world.leaf(pod))}
    return Shown(all(name in told.stdout for name in found), ", ".join(sorted(found)))
