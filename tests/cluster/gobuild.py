"""Builds the one Go binary of all cluster parts (kube/main.go) and the pause container's, once for each content.

The cache key is the content of the module's files and the flags. A build takes minutes from an empty Go cache and
seconds after that; it counts the stale packages first, so that it can say how long is left.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from tests.cluster import children
from tests.cluster.paths import ClusterError, cache, lock, temporary
from tests.cluster.progress import Progress, say

MODULE = Path(__file__).parent / "kube"
GO_NEEDED = (1, 26)
VERSION = "k8s.io/component-base/version"
FLAGS = (
    "-trimpath",
    "-buildvcs=false",
    "-ldflags",
    f"-s -w -X {VERSION}.gitVersion=v1.36.3 -X {VERSION}.gitMajor=1 -X {VERSION}.gitMinor=36",
)
LARGE = 500
HOW_TO_GET_GO = "get it from https://go.dev/dl/ (or your distribution, if it has that version) and put its bin/ on PATH"


def key(files: Iterable[Path], flags: Iterable[str]) -> str:
    """Return 16 hex digits that change with a file's name or content or with a flag."""
    digest = hashlib.sha256()
    for part in [
        *(f"{each.name}\0".encode() + each.read_bytes() for each in files),
        *(each.encode() for each in flags),
    ]:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def missing_go() -> str | None:
    """Return what is wrong with the Go on PATH and how to mend it, or None."""
    program = shutil.which("go")
    if not program:
        return f"Go {GO_NEEDED[0]}.{GO_NEEDED[1]} or later is not on PATH: {HOW_TO_GET_GO}"
    # GOTOOLCHAIN=local: the question is what is here, not what could be downloaded.
    asked = subprocess.run(
        [program, "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GOTOOLCHAIN": "local"},
        cwd="/",
    )
    found = re.match(r"go(\d+)\.(\d+)", asked.stdout)
    if not found or (int(found[1]), int(found[2])) < GO_NEEDED:
        return (
            f"{program} is {asked.stdout.strip() or 'broken'}, {GO_NEEDED[0]}.{GO_NEEDED[1]} is needed: {HOW_TO_GET_GO}"
        )
    return None


def kube() -> Path:
    """Return the binary of all parts (about 190 MB), built if need be; raises ClusterError without Go."""
    files = [MODULE / "go.mod", MODULE / "go.sum", MODULE / "main.go"]
    return _binary("kube", files, FLAGS, ".")


def pause() -> Path:
    """Return the static binary of the pause container (about 1.4 MB), built if need be; ClusterError without Go."""
    files = [MODULE / "pause" / "main.go"]
    return _binary("pause", files, ("-trimpath", "-buildvcs=false", "-ldflags", "-s -w"), "./pause")


def built(name: str = "kube") -> bool:
    """Say whether some build of `name` is in the cache already."""
    return any((cache() / "bin").glob(f"{name}-*[0-9a-f]"))


def _binary(name: str, files: list[Path], flags: tuple[str, ...], package: str) -> Path:
    folder = cache() / "bin"
    target = folder / f"{name}-{key(files, flags)}"
    if target.exists():
        return target
    if problem := missing_go():
        raise ClusterError(problem)
    with lock(folder / f"{name}.lock", lambda: say(f"waiting for another process that builds {name}")):
        if not target.exists():
            _build(target, flags, package)
    for old in folder.glob(f"{name}-*[0-9a-f]"):
        # A running cluster keeps its deleted binary open; only what nobody has used for a week goes.
        if old != target and time.time() - old.stat().st_atime > 7 * 86400:
            old.unlink()
    return target


def _build(target: Path, flags: tuple[str, ...], package: str) -> None:
    environment = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    if package != ".":
        environment["CGO_ENABLED"] = "0"  # static: the pause image holds nothing else
    if os.environ.get("FRESH") == "1":
        environment["GOCACHE"] = str(cache() / "go-build")
    record = target.parent / f"{target.name.rsplit('-', 1)[0]}.times.json"
    with temporary(cache() / "tmp", "go") as folder:
        where = children.Surroundings(MODULE, {**environment, "GOTMPDIR": str(folder)})
        say(f"{target.name}: looking what has to be compiled (Go modules are downloaded first, if missing)")
        listing = ["go", "list", *flags, "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", package]
        # Lines without a dot or slash-separated path are Go's own remarks ("go: downloading …").
        stale = [each for each in children.run(listing, where).splitlines() if each and not each.startswith("go: ")]
        started = time.monotonic()
        progress = Progress(f"compiling {target.name}", len(stale) + 1, _last(record, len(stale)), started)
        pending = set(stale)

        def count(line: str) -> None:
            if line in pending:
                progress.step(time.monotonic())

        children.run(["go", "build", "-v", *flags, "-o", str(folder / "out"), package], where, count)
        (folder / "out").replace(target)
        progress.end(time.monotonic())
        if len(stale) >= LARGE:  # a small rebuild says nothing about how long the large one takes
            record.write_text(json.dumps({"packages": len(stale), "seconds": round(time.monotonic() - started, 1)}))


def _last(record: Path, packages: int) -> float | None:
    """Return how long so many packages took the last time, when that was a build of about this size."""
    try:
        times = json.loads(record.read_text())
        before, seconds = int(times["packages"]), float(times["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seconds if before and 0.8 <= packages / before <= 1.25 else None
