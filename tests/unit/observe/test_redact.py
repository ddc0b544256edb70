"""Whatever a secret is wrapped in, the finished line does not hold it."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from certmanager.observe.logs import LogFormat, LogLevel, configure
from certmanager.observe.redact import MARK, redact

BODY = "MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
HEAD, TAIL = "-----BEGIN {}PRIVATE KEY-----", "-----END {}PRIVATE KEY-----"

kinds = st.sampled_from(["", "EC ", "RSA ", "ENCRYPTED ", "OPENSSH "])
words = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20)
letters = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=24, max_size=60)


@pytest.fixture(scope="module", autouse=True)
def _logging_as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def _pem(kind: str, core: str) -> str:
    return f"{HEAD.format(kind)}\n{core}\n{BODY}\n{TAIL.format(kind)}\n"


FORMS: dict[str, Callable[[str, str], str]] = {
    "pem": _pem,
    "pem without its end": lambda kind, core: f"{HEAD.format(kind)}\r\n{core}\r\n",
    "base64": lambda kind, core: base64.b64encode(_pem(kind, core).encode()).decode(),
    "service token": lambda _kind, core: f"hvs.{core}",
    "batch token": lambda _kind, core: f"hvb.{core}",
    "token of OpenBao": lambda _kind, core: f" s.{core}",
    "JWT": lambda _kind, core: f"eyJhbGciOiJSUzI1NiJ9.{core}.{core}",
    "Authorization": lambda _kind, core: f"Authorization: Bearer {core}",
    "header of Vault": lambda _kind, core: f"x-vault-token={core}",
}
PLACES: dict[str, Callable[[str], object]] = {
    "text": lambda text: text,
    "dict": lambda text: {"outer": {"inner": text}},
    "key": lambda text: {text: 1},
    "list": lambda text: [1, [text]],
    "bytes": lambda text: text.encode("utf-8", "replace"),
    "repr": repr,
    "json": lambda text: json.dumps({"data": text}),
    "json in json": lambda text: json.dumps({"data": json.dumps({"data": text})}),
    "error": ValueError,
}


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, str]:
    """A text with a secret in it, and the part of it that must never be seen."""
    form, core = draw(st.sampled_from(sorted(FORMS))), draw(letters)
    text = FORMS[form](draw(kinds), core)
    return text, text[20:] if form == "base64" else core


@given(planted(), words, words, st.sampled_from(sorted(PLACES)))
def test_no_secret_reaches_a_json_line_and_the_line_stays_json(
    secret: tuple[str, str], before: str, after: str, how: str
) -> None:
    text, core = secret
    stream = io.StringIO()
    configure(LogFormat.JSON, LogLevel.DEBUG, stream)
    structlog.get_logger().info(f"{before} {text} {after}", field=PLACES[how](f"{before} {text} {after}"))
    line = stream.getvalue()
    assert core not in line
    assert MARK in line
    assert isinstance(json.loads(line), dict)


@given(planted(), st.sampled_from(["dict", "list", "text"]))
def test_no_secret_reaches_a_console_line(secret: tuple[str, str], how: str) -> None:
    stream = io.StringIO()
    configure(LogFormat.CONSOLE, LogLevel.DEBUG, stream)
    structlog.get_logger().info("x", field=PLACES[how](secret[0]))
    assert secret[1] not in stream.getvalue()


@pytest.mark.parametrize("form", list(LogFormat))
def test_a_traceback_and_its_chain_are_redacted(form: LogFormat) -> None:
    stream = io.StringIO()
    configure(form, LogLevel.INFO, stream)
    try:
        try:
            raise KeyError("hvs.CAESIJ0123456789abcdef")
        except KeyError as cause:
            raise RuntimeError(f"{HEAD.format('')}\n{BODY}\n{TAIL.format('')}") from cause
    except RuntimeError:
        structlog.get_logger().exception("failed")
        logging.getLogger("somewhere").exception("failed too")
    assert "RuntimeError" in stream.getvalue()
    assert BODY not in stream.getvalue()
    assert "CAESIJ" not in stream.getvalue()


@pytest.mark.parametrize("name", ["urllib3", "kubernetes.client.rest", "apscheduler.scheduler", "anything"])
def test_the_standard_library_s_loggers_end_in_the_same_redaction(name: str) -> None:
    stream = io.StringIO()
    configure(LogFormat.JSON, LogLevel.DEBUG, stream)
    logging.getLogger(name).warning("sent %s", {"X-Vault-Token": "root-token-of-a-dev-server"})
    line = json.loads(stream.getvalue())
    assert line["logger"] == name
    assert "root-token" not in line["message"]


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "kubernetes.client.rest", "hvac", "requests"])
def test_libraries_do_not_speak_at_level_debug(name: str) -> None:
    stream = io.StringIO()
    configure(LogFormat.JSON, LogLevel.DEBUG, stream)
    logging.getLogger(name).debug("response body: %s", "anything")
    assert stream.getvalue() == ""


def test_a_level_hides_what_is_below_it() -> None:
    stream = io.StringIO()
    configure(LogFormat.JSON, LogLevel.WARNING, stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("x").info("quiet")
    structlog.get_logger().warning("loud", reason="Because")
    assert [json.loads(line)["reason"] for line in stream.getvalue().splitlines()] == ["Because"]


@pytest.mark.parametrize(
    "text",
    [
        "pod shop/web has a certificate for web.shop.svc.cluster.local until 2026-11-22T12:00:00Z",
        "serial 3a:4b:5c:6d, mount pki, role pods",
        "-----BEGIN CERTIFICATE-----",
        "https://vault.example.com:8200/v1/pki/sign/pods",
        "pods.averyveryveryverylongnameofaservice.svc",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert redact(text) == text
