"""The policy file may change at any time; a wrong one never takes the place of the last good one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from certmanager.domain.errors import NotYet
from certmanager.policy.file import NO_POLICY, PolicyFile, load_policy
from certmanager.policy.parse import PolicyError
from certmanager.policy.source import LABELS_SECONDS, TermsSource
from tests.unit.domain.builders import DEFAULTS

ONE = "rules: [{name: one, namespaces: ['*'], sign_role: one}]"
TWO = "rules: [{name: two, namespaces: ['*'], sign_role: two, mount: pki-two}]"
BY_LABEL = "rules: [{name: team, namespace_labels: {team: a}, sign_role: team}]"


class Mounted:
    """A ConfigMap as the kubelet mounts it: a link to a link to a folder, which is swapped."""

    def __init__(self, folder: Path, text: str) -> None:
        self._folder = folder
        self._count = 0
        self.path = folder / "policy.yaml"
        self.write(text)
        self.path.symlink_to("..data/policy.yaml")

    def write(self, text: str) -> None:
        self._count += 1
        version = self._folder / f"..{self._count}"
        version.mkdir()
        (version / "policy.yaml").write_text(text)
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self._folder / "..data")


class Labels:
    """Labels of namespaces that a test sets; counts how often they are read again."""

    def __init__(self) -> None:
        self.now: dict[str, str] = {}
        self.changed = False
        self.refreshed = 0

    def __call__(self, namespace: str) -> Mapping[str, str]:
        if namespace == "away":
            raise NotYet("ApiServerUnreachable", "away")
        return self.now

    def refresh(self) -> bool:
        self.refreshed += 1
        return self.changed


def first_rule(file: PolicyFile) -> str:
    return file.current.rules[0].name


def test_without_a_file_there_is_no_policy_and_nothing_to_look_at() -> None:
    file = PolicyFile(None)
    assert file.current is NO_POLICY
    assert not file.check()


def test_a_swapped_link_brings_the_new_policy_once(tmp_path: Path) -> None:
    mounted, told = Mounted(tmp_path, ONE), list[str | None]()
    file = PolicyFile(mounted.path, told.append)
    assert not file.check()
    mounted.write(TWO)
    assert file.check()
    assert not file.check()
    assert first_rule(file) == "two"
    assert told == [None]


def test_a_wrong_file_leaves_the_last_good_policy_in_force_and_is_told_once(tmp_path: Path) -> None:
    mounted, told = Mounted(tmp_path, ONE), list[str | None]()
    file = PolicyFile(mounted.path, told.append)
    mounted.write("rules: [{name: two, modes: [sing]}]")
    assert not file.check()
    assert not file.check()
    assert first_rule(file) == "one"
    assert len(told) == 1
    assert told[0] is not None
    assert 'modes="sing"' in told[0]
    assert "the last good policy stays in force" in told[0]
    assert file.problem is not None
    assert "policy.yaml" in file.problem


def test_the_same_policy_again_after_a_mistake_clears_the_problem_without_disturbing_a_pod(tmp_path: Path) -> None:
    mounted, told = Mounted(tmp_path, ONE), list[str | None]()
    file = PolicyFile(mounted.path, told.append)
    mounted.write("nonsense")
    file.check()
    mounted.write(ONE)
    assert not file.check()
    assert file.problem is None
    assert told[1:] == [None]


def test_a_file_that_is_gone_is_a_problem_and_no_policy_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(ONE)
    file = PolicyFile(path)
    path.unlink()
    assert not file.check()
    assert first_rule(file) == "one"
    assert file.problem is not None
    assert "there is no such file" in file.problem


@pytest.mark.parametrize("content", [b"nonsense", b"\xff\xfe", b""])
def test_the_start_needs_a_policy_that_can_be_used(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(content)
    with pytest.raises(PolicyError):
        PolicyFile(path)
    with pytest.raises(PolicyError):
        load_policy(path)


def test_a_folder_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="it cannot be read"):
        PolicyFile(tmp_path)


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_holds_in_a_namespace_follows_the_file(tmp_path: Path) -> None:
    mounted = Mounted(tmp_path, ONE)
    terms = TermsSource(DEFAULTS, PolicyFile(mounted.path), Labels(), Clock())
    assert terms("shop").sign_role == "one"
    assert terms("shop") is terms("shop")
    assert terms.mounts == {"pki"}
    mounted.write(TWO)
    assert terms.check()
    assert (terms("shop").sign_role, terms("shop").mount) == ("two", "pki-two")
    assert terms.mounts == {"pki", "pki-two"}


def test_labels_are_read_again_now_and_then_and_only_when_they_matter(tmp_path: Path) -> None:
    mounted, labels, clock = Mounted(tmp_path, ONE), Labels(), Clock()
    terms = TermsSource(DEFAULTS, PolicyFile(mounted.path), labels, clock)
    clock.now += LABELS_SECONDS
    assert not terms.check()
    assert labels.refreshed == 0
    mounted.write(BY_LABEL)
    assert terms.check()
    assert labels.refreshed == 1
    assert not terms.check()
    assert labels.refreshed == 1
    assert terms("shop").sign_role == "pods"
    labels.now, labels.changed = {"team": "a"}, True
    clock.now += LABELS_SECONDS
    assert terms.check()
    assert terms("shop").sign_role == "team"


def test_labels_that_cannot_be_read_now_decide_nothing(tmp_path: Path) -> None:
    terms = TermsSource(DEFAULTS, PolicyFile(Mounted(tmp_path, BY_LABEL).path), Labels(), Clock())
    with pytest.raises(NotYet):
        terms("away")
