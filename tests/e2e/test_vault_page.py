"""docs/vault.md works: its commands, in order, on a real cluster; and one of three servers dies while pods enrol."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.provider import Cluster
from tests.cluster.running import LocalCluster
from tests.e2e.scenario import ROOT
from tests.e2e.walkthrough import steps
from tests.prove import vault_servers
from tests.prove.proof import Shown

PAGE = (ROOT / "docs" / "vault.md").read_text("utf-8")


def failed(found: dict[str, Shown]) -> list[str]:
    """What does not hold, with its figure; the figures of all are printed."""
    for line, shown in found.items():
        print(f"FIGURE {line}: {shown.figure}")
    return [f"{line}: {shown.figure}" for line, shown in found.items() if not shown.holds]


@pytest.mark.e2e
def test_the_vault_pages_commands_work_in_order_and_nothing_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    assert failed(vault_servers.page(cluster, tmp_path)) == []


@pytest.mark.e2e
def test_the_active_one_of_three_servers_is_killed_while_pods_enrol(cluster: LocalCluster, tmp_path: Path) -> None:
    assert failed(vault_servers.active_killed(cluster, tmp_path)) == []


def test_every_block_of_commands_is_found_with_what_it_should_print() -> None:
    found = steps(PAGE)
    assert len(found) == PAGE.count("\n```sh\n") > 10
    assert sum(len(step.expected) for step in found) > 15
