"""Fixtures that give tests the real parts; each is started once for the whole run.

Where the means are missing (no Go and nothing built, not root for a node) the tests that need them are left out, counted
and named (left_out.py). The node comes from the provider that is chosen; a control plane alone is always from parts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.cluster import choice, existing, images, local
from tests.cluster.openbao import DevServer, binary, dev_server
from tests.cluster.paths import ClusterError
from tests.cluster.provider import Cluster, Provider, Spec
from tests.cluster.running import LocalCluster

pytest_plugins = ["tests.left_out"]

# The same examples in every run, and no time limit for one: how busy the machine is says nothing of the code.
settings.register_profile("podcert", deadline=None, derandomize=True)
settings.load_profile("podcert")


# Two runs on one machine, and a cluster that somebody keeps, do not get into each other's way.
RUN = f"{os.getpid()}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which cluster the tests of real pods run on."""
    group = parser.getgroup("cluster", "the cluster that real pods run on")
    group.addoption("--provider", default="", help=f"{', '.join(choice.NAMES)}; else PODCERT_PROVIDER, else local")
    group.addoption("--kubeconfig", default="", help=f"for provider existing; else {existing.VARIABLE}")
    group.addoption("--context", default="", help="for provider existing: a context of that kubeconfig")
    group.addoption("--no-load", action="store_true", help="for provider existing: the images are there")


def need(reason: str | None, what: str = "a real cluster") -> None:
    """Leave the test out for `reason` (what is missing); nothing to do when it is None."""
    if reason is not None:
        from tests.left_out import leave_out  # pytest loads that plugin itself, after this file

        leave_out(what, reason)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[LocalCluster]:
    """Return a cluster without a node: real API server, etcd, controllers, on the loopback."""
    need(local.missing(node=False), "a control plane")
    with local.cluster(f"cp-{RUN}", node=False) as running:
        yield running


@pytest.fixture(scope="session")
def openbao() -> Iterator[DevServer]:
    """Return a real OpenBao development server. Tests mount their own paths: it is shared."""
    try:
        binary()
    except ClusterError as error:
        need(str(error), "OpenBao")
    with dev_server() as server:
        yield server


@pytest.fixture(scope="session")
def provider(pytestconfig: pytest.Config) -> Provider:
    """Return the provider that was chosen: --provider, else PODCERT_PROVIDER, else local."""
    option = pytestconfig.getoption
    chosen = choice.Choice(
        option("--provider"), option("--kubeconfig"), option("--context"), load=not option("--no-load")
    )
    try:
        return choice.provider(chosen)
    except ClusterError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def cluster(provider: Provider) -> Iterator[Cluster]:
    """Return a cluster with a node that has all of this project's images. Tests use their own namespaces."""
    need(provider.missing(node=True), "a node")
    running = provider.up(Spec(f"e2e-{RUN}", images=images.NAMES))
    try:
        yield running
    finally:
        running.down()


@pytest.fixture(autouse=True)
def _the_cluster_that_the_test_is_for(request: pytest.FixtureRequest) -> None:
    """A test whose `cluster` is a LocalCluster looks inside the sandbox: other providers have none."""
    wanted = getattr(request.function, "__annotations__", {}).get("cluster")
    if wanted in (LocalCluster, LocalCluster.__name__) and "cluster" in request.fixturenames:
        running = request.getfixturevalue("cluster")
        if not isinstance(running, LocalCluster):
            need(f"the node is of provider {request.getfixturevalue('provider').name}", "provider local")
