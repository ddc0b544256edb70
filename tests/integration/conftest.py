"""Fixtures for the whole manager on the real control plane: each test has a namespace and a PKI mount of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import openbao as openbao_server
from tests.cluster.openbao import DevServer, dev_server
from tests.cluster.paths import REPOSITORY
from tests.cluster.running import LocalCluster
from tests.integration import fence
from tests.integration.bootstrap_server import bootstrap
from tests.integration.world import World

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def own_vault() -> Iterator[DevServer]:
    """An OpenBao that these tests may freeze and seal: nobody else uses it."""
    openbao_server.binary()
    with dev_server() as server:
        yield server


@pytest.fixture(scope="session")
def installed(control_plane: LocalCluster) -> LocalCluster:
    """The control plane with the manager's namespace, ServiceAccount, rights and fence, as the manifests have them."""
    for manifest in ("namespace", "serviceaccount", "rbac"):
        path = REPOSITORY / "manifests" / "base" / f"{manifest}.yaml"
        control_plane.kubectl("apply", "--namespace", "podcert", "-f", str(path))
    fence.enforce(control_plane)
    return control_plane


@pytest.fixture
def world(installed: LocalCluster, own_vault: DevServer, tmp_path: Path) -> Iterator[World]:
    """A place for one test."""
    yield from _world(installed, own_vault, tmp_path)


@pytest.fixture(scope="module")
def shared_world(
    installed: LocalCluster, own_vault: DevServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A place for the tests of one module, whose pods do not disturb each other."""
    yield from _world(installed, own_vault, tmp_path_factory.mktemp("world"))


@pytest.fixture
def bao(openbao: DevServer) -> Iterator[DevServer]:
    """An OpenBao of the test's own, empty; `openbao` skips where there is none to start."""
    with dev_server() as server:
        yield server


@pytest.fixture(scope="module")
def ready(openbao: DevServer) -> Iterator[DevServer]:
    """An OpenBao that has been set up by `podcert bootstrap`; tests put right what they change in it."""
    with dev_server() as server:
        assert bootstrap(server).exit_code == 0
        yield server


def _world(cluster: LocalCluster, vault: DevServer, folder: Path) -> Iterator[World]:
    name = f"hard-{os.getpid()}-{next(_numbers)}"
    made = World(cluster, vault, name, f"pki-{name}", folder)
    made.set_up()
    yield made
    cluster.api.call("DELETE", f"/api/v1/namespaces/{name}")
