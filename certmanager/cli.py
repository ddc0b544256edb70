"""The commands: `podcert run` is the manager itself. Also installed as `kubectl-podcert`, so `kubectl podcert …` works.

Exit codes: 0 done, 1 it failed, 2 wrong usage or settings.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from certmanager import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="podcert")
def main() -> None:
    """Short-lived TLS certificates from Vault's PKI for labelled pods."""


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


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"podcert {__version__}")


if __name__ == "__main__":
    main()
