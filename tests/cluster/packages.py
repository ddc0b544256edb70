"""Debian packages for an image: downloaded and checked by the machine's own apt, installed inside the build.

A build may not reach the mirror, or not trust the CA through which the machine reaches it. So the machine's apt resolves
the packages against what the base image has, and the build gets files. A Dockerfile that finds its program there installs
nothing.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path

from tests.cluster import children
from tests.cluster.oci import Image, Store
from tests.cluster.paths import ClusterError, temporary
from tests.cluster.progress import say

FROM = "FROM ${PYTHON_IMAGE}\n"
# No service of a package is started: there is nothing to run it in.
INSTALL = """\
COPY debs/ /debs/
RUN set -eu; \\
    printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 0755 /usr/sbin/policy-rc.d; \\
    DEBIAN_FRONTEND=noninteractive dpkg --install --recursive /debs; \\
    rm -rf /debs /usr/sbin/policy-rc.d /usr/share/doc/* /var/log/dpkg.log
"""


def add(store: Store, base: Image, names: Iterable[str], dockerfile: Path, context: Path) -> None:
    """Have the build of `dockerfile`, a copy, in the folder `context` begin with these packages, which it gets as files.

    `base` is the base image in `store`: its one layer tells which packages it has. Raises ClusterError.
    """
    text = dockerfile.read_text()
    if text.count(FROM) != 1:
        message = f"{dockerfile.name} has not one line `{FROM.strip()}`, after which its packages would be installed"
        raise ClusterError(message)
    with temporary(context.parent, "apt") as folder:
        archives, status = folder / "archives", folder / "status"
        (archives / "partial").mkdir(parents=True)
        with tarfile.open(store.blob(base.blobs[-1])) as layer:
            found = layer.extractfile("./var/lib/dpkg/status")
            if found is None:
                message = "the base image has no list of its packages (var/lib/dpkg/status)"
                raise ClusterError(message)
            status.write_bytes(found.read())
        # Nothing of the machine's own apt is changed: no lock is held, no cache of it is written anew.
        places = [f"-oDir::State::status={status}", f"-oDir::Cache::archives={archives}", "-oDebug::NoLocking=true"]
        places += ["-oDir::Cache::pkgcache=", "-oDir::Cache::srcpkgcache="]
        only = ["--yes", "--quiet", "--no-install-recommends", "--download-only"]
        command = ["apt-get", *places, *only, "install", *names]
        try:
            children.run(command)
        except ClusterError:
            # A machine that has never asked its mirror knows no packages, one that asked long ago knows old ones.
            say("apt-get update: the machine's list of packages is empty or old")
            children.run(["apt-get", "update", "-qq"])
            children.run(command)
        (context / "debs").mkdir()
        for deb in archives.glob("*.deb"):
            deb.rename(context / "debs" / deb.name)
    dockerfile.write_text(text.replace(FROM, FROM + INSTALL))
