"""Settings: each wrong one is told with its variable, value, rule and remedy."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher import settings
from fetcher.errors import SettingsError
from fetcher.options import OPTIONS


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for name in ("token", "ca.crt"):
        (tmp_path / name).write_text("content")
    return {
        "POD_NAME": "server-0",
        "POD_NAMESPACE": "shop",
        "POD_UID": "3f2a9c41-7a51-4d5e-9f7b-0c1d2e3f4a5b",
        "PODCERT_TOKEN_FILE": str(tmp_path / "token"),
        "PODCERT_CA_FILE": str(tmp_path / "ca.crt"),
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
    }


def test_what_a_pod_has_is_enough(environment: dict[str, str]) -> None:
    read = settings.read([], environment)
    assert read.secret == "server-0-cert-3f2a9c41"
    assert (read.directory, read.timeout) == (Path("/var/run/secrets/certs"), None)
    assert (read.server.host, read.server.port) == ("10.96.0.1", 443)


def test_an_empty_variable_counts_as_not_set(environment: dict[str, str]) -> None:
    read = settings.read([], environment | {"PODCERT_TIMEOUT": "", "PODCERT_DIRECTORY": "", "PODCERT_SECRET_NAME": ""})
    assert (read.timeout, read.directory.name, read.secret) == (None, "certs", "server-0-cert-3f2a9c41")


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("POD_NAME", "Server", "the name of this pod"),
        ("POD_NAMESPACE", "a.b", "the namespace of this pod"),
        ("POD_NAMESPACE", "../../x", "the namespace of this pod"),
        ("POD_UID", "$(POD_UID)", "the uid of this pod"),
        ("PODCERT_SECRET_NAME", "a/b", "the name of a Secret"),
        ("PODCERT_DIRECTORY", "certs", "an absolute path"),
        ("PODCERT_TERMINATION_LOG", "log", "an absolute path"),
        ("PODCERT_TIMEOUT", "90", "numbers with a unit"),
        ("PODCERT_TIMEOUT", "0s", "between 1ms and 8760h"),
        ("PODCERT_TIMEOUT", "-5s", "numbers with a unit"),
        ("PODCERT_TIMEOUT", "9" * 400 + "h", "between 1ms and 8760h"),
        ("PODCERT_MESSAGE_INTERVAL", "soon", "numbers with a unit"),
        ("PODCERT_TOKEN_FILE", "/nowhere/token", "a readable file with something in it (No such file or directory)"),
        ("PODCERT_CA_FILE", "/dev/null", "a readable file with something in it (empty)"),
        ("KUBERNETES_SERVICE_HOST", "a b", "an IP address or a DNS name"),
        ("KUBERNETES_SERVICE_PORT", "65536", "a number from 1 to 65535"),
        ("KUBERNETES_SERVICE_PORT", "tcp://10.96.0.1:443", "a number from 1 to 65535"),
    ],
)
def test_a_wrong_setting_is_told_with_value_and_rule(
    environment: dict[str, str], variable: str, value: str, rule: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.read([], environment | {variable: value})
    told = str(caught.value)
    assert told.startswith(f"{variable} is {ascii(value)[:300]}; it must be {rule}")
    assert told.count("; ") >= 2


@pytest.mark.parametrize("variable", ["POD_NAME", "POD_UID", "POD_NAMESPACE", "KUBERNETES_SERVICE_HOST"])
def test_a_missing_setting_is_told(environment: dict[str, str], variable: str) -> None:
    del environment[variable]
    with pytest.raises(SettingsError, match=f"{variable} is not set; it must be "):
        settings.read([], environment)


@pytest.mark.parametrize("host", ["fd00::1", "[fd00::1]"])
def test_an_ipv6_address_may_have_brackets(environment: dict[str, str], host: str) -> None:
    assert settings.read([], environment | {"KUBERNETES_SERVICE_HOST": host}).server.host == "fd00::1"


def test_every_option_has_a_flag_that_is_stronger(environment: dict[str, str]) -> None:
    flags = [part for o in OPTIONS for part in (o.flag, environment.get(o.variable, o.default or "1s"))]
    for flag, value in (("--secret-name", "by-flag"), ("--refresh", "true"), ("--seed-dir", "/seed")):
        flags[flags.index(flag) + 1] = value
    read = settings.read(flags, environment | {"PODCERT_SECRET_NAME": "by-variable"})
    assert (read.secret, read.timeout, read.refresh, read.seed) == ("by-flag", 1.0, True, Path("/seed"))


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90.0), ("5m", 300.0), ("1h30m", 5400.0), ("500ms", 0.5), ("1.5h", 5400.0)]
)
def test_durations_are_read(text: str, expected: float) -> None:
    assert settings.seconds(text) == expected


@given(hours=st.integers(0, 100), minutes=st.integers(0, 59), rest=st.integers(1, 59))
def test_a_duration_is_the_sum_of_its_parts(hours: int, minutes: int, rest: int) -> None:
    assert settings.seconds(f"{hours}h{minutes}m{rest}s") == hours * 3600 + minutes * 60 + rest


@given(st.text())
def test_any_text_is_a_duration_or_told_by_the_rule(text: str) -> None:
    try:
        assert 0.001 <= settings.seconds(text) <= 8760 * 3600
    except ValueError as error:
        assert str(error).startswith(("numbers with a unit", "between 1ms"))  # noqa: PT017 - both ends are right
