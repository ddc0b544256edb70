"""Maintenance windows and how many workloads roll at once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from certmanager.engine.keys import WorkloadKey
from certmanager.engine.slots import Slots
from certmanager.engine.windows import opens_in, parse_window


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


SATURDAY = parse_window("0 2 * * sat", 3600)


@pytest.mark.parametrize(
    ("now", "wait"),
    [
        ("2026-11-21T01:59:00", 60),
        ("2026-11-21T02:00:00", 0),
        ("2026-11-21T02:59:59", 0),
        ("2026-11-21T03:00:01", 7 * 86400 - 3601),
        ("2026-11-28T02:30:00", 0),
    ],
)
def test_a_window_is_open_from_its_time_for_its_length(now: str, wait: float) -> None:
    assert opens_in([SATURDAY], at(now)) == pytest.approx(wait, abs=1)


def test_without_windows_it_is_always_open() -> None:
    assert opens_in([], at("2026-11-22T12:00:00")) == 0


def test_the_first_of_several_windows_counts() -> None:
    assert opens_in([SATURDAY, parse_window("30 12 * * *", 60)], at("2026-11-22T12:00:00")) == 1800


def test_a_window_has_its_time_zone() -> None:
    berlin = parse_window("0 2 * * sat Europe/Berlin", 3600)
    assert opens_in([berlin], at("2026-11-21T01:30:00")) == 0
    assert opens_in([berlin], at("2026-11-21T00:30:00")) == 1800


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("0 2 * *", "five cron fields"),
        ("0 2 * * 6", "name its days of the week"),
        ("0 2 * * sat Mars/Olympus", "time zone"),
        ("61 2 * * *", "crontab"),
        ("a b c d e", "crontab"),
    ],
)
def test_a_wrong_window_is_refused_with_the_rule(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        parse_window(text, 60)


def key(name: str, namespace: str = "a") -> WorkloadKey:
    return WorkloadKey(namespace, "Deployment", name)


def test_slots_are_limited_in_the_cluster_and_in_a_namespace() -> None:
    slots = Slots(total=3, per_namespace=2)
    assert slots.take(key("1"))
    assert slots.take(key("2"))
    assert not slots.take(key("3"))
    assert slots.take(key("4", "b"))
    assert not slots.take(key("5", "c"))
    assert slots.take(key("1"))
    slots.free(key("1"))
    assert slots.take(key("5", "c"))


def test_a_roll_that_was_under_way_before_counts_too() -> None:
    slots = Slots(total=1, per_namespace=1)
    slots.hold(key("1"))
    assert not slots.take(key("2"))
