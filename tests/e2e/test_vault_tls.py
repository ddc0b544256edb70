"""docs/vault-tls.md works: its commands, in order, on a real cluster; and Vault's certificate changes under load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.provider import Cluster
from tests.cluster.running import LocalCluster
from tests.e2e.scenario import ROOT
from tests.e2e.test_tutorial import make_room, place
from tests.e2e.vault_servers import volumes
from tests.e2e.walkthrough import problem, run, steps
from tests.prove import vault_tls

PAGE = (ROOT / "docs" / "vault-tls.md").read_text("utf-8")


@pytest.mark.e2e
def test_the_commands_of_the_page_work_in_order_and_print_what_it_says(cluster: Cluster, tmp_path: Path) -> None:
    make_room(cluster)
    with volumes(cluster, tmp_path):
        found = place(tmp_path, cluster)
        here = replace(found, environment={**found.environment, "KUBECONFIG": str(cluster.kubeconfig)})
        page = PAGE.replace("127.0.0.1:8200", f"127.0.0.1:{here.port}").replace("8200:8200", f"{here.port}:8200")
        blocks = steps(page)
        outputs = run(blocks, here, seconds=300)
        assert problem(blocks, outputs) is None


@pytest.mark.e2e
def test_it_is_replaced_twice_while_pods_enrol_and_none_goes_without_and_an_expired_one_is_survived(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    found = vault_tls.shown(cluster, tmp_path)
    for line, shown in found.items():
        print(f"FIGURE {line}: {shown.figure}")
    assert [line for line, shown in found.items() if not shown.holds] == []


def test_every_block_of_commands_is_found_with_what_it_should_print() -> None:
    found = steps(PAGE)
    assert len(found) == PAGE.count("\n```sh\n") > 10
    assert sum(len(step.expected) for step in found) > 15
