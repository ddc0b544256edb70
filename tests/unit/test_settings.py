"""Settings: where they come from, which one wins, and what is said when one is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmanager.settings import SettingsError, load


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("PODCERT_", "VAULT_")):
            monkeypatch.delenv(name)


def test_vault_variables_mean_what_they_mean_to_the_vault_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", "https://vault.example.com:8200/")
    monkeypatch.setenv("VAULT_TOKEN", "a-token")
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "true")
    monkeypatch.setenv("VAULT_CLIENT_TIMEOUT", "1m30s")
    settings = load()
    assert settings.vault_addr == "https://vault.example.com:8200"
    assert settings.vault_skip_verify
    assert settings.vault_client_timeout == 90
    assert "a-token" not in repr(settings)


def test_flags_win_over_the_environment_and_the_environment_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "podcert.yaml"
    file.write_text("mount: from-file\nsign_role: from-file\nworkers: 3\ntoken_file: /t\nvault_addr: http://v:1\n")
    monkeypatch.setenv("PODCERT_MOUNT", "from-environment")
    monkeypatch.setenv("PODCERT_SIGN_ROLE", "from-environment")
    settings = load(file, mount="from-flag")
    assert (settings.mount, settings.sign_role, settings.workers) == ("from-flag", "from-environment", 3)
    assert settings.vault_addr == "http://v:1"


def test_lists_and_durations_are_read_from_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCERT_TOKEN_FILE", "/t")
    monkeypatch.setenv("PODCERT_NAMESPACES", "a, b,")
    monkeypatch.setenv("PODCERT_TTL", "24h")
    settings = load()
    assert settings.namespaces == ("a", "b")
    assert settings.ttl == 86400


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("PODCERT_MOUNT", "../sys", "must be letters, digits"),
        ("PODCERT_TTL", "5 parsecs", "must be a duration"),
        ("PODCERT_KEY_TYPE", "dsa", "ec-256"),
        ("PODCERT_CLUSTER_DOMAIN", "cluster.local.", "without a dot at its end"),
        ("PODCERT_LISTEN", "8080", "an address and a port"),
        ("PODCERT_RENEW_BEFORE", "1.5", "less than 1"),
        ("VAULT_ADDR", "vault:8200", "http:// or https://"),
        ("PODCERT_WORKERS", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_named_with_its_rule(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, rule: str
) -> None:
    monkeypatch.setenv("PODCERT_TOKEN_FILE", "/t")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as error:
        load()
    assert str(error.value).startswith(f"{variable}: ")
    assert rule in str(error.value)


def test_several_wrong_settings_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCERT_TOKEN_FILE", "/t")
    monkeypatch.setenv("PODCERT_MOUNT", "..")
    monkeypatch.setenv("PODCERT_WORKERS", "0")
    with pytest.raises(SettingsError) as error:
        load()
    assert len(str(error.value).splitlines()) == 2


def test_no_token_at_all_is_said_with_the_ways_to_give_one() -> None:
    with pytest.raises(SettingsError, match="PODCERT_TOKEN_FILE"):
        load()


def test_a_setting_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "podcert.yaml"
    file.write_text("token_file: /t\nmout: pki\n")
    with pytest.raises(SettingsError, match=r"`mout` is no setting, did you mean mount\?; see docs/settings.md"):
        load(file)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("vault_token: [planted", "it is not YAML (line 1)"),
        ("a: 1\nb: : planted\n", "it is not YAML (line 2)"),
        ("- planted", "must be a mapping"),
        ("planted", "must be a mapping"),
        ("PODCERT_MOUNT: planted", "did you mean mount?"),
        ("7: planted", "`7` is no setting; see"),
        ("xyz: planted\nabc: planted", "`abc` is no setting; `xyz` is no setting; see"),
    ],
)
def test_a_file_that_is_no_settings_is_told_by_its_rule_and_never_quoted(tmp_path: Path, text: str, rule: str) -> None:
    file = tmp_path / "podcert.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as error:
        load(file)
    assert str(error.value).startswith(f"settings file {file}: ")
    assert rule in str(error.value)
    assert "planted" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "podcert.yaml"
    file.write_bytes(b"mount: \xff")
    with pytest.raises(SettingsError, match="it is not YAML"):
        load(file)


def test_an_empty_file_and_the_names_of_vaults_variables_are_fine(tmp_path: Path) -> None:
    file = tmp_path / "podcert.yaml"
    file.write_text("# nothing\n")
    assert load(file, token_file="/t").mount == "pki"
    file.write_text("VAULT_ADDR: http://v:1\ntoken_file: /t\n")
    assert load(file).vault_addr == "http://v:1"


def test_a_settings_file_that_is_not_there_is_said() -> None:
    with pytest.raises(SettingsError, match="there is no such file"):
        load(Path("/nonexistent/podcert.yaml"))


def test_a_token_never_appears_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "planted-token-value")
    monkeypatch.setenv("PODCERT_MOUNT", "..")
    with pytest.raises(SettingsError) as error:
        load()
    assert "planted-token-value" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"auth": "approle"}, "set PODCERT_AUTH_ROLE_ID and PODCERT_AUTH_SECRET_ID_FILE"),
        ({"auth": "approle", "auth_role_id": "r"}, "PODCERT_AUTH_SECRET_ID_FILE"),
        ({"auth": "cert"}, "set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY"),
        ({"auth": "jwt", "vault_client_cert": "/c"}, "go together"),
        (
            {"auth": "cert", "vault_client_cert": "/c", "vault_client_key": "/k", "vault_addr": "http://v:1"},
            "an https:// address",
        ),
    ],
)
def test_a_login_that_lacks_something_says_what(values: dict[str, str], rule: str) -> None:
    with pytest.raises(SettingsError, match=rule):
        load(None, **values)


@pytest.mark.parametrize("auth", ["kubernetes", "jwt"])
def test_an_auth_method_is_looked_for_under_its_own_name(auth: str) -> None:
    assert load(auth=auth).login_mount == auth
    assert load(auth=auth, auth_mount="k8s/one").login_mount == "k8s/one"
