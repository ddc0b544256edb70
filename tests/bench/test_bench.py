"""The benchmark's arithmetic: a wrong percentile or a wrong key would be believed for a long time."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import counters, figures, http11, rest
from tests.bench.figures import Fetch, Lone, Measured, Round

KEYS = {
    "ratio_to_ceiling",
    "enrollments_per_second",
    "ceiling_per_second",
    "api_writes_per_enrollment",
    "event_writes_per_enrollment",
    "vault_sign_per_enrollment",
    "latency_p50_ms",
    "latency_p99_ms",
    "readable_p99_ms",
    "rss_mib",
    "cpu_ms_per_enrollment",
    "fetcher_ms",
}


def a_round(seconds: float = 4.0, ceiling: float = 500.0) -> Round:
    return Round(
        ceiling_before=ceiling - 100,
        ceiling_after=ceiling + 100,
        enrollments=1000,
        seconds=seconds,
        posting_seconds=2.0,
        delivery_writes=1020,
        signs=1000,
        cpu_seconds=2.5,
        readable_seconds=4.5,
    )


def measured() -> Measured:
    return Measured(
        rounds=[a_round(4.0), a_round(2.0), a_round(5.0)],
        lone=[Lone(secret=n / 1000, readable=n / 500) for n in range(1, 201)],
        fetches=[Fetch(0.08, 0.05), Fetch(0.06, 0.04), Fetch(0.07, 0.03)],
        rss_mib=80.0,
        events=320,
        enrollments=3200,
        load=(0.5, 2.25),
    )


def test_the_nearest_rank_percentile_is_a_measured_value() -> None:
    values = [float(n) for n in range(200, 0, -1)]
    assert figures.percentile(values, 0.5) == 100
    assert figures.percentile(values, 0.99) == 198
    assert figures.percentile(values, 1) == 200
    assert figures.percentile([7.0], 0.01) == 7


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_a_percentile_of_nothing_is_an_error(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        figures.percentile(values, share)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 1))
def test_at_least_the_share_of_all_values_does_not_exceed_the_percentile(values: list[float], share: float) -> None:
    found = figures.percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6


def test_the_results_are_those_of_the_round_with_the_median_ratio() -> None:
    found = figures.results(measured())
    assert found.ratio_to_ceiling == 0.5
    assert found.enrollments_per_second == 250
    assert found.ceiling_per_second == 500
    assert found.api_writes_per_enrollment == 1.02
    assert found.event_writes_per_enrollment == 0.1
    assert found.vault_sign_per_enrollment == 1
    assert found.latency_p50_ms == 100
    assert found.latency_p99_ms == 198
    assert found.readable_p99_ms == 396
    assert found.cpu_ms_per_enrollment == 2.5
    assert found.fetcher_ms == pytest.approx(70)


def test_the_results_have_every_key_and_nothing_but_numbers_beside_the_details() -> None:
    found = json.loads(json.dumps(figures.results(measured()).as_json()))
    details = found.pop("details")
    assert set(found) == KEYS
    assert all(isinstance(value, int | float) for value in found.values())
    assert (details["fetcher_cpu_ms"], details["load_average"]) == (40, [0.5, 2.2])
    assert [one["ratio"] for one in details["rounds"]] == [0.5, 1.0, 0.4]


def test_the_table_says_which_limit_was_missed() -> None:
    lines = figures.table(figures.results(measured())).splitlines()
    verdicts = {line[2:48].strip(): line.split()[-1] for line in lines}
    assert verdicts["burst: share of the ceiling"] == "ok"
    assert verdicts["lone pod: Secret written, p99"] == "MISSED"
    assert verdicts["fetcher: from its start to its end, median"] == "ok"
    assert {row.field for row in figures.ROWS} == KEYS


def test_only_writes_of_the_delivery_are_counted_and_events_apart() -> None:
    text = "\n".join(
        [
            "# TYPE apiserver_request_total counter",
            'apiserver_request_total{code="201",resource="secrets",verb="POST"} 1000',
            'apiserver_request_total{code="409",resource="secrets",verb="POST"} 2',
            'apiserver_request_total{code="200",resource="secrets",verb="LIST"} 50',
            'apiserver_request_total{code="200",resource="roles",verb="PUT"} 5',
            'apiserver_request_total{code="201",resource="rolebindings",verb="POST"} 1',
            'apiserver_request_total{code="200",resource="secrets",verb="APPLY"} 3',
            'apiserver_request_total{code="201",resource="pods",verb="POST"} 1000',
            'apiserver_request_total{code="201",resource="events",verb="POST"} 1.2e+01',
            'apiserver_request_total_other{code="201",resource="secrets",verb="POST"} 7',
        ]
    )
    found = counters.writes(text)
    assert found == counters.Writes(delivery=1011, events=12)
    assert found - counters.Writes(1000, 2) == counters.Writes(11, 10)


def test_a_sample_without_labels_is_counted_and_labels_choose() -> None:
    text = 'vault_pki_sign_count 3\nvault_pki_sign_count{role="pods",note="a \\"b\\", c"} 4'
    assert counters.total(text, "vault_pki_sign_count") == 7
    assert counters.total(text, "vault_pki_sign_count", role="pods") == 4


@pytest.mark.parametrize(
    ("head", "body", "whole"),
    [
        (b"http/1.1 200 ok\r\ncontent-length: 2", b"{}", b"{}"),
        (b"http/1.1 200 ok\r\ncontent-length: 3", b"{}", None),
        (b"http/1.1 204 no content", b"", b""),
        (b"http/1.1 200 ok\r\ntransfer-encoding: chunked", b"2\r\n{}\r\n", None),
        (b"http/1.1 200 ok\r\ntransfer-encoding: chunked", b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"{}"),
        (b"http/1.1 200 ok\r\ntransfer-encoding: chunked", b"a\r\n0\r\n\r\n", None),
    ],
)
def test_an_answer_is_complete_when_its_last_byte_is_there(head: bytes, body: bytes, whole: bytes | None) -> None:
    assert http11.complete(head, body) == whole


def test_the_table_of_pods_at_rest_says_which_limit_was_missed() -> None:
    found = rest.AtRest(pods=10_000, adopted_seconds=9.5, rss_mib=151, cpu_seconds=8.0, writes=0, events=3, signs=0)
    verdicts = [line.split()[-1] for line in rest.table(found).splitlines()]
    assert verdicts == ["ok", "MISSED", "s", "ok", "3.00", "ok"]
    assert found.as_json()["adopted_seconds"] == 9.5
