"""The examples under manifests/examples, as they are but for the namespace (nginx and the rotated ones: test_rotation.py)."""

from __future__ import annotations

import pytest

from tests.e2e.rotating import Change, Place, parse_seen, until
from tests.e2e.scenario import Scenario

pytestmark = pytest.mark.e2e

DAY = Change("24h")
CLIENT = "/opt/example/tls_client.py"


def test_with_mutual_tls_client_and_server_verify_each_other_and_nobody_else_is_served(podcert: Scenario) -> None:
    with Place(podcert, "example-mutual") as place:
        place.example("mutual-tls.yaml", DAY)
        place.rolled_out("deployment/greeter", "deployment/caller")
        before = place.seen()["greeter"].ok if place.seen() else 0
        until("handshakes", lambda: "greeter" in place.seen() and place.seen()["greeter"].ok >= before + 3, 30)
        host = f"greeter.{place.namespace}.svc.cluster.local:8443"
        bare = ["timeout", "5", "python3", CLIENT, host, "--rate", "4"]
        done = podcert.cluster.kubectl(
            "-n", place.namespace, "exec", "deployment/caller", "-c", "caller", "--", *bare, check=False
        )
        seen = parse_seen(done.stdout)["greeter"]
        assert seen.ok == 0
        assert seen.failed > 3
        assert any("certificate required" in error or "alert" in error.lower() for error in seen.errors), seen.errors


def test_a_daemon_set_has_a_certificate_on_every_node_and_is_rolled_when_it_is_due(podcert: Scenario) -> None:
    with Place(podcert, "example-daemonset") as place:
        place.example("daemonset.yaml", Change("60s"))
        place.rolled_out("daemonset/agent")
        nodes, first = place.get("nodes"), pods_of(place)
        assert len(first) == len(nodes)
        assert len(place.get("secrets", "-l", "podcert.io/managed=true")) >= len(nodes)
        until("new pods", lambda: len(pods_of(place)) == len(nodes) and not pods_of(place) & first, 90, pause=2.0)
        place.rolled_out("daemonset/agent")
        rolled = place.kubectl("get", "daemonset/agent", "-o", "jsonpath={.metadata.generation}")
        assert rolled == "2"


def pods_of(place: Place) -> set[str]:
    """The uids of the pods that are not ending."""
    return {pod["metadata"]["uid"] for pod in place.get("pods") if "deletionTimestamp" not in pod["metadata"]}
