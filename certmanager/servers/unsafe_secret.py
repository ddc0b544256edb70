"""Unseal keys and root token in a Secret of the cluster: for a Vault that protects nothing, and says so by its name.

Whoever may read Secrets in that namespace, and whoever holds a backup of etcd, owns the Vault.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Final

from certmanager.domain.errors import AlreadyExists, NotFound, Refused
from certmanager.domain.names import is_subdomain
from certmanager.kube.client import MERGE_PATCH, Json, KubeClient, Options, namespaced
from certmanager.kube.fields import strings
from certmanager.servers.keys import from_json, to_dict
from certmanager.vault.seal import Keys

KEY: Final = "vault-keys.json"
NOTE: Final = "podcert.io/unsafe"
WARNING: Final = (
    "Unseal keys and root token of a Vault that is only for trying out: whoever can read this Secret owns that Vault. "
    "Never for production."
)


class UnsafeSecret:
    """A Secret that `podcert vault init --unsafe-secret` makes."""

    def __init__(self, client: KubeClient, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._secret = name
        self._reserved = False

    @property
    def name(self) -> str:
        """As it is given on the command line."""
        return f"{self._namespace}/{self._secret}"

    def read(self) -> Keys | None:
        """See `KeyStore`."""
        try:
            found = self._client.request("GET", self._path(self._secret))
        except NotFound:
            return None
        if KEY not in strings(found, "data"):
            return None
        try:
            data = base64.b64decode(strings(found, "data")[KEY], validate=True)
        except binascii.Error:
            data = b""
        return from_json(data, f"Secret {self.name}")

    def reserve(self) -> None:
        """See `KeyStore`. A Secret of ours without keys is a reservation that was never used."""
        meta: Json = {"name": self._secret, "annotations": {NOTE: WARNING}}
        try:
            self._client.request("POST", self._path(), body={"metadata": meta, "type": "Opaque"})
        except AlreadyExists:
            found = self._client.request("GET", self._path(self._secret))
            ours = NOTE in strings(found.get("metadata") or {}, "annotations")
            if strings(found, "data") or not ours:
                raise Refused(
                    "KeysSecretTaken",
                    f"Secret {self.name}: is there already, and is never overwritten, but this Vault is not initialised; name "
                    "another one",
                ) from None
        self._reserved = True

    def put(self, keys: Keys) -> None:
        """See `KeyStore`."""
        text = base64.b64encode(json.dumps(to_dict(keys), indent=2).encode()).decode()
        self._client.request(
            "PATCH", self._path(self._secret), body={"data": {KEY: text}}, options=Options(content_type=MERGE_PATCH)
        )
        self._reserved = False

    def release(self) -> None:
        """See `KeyStore`."""
        if self._reserved:
            self._reserved = False
            self._client.request("DELETE", self._path(self._secret))

    def _path(self, name: str | None = None) -> str:
        return namespaced("api/v1", "secrets", self._namespace, name)


def parse_place(text: str) -> tuple[str, str]:
    """`NAMESPACE/NAME`, the name with the word `unsafe`. Raises ValueError with the rule."""
    namespace, slash, name = text.partition("/")
    if not slash or not is_subdomain(namespace) or not is_subdomain(name):
        raise ValueError("must be NAMESPACE/NAME, such as vault/unsafe-vault-keys")
    if "unsafe" not in name:
        raise ValueError(
            "the name must have the word `unsafe` in it, such as vault/unsafe-vault-keys: who reads it owns the Vault"
        )
    return namespace, name
