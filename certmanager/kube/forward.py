"""A way to a pod's port through the API server, as `kubectl port-forward` opens it: one loopback port for one pod.

Used by commands that a person runs (`podcert vault`). The bytes pass the API server and the kubelet as they are: where the pod
speaks TLS, neither can read them. The pod proxy of the API server, which would be simpler, ends the TLS itself and does not
verify the pod's certificate.
Source: https://kubernetes.io/docs/reference/using-api/websockets/ (subprotocol v4.channel.k8s.io).
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from kubernetes.stream import ws_client
from websocket import WebSocketBadStatusException

from certmanager.domain.errors import PodcertError, Refused
from certmanager.kube import credentials as access
from certmanager.kube.errors import Target, translate, unreachable

_PIECE: Final = 65536


class Forwarder:
    """Opens ways to pods, with a person's kubeconfig."""

    def __init__(self, kubeconfig: Path, context: str | None = None) -> None:
        """Raises ValueError when the kubeconfig cannot be used."""
        self._configuration, self._credentials = access.from_kubeconfig(kubeconfig, context)

    def open(self, namespace: str, pod: str, port: int) -> Forward:
        """A way to a pod; the caller closes it. Raises OSError when there is no free loopback port."""
        return Forward(self, namespace, pod, port)

    def connect(self, namespace: str, pod: str, port: int) -> Any:
        """One connection to the pod: a kubernetes `PortForward`. Raises `NotYet`, `Refused`, `NotFound`."""
        target = Target("GET", f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/portforward")
        header = self._credentials.header()
        headers = {"sec-websocket-protocol": "v4.channel.k8s.io"} | ({"authorization": header} if header else {})
        url = ws_client.get_websocket_url(  # type: ignore[no-untyped-call]
            self._configuration.host + target.path, [("ports", str(port))]
        )
        problem: PodcertError
        try:
            found = ws_client.create_websocket(self._configuration, url, headers)  # type: ignore[no-untyped-call]
        except WebSocketBadStatusException as error:
            problem = _refused(target, error)
        except Exception as error:  # noqa: BLE001 - of several packages; their texts may hold a header
            problem = unreachable(target, type(error).__name__)
        else:
            return ws_client.PortForward(found, [port])  # type: ignore[no-untyped-call]
        raise problem


class Forward:
    """A listener on the loopback; each connection to it is one to the pod.

    While it is open, every user of this machine can reach the pod's port through it, as with `kubectl port-forward`.
    """

    def __init__(self, forwarder: Forwarder, namespace: str, pod: str, port: int) -> None:
        self._forwarder = forwarder
        self._to = (namespace, pod, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: Final[int] = self._listener.getsockname()[1]
        """The loopback port."""
        self.problem: PodcertError | None = None
        """Why the last connection could not be made; None when it could."""
        threading.Thread(target=self._serve, name=f"forward-{pod}", daemon=True).start()

    def close(self) -> None:
        """Takes no more connections; those that are open end with their clients."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), name="forwarded", daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client:
            try:
                way = self._forwarder.connect(*self._to)
            except PodcertError as error:
                self.problem = error
                return
            self.problem = None
            pod = way.socket(self._to[2])
            pod.setblocking(True)
            back = threading.Thread(target=_pump, args=(pod, client), name="forwarded-back", daemon=True)
            back.start()
            _pump(client, pod)
            with contextlib.suppress(OSError):
                pod.close()
            back.join(5)


def _refused(target: Target, error: WebSocketBadStatusException) -> PodcertError:
    """What an answer means that is not the upgrade. A right is the person's, not the manager's."""
    if error.status_code in {401, 403}:
        rule = "needs get and create on pods/portforward there, which this kubeconfig does not give"
        return Refused("KubernetesForbidden", f"cannot {target}: a port-forward {rule}; use another one (--kubeconfig)")
    return translate(target, error.status_code, {}, error.resp_body if isinstance(error.resp_body, bytes) else b"")


def _pump(source: Any, sink: Any) -> None:
    """Copies until the source ends, then tells the sink."""
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
