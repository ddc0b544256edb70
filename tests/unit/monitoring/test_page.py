"""What docs/monitoring.md and the runbooks say of metrics and alerts is what there is; promtool finds no fault in the metrics."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import Metric

from certmanager.domain.reasons import Reason
from certmanager.domain.rotation import CertificateFact, HeldRoll
from certmanager.observe.metrics import Metrics, Sources
from tests.cluster.paths import REPOSITORY
from tests.prometheus import promtool
from tests.unit.monitoring.rules import PLAIN, alerts, groups

DOCS = REPOSITORY / "docs"
PAGE = (DOCS / "monitoring.md").read_text("utf-8")
RUNBOOKS = DOCS / "runbooks"
FACT = CertificateFact("default", "web", "Deployment/web", 0.0, 2.0, 1.0, outdated=True)
SECTIONS = ["What it means", "How to look", "What to do"]


def everything() -> Metrics:
    """Every metric, with at least one sample where a label has to be there."""
    sources = Sources(
        certificates=lambda: [FACT],
        watch_last_seen=lambda: {"pods": 1.0},
        reloads=lambda: [("default", "web", True)],
        held_rolls=lambda: [HeldRoll("default", "Deployment/web", "WorkloadPaused")],
        failing=lambda: {("pod", "retried"): 1},
    )
    metrics = Metrics("1", sources)
    metrics.reconciled("pod", "Valid", 0.1)
    metrics.vault_request("sign", "ok")
    metrics.bug("ValueError")
    metrics.issued(0.1)
    return metrics


def families() -> list[Metric]:
    return list(everything().registry.collect())


def rows() -> dict[str, tuple[str, str]]:
    """Type and labels by name, as the page has them."""
    found = re.findall(r"^\| `(podcert_\w+)` \| (\w+) \| ([^|]*)\|", PAGE, re.MULTILINE)
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


def test_promtool_finds_no_fault_in_names_units_and_help_texts() -> None:
    done = promtool("check", "metrics", stdin=everything().render().decode())
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_promtool_would_find_a_fault() -> None:
    bad = everything().render().decode() + "# TYPE podcert_wait_milliseconds gauge\npodcert_wait_milliseconds 1\n"
    done = promtool("check", "metrics", stdin=bad)
    assert done.returncode != 0
    assert "podcert_wait_milliseconds" in done.stdout + done.stderr


def test_every_series_that_the_rules_ask_for_is_one_that_there_is() -> None:
    there = {sample.name for family in families() for sample in family.samples}
    texts = [rule["expr"] for group in groups() for rule in group["rules"]]
    texts += [text for rule in alerts().values() for text in rule["annotations"].values()]
    asked = {name for text in texts for name in re.findall(r"podcert_\w+", text)}
    assert asked <= there
    shown = {
        name
        for block in re.findall(r"```text\n# .*?```", PAGE, re.DOTALL)
        for name in re.findall(r"podcert_\w+", block)
    }
    assert shown <= there


def test_every_alert_has_its_line_with_its_severity_and_no_other_has() -> None:
    found = re.findall(r"^\| \[`(\w+)`\]\(runbooks/(\w+)\.md\) \| (\w+) \|", PAGE, re.MULTILINE)
    assert all(name == file for name, file, _ in found)
    assert {name: severity for name, _, severity in found} == {
        name: rule["labels"]["severity"] for name, rule in alerts().items()
    }


def test_the_pages_configuration_is_one_that_prometheus_takes(tmp_path: Path) -> None:
    """But for the discovery of targets: Debian builds Prometheus without the one of Kubernetes."""
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    config = yaml.safe_load(block)
    (job,) = config["scrape_configs"]
    assert job["honor_labels"] is True
    (discovery,) = job.pop("kubernetes_sd_configs")
    assert discovery == {"role": "endpointslice", "namespaces": {"names": ["podcert"]}}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    (tmp_path / PLAIN.name).write_bytes(PLAIN.read_bytes())
    done = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {sum(len(group['rules']) for group in groups())} rules found" in done.stdout


def test_every_alert_has_a_runbook_and_no_other_page_is_there() -> None:
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md")) == sorted(alerts())


@pytest.mark.parametrize("alert", alerts())
def test_a_runbook_says_what_it_means_how_to_look_and_what_to_do(alert: str) -> None:
    text = (RUNBOOKS / f"{alert}.md").read_text("utf-8")
    assert text.startswith(f"# {alert}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    look = text.partition("## How to look")[2].partition("## What to do")[0]
    assert "kubectl " in look
    there = {sample.name for family in families() for sample in family.samples}
    for name in re.findall(r"podcert_\w+", text):
        assert any(each.startswith(name) for each in there), f"{name} is no metric, and no beginning of one"


def test_a_reason_that_a_runbook_names_is_one_that_the_code_has() -> None:
    source = "\n".join(path.read_text("utf-8") for path in (REPOSITORY / "certmanager").rglob("*.py"))
    for path in RUNBOOKS.glob("*.md"):
        named = re.findall(r"^\| `(\w+)` \|", path.read_text("utf-8"), re.MULTILINE)
        unknown = [name for name in named if name not in set(Reason) and f'"{name}"' not in source]
        assert unknown == [], path.name
