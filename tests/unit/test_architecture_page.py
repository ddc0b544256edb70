"""What docs/architecture.md says of modules and layers is what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
TABLES = "\n".join(page.read_text("utf-8") for page in sorted((ROOT / "docs").glob("*.md")))


def test_every_module_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:[a-z0-9_]+/)+(?:[a-z0-9_]+\.py)?)`", PAGE))
    assert len(named) > 20
    missing = [name for name in named if not any((root / name).exists() for root in (ROOT, ROOT / "certmanager"))]
    assert missing == []


def test_every_part_of_the_manager_is_named() -> None:
    parts = [each.name for each in (ROOT / "certmanager").iterdir() if (each / "__init__.py").exists()]
    assert [part for part in parts if f"`certmanager/{part}/" not in PAGE] == []


def test_the_layers_are_those_that_are_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert " > ".join(layers) in PAGE
