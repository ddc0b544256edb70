"""docs/install.md against the repository: what its commands name is there, and the reasons that it explains exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "install.md").read_text()
TROUBLE = PAGE.split("## When something does not work")[1]
SOURCES = "\n".join(path.read_text() for path in sorted((ROOT / "certmanager").rglob("*.py")))
OF_KUBERNETES = {"ImagePullBackOff", "ContainerCreating", "FailedMount"}


def test_every_file_that_a_command_names_is_there() -> None:
    named = set(re.findall(r"(?<![\w/.])(?:manifests/[\w./-]+|Dockerfile\.\w+)", PAGE))
    assert {"manifests/base", "manifests/overlays/namespaced", "Dockerfile.manager"} <= named
    assert [path for path in sorted(named) if not (ROOT / path.rstrip(".")).exists()] == []


@pytest.mark.parametrize("reason", sorted(set(re.findall(r"`([A-Z][a-z]+(?:[A-Z]\w*)+)`", TROUBLE)) - OF_KUBERNETES))
def test_a_reason_that_is_explained_is_one_that_the_manager_gives(reason: str) -> None:
    assert f'"{reason}"' in SOURCES


def test_every_overlay_is_in_the_table_of_variants() -> None:
    overlays = {path.parent.name for path in (ROOT / "manifests" / "overlays").glob("*/kustomization.yaml")}
    assert overlays == set(re.findall(r"^\| `kubectl apply -k manifests/overlays/([\w-]+)`", PAGE, re.MULTILINE))


def test_every_option_of_the_bootstrap_that_is_named_exists() -> None:
    options = {
        option for line in re.findall(r"podcert bootstrap (.*)", PAGE) for option in re.findall(r"--[a-z-]+", line)
    }
    assert options
    assert [option for option in sorted(options) if f'"{option}"' not in SOURCES] == []
