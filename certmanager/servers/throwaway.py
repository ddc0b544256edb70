"""`podcert vault tls` behind its options: the files of the certificate that Vault's servers show before their own (the seed).

Nothing is asked of Vault or of a cluster. The folder appears whole or not at all, and an existing one is never changed.
Exit codes: 0 done, 1 it failed, 2 wrong usage.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from certmanager.console import Console
from certmanager.domain.facts import first_fitting
from certmanager.domain.model import Names
from certmanager.domain.names import parse_dns_name, parse_duration, parse_ip
from certmanager.domain.problems import RuleError
from certmanager.domain.times import rfc3339
from certmanager.x509.throwaway import ThrowAway, throw_away

SERVICES: Final = ("vault", "vault-active", "vault-internal", "vault-ui")
"""The Services in manifests/vault; `vault-internal` is the headless one."""
HEADLESS: Final = "vault-internal"
LOOPBACK: Final = ("127.0.0.1", "::1")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """As given on the command line.

    Attributes:
        directory: where `tls.crt`, `tls.key` and `ca.crt` go; it must not be there, or be empty.
        names: further DNS names and IP addresses.
        ttl: the certificate's lifetime, as `domain.names.parse_duration` reads it.
    """

    directory: Path
    namespace: str = "vault"
    cluster_domain: str = "cluster.local"
    names: tuple[str, ...] = ()
    ttl: str = "365d"
    as_json: bool = False


def main(options: Options, console: Console) -> int:
    """Makes the files and says what to do with them; returns the exit code. No key is ever printed."""
    try:
        names = server_names(options)
        lifetime = _checked("--ttl", options.ttl, parse_duration)
    except ValueError as error:
        console.err(f"podcert vault tls: {error}")
        return 2
    made = throw_away(names, console.now(), lifetime)
    problem = _write(options.directory, made)
    if problem is not None:
        console.err(f"podcert vault tls: {problem}")
        return 1
    console.out(_json(options, made) if options.as_json else _text(options, made))
    return 0


def server_names(options: Options) -> Names:
    """The names of the Services and of each server, localhost, and the further ones.

    Raises ValueError, naming option, value and rule.
    """
    svc = f"{_checked('--namespace', options.namespace, parse_dns_name)}.svc"
    long = f"{svc}.{_checked('--cluster-domain', options.cluster_domain, parse_dns_name)}"
    dns = [f"{service}.{form}" for service in SERVICES for form in (long, svc)]
    dns += [f"*.{HEADLESS}.{form}" for form in (long, svc)] + ["localhost"]
    ips = list(LOOPBACK)
    for text in options.names:
        if text.replace(".", "").isdigit() or ":" in text:
            ips.append(_checked("--name", text, parse_ip))
        else:
            dns.append(_checked("--name", text, parse_dns_name))
    return Names(tuple(dict.fromkeys(dns)), tuple(dict.fromkeys(ips)), common_name=first_fitting(dns))


def _checked(option: str, value: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(value)
    except RuleError as error:
        rule = str(error)
    raise ValueError(f"{option} is {value[:80]!r}; it {rule}; correct it")


def _write(directory: Path, made: ThrowAway) -> str | None:
    """Files of mode 0600 in a folder of mode 0700, by one rename; what is wrong, or None."""
    contents = {"tls.crt": made.certificate, "tls.key": made.key, "ca.crt": made.authority}
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        return f"{directory.parent} cannot be written: {error.strerror}; name another --directory"
    try:
        for name, content in contents.items():
            descriptor = os.open(beside / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(content)
        beside.rename(directory)  # fails when there is something in it
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        return f"{directory} is not written: {error.strerror}; it must not be there yet, or be empty: name another --directory"
    return None


def _text(options: Options, made: ThrowAway) -> str:
    folder, namespace = shlex.quote(str(options.directory)), options.namespace
    names = ", ".join((*made.leaf.names.dns, *made.leaf.names.ips))
    return "\n".join(
        (
            f"wrote {options.directory}: tls.crt and tls.key for the servers, ca.crt for those who connect to them",
            f"  names   {names}",
            f"  end     {rfc3339(made.leaf.not_after)}",
            "  the CA's key is thrown away: it will never sign anything else",
            "next:",
            f"  kubectl create secret generic vault-tls-seed -n {namespace} --type=kubernetes.io/tls --from-file={folder}",
            f"  kubectl create configmap vault-ca -n {namespace} --from-file={folder}/ca.crt",
        )
    )


def _json(options: Options, made: ThrowAway) -> str:
    leaf = made.leaf
    document = {
        "directory": str(options.directory),
        "dnsNames": list(leaf.names.dns),
        "ipAddresses": list(leaf.names.ips),
        "serial": leaf.serial,
        "notAfter": rfc3339(leaf.not_after),
    }
    return json.dumps(document, indent=2)
