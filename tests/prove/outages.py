"""Vault, and then the API server, away across a renewal: every pod has a valid certificate soon after the return."""

from __future__ import annotations

import time

from tests.cluster.running import LocalCluster
from tests.e2e.killing import vault_blocked
from tests.e2e.record import Record
from tests.e2e.rotating import Change, Place, until
from tests.e2e.scenario import Scenario
from tests.prove.parts import say
from tests.prove.proof import Shown
from tests.prove.side_by_side import between

RATE = 25
SOON = 10.0
"""Seconds after the return within which every pod has a valid certificate."""
PROBES = 3.0
"""Seconds between two probes while Vault is away."""
WORKERS = 16
PACKETS = 4
"""Sent by one try to open a connection that nobody answers, within the ten seconds that it is given."""
SETTLED = 6.0
"""Seconds of handshakes after that, in which the Service reaches every pod many times."""


def vault_away(scenario: Scenario) -> dict[str, Shown]:
    """Half of the pods have certificates of a minute, which end while Vault is away; the others have a day."""
    cluster = _local(scenario)
    with Place(scenario, "prove-vault-away") as place, Record(cluster, place.namespace) as record:
        place.example("nginx-refresh.yaml", Change(replicas=3))
        place.example("deployment-restart.yaml", Change("24h", replicas=3))
        place.rolled_out("deployment/nginx", "deployment/web")
        place.client("nginx:443", "web:8443", rate=RATE)
        until("a renewal", lambda: all(len(life.certificates) > 1 for life in record.of("nginx")), 60)
        newest = max(life.certificates[-1].issued for life in record.of("nginx"))
        time.sleep(max(0.0, newest + 30 - time.time()))
        began = time.monotonic()
        with vault_blocked(cluster) as blocked:
            say("Vault is away")
            # Until every certificate of a minute has ended.
            ends = max(life.certificates[-1].end for life in record.of("nginx"))
            time.sleep(max(25.0, ends + 2 - time.time()))
            away, calls = time.monotonic() - began, blocked.tries()
        valid = _valid_again(record, "nginx", time.time())
        first = place.seen()
        time.sleep(SETTLED)
        after = {name: between(first[name], seen) for name, seen in place.seen().items()}
    failed = sum(seen.failed for seen in after.values())
    most = WORKERS + PACKETS * (away / PROBES + 1)
    figure = f"away for {away:.0f} s; all valid {valid:.1f} s after its return, then {failed} failed handshakes"
    return {
        "valid": Shown(valid <= SOON and failed == 0, figure),
        "calls": Shown(
            calls <= most,
            f"{calls} opening packets ({PACKETS} a try) in {away:.0f} s, {most:.0f} at most",
        ),
    }


def api_server_away(scenario: Scenario) -> dict[str, Shown]:
    """Thirty seconds, in the midst of which the certificates of both strategies are due."""
    cluster = _local(scenario)
    with Place(scenario, "prove-api-away") as place, Record(cluster, place.namespace) as record:
        # Due 40 to 45 s after their issue. The Deployment's own controller may need half a minute after the return.
        place.example("nginx-refresh.yaml", Change("120s", annotations={"renew-before": "75s"}))
        place.example("deployment-restart.yaml", Change("150s", annotations={"renew-before": "105s"}))
        place.rolled_out("deployment/nginx", "deployment/web")
        place.client("nginx:443", "web:8443", rate=RATE)
        until("the client's first report", lambda: len(place.seen()) == 2, 60)
        start = place.seen()
        issued = {life.name: life.certificates[0].issued for life in record.of("web") + record.of("nginx")}
        time.sleep(max(0.0, min(issued.values()) + 37 - time.time()))
        old = {life.name for life in record.of("web")}
        cluster.stop_apiserver()
        say("the API server is away")
        time.sleep(30)
        cluster.start_apiserver()
        returned = time.time()
        renewed = until("renewals", lambda: all(len(life.certificates) > 1 for life in record.of("nginx")), 60, 0.1)
        until("the roll", lambda: len([life for life in record.of("web") if life.name not in old]) == 3, 60)
        place.rolled_out("deployment/web")
        rolled = time.time() - returned
        time.sleep(SETTLED)
        seen = {name: between(start[name], now) for name, now in place.seen().items()}
    failed, expired = sum(one.failed for one in seen.values()), sum(one.expired for one in seen.values())
    errors = [error for one in seen.values() for error in one.errors]
    count = sum(one.ok for one in seen.values())
    figure = f"{count} verified, {failed} failed, {expired} expired" + "".join(f"; {error}" for error in errors[:3])
    return {
        "valid": Shown(
            renewed <= SOON, f"Secrets renewed {renewed:.1f} s, pods rolled {rolled:.0f} s after its return"
        ),
        "handshakes": Shown(failed == 0 and expired == 0, figure),
    }


def _valid_again(record: Record, application: str, began: float) -> float:
    """Waits until every pod of the application has a certificate of after `began` or that is far from its end."""

    def fact() -> bool:
        now = time.time()
        return all(life.certificates[-1].latest > now for life in record.of(application))

    until("valid certificates", fact, 90, pause=0.1)
    return time.time() - began


def _local(scenario: Scenario) -> LocalCluster:
    assert isinstance(scenario.cluster, LocalCluster)
    return scenario.cluster
