"""`make demo`. `KEEP=1` leaves the cluster up, `FRESH=1` builds everything anew in an empty cache folder.

Exit codes: 0 the handshakes were verified, 1 they were not, 2 something is missing on this machine.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.cluster import local
from tests.cluster.paths import ClusterError
from tests.cluster.provider import Spec
from tests.e2e.scenario import IMAGES, SERVER, Handshake, Scenario, table

NAME = "demo"
RUNS = ((2, "sign"), (2, "issue"), (1, "sign"), (1, "issue"))
BOLD, GREEN, RED, PLAIN = ("\033[1m", "\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() else ("", "", "", "")

LOOK_AROUND = """
The cluster is still up. To look around:

  alias k='{kubectl}'
  k get pods -A
  k describe pod server
  k get secrets -l podcert.io/managed=true
  k logs server -c certificate-fetcher
  k logs -n podcert deploy/certificate-manager
  k exec client -- ls -lL /var/run/secrets/certs

To end it:  {python} -m tests.cluster down --name {name}
"""


class Steps:
    """Prints each step as it happens, with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        mark = "   " if text.startswith(" ") else f"{BOLD}==>{PLAIN}"
        print(f"{time.monotonic() - self._began:6.1f} s {mark} {text.strip()}", flush=True)


def main() -> int:
    """Runs the demo; returns the exit code."""
    say = Steps()
    keep = os.environ.get("KEEP") == "1"
    fresh = _fresh_cache(say)
    try:
        provider = local.Local()
        if provider.down(NAME):
            say("a demo that was left up has been ended")
        say("a real cluster from parts (the first time this builds Kubernetes: about 10 minutes on 2 cores)")
        cluster = provider.up(Spec(NAME, images=IMAGES))
        try:
            scenario = Scenario(cluster, say)
            try:
                verified = _show(scenario, say)
            except ClusterError:
                print(scenario.explain(), file=sys.stderr)
                raise
            if keep:
                cluster.keep()
                kubectl = " ".join(cluster.kubectl_command())
                print(LOOK_AROUND.format(kubectl=kubectl, python=sys.executable, name=NAME))
        finally:
            if not keep:
                say("cleaning up")
                cluster.down()
        return 0 if verified else 1
    except ClusterError as error:
        print(f"\n{RED}The demo cannot go on:{PLAIN} {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; everything that was started has been ended", file=sys.stderr)
        return 130
    finally:
        if fresh is not None and not keep:
            # A cluster that is kept runs from the binary in there.
            shutil.rmtree(fresh, ignore_errors=True)


def _fresh_cache(say: Steps) -> Path | None:
    if os.environ.get("FRESH") != "1":
        return None
    folder = Path(tempfile.mkdtemp(prefix="podcert-fresh-"))
    os.environ["PODCERT_CACHE"] = str(folder)
    say("FRESH=1: an empty cache folder, everything is built anew")
    return folder


def _show(scenario: Scenario, say: Steps) -> bool:
    """Both manifests in both modes, one after the other; True when all four handshakes were verified."""
    scenario.restrict("default")
    scenario.deploy_vault()
    scenario.deploy_manager()
    rows: list[tuple[str, ...]] = []
    shakes: list[tuple[str, Handshake]] = []
    for manifest, mode in RUNS:
        scenario.remove_pods()
        scenario.deploy_pods(manifest, mode)
        say(f"  openssl s_client -connect {SERVER}:4433 -verify_hostname {SERVER} -verify_return_error")
        shake = scenario.handshake()
        what = f"manifest {manifest}, {mode}"
        shakes.append((what, shake))
        say(f"  {shake.peername or 'not verified'}")
        rows += [(what, *row) for row in scenario.certificates()]
    print(f"\n{BOLD}Certificates{PLAIN}\n" + table(("RUN", "POD", "NAMES", "SERIAL", "NOT AFTER"), rows))
    for what, shake in shakes:
        print(f"\n{BOLD}What openssl said in pod client: {what}{PLAIN}")
        print("\n".join(f"  {line}" for line in shake.lines()) if shake.verified else shake.output)
    verified = sum(shake.verified for _, shake in shakes)
    colour = GREEN if verified == len(shakes) else RED
    print(
        f"\n{colour}{verified} of {len(shakes)} handshakes verified{PLAIN}: pods that nobody gave a certificate talk TLS."
    )
    return verified == len(shakes)


if __name__ == "__main__":
    sys.exit(main())
