"""Where the API server is and who we are: found in a pod, or in a file that was named; never by accident."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmanager.kube.credentials import TOKEN_SECONDS, FromConfiguration, TokenFile, from_kubeconfig, in_cluster

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters:
- {name: one, cluster: {server: "https://one.example:6443", insecure-skip-tls-verify: true}}
- {name: two, cluster: {server: "https://two.example:6443", insecure-skip-tls-verify: true}}
users:
- {name: u, user: {token: the-token}}
contexts:
- {name: first, context: {cluster: one, user: u}}
- {name: second, context: {cluster: two, user: u}}
current-context: first
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("t1\n")
    (tmp_path / "ca.crt").write_text("ca")
    return tmp_path


def test_a_token_file_is_read_again_after_a_minute(mounted: Path) -> None:
    clock = Clock()
    token = TokenFile(mounted / "token", clock)
    (mounted / "token").write_text("t2")
    assert token.header() == "Bearer t1"
    clock.now += TOKEN_SECONDS
    assert token.header() == "Bearer t2"


def test_a_refused_token_is_read_again_at_once(mounted: Path) -> None:
    token = TokenFile(mounted / "token", Clock())
    (mounted / "token").write_text("t2")
    token.refused()
    assert token.header() == "Bearer t2"


def test_a_token_file_that_is_away_for_a_moment_leaves_the_old_token(mounted: Path) -> None:
    token = TokenFile(mounted / "token", Clock())
    (mounted / "token").unlink()
    token.refused()
    assert token.header() == "Bearer t1"


@pytest.mark.parametrize("content", ["", "  \n", None])
def test_no_token_at_all_is_an_error_that_names_the_file(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    with pytest.raises(ValueError, match="token: is missing, unreadable or empty"):
        TokenFile(tmp_path / "token")


@pytest.mark.parametrize(
    ("host", "url"), [("10.96.0.1", "https://10.96.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_in_a_pod_the_api_server_is_the_one_of_the_environment(mounted: Path, host: str, url: str) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
    configuration, credentials = in_cluster(environ, mounted)
    assert (configuration.host, credentials.header()) == (url, "Bearer t1")
    assert configuration.ssl_ca_cert == str(mounted / "ca.crt")
    assert configuration.retries is False


def test_outside_of_a_pod_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name a kubeconfig"):
        in_cluster({}, tmp_path)
    with pytest.raises(ValueError, match="automountServiceAccountToken"):
        in_cluster({"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "1"}, tmp_path)


def test_a_kubeconfig_is_the_one_that_was_named_and_its_context_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    configuration, credentials = from_kubeconfig(path)
    assert (configuration.host, credentials.header()) == ("https://one.example:6443", "Bearer the-token")
    assert from_kubeconfig(path, "second")[0].host == "https://two.example:6443"


def test_a_kubeconfig_that_cannot_be_used_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a file"):
        from_kubeconfig(tmp_path / "absent")
    (tmp_path / "empty").write_text("apiVersion: v1\nkind: Config\n")
    with pytest.raises(ValueError, match="empty"):
        from_kubeconfig(tmp_path / "empty")


@pytest.mark.parametrize(
    "content",
    [b"token: the-token\nusers: [\n", b"- 1\n", b"\xff\xfe\x00", b"a: *the-token\n", b"x"],
    ids=["cut off", "a list", "not UTF-8", "an unknown alias", "a word"],
)
def test_a_file_that_is_no_kubeconfig_is_an_error_without_its_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"kubeconfig {path}: ") as raised:
        from_kubeconfig(path)
    assert raised.value.__cause__ is None
    assert "the-token" not in str(raised.value)


def test_a_kubeconfig_s_header_is_kept_for_a_while_and_dropped_when_refused(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    configuration, _ = from_kubeconfig(path)
    asked: list[int] = []
    configuration.refresh_api_key_hook = lambda _configuration: asked.append(1)  # type: ignore[assignment]
    credentials = FromConfiguration(configuration, Clock())
    credentials.header()
    credentials.header()
    assert len(asked) == 1
    credentials.refused()
    credentials.header()
    assert len(asked) == 2
