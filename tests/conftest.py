"""Fixtures that give tests the real parts; each is started once for the whole run.

Where the means are missing (no Go and nothing built, not root for a node) the tests that need them are skipped with
the reason; with CI=true they fail instead, so that a green run means that everything ran.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster import images, local
from tests.cluster.openbao import DevServer, binary, dev_server
from tests.cluster.paths import ClusterError
from tests.cluster.running import LocalCluster

# Two runs on one machine, and a cluster that somebody keeps, do not get into each other's way.
RUN = f"{os.getpid()}"


def need(reason: str | None) -> None:
    """Skip the test for `reason`, or fail it where everything has to run; nothing to do when it is None."""
    if reason is None:
        return
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"CI=true, and {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[LocalCluster]:
    """Return a cluster without a node: real API server, etcd, controllers, on the loopback."""
    need(local.missing(node=False))
    with local.cluster(f"cp-{RUN}", node=False) as running:
        yield running


@pytest.fixture(scope="session")
def openbao() -> Iterator[DevServer]:
    """Return a real OpenBao development server. Tests mount their own paths: it is shared."""
    try:
        binary()
    except ClusterError as error:
        need(str(error))
    with dev_server() as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """Return a cluster with a node that has all of this project's images. Tests use their own namespaces."""
    need(local.missing(node=True))
    with local.cluster(f"e2e-{RUN}", images=images.NAMES) as running:
        yield running
