"""The labels of namespaces, for policies that go by them. Each namespace is read by its name, so that `get` is all it takes:
a Role within the namespace can give that, and nobody's list of namespaces is needed.
"""

from __future__ import annotations

from collections.abc import Mapping

from certmanager.domain.errors import NotFound, NotYet, PodcertError, Refused
from certmanager.kube.client import KubeClient, namespaced
from certmanager.kube.fields import metadata, strings


class NamespaceLabels:
    """Remembers what it has read until `refresh`; safe to use from many threads."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._known: dict[str, Mapping[str, str]] = {}

    def __call__(self, namespace: str) -> Mapping[str, str]:
        """The labels of a namespace. Raises `NotYet`, `Refused`."""
        labels = self._known.get(namespace)
        if labels is None:
            labels = self._known[namespace] = self._read(namespace)
        return labels

    def refresh(self) -> bool:
        """Reads again what is remembered; True when something has changed. What cannot be read now stays as it was."""
        changed = False
        for namespace, labels in list(self._known.items()):
            try:
                now = self._read(namespace)
            except NotYet as error:
                if error.reason == "NamespaceGone":
                    self._known.pop(namespace, None)
                    changed = True
            except PodcertError:
                continue
            else:
                changed = changed or now != labels
                self._known[namespace] = now
        return changed

    def _read(self, namespace: str) -> Mapping[str, str]:
        try:
            return strings(
                metadata(self._client.request("GET", namespaced("api/v1", "namespaces", None, namespace))), "labels"
            )
        except NotFound:
            raise NotYet("NamespaceGone", f"namespace {namespace} is not there") from None
        except Refused as error:
            why = "; the policy goes by labels of namespaces: give the manager the right to get them (docs/policy.md)"
            raise Refused(error.reason, error.message + why, shared=error.shared) from None
