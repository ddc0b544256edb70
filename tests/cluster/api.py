"""The few calls to the API server that bringing a cluster up needs, without a client library."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.cluster.paths import ClusterError
from tests.cluster.pki import Identity


class Api:
    """One API server, one identity; a connection for each call."""

    def __init__(self, url: str, authority: Path, identity: Identity) -> None:
        self._netloc = urlsplit(url).netloc
        self._context = ssl.create_default_context(cafile=str(authority))
        self._context.load_cert_chain(identity.certificate, identity.key)

    def call(self, method: str, path: str, body: object = None, timeout: float = 10.0) -> tuple[int, Any]:
        """Return status and decoded body (text where it is not JSON); raise OSError when nothing answers."""
        connection = http.client.HTTPSConnection(self._netloc, context=self._context, timeout=timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            response = connection.getresponse()
            raw = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return response.status, json.loads(raw) if is_json else raw.decode()
        except http.client.HTTPException as error:
            message = f"broken answer to {method} {path}: {type(error).__name__}"
            raise OSError(message) from error
        finally:
            connection.close()

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST `body`; what exists already is fine. Raises ClusterError on any other refusal."""
        status, answer = self.call("POST", path, body)
        if status not in (200, 201, 202, 409):
            reason = answer.get("message") if isinstance(answer, dict) else answer
            message = f"POST {path}: {status} {reason}"
            raise ClusterError(message)
        return dict(answer)

    def ready(self) -> bool:
        """Say whether /readyz answers 200."""
        try:
            return self.call("GET", "/readyz", timeout=2)[0] == 200
        except OSError:
            return False

    def exists(self, path: str) -> bool:
        """Say whether a GET of `path` answers 200."""
        try:
            return self.call("GET", path)[0] == 200
        except OSError:
            return False

    def node_ready(self, name: str) -> bool:
        """Say whether the node has the condition Ready and no taint."""
        try:
            status, node = self.call("GET", f"/api/v1/nodes/{name}")
        except OSError:
            return False
        if status != 200:
            return False
        conditions = {each["type"]: each["status"] for each in node["status"].get("conditions", [])}
        return conditions.get("Ready") == "True" and not node["spec"].get("taints")


def wait(what: str, ready: Callable[[], bool], seconds: float, check: Callable[[], None] = lambda: None) -> None:
    """Poll `ready` until it is true; `check` may raise when waiting is pointless.

    Raises:
        ClusterError: not within `seconds`.
    """
    end = time.monotonic() + seconds
    while not ready():
        check()
        if time.monotonic() > end:
            message = f"{what} is not ready after {seconds:.0f} s"
            raise ClusterError(message)
        time.sleep(0.05)
