"""Podcert installed once for all end-to-end tests."""

from __future__ import annotations

import sys

import pytest

from tests.cluster.paths import ClusterError
from tests.cluster.provider import Cluster
from tests.e2e.scenario import Scenario


@pytest.fixture(scope="session")
def podcert(cluster: Cluster) -> Scenario:
    """Vault, the manager and the two pods of the second manifest, in namespaces that enforce `restricted`."""
    scenario = Scenario(cluster, say=lambda text: print(text, file=sys.stderr))
    try:
        scenario.restrict("default")
        scenario.deploy_vault()
        scenario.deploy_manager()
        scenario.deploy_pods()
    except ClusterError as error:
        pytest.fail(f"{error}\n{scenario.explain()}", pytrace=False)
    return scenario
