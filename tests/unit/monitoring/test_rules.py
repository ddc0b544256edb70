"""The alerts: promtool tries each against time series in which it has to fire, and in which it has to stay silent."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.prometheus import promtool
from tests.unit.monitoring.rules import FOLDER, OPERATOR, PLAIN, alerts, groups, prometheus_rule

CASES = FOLDER / "tests"
ALWAYS, NEVER = "vector(1)", "vector(1) > 2"


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_fires_when_it_should_and_is_silent_when_it_should(alert: str) -> None:
    done = promtool("test", "rules", str(CASES / f"{alert}.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("expression", [ALWAYS, NEVER])
@pytest.mark.parametrize("alert", alerts())
def test_the_tests_of_an_alert_notice_when_it_fires_always_or_never(
    alert: str, expression: str, tmp_path: Path
) -> None:
    broken: dict[str, Any] = {"groups": groups()}
    for rule in broken["groups"][0]["rules"]:
        if rule.get("alert") == alert:
            rule["expr"] = expression
    (tmp_path / PLAIN.name).write_text(yaml.safe_dump(broken))
    shutil.copytree(CASES, tmp_path / "tests")
    done = promtool("test", "rules", str(tmp_path / "tests" / f"{alert}.yaml"))
    assert done.returncode != 0
    assert "FAILED" in done.stdout + done.stderr


def test_every_case_is_an_alerts() -> None:
    assert sorted(path.stem for path in CASES.glob("*")) == sorted(alerts())


def test_promtool_finds_no_fault_in_the_rules() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(PLAIN))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_operators_rules_are_the_plain_ones() -> None:
    text = OPERATOR.read_text("utf-8")
    assert text == prometheus_rule(), (
        "run: python -m tests.unit.monitoring.rules > manifests/monitoring/prometheusrule.yaml"
    )
    made = yaml.safe_load(text)
    assert (made["apiVersion"], made["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert made["spec"] == {"groups": groups()}


def test_the_service_monitor_finds_the_managers_service() -> None:
    monitor = yaml.safe_load((FOLDER / "servicemonitor.yaml").read_text())
    service = yaml.safe_load((FOLDER.parent / "base" / "service.yaml").read_text())
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["honorLabels"] is True
    base = yaml.safe_load((FOLDER.parent / "base" / "kustomization.yaml").read_text())
    assert monitor["metadata"]["namespace"] == base["namespace"]


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_has_a_severity_a_summary_a_description_and_its_runbook(alert: str) -> None:
    rule = alerts()[alert]
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{alert}.md"


def test_each_threshold_has_its_reason_beside_it() -> None:
    text = PLAIN.read_text("utf-8")
    for alert in alerts():
        after = text[text.index(f"- alert: {alert}\n") :].splitlines()[1]
        assert after.strip().startswith("# "), f"{alert} needs a comment that says why its threshold is what it is"
