"""What docs/architecture.md says of metrics, modules and layers is what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from prometheus_client import Metric

from certmanager.domain.rotation import CertificateFact
from certmanager.observe.metrics import Metrics, Sources

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
TABLES = "\n".join(page.read_text("utf-8") for page in sorted((ROOT / "docs").glob("*.md")))
FACT = CertificateFact("default", "web", "Deployment/web", 0.0, 2.0, 1.0)


def families() -> list[Metric]:
    """Every family, with at least one sample where a label has to be there."""
    metrics = Metrics("1", Sources(certificates=lambda: [FACT], watch_last_seen=lambda: {"pods": 1.0}))
    metrics.reconciled("pod", "Valid", 0.1)
    metrics.vault_request("sign", "ok")
    metrics.bug("ValueError")
    metrics.issued(0.1)
    return list(metrics.registry.collect())


def rows() -> dict[str, tuple[str, str]]:
    """Type and labels by name, as the table of metrics has them, on whichever page it is."""
    found = re.findall(r"^\| `(podcert_\w+)` \| (\w+) \| ([^|]*)\|", TABLES, re.MULTILINE)
    assert len(found) == len({name for name, _, _ in found}), "a metric is in two tables"
    return {name: (kind, labels) for name, kind, labels in found}


def shown_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_every_metric_has_its_line_and_no_other_has() -> None:
    assert sorted(rows()) == sorted(shown_name(family) for family in families())


@pytest.mark.parametrize("family", families(), ids=shown_name)
def test_a_metrics_line_tells_its_type_and_its_labels(family: Metric) -> None:
    kind, labels = rows()[shown_name(family)]
    assert kind == family.type
    outside = re.sub(r"\([^)]*\)", "", labels)
    has = {label for sample in family.samples for label in sample.labels} - {"le"}
    assert set(re.findall(r"`(\w+)`", outside)) == has


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
