"""Roles that let a ServiceAccount read the Secrets of its own enrolled pods, and nothing else.

Called by the reconciler for keys of kind role, through the port `RoleStore`. For each namespace and ServiceAccount there
are as many Roles as 500 names each need, every one with a RoleBinding of the same name. Names stay in the Role that they
are in, so that a pod that comes or goes changes one Role. What was last written is remembered with its resourceVersion:
an unchanged state costs no request.

The verbs are `get` and `watch`: RBAC allows a watch of one name through `fieldSelector=metadata.name=…`, and the fetcher
never lists. Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from certmanager.domain.errors import AlreadyExists, Conflict, NotFound, Refused
from certmanager.domain.model import MANAGED_LABEL, PREFIX
from certmanager.kube.client import FIELD_MANAGER, METADATA_ONLY, Json, KubeClient, Options, namespaced
from certmanager.kube.fields import resource_version
from certmanager.kube.role_names import NAMES_PER_ROLE, part_of, role_name, share_out
from certmanager.kube.secrets import LABELS

GROUP: Final = "apis/rbac.authorization.k8s.io/v1"
VERBS: Final = ("get", "watch")
SERVICE_ACCOUNT: Final = PREFIX + "service-account"
"""Annotation with the ServiceAccount's name: a label's value would be too short for it."""
ATTEMPTS: Final = 3

_METADATA: Final = Options(accept=METADATA_ONLY)
_QUERY: Final = {"fieldManager": FIELD_MANAGER}
_log = logging.getLogger(__name__)

Account = tuple[str, str]
"""(namespace, ServiceAccount)."""


@dataclass(slots=True)
class _Shard:
    """One Role as it was last seen or written.

    `exact` is False when somebody changed more than its names; `bound` is True when its RoleBinding is known to be right.
    """

    version: int
    names: frozenset[str]
    exact: bool
    bound: bool


class KubeRoleStore:
    """Implements the port `RoleStore`. One ServiceAccount is reconciled by one worker at a time (its key is on the queue).

    Args:
        client: the API server.
        namespaces: None for the whole cluster, else those of a namespace-scoped install.
    """

    def __init__(self, client: KubeClient, namespaces: tuple[str, ...] | None = None) -> None:
        self._client = client
        self._namespaces = namespaces
        self._lock = threading.Lock()
        self._known: dict[Account, dict[int, _Shard]] = {}
        self._touched: set[Account] = set()

    def managed(self) -> set[Account]:
        """Reads every Role and RoleBinding that is ours; returns whose they are. Raises `NotYet`, `Refused`.

        Called at the start, and at each resync: what somebody changed behind our back is found again.
        """
        known: dict[Account, dict[int, _Shard]] = {}
        with self._lock:
            self._touched.clear()
        for namespace in self._namespaces or (None,):
            bindings = {_key(item): item for item in self._list("rolebindings", namespace)}
            for item in self._list("roles", namespace):
                account = _account(item)
                part = None if account is None else _part_of(item, account[1])
                if account is None or part is None:
                    continue
                binding = bindings.pop(_key(item), None)
                known.setdefault(account, {})[part] = _shard(item, binding, account)
            for item in bindings.values():
                # A binding that outlived its Role: the account is looked at, and its missing Roles are found by name.
                account = _account(item)
                if account is not None:
                    known.setdefault(account, {})
        with self._lock:
            # An account with a binding only is not remembered, so that it is read anew when its turn comes.
            # What a worker wrote while the lists were read is newer than they are.
            newer = {account: shards for account, shards in self._known.items() if account in self._touched}
            listed = {account: shards for account, shards in known.items() if shards and account not in self._touched}
            self._known = listed | newer
        return set(known)

    def reconcile(self, namespace: str, service_account: str, secret_names: Sequence[str]) -> int:
        """Makes Roles and bindings say exactly `secret_names`; returns the number of writes.

        Raises:
            Refused: a Role of that name is not ours (`RoleNameTaken`), or RBAC forbids the write.
            NotYet: the API server is away, or others change the same Roles all the time (`Conflict`).
            NotFound: the namespace is gone.
        """
        account = (namespace, service_account)
        writes = 0
        for attempt in range(ATTEMPTS):
            with self._lock:
                self._touched.add(account)
                shards = self._known.pop(account, None)
            if shards is None:
                shards = self._read(account)
            try:
                for part, names in share_out({part: shard.names for part, shard in shards.items()}, secret_names):
                    writes += self._write(account, shards, part, names)
            except (Conflict, AlreadyExists, NotFound):
                # What was remembered is not what is there (the memory is dropped): read it and try again.
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            with self._lock:
                self._touched.add(account)
                if shards:
                    self._known[account] = shards
            return writes
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _write(self, account: Account, shards: dict[int, _Shard], part: int, names: frozenset[str]) -> int:
        """Brings one Role and its binding to `names`; returns the number of writes."""
        shard = shards.get(part)
        if not names:
            # A Role without resourceNames would allow every Secret of the namespace: it is deleted, never emptied.
            return 0 if shard is None else self._remove(account, shards, part)
        writes = 0
        if shard is None or not shard.exact or shard.names != names:
            role = _role(account, part, names)
            if shard is None:
                answer = self._send("POST", "roles", account, None, role)
            else:
                role["metadata"]["resourceVersion"] = str(shard.version)
                answer = self._send("PUT", "roles", account, part, role)
            bound = shard is not None and shard.bound
            shard = shards[part] = _Shard(resource_version(answer), names, exact=True, bound=bound)
            writes += 1
        if not shard.bound:
            writes += self._bind(account, part)
            shard.bound = True
        return writes

    def _bind(self, account: Account, part: int) -> int:
        """Creates the binding; one that is ours but says something else is made anew (its roleRef cannot be changed)."""
        body = _binding(account, part)
        try:
            self._send("POST", "rolebindings", account, None, body)
            return 1
        except AlreadyExists:
            found = self._get("rolebindings", account, part)
        if found is not None and _binds(found, account, part):
            return 0
        self._send("DELETE", "rolebindings", account, part, None)
        self._send("POST", "rolebindings", account, None, body)
        return 2

    def _remove(self, account: Account, shards: dict[int, _Shard], part: int) -> int:
        """The binding first: a Role without a binding allows nothing."""
        for resource in ("rolebindings", "roles"):
            try:
                self._send("DELETE", resource, account, part, None)
            except NotFound:
                _log.debug("%s %s was gone already", resource, role_name(account[1], part))
        del shards[part]
        return 2

    def _read(self, account: Account) -> dict[int, _Shard]:
        """The Roles of one ServiceAccount, by their names, until one is not there."""
        shards: dict[int, _Shard] = {}
        part = 1
        while (role := self._get("roles", account, part)) is not None:
            shards[part] = _shard(role, self._get("rolebindings", account, part), account)
            part += 1
        return shards

    def _get(self, resource: str, account: Account, part: int) -> Json | None:
        namespace, service_account = account
        name = role_name(service_account, part)
        try:
            found = self._client.request("GET", namespaced(GROUP, resource, namespace, name))
        except NotFound:
            return None
        if _labels(found).get(MANAGED_LABEL) != "true":
            raise Refused(
                "RoleNameTaken",
                f"{resource} {name} in namespace {namespace} does not carry the label {MANAGED_LABEL}=true: it is not"
                f" ours and is left alone; rename or delete it, so that pods of ServiceAccount {service_account} can"
                " read their certificates",
            )
        return found

    def _send(self, method: str, resource: str, account: Account, part: int | None, body: Json | None) -> Json:
        name = None if part is None else role_name(account[1], part)
        query = None if method == "DELETE" else _QUERY
        return self._client.request(method, namespaced(GROUP, resource, account[0], name), query, body, _METADATA)

    def _list(self, resource: str, namespace: str | None) -> list[Json]:
        query = {"labelSelector": f"{MANAGED_LABEL}=true", "limit": "500"}
        items: list[Json] = []
        while True:
            page = self._client.request("GET", namespaced(GROUP, resource, namespace), query)
            items += page.get("items") or []
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                return items
            query["continue"] = more


def _metadata(account: Account, part: int) -> Json:
    namespace, service_account = account
    return {
        "name": role_name(service_account, part),
        "namespace": namespace,
        "labels": LABELS,
        "annotations": {SERVICE_ACCOUNT: service_account},
    }


def _rules(names: frozenset[str]) -> list[Json]:
    return [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": sorted(names), "verbs": list(VERBS)}]


def _role(account: Account, part: int, names: frozenset[str]) -> Json:
    if not names or len(names) > NAMES_PER_ROLE:
        raise AssertionError(f"a Role of {len(names)} names must not be written")
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": _metadata(account, part),
        "rules": _rules(names),
    }


def _binding(account: Account, part: int) -> Json:
    namespace, service_account = account
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role_name(service_account, part)}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(account, part),
        "roleRef": reference,
        "subjects": [{"kind": "ServiceAccount", "name": service_account, "namespace": namespace}],
    }


def _shard(role: Mapping[str, Any], binding: Mapping[str, Any] | None, account: Account) -> _Shard:
    rules = role.get("rules") or []
    names = frozenset(name for rule in rules for name in rule.get("resourceNames") or [])
    part = _part_of(role, account[1])
    return _Shard(
        version=resource_version(role),
        names=names,
        exact=rules == _rules(names),
        bound=binding is not None and part is not None and _binds(binding, account, part),
    )


def _binds(binding: Mapping[str, Any], account: Account, part: int) -> bool:
    """It binds exactly this ServiceAccount to exactly this Role."""
    wanted = _binding(account, part)
    return bool(binding.get("roleRef") == wanted["roleRef"] and binding.get("subjects") == wanted["subjects"])


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    meta = item.get("metadata") or {}
    return str(meta.get("namespace", "")), str(meta.get("name", ""))


def _labels(item: Mapping[str, Any]) -> Mapping[str, str]:
    return (item.get("metadata") or {}).get("labels") or {}


def _account(item: Mapping[str, Any]) -> Account | None:
    """Whose it is, from the annotation; None when somebody removed that."""
    meta = item.get("metadata") or {}
    service_account = (meta.get("annotations") or {}).get(SERVICE_ACCOUNT)
    return (str(meta.get("namespace", "")), service_account) if isinstance(service_account, str) else None


def _part_of(item: Mapping[str, Any], service_account: str) -> int | None:
    """The number in the object's name, or None when the name is not one that this ServiceAccount's Roles have."""
    return part_of(_key(item)[1], service_account)
