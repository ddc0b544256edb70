"""Identity: which name, for whom, from which Vault; hostile pods, logins, a real Vault, CAs that change.

What has to run in containers shares one cluster with a node, in the order of the lines: each makes room for itself. Everything
else starts a control plane and ends it. On two cores it takes about half an hour.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.cluster.running import LocalCluster
from tests.prove import ca_change, explained, logins, side_by_side, siege, vault_servers, vault_tls
from tests.prove.node import START_SECONDS, cluster, scenario
from tests.prove.parts import Part
from tests.prove.proof import Shown, by_tests


def on_cluster(run: Callable[[LocalCluster, Path], Mapping[str, Shown]]) -> Callable[[], Mapping[str, Shown]]:
    """A run that sets up its own Vault on the cluster, with a folder for its volumes and keys."""

    def here() -> Mapping[str, Shown]:
        with tempfile.TemporaryDirectory(prefix="podcert-identity-") as folder:
            # The servers' user has to reach its volumes.
            Path(folder).chmod(0o711)
            return run(cluster(), Path(folder))

    return here


LOGINS = Part(600, logins.run)
SIEGE = Part(300, siege.run)
EXPLAINED = Part(180, explained.run)
START = Part(START_SECONDS, lambda: {"start": side_by_side.started(scenario())})
CA = Part(900, lambda: ca_change.run(scenario()))
PAGE = Part(720, on_cluster(vault_servers.page))
KILLED = Part(600, on_cluster(vault_servers.active_killed))
TLS = Part(480, on_cluster(vault_tls.shown))

PROOFS = (
    *(
        LOGINS.line(
            way.name, f"login {way.title}: enrols; ended, revoked, the wrong one: told, and it recovers by itself"
        )
        for way in logins.WAYS
    ),
    SIEGE.line("outside", f"{siege.PODS} hostile pods: certificates with a name outside the policy = 0"),
    SIEGE.line("told", "every refusal has an Event that names value and rule"),
    SIEGE.line("delayed", f"well-behaved pods among them are not delayed (ratio <= {siege.MOST:g})"),
    SIEGE.line("log", f"the log has no line over {siege.LINE} characters and no control character"),
    EXPLAINED.line("printed", "podcert explain -f on the demo's manifests prints names, rule and role"),
    EXPLAINED.line("untouched", "it only reads: no write, no request to Vault, everything as it was"),
    EXPLAINED.line("true", "applied, the pods have the names that were explained"),
    by_tests(
        "an intermediate below an offline root: openssl verifies the served chain with the root alone",
        "tests/integration/test_offline_root.py",
    ),
    START.line("start", "a real cluster with Vault and Podcert"),
    CA.line("handshakes", "root CA rotated under continuous mutual TLS: failed handshakes = 0"),
    CA.line("gone", "root CA: the old anchor is gone from every file of the pods that could follow"),
    CA.line("named", "root CA: the others are named, each with what to do"),
    CA.line("stopped", "root CA: podcert ca rotate stops before the switch while some cannot follow"),
    CA.line("order", "root CA: new anchors are everywhere before the first leaf of the new one"),
    CA.line("again", "root CA: afterwards podcert ca status names who was left behind, and nothing else"),
    PAGE.line("page", "real Vault: the commands of docs/vault.md, in order, from nothing to a certificate"),
    PAGE.line("lost", "real Vault: its pod is killed and unsealed again, nothing is lost"),
    KILLED.line(
        "pods", f"real Vault, three servers: the active one killed while {vault_servers.PODS} pods enrol, all have one"
    ),
    KILLED.line("twice", "real Vault, three servers: no pod has two certificates"),
    KILLED.line("away", "real Vault, three servers: time without service"),
    TLS.line("enrolments", "Vault's own certificate replaced twice under load: failed enrolments = 0"),
    TLS.line("handshakes", "Vault's own certificate: no client was refused meanwhile"),
    TLS.line("server", "Vault's own certificate: read anew by SIGHUP, without a restart"),
    TLS.line("expired", "Vault's own certificate: an expired one is survived by the seed"),
)
