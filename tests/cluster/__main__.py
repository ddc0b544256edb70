"""`python -m tests.cluster`: start a cluster and keep it, look at it, end it.

Exit codes: 0 done, 1 something went wrong, 2 something is missing on this machine; `status`: 3 when none runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable

from tests.cluster import choice, existing, images, local
from tests.cluster.paths import ClusterError
from tests.cluster.progress import say
from tests.cluster.provider import Provider, Spec
from tests.cluster.running import LocalCluster


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        chosen = choice.Choice(options.provider, options.kubeconfig, options.context, load=not options.no_load)
        provider = choice.provider(chosen)
        return COMMANDS[options.command](provider, options)
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; everything that was started has been ended")
        return 130


def up(provider: Provider, options: argparse.Namespace) -> int:
    """Start a cluster that stays after this command."""
    can_install = provider.name == "local" and os.geteuid() == 0  # what is missing is got on the way
    if problem := None if can_install else provider.missing(node=not options.no_node):
        say(f"error: {problem}")
        return 2
    wanted = images.NAMES if options.images and not options.no_node else ()
    running = provider.up(Spec(options.name, node=not options.no_node, images=wanted))
    running.keep()
    print(f"export KUBECONFIG={running.kubeconfig}")
    return 0


def down(provider: Provider, options: argparse.Namespace) -> int:
    """End a cluster; fine when none runs."""
    ran = provider.down(options.name)
    say(f"cluster {options.name} ended, nothing of it is left" if ran else f"no cluster {options.name} runs")
    return 0


def status(provider: Provider, options: argparse.Namespace) -> int:
    """Show the running clusters and their parts."""
    names = provider.names()
    for name in names:
        print(provider.attach(name).describe())
    if not names:
        say("no cluster runs")
    return 0 if names else 3


def kubeconfig(provider: Provider, options: argparse.Namespace) -> int:
    """Print the path of the kubeconfig with all rights."""
    print(provider.attach(options.name).kubeconfig)
    return 0


def shell(provider: Provider, options: argparse.Namespace) -> int:
    """Start a shell (with provider local: inside the sandbox), KUBECONFIG set and `kubectl` the cluster's own."""
    running = provider.attach(options.name)
    command, environment = [os.environ.get("SHELL", "/bin/sh")], {**os.environ, "KUBECONFIG": str(running.kubeconfig)}
    if isinstance(running, LocalCluster):
        own = running.folder / "conf" / "bin"
        own.mkdir(exist_ok=True)
        program = own / "kubectl"
        program.write_text(f'#!/bin/sh\nexec "{running.kube}" kubectl "$@"\n')
        program.chmod(0o700)
        environment["PATH"] = f"{own}:{os.environ['PATH']}"
        command = running.sandbox.command(command)
    return subprocess.run(command, env=environment, check=False).returncode


def build_images(provider: Provider, options: argparse.Namespace) -> int:
    """Build this project's images and say what they are."""
    local.prepare(node=True)
    for image in images.build(images.NAMES):
        print(f"{image.reference} {image.manifest['digest']}")
    return 0


def prepare(provider: Provider, options: argparse.Namespace) -> int:
    """Get and build everything that a cluster needs, so that the tests start at once."""
    if problem := provider.missing(node=True) if provider.name != "local" or os.geteuid() != 0 else None:
        say(f"tests that need a node will be left out: {problem}")
    # Tests of a control plane alone, and of its outages, have one from parts whatever provides the node.
    own_node = provider.name == "local" and os.geteuid() == 0
    local.prepare(node=own_node)
    if own_node:
        images.build(images.NAMES)
    return 0


COMMANDS: dict[str, Callable[[Provider, argparse.Namespace], int]] = {
    "up": up,
    "down": down,
    "status": status,
    "kubeconfig": kubeconfig,
    "shell": shell,
    "images": build_images,
    "prepare": prepare,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="A real cluster on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in COMMANDS.items():
        command = commands.add_parser(name, help=(function.__doc__ or "").splitlines()[0])
        command.add_argument("--name", default="podcert", help="the cluster's name (default: %(default)s)")
        command.add_argument(
            "--provider", default="", help=f"{', '.join(choice.NAMES)}; else PODCERT_PROVIDER, else local"
        )
        command.add_argument("--kubeconfig", default="", help=f"for provider existing; else {existing.VARIABLE}")
        command.add_argument("--context", default="", help="for provider existing: a context of that kubeconfig")
        command.add_argument("--no-load", action="store_true", help="for provider existing: the images are there")
        if name == "up":
            command.add_argument("--no-node", action="store_true", help="an API server only: seconds, no root needed")
            command.add_argument("--images", action="store_true", help="build and load this project's images too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
