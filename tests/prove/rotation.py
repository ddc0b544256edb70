"""The rotation: certificates of a minute in real pods, through the deaths of the manager, Vault and the API server.

Everything but the burst runs in one cluster of its own, which ends with this process. On two cores it takes about a
quarter of an hour.
"""

from __future__ import annotations

from certmanager.domain.advice import MOUNT_SECONDS
from tests.prove import burst, mounted, outages, refusals, side_by_side
from tests.prove.node import START_SECONDS, scenario
from tests.prove.parts import Part

START = Part(START_SECONDS, lambda: {"start": side_by_side.started(scenario())})
SIDE_BY_SIDE = Part(480, lambda: side_by_side.run(scenario()))
VAULT = Part(240, lambda: outages.vault_away(scenario()))
API_SERVER = Part(240, lambda: outages.api_server_away(scenario()))
REFUSALS = Part(300, lambda: refusals.run(scenario()))
MOUNTED = Part(180, lambda: mounted.run(scenario()))
BURST = Part(300, burst.run)

PROOFS = (
    START.line("start", "a real cluster with Vault and Podcert"),
    SIDE_BY_SIDE.line(
        "refresh", "five minutes of handshakes with refresh (nginx): none failed, no expired certificate"
    ),
    SIDE_BY_SIDE.line("restart", "five minutes of handshakes with restart (3 replicas): none failed, none expired"),
    SIDE_BY_SIDE.line("rotations", "rotations of each nginx pod >= 4"),
    SIDE_BY_SIDE.line("rolls", "rolls of the Deployment = rotations >= 4"),
    SIDE_BY_SIDE.line("twice", "pods restarted twice for one rotation = 0"),
    SIDE_BY_SIDE.line("kills", "the manager killed with SIGKILL every 20 s meanwhile"),
    SIDE_BY_SIDE.line("due", "certificates issued that were not due = 0"),
    VAULT.line(
        "valid", "Vault away longer than the renewal lead of half of the pods: all valid within 10 s of its return"
    ),
    VAULT.line("calls", "calls to Vault while it was away are bounded"),
    API_SERVER.line("valid", "API server away for 30 s across a renewal: all valid within 10 s of its return"),
    API_SERVER.line("handshakes", "no handshake failed meanwhile"),
    REFUSALS.line(
        "budget", "a budget of all replicas is never violated, the Secrets are renewed in place before the end"
    ),
    REFUSALS.line("told", "Event and metric say that the files will expire, and why"),
    REFUSALS.line("evicted", "when the budget allows it, all pods are replaced, one at a time"),
    REFUSALS.line("paused", "a paused Deployment is not rolled, and its metric is the end of what its pods serve"),
    REFUSALS.line("resumed", "resumed, it is rolled once"),
    MOUNTED.line("late", f"a mounted Secret's new files are seen within {MOUNT_SECONDS:.0f} s (the kubelet's period)"),
    BURST.line("flight", "500 certificates due in one second: Vault calls in flight at most = the limit"),
    BURST.line("renewed", "all of them renewed before 80 % of their lifetime"),
)
