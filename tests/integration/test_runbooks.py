"""The commands of the runbooks are ones that kubectl and the API server take, with the names put in."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from tests.cluster.paths import REPOSITORY
from tests.integration.test_prometheus import deployment, only_pod
from tests.integration.world import World

pytestmark = pytest.mark.cluster

RUNBOOKS = sorted((REPOSITORY / "docs" / "runbooks").glob("*.md"))
ELSEWHERE = ("--raw", "logs", "exec", "servicemonitors")
"""They need a container that runs (there is no node here) or the Prometheus operator's kinds."""


def commands(text: str) -> list[list[str]]:
    """Every kubectl command in a block of shell, up to the first pipe."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        if words and words[0] == "kubectl":
            found.append(words[1 : words.index("|")] if "|" in words else words[1:])
    return found


def test_the_runbooks_commands_are_taken(world: World) -> None:
    for name in ("service", "deployment"):
        text = (REPOSITORY / "manifests" / "base" / f"{name}.yaml").read_text()
        world.cluster.kubectl("apply", "--namespace=podcert", "-f", "-", stdin=text)
    world.create(f"/apis/apps/v1/namespaces/{world.namespace}/deployments", deployment("web"))
    names = {"NAMESPACE": world.namespace, "KIND": "deployment", "NAME": "web"}
    tried = 0
    for page in RUNBOOKS:
        for command in commands(page.read_text("utf-8")):
            if any(word in command for word in ELSEWHERE):
                continue
            names["POD"] = names["NEW-POD"] = only_pod(world)  # one of the commands rolls the Deployment
            filled = [
                re.sub(r"\b(NAMESPACE|NEW-POD|POD|KIND|NAME)\b(?![:-])", lambda m: names[m[1]], w) for w in command
            ]
            done = world.cluster.kubectl(*filled, check=False)
            never_ready = "rollout" in filled and "timed out" in done.stderr
            assert done.returncode == 0 or never_ready, f"{page.name}: kubectl {shlex.join(filled)}: {done.stderr}"
            tried += 1
    assert tried > 15
    world.cluster.kubectl(
        "delete", "--namespace=podcert", "deployment/certificate-manager", "service/certificate-manager"
    )


def test_every_command_of_a_runbook_is_one_that_a_reader_can_fill_in() -> None:
    known = {"NAMESPACE", "NEW-POD", "POD", "KIND", "NAME"}
    for page in RUNBOOKS:
        for command in commands(page.read_text("utf-8")):
            for word in command:
                if not word.startswith(("custom-columns=", "jsonpath=")):
                    assert set(re.findall(r"\b[A-Z][A-Z-]{3,}\b", word)) <= known, f"{page.name}: {word}"


def test_the_raw_paths_lead_to_the_managers_service() -> None:
    service = yaml.safe_load((REPOSITORY / "manifests" / "base" / "service.yaml").read_text())
    (port,) = service["spec"]["ports"]
    start = f"/api/v1/namespaces/podcert/services/{service['metadata']['name']}:{port['name']}/proxy/"
    for page in RUNBOOKS:
        for command in commands(page.read_text("utf-8")):
            if "--raw" in command:
                assert command[-1].startswith(start)
                assert command[-1].removeprefix(start).partition("?")[0] in ("metrics", "readyz", "livez")
