"""Each login end to end: the manager as a process with a credential that ends, is revoked, is the wrong one, and is mended.

One manager for each login, which is not restarted: a pod has its certificate before, none while the credential is spoilt,
and both have theirs soon after it is mended. What is wrong stands in /readyz and in the log.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.running import LocalCluster
from tests.integration import logscan
from tests.integration.manager import running
from tests.integration.tls_server import TlsServer, tls_server
from tests.integration.ways import Place, Way, endure
from tests.integration.ways_given import AppRole, TokenFile, WrappedAppRole
from tests.integration.ways_signed import Certificate, Jwt, Kubernetes
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    with tls_server(tmp_path_factory.mktemp("tls-server")) as server:
        yield server


@pytest.fixture
def place(installed: LocalCluster, tls: TlsServer, tmp_path: Path) -> Iterator[Place]:
    name = f"logins-{os.getpid()}-{next(_numbers)}"
    world = World(installed, tls.server, name, f"pki-{name}", tmp_path)
    world.set_up()
    yield Place(world, tls)
    installed.api.call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.mark.parametrize("method", [TokenFile, Kubernetes, AppRole, WrappedAppRole, Jwt, Certificate])
def test_what_is_wrong_with_a_login_is_told_and_heals_without_a_restart(place: Place, method: type[Way]) -> None:
    way = method(place)
    for told in endure(way):
        print(f"{told.way}, {told.case.kind}: {told.case.how}: {told.message} [{told.seconds:.1f} s]")
    assert not logscan.scan((place.world.folder / "manager.log").read_text())


def tokens(world: World) -> set[str]:
    """Accessors of every token that Vault knows."""
    return set(world.ask("LIST", "auth/token/accessors")["data"]["keys"])


@pytest.mark.parametrize("method", [Kubernetes, AppRole, WrappedAppRole, Jwt, Certificate])
def test_a_manager_that_logs_in_leaves_no_token_behind(place: Place, method: type[Way]) -> None:
    way, world = method(place), place.world
    way.set_up()
    way.good()
    before = tokens(world)
    with running(way.launch()):
        world.pod("web")
        world.enrolled("web")
        assert len(tokens(world) - before) == 1
    eventually(lambda: not tokens(world) - before)
