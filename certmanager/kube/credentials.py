"""Where the API server is and how we show who we are: a pod's own ServiceAccount, or a kubeconfig named by its path.

Used once by the composition root (`in_cluster`, `from_kubeconfig`), then by `client` for each `Authorization`.
The current context of a developer's machine is never used by accident: a path has to be given.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

import urllib3
from kubernetes.client.configuration import Configuration
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.kube_config import load_kube_config

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_SECONDS: Final = 60.0
"""How long a token file's content is used before it is read again; the kubelet rotates it long before it expires."""
HOOK_SECONDS: Final = 10.0
"""How long a kubeconfig's header is used before the kubernetes package is asked again."""


class Credentials(Protocol):
    """What a request needs to be let in."""

    def header(self) -> str | None:
        """The value of `Authorization`, or None when a client certificate is all there is."""
        ...

    def refused(self) -> None:
        """The API server said 401: read the token anew before the next request."""
        ...


class TokenFile:
    """A ServiceAccount's token in a file that is rotated by the kubelet.

    Args:
        path: the file.
        monotonic: seconds, for the age of what was read.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._header = ""
        self._read_at = float("-inf")
        self.header()

    def header(self) -> str:
        """`Bearer …`. A file that cannot be read for a moment leaves the old token in use.

        Raises:
            ValueError: the file could never be read, or it is empty.
        """
        now = self._monotonic()
        if now - self._read_at < TOKEN_SECONDS:
            return self._header
        with self._lock:
            try:
                token = self._path.read_text(encoding="ascii").strip()
            except (OSError, ValueError):
                token = ""
            if token:
                self._header = f"Bearer {token}"
            elif not self._header:
                raise ValueError(
                    f"ServiceAccount token {self._path}: is missing, unreadable or empty; mount it in the pod"
                )
            self._read_at = now
            return self._header

    def refused(self) -> None:
        """The next request reads the file."""
        self._read_at = float("-inf")


class FromConfiguration:
    """Whatever a kubeconfig says: token, exec plug-in, basic authentication or only a client certificate.

    Args:
        configuration: as the kubernetes package filled it; its hook refreshes a plug-in's token when that expires.
        monotonic: seconds. The hook costs a tenth of a Secret's creation, so it is not asked for every request.
    """

    def __init__(self, configuration: Configuration, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._configuration = configuration
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._header: str | None = None
        self._read_at = float("-inf")

    def header(self) -> str | None:
        """The header, at most `HOOK_SECONDS` old."""
        now = self._monotonic()
        if now - self._read_at >= HOOK_SECONDS:
            with self._lock:
                value = self._configuration.get_api_key_with_prefix("authorization", alias="BearerToken")
                self._header = str(value) if value else None
                self._read_at = now
        return self._header

    def refused(self) -> None:
        """The next request asks the hook."""
        self._read_at = float("-inf")


def in_cluster(
    environ: Mapping[str, str] = os.environ, directory: Path = SERVICE_ACCOUNT
) -> tuple[Configuration, Credentials]:
    """The pod's own API server and ServiceAccount.

    Raises:
        ValueError: the process does not run in a pod with a mounted token; says what is missing.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise ValueError(
            f"KUBERNETES_SERVICE_HOST={host!r}, KUBERNETES_SERVICE_PORT={port!r}: both must be set, as in a pod;"
            " outside of a cluster name a kubeconfig"
        )
    authority = directory / "ca.crt"
    if not authority.is_file():
        raise ValueError(f"{authority}: is missing; the pod needs automountServiceAccountToken: true")
    url_host = f"[{host}]" if ":" in host else host
    configuration = _tuned(Configuration(host=f"https://{url_host}:{port}", ssl_ca_cert=str(authority)))
    return configuration, TokenFile(directory / "token")


def from_kubeconfig(path: Path, context: str | None = None) -> tuple[Configuration, Credentials]:
    """The cluster of a kubeconfig file.

    Args:
        path: the file, named by the user.
        context: one of its contexts; None for the one that the file itself calls current.

    Raises:
        ValueError: the file cannot be used; says why.
    """
    if not path.is_file():
        raise ValueError(f"kubeconfig {path}: is not a file; name an existing one")
    configuration = Configuration()
    try:
        load_kube_config(  # type: ignore[no-untyped-call]
            config_file=str(path), context=context, client_configuration=configuration
        )
    except ConfigException as error:
        raise ValueError(f"kubeconfig {path}: {error}") from None
    except Exception as error:  # noqa: BLE001 - the package checks little of what it reads; its errors may quote a token
        rule = f"is not a kubeconfig that can be read ({type(error).__name__}); try it with kubectl"
        raise ValueError(f"kubeconfig {path}: {rule}") from None
    return _tuned(configuration), FromConfiguration(configuration)


def _tuned(configuration: Configuration) -> Configuration:
    """No retries inside the client (they sleep in a worker); keep-alive that notices a dead peer in half a minute."""
    configuration.retries = False
    configuration.socket_options = [
        *urllib3.connection.HTTPConnection.default_socket_options,
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
    ]
    return configuration
