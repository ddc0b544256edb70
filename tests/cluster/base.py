"""The base image (Debian with Python and OpenSSL) and the manager's wheels, where no image registry is reached.

The mirror is the machine's own, asked from apt when it is needed and written down nowhere.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from pathlib import Path

from tests.cluster import children
from tests.cluster.gobuild import key
from tests.cluster.oci import Image, Store
from tests.cluster.paths import REPOSITORY, ClusterError, cache, lock, temporary
from tests.cluster.progress import duration, say

PACKAGES = "openssl,python3,python3-venv,python3-pip,ca-certificates"
NOT_NEEDED = ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man", "usr/share/locale")
KEEP_EMPTY = ("var/log", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial")
REQUIREMENTS = REPOSITORY / "requirements" / "manager.txt"
REFERENCE = "localhost/podcert-base:1"


def release() -> str:
    """Return the code name of this Debian (`bookworm`), or raise ClusterError elsewhere."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        lines = []
    facts = dict(line.replace('"', "").split("=", 1) for line in lines if "=" in line)
    if facts.get("ID") != "debian" or not facts.get("VERSION_CODENAME"):
        message = f"the base image is built on Debian, and this is {facts.get('ID', 'another system')}: use a Debian VM"
        raise ClusterError(message)
    return facts["VERSION_CODENAME"]


def record() -> str:
    """Return the name of the base image's record in the store."""
    return f"base-{key([], [release(), PACKAGES, *NOT_NEEDED, platform.machine(), 'layout 1'])}"


def image(store: Store) -> Image:
    """Return the base image, made with debootstrap (about half a minute) if it is not in `store`."""
    name = record()
    with lock(cache() / "base.lock", lambda: say("waiting for another process that makes the base image")):
        if found := store.find(name):
            return found
        started = time.monotonic()
        say(f"making the base image (Debian {release()}: {PACKAGES}); about half a minute")
        with temporary(cache() / "tmp", "base") as folder:
            root, layer = folder / "root", folder / "layer.tar"
            bootstrap = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", release(), str(root), _mirror()]
            children.run(bootstrap)
            for path in NOT_NEEDED:
                shutil.rmtree(root / path, ignore_errors=True)
            for path in KEEP_EMPTY:
                (root / path).mkdir(parents=True, exist_ok=True)
            # What debootstrap copies of this machine's network has no place in an image.
            for path in ("etc/resolv.conf", "etc/hostname"):
                (root / path).unlink(missing_ok=True)
            shutil.rmtree(root / "dev", ignore_errors=True)
            (root / "dev").mkdir()
            children.run(["tar", "-C", str(root), "--numeric-owner", "--sort=name", "-cf", str(layer), "."])
            run = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["python3"]}
            made = store.assemble(name, REFERENCE, layer, run)
        say(f"making the base image: done in {duration(time.monotonic() - started)}")
        return made


def _mirror() -> str:
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(CODENAME)|$(COMPONENT)", "Created-By: Packages"]
    for line in children.run(asked).splitlines():
        uri, _, rest = line.partition("|")
        if rest == f"{release()}|main":
            return uri
    message = f"apt knows no source of {release()} main: add one to /etc/apt/sources.list.d and run apt-get update"
    raise ClusterError(message)


def wheels() -> Path:
    """Return a folder with the manager's dependencies for the base image's Python, checked against the lock's hashes.

    Downloaded on the host: inside a build, pip may not trust the CA through which the host reaches its index.
    """
    version = {"bookworm": "3.11", "trixie": "3.13"}.get(release())
    if not version:
        message = f"Debian {release()}: its Python's version is not known here; add it to tests/cluster/base.py"
        raise ClusterError(message)
    folder = cache() / "wheels" / key([REQUIREMENTS], [version, platform.machine()])
    with lock(cache() / "wheels" / "wheels.lock", lambda: say("waiting for another process that downloads wheels")):
        if folder.exists():
            return folder
        say("downloading the manager's dependencies")
        with temporary(cache() / "tmp", "wheels") as partial:
            platforms = [f"--platform=manylinux_2_{minor}_{platform.machine()}" for minor in range(36, 4, -1)]
            older = [f"--platform=manylinux{year}_{platform.machine()}" for year in (2014, 2010, 1)]
            target = [*platforms, *older, f"--python-version={version}", "--implementation=cp", f"--dest={partial}"]
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--require-hashes"]
            children.run([*pip, *target, f"--requirement={REQUIREMENTS}"], children.Surroundings(REPOSITORY))
            os.chmod(partial, 0o755)  # noqa: PTH101, S103 - public files; a build's other users read them
            partial.rename(folder)
    return folder
