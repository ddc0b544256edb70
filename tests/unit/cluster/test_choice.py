"""Which provider is meant, and what each refuses before it does anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import choice
from tests.cluster.choice import Choice
from tests.cluster.existing import Existing
from tests.cluster.paths import ClusterError
from tests.cluster.provider import Spec


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PODCERT_PROVIDER", "PODCERT_TEST_KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("said", "environment", "chosen"),
    [("", "", "local"), ("", "kind", "kind"), ("local", "kind", "local"), ("existing", "", "existing")],
)
def test_the_command_line_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, said: str, environment: str, chosen: str
) -> None:
    monkeypatch.setenv("PODCERT_PROVIDER", environment)
    assert choice.provider(Choice(said)).name == chosen


def test_an_unknown_provider_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ClusterError, match="provider 'minikube': there are local, kind, existing"):
        choice.provider(Choice("minikube"))


@pytest.mark.parametrize("wrong", [Choice("kind", kubeconfig="x"), Choice("local", load=False), Choice(context="x")])
def test_options_of_the_provider_existing_are_refused_elsewhere(wrong: Choice) -> None:
    with pytest.raises(ClusterError, match="are for --provider existing"):
        choice.provider(wrong)


def test_a_kubeconfig_that_nobody_named_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".kube").mkdir()
    for file in (tmp_path / "config", tmp_path / ".kube" / "config"):
        file.write_text("{}")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    provider = choice.provider(Choice("existing"))
    with pytest.raises(ClusterError, match="no kubeconfig is named; say --kubeconfig FILE or PODCERT_TEST_KUBECONFIG"):
        provider.up(Spec())
    assert provider.names() == []


def test_a_kubeconfig_is_named_by_option_or_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCERT_TEST_KUBECONFIG", str(tmp_path / "a"))
    assert choice.provider(Choice("existing")) == Existing(tmp_path / "a")
    named = Choice("existing", kubeconfig=str(tmp_path / "b"), context="c", load=False)
    assert choice.provider(named) == Existing(tmp_path / "b", "c", load=False)


def test_a_kubeconfig_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="nowhere is not a file"):
        Existing(tmp_path / "nowhere").up(Spec())
