"""Ports and subnets that two clusters, side by side, never share.

A claim is a flock that the cluster's own processes hold: free when they end, whatever ends them.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.paths import ClusterError, run_root, try_lock

# Below the kernel's range of automatic ports (32768 and up), so no outgoing connection takes one between choice and use.
PORTS = range(21000, 22000)
# RFC 2544 and RFC 6890: for tests between networks, routed nowhere, so hardly ever a neighbour's.
SUBNETS = ipaddress.IPv4Network("198.18.0.0/24")


@dataclass(frozen=True)
class Claim:
    """A claimed port or link; holds until every copy of `lock` (an open descriptor) is closed."""

    number: int
    lock: int

    def release(self) -> None:
        """Close this process's copy."""
        os.close(self.lock)


@dataclass(frozen=True)
class Link:
    """A veth pair's two addresses; `outside` is the host's, `inside` the cluster's, in a /30."""

    outside: str
    inside: str
    interface: str


def claim_port(ports: Iterable[int] = PORTS) -> Claim:
    """Claim a TCP port on which nothing listens on the loopback.

    Raises:
        ClusterError: every port is claimed or in use.
    """
    for port in ports:
        held = try_lock(_claims() / f"port-{port}.lock")
        if held is None:
            continue
        if _is_free(port):
            return Claim(port, held)
        os.close(held)
    message = "no free port on the loopback: end a cluster with `python -m tests.cluster down --name NAME`"
    raise ClusterError(message)


def claim_link(taken: Iterable[ipaddress.IPv4Network] | None = None) -> Claim:
    """Claim the number of a link whose /30 overlaps none of `taken` (default: this machine's routes).

    Raises:
        ClusterError: every subnet is claimed or in use.
    """
    routes = list(routed() if taken is None else taken)
    for number, subnet in enumerate(SUBNETS.subnets(new_prefix=30)):
        held = try_lock(_claims() / f"link-{number}.lock")
        if held is None:
            continue
        if not any(subnet.overlaps(route) for route in routes):
            return Claim(number, held)
        os.close(held)
    message = f"no free /30 in {SUBNETS}: end a cluster with `python -m tests.cluster down --name NAME`"
    raise ClusterError(message)


def link(number: int) -> Link:
    """Return the addresses and the host's interface name of link `number`."""
    first = int(SUBNETS.network_address) + 4 * number
    outside, inside = (str(ipaddress.ip_address(first + host)) for host in (1, 2))
    return Link(outside, inside, f"podcert{number}")


def routed() -> list[ipaddress.IPv4Network]:
    """Return the IPv4 networks that this machine routes somewhere, the default route left out."""
    out = subprocess.run(["ip", "-j", "-4", "route", "show", "table", "all"], capture_output=True, check=True).stdout
    destinations = [str(route.get("dst", "default")) for route in json.loads(out or b"[]")]
    routes = [each for each in destinations if each[0].isdigit() and each != "0.0.0.0/0"]
    return [ipaddress.IPv4Network(each, strict=False) for each in routes]


def _claims() -> Path:
    return run_root() / ".claims"


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
