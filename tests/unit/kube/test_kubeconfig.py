"""Which kubeconfig a command uses: the one that kubectl would, and clear words where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from certmanager.console import Console, Target, UsageError
from certmanager.kube.kubeconfig import client, kubeconfig, usual


def console(home: Path, environment: Mapping[str, str] | None = None) -> Console:
    return Console(lambda _: None, lambda _: None, environment or {}, home)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text("a: b")
    return tmp_path


@pytest.mark.parametrize(
    ("named", "variable", "found"),
    [
        ("named", "variable", "named"),
        ("named", "a:b", "named"),
        (None, "variable", "variable"),
        (None, ":variable:", "variable"),
    ],
)
def test_the_option_comes_before_the_variable(named: str | None, variable: str, found: str, home: Path) -> None:
    target = Target(Path(named) if named else None)
    assert usual(target, console(home, {"KUBECONFIG": variable})) == Path(found)


def test_without_either_it_is_the_one_in_the_home_folder(home: Path) -> None:
    assert kubeconfig(Target(), console(home, {"KUBECONFIG": ""})) == home / ".kube" / "config"


def test_without_any_there_is_none_and_who_needs_one_is_told(tmp_path: Path) -> None:
    assert usual(Target(), console(tmp_path)) is None
    with pytest.raises(UsageError, match="there is no kubeconfig; name one by --kubeconfig or KUBECONFIG"):
        client(Target(), console(tmp_path))


def test_a_variable_that_names_several_files_is_wrong_usage(home: Path) -> None:
    with pytest.raises(UsageError, match="KUBECONFIG names several files"):
        usual(Target(), console(home, {"KUBECONFIG": "a:b"}))


def test_a_file_that_is_no_kubeconfig_is_wrong_usage_and_quotes_nothing_of_it(home: Path) -> None:
    (home / ".kube" / "config").write_text("token: planted-secret")
    with pytest.raises(UsageError) as caught:
        client(Target(), console(home))
    assert str(home) in str(caught.value)
    assert "planted" not in str(caught.value)
    assert caught.value.__context__ is None
