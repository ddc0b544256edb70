"""The one way to the API server: JSON in, JSON out, errors as the domain's.

Everything in `kube` sits on `KubeClient.request` and, for watches, `KubeClient.open`. The kubernetes package brings the
configuration, TLS and the connection pool; its models are left out (decoding 1,000 pods costs 0.05 s as JSON and 1 s as
models, and a model's validation error prints the Secret that it refused).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import urllib3
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject

from certmanager.kube import credentials as access
from certmanager.kube.errors import Target, cause_of, garbage, translate, unreachable

Json = dict[str, Any]

JSON_TYPE: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
"""RFC 7386."""
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Accept header: of the object that is written or read, only its metadata comes back."""
FIELD_MANAGER: Final = "podcert"


@dataclass(frozen=True, slots=True)
class Options:
    """How a request is sent, where it differs from plain JSON.

    Attributes:
        content_type: of the body.
        accept: wanted of the answer.
        connect_seconds: limit for the connection.
        read_seconds: limit for each pause in the answer.
    """

    content_type: str = JSON_TYPE
    accept: str = JSON_TYPE
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    timeout: urllib3.Timeout = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "timeout", urllib3.Timeout(connect=self.connect_seconds, read=self.read_seconds))


PLAIN: Final = Options()


class KubeClient:
    """One connection pool to one API server; safe to use from many threads.

    Args:
        configuration: host and TLS.
        credentials: the `Authorization` header.
        connections: connections that are kept open: workers and watches, and two more for Events and Leases.
    """

    def __init__(self, configuration: Configuration, credentials: access.Credentials, connections: int) -> None:
        configuration.connection_pool_maxsize = connections
        self._credentials = credentials
        self._rest = RESTClientObject(configuration)
        self._pool = self._rest.pool_manager.connection_from_url(configuration.host)
        self._prefix = urllib3.util.parse_url(configuration.host).path or ""

    @classmethod
    def in_cluster(cls, connections: int) -> KubeClient:
        """With the pod's own ServiceAccount. Raises `ValueError` outside of a pod."""
        return cls(*access.in_cluster(), connections)

    @classmethod
    def from_kubeconfig(cls, path: Path, connections: int, context: str | None = None) -> KubeClient:
        """With a kubeconfig that the user named. Raises `ValueError` when it cannot be used."""
        return cls(*access.from_kubeconfig(path, context), connections)

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        options: Options = PLAIN,
    ) -> Json:
        """One request; the answer as a dict.

        Raises:
            NotYet: away, busy or confused; `Conflict` and `Expired` are among them.
            Refused: forbidden or invalid.
            AlreadyExists, NotFound: as they say.
        """
        target = Target(method, path)
        payload = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        response = self._send(target, query, payload, options)
        if response.status == 401:
            self._credentials.refused()
            response = self._send(target, query, payload, options)
        data = response.data
        if response.status >= 300:
            raise translate(target, response.status, response.headers, data)
        try:
            answer = json.loads(data)
        except ValueError:
            raise garbage(target) from None
        if not isinstance(answer, dict):
            raise garbage(target)
        if answer.get("kind") == "Status" and answer.get("status") == "Failure":
            # The Eviction API says some of its refusals in an answer of 201.
            raise translate(target, _code(answer), response.headers, data)
        return answer

    def open(self, path: str, query: Mapping[str, str], options: Options) -> urllib3.BaseHTTPResponse:
        """A GET whose answer is read by the caller as it comes (a watch). The caller closes it. Raises as `request`."""
        target = Target("GET", path)
        response = self._send(target, query, None, options, preload=False)
        if response.status == 200:
            return response
        if response.status == 401:
            self._credentials.refused()
        try:
            body = response.read(65536)
        except (urllib3.exceptions.HTTPError, OSError):
            body = b""
        finally:
            response.close()
        raise translate(target, response.status, response.headers, body)

    def close(self) -> None:
        """Closes the idle connections."""
        self._rest.close()

    def _send(
        self,
        target: Target,
        query: Mapping[str, str] | None,
        payload: bytes | None,
        options: Options,
        *,
        preload: bool = True,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": options.accept, "User-Agent": FIELD_MANAGER}
        if payload is not None:
            headers["Content-Type"] = options.content_type
        authorization = self._credentials.header()
        if authorization is not None:
            headers["Authorization"] = authorization
        url = self._prefix + target.path + (f"?{urlencode(query)}" if query else "")
        cause: str
        try:
            return self._pool.urlopen(
                target.method,
                url,
                body=payload,
                headers=headers,
                retries=False,
                redirect=False,
                timeout=options.timeout,
                preload_content=preload,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            cause = cause_of(error)
        # Raised outside of the handler: urllib3's own errors hold the request, and chains are printed.
        raise unreachable(target, cause)


def _code(status: Json) -> int:
    """The HTTP status that a `Status` object speaks of; 500 when it tells none that is an error."""
    code = status.get("code")
    return code if isinstance(code, int) and 300 <= code < 600 else 500


def namespaced(group: str, resource: str, namespace: str | None, name: str | None = None) -> str:
    """The path of a collection or, with a name, of one object.

    Args:
        group: `api/v1` or `apis/<group>/<version>`.
        resource: plural, lower case.
        namespace: None for all namespaces.
        name: of the object.

    >>> namespaced("api/v1", "secrets", "shop", "web")
    '/api/v1/namespaces/shop/secrets/web'
    """
    scope = "" if namespace is None else f"/namespaces/{quote(namespace, safe='')}"
    end = "" if name is None else f"/{quote(name, safe=':')}"
    return f"/{group}{scope}/{resource}{end}"
