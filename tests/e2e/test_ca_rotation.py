"""The root CA is replaced under continuous mutual TLS: a shorter cut of the proof in tests/prove/ca_change.py, without a mounted
Secret, whose files the kubelet brings in late in each phase."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.e2e.scenario import Scenario
from tests.prove import ca_change
from tests.prove.proof import Shown

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def shown(podcert: Scenario) -> Iterator[Mapping[str, Shown]]:
    """The run. The demo's bare pods could not follow: they are taken away before, and made anew for the other tests."""
    podcert.remove_pods()
    try:
        yield ca_change.run(podcert, ca_change.WITHOUT_MOUNT)
    finally:
        podcert.deploy_pods()


@pytest.mark.parametrize("line", ["handshakes", "gone", "named", "stopped", "order", "again"])
def test_the_root_is_replaced_and(shown: Mapping[str, Shown], line: str) -> None:
    print(f"FIGURE {line}: {shown[line].figure}")
    assert shown[line].holds, shown[line].figure
