"""The manager says that its policy is wrong where people look: readiness, the metric, and at the start the exit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from certmanager.app import Manager, StartError
from certmanager.settings import Settings, load


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules: []")
    token = tmp_path / "token"
    token.write_text("a token")
    return load(
        kubeconfig=kubeconfig,
        policy_file=policy,
        token_file=token,
        vault_addr="http://127.0.0.1:9",
        listen="127.0.0.1:0",
    )


@pytest.fixture
def manager(settings: Settings) -> Iterator[Manager]:
    manager = Manager(settings)
    yield manager
    manager._health.stop()
    manager._client.close()


def test_readiness_and_the_metric_tell_of_a_policy_that_is_wrong(manager: Manager, settings: Settings) -> None:
    assert settings.policy_file is not None
    assert manager._ready()["policy"] is None
    assert b"podcert_policy_valid 1.0" in manager.metrics.render()
    settings.policy_file.write_text("rules: [{name: x}, {name: y}]")
    manager._policy.check()
    problem = manager._ready()["policy"]
    assert problem is not None
    assert "rule x: namespaces" in problem
    assert "\n" not in problem
    assert b"podcert_policy_valid 0.0" in manager.metrics.render()


def test_a_manager_does_not_start_with_a_policy_that_is_wrong(settings: Settings) -> None:
    assert settings.policy_file is not None
    settings.policy_file.write_text("rulez: []")
    with pytest.raises(StartError, match=r"PODCERT_POLICY_FILE=.*: line 1: rulez"):
        Manager(settings)
