"""A policy that changes while pods are there: who gets a new certificate, who is refused, and who is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from certmanager.domain.errors import Refused
from certmanager.domain.model import Pod
from certmanager.engine.reconcile_pod import Policy
from certmanager.policy.file import PolicyFile
from certmanager.policy.source import TermsSource
from tests.unit.domain.builders import DEFAULTS
from tests.unit.engine.bench import SECRET, Engine, enrolled
from tests.unit.engine.builders import pod

GRANTING = "rules: [{name: shop, namespaces: [default], dns_names: ['*.example.com']}]"
NOTHING = "rules: []"


class NoLabels:
    """The manager has no right to read namespaces."""

    def __call__(self, namespace: str) -> Mapping[str, str]:
        raise Refused("Forbidden", f"namespaces/{namespace} may not be read")

    def refresh(self) -> bool:
        return False


class World:
    """An engine under a policy file; `say` changes it as an administrator does."""

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        file.write_text(text)
        self.engine = Engine()
        self._terms = TermsSource(DEFAULTS, PolicyFile(file), NoLabels(), self.engine.clock.monotonic)
        self.engine.pods._policy = Policy(self._terms)

    def enrol(self, of: Pod) -> None:
        enrolled(self.engine, of)

    def say(self, text: str) -> None:
        self._file.write_text(text)
        if self._terms.check():
            self.engine.intake.resync()
        self.engine.run(1)

    @property
    def names(self) -> str:
        return self.engine.api.secrets[SECRET].annotations["names"]

    @property
    def warnings(self) -> list[str]:
        return [str(warning) for warning in self.engine.reporter.warnings]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


def test_a_pod_that_was_refused_has_its_certificate_once_the_policy_grants_the_name(file: Path) -> None:
    world = World(file, NOTHING)
    world.enrol(pod(annotations={"dns-names": "web.example.com"}))
    assert SECRET not in world.engine.api.secrets
    assert "NameNotAllowed" in str(world.warnings)
    world.say(GRANTING)
    assert world.names == "web.example.com"


def test_a_grant_that_is_taken_away_leaves_the_certificate_and_warns(file: Path) -> None:
    world = World(file, GRANTING)
    world.enrol(pod(annotations={"dns-names": "web.example.com"}))
    signed = len(world.engine.vault.signs)
    world.say(NOTHING)
    assert world.names == "web.example.com"
    assert len(world.engine.vault.signs) == signed
    assert "NameNotAllowed" in str(world.warnings)


def test_another_role_means_another_certificate_and_the_same_policy_means_none(file: Path) -> None:
    world = World(file, NOTHING)
    world.enrol(pod())
    world.say("rules: [{name: shop, namespaces: [default], sign_role: shop}]")
    assert world.engine.vault.signs == ["pods", "shop"]
    world.say("# only a remark\nrules: [{name: shop, namespaces: [default], sign_role: shop}]")
    assert world.engine.vault.signs == ["pods", "shop"]


def test_a_wrong_policy_changes_nothing_for_anybody(file: Path) -> None:
    world = World(file, GRANTING)
    world.enrol(pod(annotations={"dns-names": "web.example.com"}))
    world.say("rules: [{name: shop, enroll: perhaps}]")
    world.engine.intake.resync()
    world.engine.run(1)
    assert world.names == "web.example.com"
    assert world.warnings == []


def test_a_rule_by_labels_that_cannot_be_read_refuses_and_falls_through_to_no_other_rule(file: Path) -> None:
    by_label = (
        "rules: [{name: a, namespace_labels: {a: b}}, {name: b, namespaces: ['*'], dns_names: ['*.example.com']}]"
    )
    world = World(file, by_label)
    world.enrol(pod(annotations={"dns-names": "web.example.com"}))
    assert SECRET not in world.engine.api.secrets
    assert "Forbidden" in str(world.warnings)
