"""One pool of connections to Vault for all threads, and hvac on top of it.

The hot path goes straight through urllib3: a `pki/sign` then costs 0.39 ms of CPU instead of 0.77 through requests and hvac
(measured against a local OpenBao). hvac keeps its place for logins and administration: `Transport.client` gives it an
adapter that uses the same pool, TLS settings, time-outs and errors. No proxy variables are read, nothing is retried here.

A standby's redirect to the active node (307) is followed once, as the Vault CLI does, token included: only for the same path,
and only from https to https, so that whoever gets the token has shown a certificate that we trust (https://developer.hashicorp.com/vault/docs/concepts/ha#client-redirection).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlencode, urlsplit

import hvac
import hvac.adapters
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from certmanager.vault import errors, tls
from certmanager.vault.config import VaultConfig
from certmanager.vault.errors import Answer, Call

_MAX_BODY: Final = 1 << 20
_BESIDE: Final = 2  # connections beside the calls in flight: the probe's and the login's
_MAX_POOLS: Final = 4  # addresses: the configured one, and the active nodes that standbys redirected to

REFRESH_SECONDS: Final = 3.0
"""How often the files of the CAs and of the client certificate are looked at."""


class Transport:
    """Sends requests and returns whatever Vault answers. Safe for threads."""

    def __init__(self, config: VaultConfig) -> None:
        parts = urlsplit(config.address)
        self.address: Final = f"{parts.scheme}://{parts.netloc}"
        self.calls_at_once: Final = config.calls_at_once
        self._config = config
        self._prefix = parts.path.rstrip("/") + "/v1/"
        self._secure = parts.scheme == "https"
        self._pools: dict[str, urllib3.HTTPConnectionPool] = {}
        self._tls = tls.Credentials(config) if self._secure else None

    @property
    def identity_problem(self) -> str | None:
        """Why the client certificate cannot be shown, without content; None when it can, or when there is none."""
        return None if self._tls is None else self._tls.identity_problem

    def request(
        self, call: Call, token: str | None, payload: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> Answer:
        """One request to `/v1/<call.path>`; any status is an answer. Raises `NotYet` (VaultUnreachable), shared.

        `timeout` in seconds stands for both of the configuration's.
        """
        answer = self._once(self.address, call, self._headers(token, call, payload), payload, timeout)
        if answer.status in {307, 308} and (active := self._active(answer, call)):
            return self._once(active, call, self._headers(token, call, payload), payload, timeout)
        return answer

    def refresh(self) -> float:
        """Reads CAs and client certificate again when their files have changed, for connections made from now on.

        Returns the seconds until it wants to be called again. Files that cannot be used leave the old ones in use.
        """
        if self._tls is not None and self._tls.refresh():
            self.reconnect()
        return REFRESH_SECONDS

    def reconnect(self) -> None:
        """Every request from now on gets a new connection; one that is under way keeps its own."""
        # The old pools end by themselves with the last request that uses them.
        self._pools = {}

    def _pool(self, address: str) -> urllib3.HTTPConnectionPool:
        pools = self._pools
        found = pools.get(address)
        if found is None:
            if len(pools) >= _MAX_POOLS:
                pools.clear()
            found = pools.setdefault(address, self._new_pool(address))
        return found

    def _new_pool(self, address: str) -> urllib3.HTTPConnectionPool:
        config, parts = self._config, urlsplit(address)
        options: dict[str, Any] = {
            "maxsize": config.calls_at_once + _BESIDE,
            "block": True,
            "timeout": urllib3.Timeout(connect=config.connect_timeout, read=config.read_timeout),
            "retries": False,
        }
        host = parts.hostname or ""
        if parts.scheme == "http":
            return urllib3.HTTPConnectionPool(host, parts.port or 80, **options)
        # An https address under a plain one is never asked for: such redirects are not followed.
        context = None if self._tls is None else self._tls.context
        options |= {"ssl_context": context, "assert_hostname": False if config.skip_verify else None}
        if config.server_name:
            options |= {"server_hostname": config.server_name}
        return urllib3.HTTPSConnectionPool(host, parts.port or 443, **options)

    def _active(self, answer: Answer, call: Call) -> str | None:
        """The address of the active node that a standby redirects to; None when the redirect is not to be followed."""
        location = next((value for name, value in answer.headers.items() if name.lower() == "location"), "")
        try:
            parts = urlsplit(location)
            host, _port = parts.hostname, parts.port
        except ValueError:
            return None
        asked = self._prefix + call.path
        there = parts.path + (f"?{parts.query}" if parts.query else "")
        if not (self._secure and parts.scheme == "https") or not host or there != asked or "@" in parts.netloc:
            return None
        return f"{parts.scheme}://{parts.netloc}"

    def _once(
        self,
        address: str,
        call: Call,
        headers: dict[str, str],
        payload: Mapping[str, Any] | None,
        timeout: float | None,
    ) -> Answer:
        body = None if payload is None else json.dumps(payload).encode()
        options: dict[str, Any] = {} if timeout is None else {"timeout": urllib3.Timeout(timeout)}
        response: urllib3.BaseHTTPResponse | None = None
        problem = None
        try:
            method, path = _on_the_wire(call)
            response = self._pool(address).urlopen(
                method,
                self._prefix + path,
                body=body,
                headers=headers,
                redirect=False,
                preload_content=False,
                **options,
            )
            return Answer(response.status, response.headers, _read(response, timeout or self._config.read_timeout))
        except (HTTPError, OSError, ValueError) as error:
            # Only a phrase is kept: the text of the original may quote a header.
            problem = self._problem(error)
            if response is not None:
                response.close()
        finally:
            if response is not None:
                response.release_conn()
        raise errors.unreachable(call, address, problem)

    def _problem(self, error: Exception) -> str:
        if not isinstance(error, SSLError):
            return _problem(error, self._config)
        stale = self._tls and self._tls.trust_problem
        return tls.problem(error) + (f"; the CAs in use are the earlier ones: {stale}" if stale else "")

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
        for pool in list(self._pools.values()):
            pool.close()

    def _headers(self, token: str | None, call: Call, payload: Mapping[str, Any] | None) -> dict[str, str]:
        # X-Vault-Request keeps forged requests of browsers and servers off a Vault agent; the CLI sends it too.
        headers = {"X-Vault-Request": "true", "Accept": "application/json"}
        if token:
            headers["X-Vault-Token"] = token
        if self._config.namespace:
            headers["X-Vault-Namespace"] = self._config.namespace
        if payload is not None:
            # RFC 7396: Vault takes a PATCH as nothing else (415).
            headers["Content-Type"] = "application/merge-patch+json" if call.method == "PATCH" else "application/json"
        if call.wrap is not None:
            headers["X-Vault-Wrap-TTL"] = call.wrap
        return headers


def _read(response: urllib3.BaseHTTPResponse, seconds: float) -> bytes:
    """The body, at most 1 MiB and within `seconds` as a whole: a server that drips holds nobody up."""
    end = time.monotonic() + seconds
    found = b""
    while piece := response.read1(65536):
        found += piece
        if len(found) > _MAX_BODY:
            raise ValueError("its answer is larger than 1 MiB")
        if time.monotonic() > end:
            raise ValueError(f"its answer took more than {seconds:g} s")
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


def _on_the_wire(call: Call) -> tuple[str, str]:
    """Method and path as they are sent. Proxies may know no LIST, and Vault takes a GET with `list=true` for the same
    (https://developer.hashicorp.com/vault/api-docs#api-operations)."""
    if call.method != "LIST":
        return call.method, call.path
    return "GET", f"{call.path}{'&' if '?' in call.path else '?'}list=true"


def _problem(error: Exception, config: VaultConfig) -> str:
    """A phrase for what went wrong, without the exception's text, which may quote what was sent."""
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
