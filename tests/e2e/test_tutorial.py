"""docs/tutorial.md works: its commands, in order, on a real cluster, and they print what it says."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from pathlib import Path

import pytest

from tests.cluster.openbao import binary
from tests.cluster.provider import Cluster
from tests.e2e.scenario import ROOT
from tests.e2e.walkthrough import Place, Step, problem, run, shows, steps

PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def programs(folder: Path, cluster: Cluster) -> Path:
    """A folder for the PATH with the page's three programs, each meaning this cluster or this checkout."""
    commands = {
        "kubectl": cluster.kubectl_command(),
        "vault": [str(binary())],
        "podcert": [sys.executable, "-m", "certmanager"],
    }
    folder.mkdir()
    for name, command in commands.items():
        file = folder / name
        file.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        file.chmod(0o755)
    return folder


def place(folder: Path, cluster: Cluster) -> Place:
    """A folder that looks like a checkout as far as the page goes, with a home of its own for Vault's token file."""
    (folder / "manifests").symlink_to(ROOT / "manifests")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VAULT_", "BAO_", "PODCERT_"))}
    path = f"{programs(folder / 'bin', cluster)}{os.pathsep}{os.environ['PATH']}"
    environment = {**kept, "PATH": path, "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    return Place(folder, environment, free_port())


def make_room(cluster: Cluster) -> None:
    """The page begins with an empty cluster, and this one is shared: what other tests installed is removed, no more."""
    ours = {"vault": "BAO_DEV_ROOT_TOKEN_ID", "podcert": "app.kubernetes.io/part-of: podcert"}
    for namespace, mark in ours.items():
        there = cluster.kubectl(
            "get", "deployment,namespace", namespace, "-n", namespace, "-o", "yaml", check=False
        ).stdout
        if "kind: Namespace" in there:
            assert mark in there, f"namespace {namespace} is not one that these tests made: it is left as it is"
            cluster.kubectl("delete", "namespace", namespace, "--wait", timeout=180)
    cluster.kubectl("delete", "pod,service", "client", "server", "--ignore-not-found", "--wait")


@pytest.mark.e2e
def test_the_tutorials_commands_work_in_order_and_print_what_it_says(cluster: Cluster, tmp_path: Path) -> None:
    make_room(cluster)
    here = place(tmp_path, cluster)
    page = PAGE.replace("127.0.0.1:8200", f"127.0.0.1:{here.port}").replace("8200:8200", f"{here.port}:8200")
    blocks = steps(page)
    outputs = run(blocks, here)
    assert problem(blocks, outputs) is None


def test_every_block_of_commands_is_found_with_what_it_should_print() -> None:
    found = steps(PAGE)
    assert len(found) == PAGE.count("\n```sh\n") > 15
    assert sum(len(step.expected) for step in found) > 10
    assert PAGE.splitlines()[found[0].line - 1] == "```sh"


def test_a_missing_line_and_a_failed_command_are_told() -> None:
    blocks = [Step(1, "true", ("a …c",)), Step(5, "false")]
    assert problem(blocks, {0: "a b c\n", 1: "no"}) == "line 5: failed:\nfalse\n\nno"
    assert "its output lacks ['a …c']" in (problem(blocks, {0: "c a\n", 1: ""}) or "")
    assert problem(blocks[:1], {0: "x a c\n@@ finished\n"}) is None


def test_dots_stand_for_anything_within_a_line() -> None:
    assert shows("key_type    any\n", "key_type …any")
    assert not shows("key_type\nany\n", "key_type…any")
    assert not shows("aXc", "a.c")


def test_a_page_is_run_in_one_shell_to_the_first_failure(tmp_path: Path) -> None:
    bodies = ("sh\nexport A=1", "sh\necho A is $A", "text\nA is 1", "sh\nfalse", "sh\necho never")
    page = "".join(f"```{body}\n```\n" for body in bodies)
    blocks = steps(page)
    outputs = run(blocks, Place(tmp_path, dict(os.environ), 1), seconds=30)
    assert sorted(outputs) == [0, 1, 2]
    assert (problem(blocks, outputs) or "").startswith("line 10: failed:\nfalse")
