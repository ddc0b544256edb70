"""A namespace on the command line becomes part of a request's path: anything but a name is wrong usage."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from certmanager.cli import main

COMMANDS = (
    ["status"],
    ["renew", "web"],
    ["revoke", "web"],
    ["explain", "web"],
    ["ca", "status"],
    ["vault", "init"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("namespace", ["..", "a/b", "", "Shop", "-shop", "s" * 64, "sh\x1bop", "shop?x=y"])
def test_what_cannot_be_a_namespace_is_wrong_usage_and_asks_nobody(command: list[str], namespace: str) -> None:
    result = CliRunner().invoke(main, [*command, "-n", namespace])
    assert result.exit_code == 2
    assert "is no namespace's name" in result.output
    assert "\x1b" not in result.output


@pytest.mark.parametrize("namespace", ["shop", "0", "s" * 63, "kube-system"])
def test_what_can_be_one_is_not(namespace: str) -> None:
    result = CliRunner().invoke(main, ["status", "-n", namespace, "--kubeconfig", "/nonexistent"])
    assert "is no namespace's name" not in result.output
