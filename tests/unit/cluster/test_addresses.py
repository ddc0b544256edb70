"""Ports and subnets: two clusters never share one."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

import pytest

from tests.cluster import addresses
from tests.cluster.paths import ClusterError

FEW = range(21990, 21993)


@pytest.fixture(autouse=True)
def own_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCERT_RUN", str(tmp_path / "run"))


def test_a_claimed_port_is_not_given_twice_until_it_is_released() -> None:
    first, second = addresses.claim_port(FEW), addresses.claim_port(FEW)
    assert first.number != second.number
    first.release()
    again = addresses.claim_port(FEW)
    assert again.number == first.number
    again.release()
    second.release()


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(ClusterError, match="no free port"):
            addresses.claim_port([taken])


def test_ports_are_below_those_that_the_kernel_gives_away() -> None:
    assert max(addresses.PORTS) < 32768


def test_links_are_not_shared_and_avoid_what_the_machine_routes() -> None:
    first = addresses.claim_link([])
    second = addresses.claim_link([])
    assert (first.number, second.number) == (0, 1)
    third = addresses.claim_link([ipaddress.IPv4Network("198.18.0.0/28")])
    assert third.number == 4
    with pytest.raises(ClusterError, match="no free /30"):
        addresses.claim_link([ipaddress.IPv4Network("198.18.0.0/15")])
    for claim in (first, second, third):
        os.close(claim.lock)


def test_each_link_has_two_addresses_of_its_own_subnet_and_a_name_that_the_kernel_takes() -> None:
    links = [addresses.link(number) for number in range(64)]
    assert links[0] == addresses.Link("198.18.0.1", "198.18.0.2", "podcert0")
    assert len({address for each in links for address in (each.outside, each.inside)}) == 128
    for each in links:
        assert (
            ipaddress.ip_interface(f"{each.outside}/30").network == ipaddress.ip_interface(f"{each.inside}/30").network
        )
        assert len(each.interface) <= 15
