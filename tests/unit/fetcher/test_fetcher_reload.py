"""What a sidecar may do to an application: read strictly from its arguments, tried with growing pauses."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher import processes, reload, settings
from fetcher.errors import ReloadError, ReloadFailedError, SettingsError
from fetcher.reload import CallHttp, RunCommand, SignalProcess
from fetcher.wait import Clock


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "file").write_text("content")
    return {
        "POD_NAME": "web",
        "POD_NAMESPACE": "shop",
        "POD_UID": "3f2a9c41-7a51-4d5e-9f7b-0c1d2e3f4a5b",
        "PODCERT_TOKEN_FILE": str(tmp_path / "file"),
        "PODCERT_CA_FILE": str(tmp_path / "file"),
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
    }


def action(environment: Mapping[str, str], *arguments: str) -> reload.Action | None:
    return settings.read(["--refresh", *arguments], environment).action


def test_without_an_action_files_are_swapped_and_nothing_else(environment: dict[str, str]) -> None:
    read = settings.read(["--refresh"], environment)
    assert (read.refresh, read.action, read.reload_timeout) == (True, None, 60.0)
    assert settings.read([], environment).refresh is False


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--signal", "HUP", "--process", "nginx"], SignalProcess("HUP", "nginx")),
        (["--process", "my app", "--signal", "sigusr1"], SignalProcess("USR1", "my app")),
        (["--http", "POST", "http://127.0.0.1:2019/load?x=1"], CallHttp("POST", "127.0.0.1", 2019, "/load?x=1")),
        (["--http", "GET", "http://localhost"], CallHttp("GET", "localhost", 80, "/")),
        (["--http", "GET", "http://[::1]:8080/-/reload"], CallHttp("GET", "[::1]", 8080, "/-/reload")),
        (["--http", "GET", "http://127.9.8.7:1/"], CallHttp("GET", "127.9.8.7", 1, "/")),
        (["--exec", "/bin/true"], RunCommand(("/bin/true",))),
        (["--exec", "/bin/true", "--refresh", "-x", ""], RunCommand(("/bin/true", "--refresh", "-x", ""))),
    ],
)
def test_an_action_is_read_from_the_arguments(
    environment: dict[str, str], arguments: list[str], expected: reload.Action
) -> None:
    assert action(environment, *arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--signal", "KILL", "--process", "nginx"], "--signal is 'KILL'; it must be one of HUP, "),
        (["--signal", "1", "--process", "nginx"], "--signal is '1'; it must be one of HUP, "),
        (["--signal", "HUP"], "--process is ''; it must be the name of a program"),
        (["--process", "nginx"], "--signal is ''; it must be one of HUP, "),
        (["--signal", "HUP", "--process", "/usr/sbin/nginx"], "--process is '/usr/sbin/nginx'; it must be the name"),
        (["--http", "PUT", "http://127.0.0.1/"], "--http's method is 'PUT'; it must be GET or POST"),
        (["--http", "GET", "http://example.com/"], "--http's URL is 'http://example.com/'; it must be like"),
        (["--http", "GET", "http://127.0.0.1@example.com/"], "--http's URL is "),
        (["--http", "GET", "http://127.0.0.1.example.com/"], "--http's URL is "),
        (["--http", "GET", "http://127.0.0.256/"], "--http's URL is "),
        (["--http", "GET", "http://localhost.example/"], "--http's URL is "),
        (["--http", "GET", "https://127.0.0.1/"], "--http's URL is "),
        (["--http", "GET", "http://127.0.0.1:0/"], "--http's URL is "),
        (["--http", "GET", "http://127.0.0.1:65536/"], "--http's URL is "),
        (["--http", "GET", "http://127.0.0.1/a\r\nHost: b"], "--http's URL is "),
        (["--http", "GET", "http://127.0.0.1/a b"], "--http's URL is "),
        (["--exec"], "--exec's program is ''; it must be the absolute path"),
        (["--exec", "true"], "--exec's program is 'true'; it must be the absolute path"),
        (["--exec", "/nowhere"], "--exec's program is '/nowhere'; it must be the absolute path"),
        (["--http", "GET", "http://127.0.0.1/", "--exec", "/bin/true"], "more than one of --signal, --http and --exec"),
        (["--signal", "HUP", "--process", "a", "--http", "GET", "http://127.0.0.1/"], "more than one of"),
        (["--check"], "--check is not the first argument; it must be"),
        (["--reload-timeout", "1"], "PODCERT_RELOAD_TIMEOUT is '1'; it must be numbers with a unit"),
        (["--refresh", "yes"], "PODCERT_REFRESH is 'yes'; it must be true or false"),
    ],
)
def test_a_wrong_argument_is_told_with_value_rule_and_remedy(
    environment: dict[str, str], arguments: list[str], rule: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        action(environment, *arguments)
    assert str(caught.value).startswith(rule)
    assert str(caught.value).count(";") >= 2


def test_a_fetcher_that_ends_cannot_reload(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="PODCERT_REFRESH is false; it must be true"):
        settings.read(["--exec", "/bin/true"], environment)


def test_no_variable_says_what_is_executed(environment: dict[str, str]) -> None:
    hostile = {f"{prefix}{name}": "/bin/true" for prefix in ("", "PODCERT_") for name in ("EXEC", "SIGNAL", "HTTP")}
    assert action(environment | hostile) is None


@given(st.text(max_size=60))
def test_any_url_that_is_taken_is_a_loopback_address_on_one_line(text: str) -> None:
    try:
        read = reload.call_http("GET", f"http://{text}")
    except ValueError:
        return
    assert read.host in {"localhost", "[::1]"} or read.host.startswith("127.")
    assert read.path.isascii()
    assert read.path.isprintable()
    assert " " not in read.path


class Failing:
    """An action that fails some times; it takes a second each time."""

    def __init__(self, failures: int) -> None:
        self.failures, self.limits, self.pauses, self.lines, self.time = (
            failures,
            list[float](),
            list[float](),
            list[str](),
            0.0,
        )
        self.clock = Clock(lambda: self.time, self.sleep, lambda: 0.0)

    def perform(self, limit: float) -> str:
        self.limits.append(limit)
        self.time += 1
        if len(self.limits) <= self.failures:
            raise ReloadError(f"failure {len(self.limits)}")
        return "done"

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds


def test_pauses_grow_from_1_to_30_seconds_and_each_failure_is_a_line() -> None:
    failing = Failing(8)
    assert reload.persist(failing, 1000, failing.clock, failing.lines.append) == "done"
    assert failing.pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert failing.lines[2] == "the reload failed: failure 3; next try in 4 s"
    assert len(failing.lines) == 8


@given(timeout=st.floats(0.001, 500))
def test_it_gives_up_when_the_time_is_over_after_a_last_try(timeout: float) -> None:
    failing = Failing(10**6)
    with pytest.raises(ReloadFailedError) as caught:
        reload.persist(failing, timeout, failing.clock, failing.lines.append)
    assert caught.value.reason == f"failure {len(failing.limits)}"
    assert timeout <= failing.time <= timeout + 2.001
    assert all(1 <= limit <= max(1, timeout) for limit in failing.limits)
    assert len(failing.lines) == len(failing.limits) - 1


def test_a_process_of_another_user_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(processes, "main_process", lambda _: processes.Process(7, 1, "nginx", "nginx", 1))
    with pytest.raises(ReloadError, match=r"process 7, nginx, runs under another UID than \d+: give both containers"):
        SignalProcess("HUP", "nginx").perform(1)


def test_a_process_that_is_not_seen_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "main_process", lambda _: None)
    monkeypatch.setattr(processes, "is_alone", lambda: True)
    with pytest.raises(
        ReloadError, match=r"no process is called nginx; only this container's .* shareProcessNamespace"
    ):
        SignalProcess("HUP", "nginx").perform(1)


@pytest.mark.parametrize("name", ["x" * 200, "ä" * 200])
def test_the_words_of_a_failure_are_short(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(processes, "main_process", lambda _: None)
    with pytest.raises(ReloadError) as caught:
        SignalProcess("HUP", name).perform(1)
    assert len(str(caught.value)) <= 200
