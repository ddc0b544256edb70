"""Two calls to the API server, read a Secret and watch it, in as few imports as a fast start allows.

It is the fetcher's only way out. Every answer that is not the Secret becomes a NotYetError in words: `wait` decides
when to try again. Watch by name needs the field selector, or RBAC's `resourceNames` does not match
(https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources).
"""

import json
import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fetcher.connection import Connection, HttpError, Response
from fetcher.errors import NotYetError, Waiting

Json = dict[str, Any]
T = TypeVar("T")
_MAX_BYTES = 8 * 1024 * 1024  # a Secret holds 1 MiB at most; base64, managedFields and an event's frame come on top
_MAX_RETRY_AFTER_S = 30.0
_VERSION = re.compile(r"[A-Za-z0-9._~-]*")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750, section 2.1


@dataclass(frozen=True)
class ApiServer:
    """Where the API server is and how to speak with it; time-outs in seconds."""

    host: str
    port: int
    token_file: Path
    ca_file: Path
    request_timeout: float
    watch_timeout: float


class SecretApi:
    """Reads and watches one Secret over one connection, which is kept between calls and made anew after a failure.

    `watch_timeout` is how long the next watch lasts, in seconds.
    """

    def __init__(self, server: ApiServer, namespace: str, name: str) -> None:
        self._server = server
        self._name = name
        self._secrets = f"/api/v1/namespaces/{namespace}/secrets"
        self._connection: Connection | None = None
        self.watch_timeout = server.watch_timeout

    def get(self) -> Json:
        """Return the Secret as core/v1 JSON. Raises NotYetError."""
        response = self._open(f"{self._secrets}/{self._name}", self._server.request_timeout)
        return self._require_secret(parse_object(self._whole(response)))

    def watch(self, resource_version: str) -> Iterator[Json]:
        """Yield the Secret each time it is new or changed, until the server ends the watch (`watch_timeout`).

        From the state after `resource_version` on; with an empty one, from what is there now.
        Raises NotYetError, also when the Secret is deleted.
        """
        if not _VERSION.fullmatch(
            resource_version
        ):  # opaque, so nothing else than what cannot break a URL is asked of it
            resource_version = ""
        path = (
            f"{self._secrets}?watch=1&fieldSelector=metadata.name%3D{self._name}"
            f"&timeoutSeconds={max(1, round(self.watch_timeout))}"
            f"&resourceVersion={resource_version}"
        )
        response = self._open(path, self.watch_timeout + self._server.request_timeout)
        try:
            while line := self._guarded(lambda: response.readline(_MAX_BYTES)):
                kind, found = parse_event(line)
                if kind in {"ADDED", "MODIFIED"}:
                    yield self._require_secret(found)
                elif kind == "DELETED":
                    raise NotYetError(Waiting.ABSENT, "the Secret was there and has been deleted")
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self, path: str, timeout: float) -> Response:
        """Send GET `path` and return the 200's response, its body unread; raises NotYetError for any other."""
        headers = {
            "Authorization": f"Bearer {_token(self._server.token_file)}",
            "Accept": "application/json",
            "User-Agent": "podcert-fetcher",
        }
        response = self._guarded(lambda: self._connect().get(path, headers, timeout))
        if response.status == 200:
            return response
        raise refusal(response.status, self._whole(response), response.headers.get("retry-after"))

    def _whole(self, response: Response) -> bytes:
        body = self._guarded(lambda: response.read(_MAX_BYTES))
        if not response.finished:
            self.close()
        return body

    def _connect(self) -> Connection:
        if self._connection is None:
            server = self._server
            context = _context(server.ca_file)
            self._connection = Connection(server.host, server.port, context, server.request_timeout)
        return self._connection

    def _guarded(self, call: Callable[[], T]) -> T:
        """Return `call()`; its failures become a NotYetError, never with what was sent or received."""
        try:
            return call()
        except (OSError, HttpError) as error:
            reason = describe(error)
        except NotYetError:
            self.close()
            raise
        self.close()
        raise NotYetError(Waiting.SERVER, f"the API server at {self._server.host}:{self._server.port} {reason}")

    def _require_secret(self, found: Json) -> Json:
        metadata = found.get("metadata")
        if isinstance(metadata, dict) and metadata.get("name") == self._name:
            return found
        raise NotYetError(Waiting.SERVER, "the API server answered with something else than the Secret asked for")


def parse_event(line: bytes) -> tuple[str, Json]:
    """Return the type and object of one line of a watch.

    Raises NotYetError when the line is cut or no event, and for the event ERROR, whose object is a Status.
    (https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes)
    """
    event = parse_object(line)
    kind, found = event.get("type"), event.get("object")
    if not isinstance(kind, str) or not isinstance(found, dict):
        raise NotYetError(Waiting.SERVER, "the API server sent something else than an event into the watch")
    if kind == "ERROR":
        code = found.get("code")
        raise refusal(code if isinstance(code, int) else 500, json.dumps(found).encode(), None)
    return kind, found


def parse_object(body: bytes) -> Json:
    """Return `body` as a JSON object, or raise NotYetError, which neither quotes nor chains it: it may be a Secret."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):  # JSONDecodeError carries the whole text
        parsed = None
    if isinstance(parsed, dict):
        return parsed
    raise NotYetError(Waiting.SERVER, "the API server's answer is no JSON object, or was cut off")


def refusal(status: int, body: bytes, retry_after: str | None) -> NotYetError:
    """Return what an HTTP status other than 200 means for one who waits; `retry_after` is the header, in seconds."""
    if status == 401:
        return NotYetError(Waiting.UNAUTHORIZED, "the API server refuses the ServiceAccount's token (401)")
    if status == 403:
        return NotYetError(Waiting.FORBIDDEN, "this ServiceAccount may not read it yet (403): no Role names it")
    if status == 404:
        return NotYetError(Waiting.ABSENT, "it does not exist yet (404): the manager has not stored the certificate")
    if status == 410:
        return NotYetError(Waiting.SERVER, "the watch's version is too old (410): reading anew")
    seconds = float(retry_after) if retry_after and re.fullmatch(r"[0-9]{1,6}", retry_after.strip()) else None
    pause = None if seconds is None else min(seconds, _MAX_RETRY_AFTER_S)
    words = _status_words(body)
    if status == 429:
        return NotYetError(Waiting.THROTTLED, f"the API server asks for patience (429){words}", pause)
    return NotYetError(Waiting.SERVER, f"the API server answers with status {status}{words}", pause)


def describe(error: Exception) -> str:
    """Return a failed connection in words, without anything that was sent or received."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"shows a certificate that does not verify against the cluster's CA: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"fails in TLS: {error.reason}"
    if isinstance(error, TimeoutError):
        return "does not answer in time"
    if isinstance(error, HttpError):
        return f"broke off or answered with something else than HTTP: {error}"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "broke off"
    words = error.strerror if isinstance(error, OSError) else None
    return f"cannot be reached: {words or type(error).__name__}"


def _status_words(body: bytes) -> str:
    """The message of a Kubernetes Status, short and printable; nothing of any other body."""
    try:
        status = parse_object(body)
    except NotYetError:
        return ""
    message = status.get("message")
    if status.get("kind") != "Status" or not isinstance(message, str):
        return ""
    return ": " + "".join(c if c.isprintable() else " " for c in message[:200])


def _token(path: Path) -> str:
    """The ServiceAccount's token, read on each try: the kubelet replaces it before it expires."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        token = ""
    if _TOKEN.fullmatch(token):  # nothing that could end the header's line
        return token
    raise NotYetError(Waiting.UNAUTHORIZED, f"{path} holds no token")


def _context(ca_file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=ca_file)
    except OSError:  # ssl.SSLError is one
        raise NotYetError(Waiting.SERVER, f"{ca_file} holds no certificate of the cluster's CA") from None
    return context
