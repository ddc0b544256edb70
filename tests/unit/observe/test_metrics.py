"""What a scrape says, and that the reporter moves it."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import structlog
from prometheus_client.parser import text_string_to_metric_families

from certmanager.domain.model import Pod
from certmanager.domain.rotation import CertificateFact, HeldRoll
from certmanager.observe.logs import LogFormat, LogLevel, configure
from certmanager.observe.metrics import RENEWALS, RESTARTS, Metrics, Sources
from certmanager.observe.reporter import Reporter

POD = Pod("shop", "web-0", "uid-1", 1, "web", {}, {}, 0.0)


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_certificate_s_times_are_read_at_the_scrape() -> None:
    facts = [CertificateFact("shop", "web-0", "Deployment/web", 100.0, 400.0, 300.0)]
    metrics = Metrics("1.2.3", Sources(certificates=lambda: facts))
    labels = (("namespace", "shop"), ("pod", "web-0"), ("workload", "Deployment/web"))
    assert samples(metrics)["podcert_certificate_expiration_timestamp_seconds", labels] == 400.0
    assert samples(metrics)["podcert_certificate_not_before_timestamp_seconds", labels] == 100.0
    assert samples(metrics)["podcert_certificate_renewal_timestamp_seconds", labels] == 300.0
    facts.clear()
    assert ("podcert_certificate_expiration_timestamp_seconds", labels) not in samples(metrics)


def test_a_certificate_without_a_planned_renewal_has_no_renewal_time() -> None:
    metrics = Metrics("1", Sources(certificates=lambda: [CertificateFact("a", "b", "", 1.0, 2.0, None)]))
    assert not any("renewal_timestamp" in name for name, _labels in samples(metrics))


def test_of_outdated_files_the_end_is_told_and_that_they_are_outdated() -> None:
    fact = CertificateFact("shop", "web-0", "Deployment/web", None, 400.0, 300.0, outdated=True)
    seen = samples(Metrics("1", Sources(certificates=lambda: [fact])))
    labels = (("namespace", "shop"), ("pod", "web-0"), ("workload", "Deployment/web"))
    assert seen["podcert_certificate_expiration_timestamp_seconds", labels] == 400.0
    assert seen["podcert_certificate_files_outdated", labels] == 1.0
    assert ("podcert_certificate_not_before_timestamp_seconds", labels) not in seen


def test_a_certificate_that_is_up_to_date_has_no_series_of_outdated_files() -> None:
    fact = CertificateFact("shop", "web-0", "Deployment/web", 100.0, 400.0, 300.0)
    seen = samples(Metrics("1", Sources(certificates=lambda: [fact])))
    assert not any(name == "podcert_certificate_files_outdated" for name, _labels in seen)


def test_what_rolls_what_is_held_up_and_what_does_not_reload_is_read_at_the_scrape() -> None:
    sources = Sources(
        reloads=lambda: [("shop", "web-0", True), ("shop", "web-1", False)],
        held_rolls=lambda: [HeldRoll("shop", "Deployment/web", "WorkloadPaused")],
        rolling=lambda: 2,
        failing=lambda: {("pod", "retried"): 3, ("pod", "refused"): 0},
    )
    seen = samples(Metrics("1", sources))
    assert seen["podcert_reload_failing", (("namespace", "shop"), ("pod", "web-0"))] == 1.0
    assert seen["podcert_reload_failing", (("namespace", "shop"), ("pod", "web-1"))] == 0.0
    held = (("namespace", "shop"), ("reason", "WorkloadPaused"), ("workload", "Deployment/web"))
    assert seen["podcert_roll_held", held] == 1.0
    assert seen["podcert_rolling_workloads", ()] == 2.0
    assert seen["podcert_failing_keys", (("kind", "pod"), ("state", "retried"))] == 3.0
    assert seen["podcert_failing_keys", (("kind", "pod"), ("state", "refused"))] == 0.0


def test_every_result_of_renewals_and_restarts_is_there_before_it_has_happened() -> None:
    """`increase` does not see a series' first value."""
    seen = samples(Metrics("1"))
    assert all(seen["podcert_renewals_total", (("result", result),)] == 0.0 for result in RENEWALS)
    for strategy in ("restart", "evict"):
        for result in RESTARTS:
            assert seen["podcert_restarts_total", (("result", result), ("strategy", strategy))] == 0.0


def test_the_reporter_counts_renewals_and_restarts_by_result() -> None:
    metrics = Metrics("1")
    reporter = Reporter(EventList(), metrics)
    reporter.renewed("failed")
    reporter.renewed("renewed")
    reporter.renewed("renewed")
    reporter.restarted("evict", "blocked")
    seen = samples(metrics)
    assert seen["podcert_renewals_total", (("result", "renewed"),)] == 2.0
    assert seen["podcert_renewals_total", (("result", "failed"),)] == 1.0
    assert seen["podcert_restarts_total", (("result", "blocked"), ("strategy", "evict"))] == 1.0


def test_states_of_queue_watches_and_events_are_read_at_the_scrape() -> None:
    metrics = Metrics("1.2.3")
    metrics.read_from(Sources(lambda: (), lambda: 3.0, lambda: 1.5, lambda: {"pods": 99.0}, lambda: 7))
    seen = samples(metrics)
    assert seen["podcert_queue_depth", ()] == 3.0
    assert seen["podcert_queue_oldest_seconds", ()] == 1.5
    assert seen["podcert_watch_last_event_timestamp_seconds", (("resource", "pods"),)] == 99.0
    assert seen["podcert_events_dropped_total", ()] == 7.0
    assert seen["podcert_build_info", (("version", "1.2.3"),)] == 1.0


def test_counts_go_by_kind_and_reason() -> None:
    metrics = Metrics("1")
    metrics.reconciled("pod", "Valid", 0.004)
    metrics.issued(0.02)
    metrics.vault_request("sign", "200")
    seen = samples(metrics)
    assert seen["podcert_reconcile_total", (("kind", "pod"), ("reason", "Valid"))] == 1.0
    assert seen["podcert_reconcile_duration_seconds_sum", (("kind", "pod"),)] == 0.004
    assert seen["podcert_issuance_duration_seconds_count", ()] == 1.0
    assert seen["podcert_vault_requests_total", (("operation", "sign"), ("status", "200"))] == 1.0


def test_every_name_has_the_prefix_a_help_text_and_a_unit_where_it_needs_one() -> None:
    metrics = Metrics("1")
    for family in metrics.registry.collect():
        assert re.fullmatch(r"podcert_[a-z_]+", family.name)
        assert family.documentation.endswith((".", "minute."))
        assert not family.name.endswith(("_ms", "_milliseconds", "_minutes"))


class EventList:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    def normal(self, pod: Pod, reason: str, message: str) -> None:
        self.seen.append(("Normal", pod.name, reason))

    def warning(self, pod: Pod, reason: str, message: str) -> None:
        self.seen.append(("Warning", pod.name, reason))


def test_one_reason_is_the_event_s_the_metric_s_and_the_log_s() -> None:
    stream = io.StringIO()
    configure(LogFormat.JSON, LogLevel.DEBUG, stream)
    events, metrics = EventList(), Metrics("1")
    reporter = Reporter(events, metrics)
    reporter.warning(POD, "SecretNameTaken", "choose another name")
    reporter.normal(POD, "Issued", "until tomorrow")
    reporter.outcome("pod", "SecretNameTaken", 0.1)
    structlog.reset_defaults()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert events.seen == [("Warning", "web-0", "SecretNameTaken"), ("Normal", "web-0", "Issued")]
    assert [(line["level"], line["reason"]) for line in lines] == [
        ("warning", "SecretNameTaken"),
        ("info", "Issued"),
        ("debug", "SecretNameTaken"),
    ]
    assert (lines[0]["namespace"], lines[0]["pod"], lines[0]["message"]) == ("shop", "web-0", "choose another name")
    assert samples(metrics)["podcert_reconcile_total", (("kind", "pod"), ("reason", "SecretNameTaken"))] == 1.0


def test_a_bug_is_told_by_type_and_place_never_by_its_text() -> None:
    stream = io.StringIO()
    configure(LogFormat.JSON, LogLevel.INFO, stream)
    metrics = Metrics("1")
    try:
        raise ValueError("the body of a Secret")
    except ValueError as error:
        Reporter(EventList(), metrics).bug(("pod", "shop/web-0"), error)
    structlog.reset_defaults()
    line = json.loads(stream.getvalue())
    assert "body of a Secret" not in stream.getvalue()
    assert line["error"] == "ValueError"
    assert "test_a_bug_is_told" in line["places"][-1]
    assert samples(metrics)["podcert_bugs_total", (("type", "ValueError"),)] == 1.0


def test_certificates_are_counted_by_mount_and_the_ca_that_signed_them() -> None:
    one = CertificateFact("shop", "web-0", "", 100.0, 400.0, 300.0, mount="pki", issuer="0123456789abcdef")
    facts = [one, replace(one, pod="web-1"), replace(one, issuer="fedcba9876543210"), replace(one, issuer=None)]
    seen = samples(Metrics("1", Sources(certificates=lambda: facts)))
    counted = {
        dict(labels)["issuer"]: value for (name, labels), value in seen.items() if name == "podcert_certificates"
    }
    assert counted == {"0123456789ab": 2.0, "fedcba987654": 1.0, "": 1.0}
