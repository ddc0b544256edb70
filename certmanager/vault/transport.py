"""One pool of connections to Vault for all threads, and hvac on top of it.

The hot path goes straight through urllib3: a `pki/sign` then costs 0.39 ms of CPU instead of 0.77 through requests and hvac
(measured against a local OpenBao). hvac keeps its place for logins and administration: `Transport.client` gives it an
adapter that uses the same pool, TLS settings, time-outs and errors. No proxy variables are read, no redirect is followed
(a token would follow it), nothing is retried here.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlencode, urlsplit

import hvac
import hvac.adapters
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InsecureRequestWarning,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from certmanager.vault import errors
from certmanager.vault.config import VaultConfig
from certmanager.vault.errors import Answer, Call

_MAX_BODY: Final = 1 << 20
_BESIDE: Final = 2  # connections beside the calls in flight: the probe's and the login's


class Transport:
    """Sends requests and returns whatever Vault answers. Safe for threads."""

    def __init__(self, config: VaultConfig) -> None:
        parts = urlsplit(config.address)
        self.address: Final = f"{parts.scheme}://{parts.netloc}"
        self.calls_at_once: Final = config.calls_at_once
        self._config = config
        self._prefix = parts.path.rstrip("/") + "/v1/"
        options: dict[str, Any] = {
            "maxsize": config.calls_at_once + _BESIDE,
            "block": True,
            "timeout": urllib3.Timeout(connect=config.connect_timeout, read=config.read_timeout),
            "retries": False,
        }
        self._pool: urllib3.HTTPConnectionPool
        host = parts.hostname or ""
        if parts.scheme == "https":
            options |= {"ssl_context": tls_context(config), "assert_hostname": False if config.skip_verify else None}
            if config.server_name:
                options |= {"server_hostname": config.server_name}
            self._pool = urllib3.HTTPSConnectionPool(host, parts.port or 443, **options)
        else:
            self._pool = urllib3.HTTPConnectionPool(host, parts.port or 80, **options)

    def request(self, call: Call, token: str | None, payload: Mapping[str, Any] | None = None) -> Answer:
        """One request to `/v1/<call.path>`; any status is an answer. Raises `NotYet` (VaultUnreachable), shared."""
        body = None if payload is None else json.dumps(payload).encode()
        response: urllib3.BaseHTTPResponse | None = None
        problem = None
        try:
            response = self._pool.urlopen(
                call.method,
                self._prefix + call.path,
                body=body,
                headers=self._headers(token, None if body is None else call.method),
                redirect=False,
                preload_content=False,
            )
            return Answer(response.status, response.headers, self._read(response))
        except (HTTPError, OSError, ValueError) as error:
            # Only a phrase is kept: the text of the original may quote a header.
            problem = _problem(error, self._config)
            if response is not None:
                response.close()
        finally:
            if response is not None:
                response.release_conn()
        raise errors.unreachable(call, self.address, problem)

    def client(self, token: str | None) -> hvac.Client:
        """An hvac client of this pool, with that token and no other: hvac never looks at VAULT_TOKEN or ~/.vault-token.

        Its calls raise `NotYet` when no answer comes and `AnswerError` for a status that is not 2xx, never hvac's or
        requests' exceptions.
        """

        def adapter(**_options: object) -> _PoolAdapter:
            return _PoolAdapter(self, token)

        # Given to the constructor: the setter `client.adapter` does not reach `client.auth.token` and its like.
        return hvac.Client(url=self.address, token="", adapter=cast("Any", adapter))

    def close(self) -> None:
        """Closes idle connections."""
        self._pool.close()

    def _headers(self, token: str | None, method: str | None) -> dict[str, str]:
        """`method` is that of a request with a body, None without one."""
        # X-Vault-Request keeps forged requests of browsers and servers off a Vault agent; the CLI sends it too.
        headers = {"X-Vault-Request": "true", "Accept": "application/json"}
        if token:
            headers["X-Vault-Token"] = token
        if self._config.namespace:
            headers["X-Vault-Namespace"] = self._config.namespace
        if method is not None:
            # RFC 7396: Vault takes a PATCH as nothing else (415).
            headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
        return headers

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """The body, at most 1 MiB and within the read time-out as a whole: a server that drips holds nobody up."""
        end = time.monotonic() + self._config.read_timeout
        found = b""
        while piece := response.read1(65536):
            found += piece
            if len(found) > _MAX_BODY:
                raise ValueError("its answer is larger than 1 MiB")
            if time.monotonic() > end:
                raise ValueError(f"its answer took more than {self._config.read_timeout:g} s")
        return found


if TYPE_CHECKING:
    _Adapter = hvac.adapters.Adapter[dict[str, Any]]
else:
    _Adapter = hvac.adapters.Adapter  # generic only in its stubs


class _PoolAdapter(_Adapter):
    """hvac's requests through our pool: parsed JSON on success, our errors otherwise."""

    def __init__(self, transport: Transport, token: str | None) -> None:
        super().__init__(base_uri=transport.address, token=token or "")
        self._transport = transport

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,  # noqa: ARG002
        raise_exception: bool = True,  # noqa: ARG002
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As hvac's own adapters; `headers` and `raise_exception` are not used by the calls made here."""
        path = url.removeprefix("/v1/")
        if kwargs.get("params"):
            path += "?" + urlencode(kwargs["params"])
        call = Call(method.upper(), path)
        answer = self._transport.request(call, self.token, kwargs.get("json"))
        if not 200 <= answer.status < 300:
            raise AnswerError(answer, call)
        if not answer.body.strip():
            return {}
        body = answer.json()
        if body is None:
            raise errors.unreadable(call, "its body is not a JSON object")
        return body

    def get_login_token(self, response: dict[str, Any]) -> str:
        """The token of a login's answer."""
        return str(response["auth"]["client_token"])


class AnswerError(Exception):
    """A status that is not 2xx, for callers that know more of its meaning than `errors.from_answer`."""

    def __init__(self, answer: Answer, call: Call) -> None:
        super().__init__(f"{call}: HTTP {answer.status}")
        self.answer = answer
        self.call = call


def tls_context(config: VaultConfig) -> ssl.SSLContext:
    """The TLS settings as the Vault CLI reads them: `ca_file`, else `ca_path`, else the system's CAs.

    Raises ValueError, with the setting and the path, when the CAs cannot be read.
    """
    if config.skip_verify:
        urllib3.disable_warnings(InsecureRequestWarning)  # the administrator has said so; the settings tell it once
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if config.ca_file is None and config.ca_path is None:
        return ssl.create_default_context()
    setting, path = ("VAULT_CACERT", config.ca_file) if config.ca_file else ("VAULT_CAPATH", config.ca_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        _load(context, setting, str(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{setting} {path!r} cannot be used: {error}; it must hold PEM certificates") from None
    return context


def _load(context: ssl.SSLContext, setting: str, path: str) -> None:
    """A file, or every PEM file of a folder: as the Vault CLI, and unlike OpenSSL's hashed folders."""
    if setting == "VAULT_CACERT":
        context.load_verify_locations(cafile=path)
        return
    for file in sorted(entry for entry in Path(path).iterdir() if entry.is_file()):
        context.load_verify_locations(cafile=str(file))
    if not context.get_ca_certs():
        raise ValueError("it holds no certificate")


def _problem(error: Exception, config: VaultConfig) -> str:
    """A phrase for what went wrong, without the exception's text, which may quote what was sent."""
    if isinstance(error, SSLError):
        return _tls_problem(error)
    if isinstance(error, ValueError) and str(error).startswith("its answer"):
        return str(error)
    phrases: tuple[tuple[type[Exception], str], ...] = (
        # In this order: each is also one of the next kind.
        (NameResolutionError, "its name cannot be resolved"),
        (NewConnectionError, "the connection is refused, or there is no way to it"),
        (ConnectTimeoutError, f"no connection within {config.connect_timeout:g} s"),
        (ReadTimeoutError, f"no answer within {config.read_timeout:g} s"),
    )
    known = next((phrase for kind, phrase in phrases if isinstance(error, kind)), None)
    return known or f"the connection broke ({type(error).__name__})"


def _tls_problem(error: SSLError) -> str:
    cause = error.args[0] if error.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message}; see VAULT_CACERT, VAULT_TLS_SERVER_NAME)"
    return "the TLS handshake failed (is VAULT_ADDR https while Vault speaks http?)"
