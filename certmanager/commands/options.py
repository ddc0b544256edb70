"""The command line of `podcert status`, `renew` and `revoke`. What they do is imported when it is needed: `--help` is fast."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from certmanager.console import Console, Target
from certmanager.domain.names import parse_duration
from certmanager.domain.problems import RuleError, shown

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def namespace_name(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """A namespace's name (RFC 1123 label), for it becomes part of a request's path. Anything else is wrong usage."""
    if value is None or _LABEL.fullmatch(value):
        return value
    rule = "a-z, 0-9 and -, at most 63, with a letter or digit at both ends; `kubectl get namespaces` lists them"
    raise click.BadParameter(f"{shown(value)} is no namespace's name: {rule}")


_CLUSTER = (
    click.option("--kubeconfig", type=click.Path(path_type=Path), help="Kubeconfig file, as kubectl's."),
    click.option("--context", help="Its context. [the current one]"),
)
_WAIT = (
    click.option("--wait", is_flag=True, help="Wait until no named pod serves the certificate any more."),
    click.option("--timeout", default="5m", show_default=True, help="How long to wait."),
)
_NAMESPACE = click.option(
    "-n", "--namespace", callback=namespace_name, default="default", show_default=True, help="The pods' namespace."
)


def console() -> Console:
    """That of this process."""
    return Console(click.echo, partial(click.echo, err=True), os.environ, Path.home())


def with_options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A decorator that gives a command the options, in this order."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command()
@click.argument("pods", nargs=-1)
@_NAMESPACE
@click.option("-A", "--all-namespaces", is_flag=True, help="The pods of all namespaces.")
@click.option("-o", "--output", type=click.Choice(["text", "wide", "json"]), default="text", help="Shape. [text]")
@with_options(*_CLUSTER)
def status(pods: tuple[str, ...], namespace: str, all_namespaces: bool, output: str, **target: Any) -> None:
    """Show how enrolled pods stand: until when they serve what, when that is replaced and how, and what is wrong.

    Reads pods, Events and the metadata of Secrets, no key. Exit status 0; 1 if it cannot be found out; 2 for wrong usage.
    """
    from certmanager.commands import status as command

    where = None if all_namespaces else namespace
    sys.exit(command.main(command.Options(pods, where, output, Target(**target)), console()))


@click.command()
@click.argument("pods", nargs=-1)
@_NAMESPACE
@click.option("--all", "everyone", is_flag=True, help="All enrolled pods of the namespace.")
@with_options(*_WAIT, *_CLUSTER)
def renew(pods: tuple[str, ...], wait: bool, timeout: str, **options: Any) -> None:
    """Ask the manager for another certificate for pods, now, by each pod's own rotation strategy.

    Asked twice it happens once. Exit status 0: asked, and with --wait done; 1: not for every pod; 2: wrong usage.
    """
    _request(pods, _seconds(timeout) if wait else None, options)


@click.command()
@click.argument("pods", nargs=-1)
@_NAMESPACE
@click.option("--now", "at_once", is_flag=True, help="Revoke at once, before another certificate is in use.")
@click.option("--serial", help="A certificate that no Secret holds any more, by its serial number.")
@click.option("--certificate", type=click.Path(path_type=Path), help="The same by the certificate (PEM file).")
@click.option("--mount", envvar="PODCERT_MOUNT", default="pki", show_default=True, help="Its mount, for these two.")
@with_options(*_WAIT, *_CLUSTER)
def revoke(pods: tuple[str, ...], serial: str | None, certificate: Path | None, mount: str, **options: Any) -> None:
    """Have pods' certificates replaced and then revoked; or, by --serial or --certificate, revoke one in Vault yourself.

    For the last, VAULT_ADDR, VAULT_TOKEN (or ~/.vault-token), VAULT_CACERT and so on mean what they mean to the Vault CLI. Exit
    status 0: asked, with --wait out of use, or revoked; 1: not; 2: wrong usage. See docs/revocation.md.
    """
    wait, timeout = options.pop("wait"), options.pop("timeout")
    if sum((bool(pods), serial is not None, certificate is not None)) != 1:
        raise click.UsageError("name pods, or give --serial, or --certificate: one of the three")
    if not pods:
        from certmanager.commands import by_serial

        sys.exit(by_serial.main(by_serial.Options(mount, serial, certificate), console()))
    _request(pods, _seconds(timeout) if wait else None, {**options, "revoke": True})


def _request(pods: tuple[str, ...], wait: float | None, options: dict[str, Any]) -> None:
    from certmanager.commands import request

    target = Target(options.pop("kubeconfig"), options.pop("context"))
    sys.exit(request.main(request.Options(pods, wait=wait, target=target, **options), console()))


def _seconds(text: str) -> float:
    try:
        return float(parse_duration(text))
    except RuleError as error:
        raise click.UsageError(f"--timeout={text}: {error.rule}") from None
