"""The one cluster with a node that a run of proofs has, started when the first of them needs it; it ends with this process."""

from __future__ import annotations

import functools
import os

from tests.cluster.local import Local
from tests.cluster.provider import Spec
from tests.cluster.running import LocalCluster
from tests.e2e.rotating import IMAGES
from tests.e2e.scenario import Scenario
from tests.prove.parts import say

START_SECONDS = 1200.0
"""For the cluster: the first time, Kubernetes is built."""


@functools.cache
def cluster() -> LocalCluster:
    """Without Vault and Podcert."""
    say("a real cluster from parts")
    return Local().up(Spec(f"prove-{os.getpid()}", images=IMAGES, quiet=True))


@functools.cache
def scenario() -> Scenario:
    """The cluster with a dev server of Vault, and Podcert."""
    made = Scenario(cluster(), say)
    made.deploy_vault()
    made.deploy_manager()
    return made
