"""`podcert vault init`, `unseal` and `root-token` behind their options: environment and options in, lines and an exit code out.

Exit codes: 0 it is so, 1 it failed, 2 wrong usage. No key and no token is printed, but by `root-token`, which is for that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certmanager.console import Console, Target, UsageError
from certmanager.domain.errors import PodcertError
from certmanager.domain.names import is_subdomain
from certmanager.domain.problems import shown
from certmanager.kube.forward import Forwarder
from certmanager.kube.kubeconfig import client, kubeconfig
from certmanager.servers import steps
from certmanager.servers.keys import KeysFile, KeyStore
from certmanager.servers.reach import OneServer, Pods, Reach
from certmanager.servers.unsafe_secret import UnsafeSecret, parse_place
from certmanager.vault.bootstrap.environment import vault_config
from certmanager.vault.transport import Transport

SELECTOR = "app.kubernetes.io/name=vault"


@dataclass(frozen=True, slots=True)
class Options:
    """As given on the command line; `namespace` None means the server at VAULT_ADDR."""

    keys_file: Path | None = None
    unsafe_secret: str | None = None
    namespace: str | None = None
    selector: str = SELECTOR
    kubeconfig: Path | None = None
    context: str | None = None
    timeout: float = 120.0
    as_json: bool = False
    key_shares: int = 1
    key_threshold: int = 1

    @property
    def target(self) -> Target:
        """Which cluster."""
        return Target(self.kubeconfig, self.context)


def init(options: Options, console: Console) -> int:
    """`podcert vault init`."""
    return _run("init", options, console, _init)


def unseal(options: Options, console: Console) -> int:
    """`podcert vault unseal`."""
    return _run("unseal", options, console, _unseal)


def root_token(options: Options, console: Console) -> int:
    """`podcert vault root-token`: the one command whose output is a secret."""
    return _run("root-token", options, console, _root_token)


Do = Callable[[Options, Console], tuple[int, dict[str, Any]]]


def _run(name: str, options: Options, console: Console, do: Do) -> int:
    try:
        code, document = do(options, console)
    except UsageError as error:
        console.err(f"podcert vault {name}: {error}")
        return 2
    except PodcertError as error:
        code, document = 1, {"error": {"reason": error.reason, "message": error.message}}
        console.err(f"podcert vault {name}: {error.message}")
    if options.as_json:
        console.out(json.dumps({"error": None} | document, indent=2))
    return code


def _init(options: Options, console: Console) -> tuple[int, dict[str, Any]]:
    numbers = _numbers(options)
    store = _store(options, console)
    with closing(_reach(options, console)) as reach:
        done = steps.initialise(reach, store, numbers, _pace(options, console))
    document = {"server": done.server, "alreadyInitialised": done.already, "keys": store.name}
    if not done.already:
        _say(options, console, f"keys and root token: {store.name}")
        return 0, document
    if store.read() is not None:
        _say(options, console, f"keys and root token are in {store.name} since then")
        return 0, document
    message = (
        f"{done.server} is initialised already, and its keys are not in {store.name}: they were told once, to whoever did it. "
        "Name the place where they are. If nobody has them, its data are lost: delete the StatefulSet and its "
        "PersistentVolumeClaims, apply it again, and run this again (a deleted StatefulSet leaves its volumes)"
    )
    console.err(f"podcert vault init: {message}")
    return 1, document | {"error": {"reason": "VaultInitialisedBefore", "message": message}}


def _unseal(options: Options, console: Console) -> tuple[int, dict[str, Any]]:
    store = _store(options, console)
    keys = store.read()
    if keys is None:
        raise UsageError(f"there are no keys in {store.name}; name the place that `podcert vault init` put them")
    if isinstance(store, KeysFile) and store.exposed:
        console.err(f"podcert vault unseal: others can read {store.name}: chmod 600 it")
    with closing(_reach(options, console)) as reach:
        seen = steps.unseal(reach, keys, _pace(options, console))
    servers = [
        {"name": each.server.name, "state": each.state.name.lower(), "version": each.status.version} for each in seen
    ]
    return 0, {"servers": servers}


def _root_token(options: Options, console: Console) -> tuple[int, dict[str, Any]]:
    store = _store(options, console)
    keys = store.read()
    if keys is None or not keys.root_token:
        raise UsageError(f"there is no root token in {store.name}; name the place that `podcert vault init` put it")
    console.out(keys.root_token)
    return 0, {}


def _numbers(options: Options) -> tuple[int, int]:
    """Vault's own rule, before anything is touched."""
    shares, threshold = options.key_shares, options.key_threshold
    if not 1 <= shares <= 255:
        raise UsageError(f'--key-shares="{shares}": must be from 1 to 255; change it')
    if not 1 <= threshold <= shares or (shares > 1 and threshold == 1):
        rule = f"must be from {min(2, shares)} to the number of shares ({shares})"
        raise UsageError(f'--key-threshold="{threshold}": {rule}; change it')
    return shares, threshold


def _store(options: Options, console: Console) -> KeyStore:
    if (options.keys_file is None) == (options.unsafe_secret is None):
        raise UsageError("say where the keys are to be: --keys-file FILE, or --unsafe-secret NAMESPACE/NAME")
    if options.keys_file is not None:
        return KeysFile(options.keys_file)
    try:
        namespace, name = parse_place(options.unsafe_secret or "")
    except ValueError as error:
        raise UsageError(f'--unsafe-secret="{shown(options.unsafe_secret or "")}": {error}') from None
    return UnsafeSecret(client(options.target, console), namespace, name)


def _reach(options: Options, console: Console) -> Reach:
    namespace = options.namespace
    if namespace is None and not console.environment.get("VAULT_ADDR"):
        raise UsageError(
            "say where Vault is: -n NAMESPACE for the pods of one in the cluster, or the variable VAULT_ADDR"
        )
    if namespace is not None and not is_subdomain(namespace):
        raise UsageError(f'--namespace="{shown(namespace)}": must be a namespace\'s name; change it')
    try:
        config = vault_config(console.environment)
        if namespace is None:
            return OneServer(Transport(config))
        forwarder = Forwarder(kubeconfig(options.target, console), options.context)
        return Pods(client(options.target, console), forwarder, (namespace, options.selector), config)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _pace(options: Options, console: Console) -> steps.Pace:
    def tell(text: str) -> None:
        _say(options, console, text)

    return steps.Pace(options.timeout, tell)


def _say(options: Options, console: Console, text: str) -> None:
    if not options.as_json:
        console.out(text)
