"""The commands: `podcert run` is the manager itself. Also installed as `kubectl-podcert`, so `kubectl podcert …` works.

Exit codes: 0 done, 1 it failed, 2 wrong usage or settings.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from certmanager import __version__
from certmanager.commands.bootstrap_options import bootstrap
from certmanager.commands.options import console, namespace_name, renew, revoke, status, with_options
from certmanager.domain.model import KeyType


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="podcert")
def main() -> None:
    """Short-lived TLS certificates from Vault's PKI for labelled pods."""


for _command in (bootstrap, status, renew, revoke):
    main.add_command(_command)


@main.command()
@click.option("--config", type=click.Path(path_type=Path), envvar="PODCERT_CONFIG", help="YAML file with settings.")
@click.option(
    "--kubeconfig", type=click.Path(path_type=Path), help="Kubeconfig file; without it the pod's ServiceAccount."
)
@click.option("--listen", help="Address of /livez, /readyz and /metrics, such as 0.0.0.0:8080.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Least severe level.")
@click.option("--log-format", type=click.Choice(["json", "console"]), help="Shape of the log.")
@click.option("--workers", type=int, help="Pods worked on at once.")
def run(config: Path | None, **flags: object) -> None:
    """Run the certificate manager until SIGTERM or SIGINT.

    Every setting is also an environment variable (docs/settings.md); flags win over the environment, the environment
    over the file.
    """
    # Imported here: the clients take half a second to load, which no other command should wait for.
    from certmanager import app
    from certmanager.settings import SettingsError, load

    try:
        settings = load(config, **flags)
    except SettingsError as error:
        click.echo(f"podcert: the settings cannot be used:\n{error}", err=True)
        sys.exit(2)
    sys.exit(app.run(settings))


@main.group()
def vault() -> None:
    """Initialise and unseal a Vault for trying it out (docs/vault.md)."""


_PLACES = (
    click.option("--keys-file", type=click.Path(path_type=Path), help="File with the keys (0600)."),
    click.option("--unsafe-secret", metavar="NAMESPACE/NAME", help="Secret with the keys; its name must say `unsafe`."),
    click.option("--kubeconfig", type=click.Path(path_type=Path), help="Kubeconfig file, as kubectl's."),
    click.option("--context", help="Its context. [the current one]"),
)
_SERVERS = (
    *_PLACES,
    click.option(
        "-n",
        "--namespace",
        callback=namespace_name,
        help="The servers are the pods of this namespace. [the one at VAULT_ADDR]",
    ),
    click.option(
        "-l", "--selector", default="app.kubernetes.io/name=vault", show_default=True, help="… with these labels."
    ),
    click.option("--timeout", type=float, default=120.0, show_default=True, help="Seconds to wait for the servers."),
    click.option(
        "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Shape of the output. [text]"
    ),
)


@vault.command("init")
@with_options(*_SERVERS)
@click.option("--key-shares", type=int, default=1, show_default=True, help="Parts that the unseal key is split into.")
@click.option("--key-threshold", type=int, default=1, show_default=True, help="Parts that are needed to unseal.")
def vault_init(**options: Any) -> None:
    """Initialise Vault once; its keys and root token go to a file, or to a Secret that is named unsafe.

    Nothing is printed of them and nothing is overwritten. Initialised already: exit status 0 if the keys are there, else 1.
    """
    _vault("init", options)


@vault.command("unseal")
@with_options(*_SERVERS)
def vault_unseal(**options: Any) -> None:
    """Unseal every server, and wait until one is active and the others stand by. Run again it changes nothing."""
    _vault("unseal", options)


@vault.command("root-token")
@with_options(*_PLACES)
def vault_root_token(**options: Any) -> None:
    """Print the root token, for VAULT_TOKEN=$(podcert vault root-token --keys-file …)."""
    _vault("root_token", options)


@vault.command("tls")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default="vault-tls",
    show_default=True,
    help="Where tls.crt, tls.key and ca.crt go; it must not be there yet.",
)
@click.option(
    "-n", "--namespace", callback=namespace_name, default="vault", show_default=True, help="The servers' namespace."
)
@click.option("--cluster-domain", envvar="PODCERT_CLUSTER_DOMAIN", default="cluster.local", show_default=True)
@click.option("--name", "names", multiple=True, help="A further DNS name or IP address; repeat it.")
@click.option("--ttl", default="365d", show_default=True, help="Lifetime.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Shape of the output. [text]")
def vault_tls(output: str, **options: Any) -> None:
    """Make the certificate that the servers show until Vault has issued their own, by a CA that is thrown away.

    Asks nobody and prints no key. See docs/vault-tls.md.
    """
    from certmanager.servers import throwaway

    sys.exit(throwaway.main(throwaway.Options(as_json=output == "json", **options), console()))


def _vault(name: str, options: dict[str, Any]) -> None:
    from certmanager.servers import command

    as_json = options.pop("output", "text") == "json"
    sys.exit(getattr(command, name)(command.Options(as_json=as_json, **options), console()))


@main.command()
@click.argument("pod", required=False)
@click.option(
    "-n", "--namespace", callback=namespace_name, default="default", show_default=True, help="The pod's namespace."
)
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Manifest that is not applied yet.",
)
@click.option("--offline", is_flag=True, help="With -f: do not look at the cluster's Services.")
@click.option("--policy", type=click.Path(path_type=Path), help="Policy file, instead of PODCERT_POLICY_FILE.")
@click.option("--config", type=click.Path(path_type=Path), envvar="PODCERT_CONFIG", help="The manager's settings.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Kubeconfig file, as kubectl's.")
@click.option("--context", help="Its context. [the current one]")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Shape of the output. [text]")
def explain(output: str, **options: Any) -> None:
    """Say what a pod would get: which names and from what, by which rule, from which Vault role.

    Of a pod in the cluster, or of a manifest before it is applied. Changes nothing. Exit status 0: allowed; 1: refused, or
    nothing takes part; 2: wrong usage. See docs/policy.md.
    """
    from certmanager.explain import command

    sys.exit(command.main(command.Options(as_json=output == "json", **options), console()))


@main.group()
def ca() -> None:
    """Change the CA without a failed handshake: show how far it is, and drive it. See docs/ca.md."""


_CA_OPTIONS = (
    click.option("--mount", envvar="PODCERT_MOUNT", default="pki", show_default=True, help="PKI secrets engine."),
    click.option("--kubeconfig", type=click.Path(path_type=Path), help="Kubeconfig file, as kubectl's."),
    click.option("--context", help="Its context. [the current one]"),
)
_TO = click.option("--to", help="Id or name of the next issuer, such as an imported intermediate. [a new root]")
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done next.")
_OUTPUT = click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Shape. [text]")


def _run_ca(action: str, output: str = "text", **options: Any) -> NoReturn:
    from certmanager.ca import command
    from certmanager.ca.terms import Options

    sys.exit(command.main(getattr(command, action), Options(as_json=output == "json", **options), console()))


@ca.command("status")
@with_options(*_CA_OPTIONS, _OUTPUT)
@click.option("-n", "--namespace", callback=namespace_name, help="Look at the pods of this namespace only.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Look at the pods of all namespaces. [unless -n is given]")
def ca_status(namespace: str | None, all_namespaces: bool, **options: Any) -> None:
    """Show the issuers, the phase, and who is waited for or cannot follow, with what to do about it.

    VAULT_ADDR, VAULT_TOKEN (or ~/.vault-token), VAULT_CACERT and so on mean what they mean to the Vault CLI.
    """
    _run_ca("status", namespace=None if all_namespaces else namespace, **options)


@ca.command("rotate")
@with_options(*_CA_OPTIONS, _TO, _DRY_RUN, _OUTPUT)
@click.option("--common-name", help="Of the new root. [the current one's]")
@click.option(
    "--key-type", type=click.Choice([each.value for each in KeyType]), help="Of the new root. [the current one's]"
)
@click.option("--ttl", help="Lifetime of the new root, such as 87600h. [the current one's]")
@click.option("--leave-behind", is_flag=True, help="Go on without the pods that cannot follow.")
@click.option("--timeout", help="Stop waiting after this time, such as 2h. [wait until it is done]")
def ca_rotate(**options: Any) -> None:
    """Change the CA: new anchor into every file, new issuer, old certificates replaced, old anchor out.

    Each phase waits until every pod that can follow has followed; where others are left it stops and names them. Run again it
    goes on where it was. Exit status 0: done; 1: it failed, or stopped; 2: wrong usage.
    """
    _run_ca("rotate", **options)


@ca.command("abort")
@with_options(*_CA_OPTIONS, _TO, _DRY_RUN)
def ca_abort(**options: Any) -> None:
    """Take a change back while its anchor is still being distributed: the new issuer is retired."""
    _run_ca("abort", **options)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"podcert {__version__}")


if __name__ == "__main__":
    main()
