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
                shake = _show(scenario, say)
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
        return 0 if shake.verified else 1
    except ClusterError as error:
        print(f"\n{RED}The demo cannot go on:{PLAIN} {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; everything that was started has been ended", file=sys.stderr)
        return 130
    finally:
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)


def _fresh_cache(say: Steps) -> Path | None:
    if os.environ.get("FRESH") != "1":
        return None
    folder = Path(tempfile.mkdtemp(prefix="podcert-fresh-"))
    os.environ["PODCERT_CACHE"] = str(folder)
    say("FRESH=1: an empty cache folder, everything is built anew")
    return folder


def _show(scenario: Scenario, say: Steps) -> Handshake:
    scenario.restrict("default")
    scenario.deploy_vault()
    scenario.deploy_manager()
    scenario.deploy_pods()
    say(f"openssl s_client in pod client: -connect {SERVER}:4433 -verify_hostname {SERVER} -verify_return_error")
    shake = scenario.handshake()
    rows = [tuple(row) for row in scenario.certificates()]
    print(f"\n{BOLD}Certificates{PLAIN}\n" + table(("POD", "NAMES", "SERIAL", "NOT AFTER"), list(rows)))
    print(f"\n{BOLD}What openssl said in pod client{PLAIN}")
    print("\n".join(f"  {line}" for line in shake.lines()) or shake.output)
    if shake.verified:
        print(f"\n{GREEN}Verified:{PLAIN} two pods that nobody gave a certificate talk TLS, and know with whom.")
    else:
        print(f"\n{RED}Not verified.{PLAIN} openssl's whole output:\n{shake.output}")
    return shake


if __name__ == "__main__":
    sys.exit(main())
