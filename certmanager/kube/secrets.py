"""Secrets in the API server: the last step of an enrolment, and what adoption begins with.

Called by the reconciler's workers through the port `SecretStore`. A Secret is created by POST and changed with its
resourceVersion, never by force; only its metadata comes back, because its files are known already.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from certmanager.domain.errors import Conflict, NotFound, Refused
from certmanager.domain.model import MANAGED_LABEL, PREFIX, SecretWrite, StoredSecret
from certmanager.kube.client import FIELD_MANAGER, METADATA_ONLY, Json, KubeClient, Options, namespaced
from certmanager.kube.fields import mapping, metadata, resource_version, strings, text
from certmanager.kube.project import SecretReader, stored
from certmanager.x509.possession import first_certificate, prove

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABELS: Final = {MANAGED_LABEL: "true", MANAGED_BY: "podcert"}

_METADATA: Final = Options(accept=METADATA_ONLY)
_QUERY: Final = {"fieldManager": FIELD_MANAGER}


class KubeSecretStore:
    """Implements the port `SecretStore`.

    Args:
        client: the API server.
        reader: shared with the watch on Secrets, so that it knows what was written here.
    """

    def __init__(self, client: KubeClient, reader: SecretReader) -> None:
        self._client = client
        self._reader = reader

    def create(self, write: SecretWrite) -> StoredSecret:
        """POST. Raises `AlreadyExists`, `NotFound` (the namespace is gone), `NotYet`, `Refused`."""
        body = self._body(write)
        path = namespaced("api/v1", "secrets", write.pod.namespace)
        return stored(self._client.request("POST", path, _QUERY, body, _METADATA), write.bundle)

    def replace(self, write: SecretWrite, old: StoredSecret) -> StoredSecret:
        """PUT with `old`'s resourceVersion and uid. Raises `Conflict`, `NotFound`, `NotYet`, `Refused`."""
        body = self._body(write)
        body["metadata"] |= {"uid": old.uid, "resourceVersion": str(old.resource_version)}
        path = namespaced("api/v1", "secrets", write.pod.namespace, write.name)
        return stored(self._client.request("PUT", path, _QUERY, body, _METADATA), write.bundle)

    def read(self, namespace: str, name: str) -> StoredSecret | None:
        """GET; None when it is not there. Raises `NotYet`, `Refused`."""
        try:
            return self._reader(self._client.request("GET", namespaced("api/v1", "secrets", namespace, name)))
        except NotFound:
            return None

    def delete(self, secret: StoredSecret) -> None:
        """DELETE of exactly this version. Not being there is success. Raises `Conflict`, `NotYet`, `Refused`."""
        preconditions = {"uid": secret.uid, "resourceVersion": str(secret.resource_version)}
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        path = namespaced("api/v1", "secrets", secret.namespace, secret.name)
        try:
            self._client.request("DELETE", path, None, body, _METADATA)
        except NotFound:
            return

    def amend(
        self, secret: StoredSecret, annotations: Mapping[str, str | None], finalizers: tuple[str, ...]
    ) -> StoredSecret:
        """GET and PUT of exactly this version, with these annotations (None: removed) and finalizers, and the same files.

        Not a PATCH: that would be a right that nothing else needs. Raises `Conflict`, `NotFound`, `NotYet`, `Refused`.
        """
        item = self._exactly(secret)
        notes = strings(metadata(item), "annotations")
        for name, value in annotations.items():
            notes.pop(PREFIX + name, None)
            if value is not None:
                notes[PREFIX + name] = value
        body = dict(item) | {"metadata": {**metadata(item), "annotations": notes, "finalizers": list(finalizers)}}
        path = namespaced("api/v1", "secrets", secret.namespace, secret.name)
        return stored(self._client.request("PUT", path, _QUERY, body, _METADATA), secret.bundle, secret.problem)

    def certificate(self, secret: StoredSecret) -> str:
        """The leaf alone, PEM, of exactly this version. Raises `Conflict`, `NotFound`, `NotYet`, `Refused`."""
        try:
            return first_certificate(_file(self._exactly(secret), "tls.crt"))
        except ValueError as error:
            problem = str(error)
        raise _unreadable(secret, problem)

    def retire(self, secret: StoredSecret) -> tuple[str, str]:
        """The leaf of exactly this version and the proof that its key is there (`x509.possession`). Raises as `certificate`."""
        item = self._exactly(secret)
        try:
            return prove(_file(item, "tls.crt"), _file(item, "tls.key"))
        except ValueError as error:
            problem = str(error)
        raise _unreadable(secret, problem)

    def _exactly(self, secret: StoredSecret) -> Json:
        """GET of a Secret that has not changed since it was seen. Its files are in the answer: for this call alone."""
        path = namespaced("api/v1", "secrets", secret.namespace, secret.name)
        item = self._client.request("GET", path)
        if (text(metadata(item), "uid"), resource_version(item)) != (secret.uid, secret.resource_version):
            where = f"secrets {secret.name} in namespace {secret.namespace}"
            raise Conflict("KubernetesConflict", f"cannot use {where}: it has changed meanwhile")
        return item

    def _body(self, write: SecretWrite) -> Json:
        pod = write.pod
        annotations = {PREFIX + key: value for key, value in write.annotations.items()}
        data = {
            "tls.crt": _base64(write.material.certificate),
            "tls.key": _base64(write.material.key),
            "ca.crt": _base64(write.material.ca),
        }
        self._reader.remember(data, write.bundle)
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {
                "name": write.name,
                "namespace": pod.namespace,
                "labels": LABELS,
                "annotations": annotations | {PREFIX + "pod": pod.name, PREFIX + "pod-uid": pod.uid},
                **({"finalizers": list(write.finalizers)} if write.finalizers else {}),
                "ownerReferences": [
                    {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "name": pod.name,
                        "uid": pod.uid,
                        "controller": False,
                        "blockOwnerDeletion": False,
                    }
                ],
            },
            "data": data,
        }


def _file(item: Json, name: str) -> bytes:
    """One of a Secret's files. Raises ValueError without content."""
    try:
        return base64.b64decode(text(mapping(item, "data"), name), validate=True)
    except (binascii.Error, ValueError):
        pass
    raise ValueError(f"{name} is not base64")


def _unreadable(secret: StoredSecret, problem: str) -> Refused:
    return Refused(
        "CertificateUnreadable", f"Secret {secret.namespace}/{secret.name} has no usable certificate: {problem}"
    )


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("ascii")).decode("ascii")
