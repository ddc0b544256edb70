"""The command: starts the parts, measures, prints a table, writes bench-results.json.

Exit status 0 when everything could be measured, whatever the figures; 1 when something could not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import counters, figures, phases, rest
from tests.bench.figures import Measured, Results
from tests.bench.http11 import Unexpected
from tests.bench.phases import Bench
from tests.bench.place import Manager, Place, place
from tests.bench.seen import Watcher
from tests.cluster import local
from tests.cluster.paths import ClusterError

RESULTS = "bench-results.json"


def main() -> int:
    """See the module's docstring."""
    options = _options()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {text}", flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="podcert-bench-") as folder:
            say("starting etcd, the API server, the controller manager and OpenBao")
            with (
                local.cluster(f"bench-{os.getpid()}", node=False, quiet=True) as cluster,
                place(cluster, Path(folder)) as where,
            ):
                if options.pods_at_rest:
                    resting = rest.at_rest(where, options.pods_at_rest, say)
                    text, results = rest.table(resting), {"at_rest": resting.as_json()}
                else:
                    found = measure(where, options, say)
                    text, results = figures.table(found), found.as_json()
    except (ClusterError, Unexpected, TimeoutError, OSError) as error:
        print(f"bench: could not measure: {error}", file=sys.stderr)
        return 1
    print(f"\n{text}\n")
    options.results.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written to {options.results}")
    return 0


def measure(where: Place, options: argparse.Namespace, say: phases.Say) -> Results:
    """The whole run."""
    events, load = where.writes().events, os.getloadavg()[0]
    with Manager(where, options.manager or []) as manager, Watcher(where.api) as watcher:
        bench = Bench(where, manager, watcher)
        say("warming up")
        phases.ceiling(where, "warm-up", 300)
        phases.lone_pods(bench, 5, "warm-up")
        say(f"{options.lone} lone pods, one after another")
        lone = phases.lone_pods(bench, options.lone, "lone")
        say(f"the fetcher, {options.fetcher} times")
        fetched = phases.fetcher(bench, options.fetcher)
        rounds, rss = [], 0.0
        for number in range(1, options.rounds + 1):
            rounds.append(phases.measure_round(bench, str(number), options.pods))
            rss = rss or counters.rss_mib(manager.pid)
            one = rounds[-1]
            say(f"burst {number} of {options.rounds}: {one.rate:.0f} of {one.ceiling:.0f} a second, {one.ratio:.2f}")
        measured = Measured(
            rounds=rounds,
            lone=lone,
            fetches=fetched,
            rss_mib=rss,
            events=where.writes().events - events,
            enrollments=watcher.count(),
            load=(load, os.getloadavg()[0]),
        )
    return figures.results(measured)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measures speed against the ceiling.")
    parser.add_argument("--pods", type=int, default=1000, help="pods in a burst (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="bursts (default: %(default)s)")
    parser.add_argument("--lone", type=int, default=200, help="lone pods (default: %(default)s)")
    parser.add_argument("--fetcher", type=int, default=20, help="runs of the fetcher (default: %(default)s)")
    parser.add_argument("--pods-at-rest", type=int, metavar="N", help="measure instead how N enrolled pods are adopted")
    parser.add_argument("--results", type=Path, default=Path(RESULTS), help="file (default: %(default)s)")
    parser.add_argument("--manager", action="append", metavar="FLAG", help="a further flag of `podcert run`")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
