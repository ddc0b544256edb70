"""What this machine needs to run a node, what of it is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import children
from tests.cluster.paths import ClusterError, lock, run_root
from tests.cluster.progress import say

# program or file, and the Debian package that has it
PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "iptables": "iptables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "socat": "socat",
    "debootstrap": "debootstrap",
    "buildah": "buildah",
    "openssl": "openssl",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
}
MONITORING = {"prometheus": "prometheus", "promtool": "prometheus"}
"""What the tests of alerts and metrics need; no node does, so no demo installs it."""
MEMORY_GIB = 3


def missing() -> str | None:
    """Return what keeps a node from running here and what to do about it, or None."""
    if platform.system() != "Linux":
        return "a node needs Linux: use a Linux VM, or a cluster without a node (--no-node)"
    if os.geteuid() != 0:
        return "a node needs root (namespaces, mounts, containers): run it with sudo, or without a node (--no-node)"
    if available_gib() < MEMORY_GIB:
        return f"a node needs {MEMORY_GIB} GiB of free memory, {available_gib():.1f} are left: end other programs"
    packages = missing_packages()
    if packages:
        return f"missing: {' '.join(packages)}: {_how_to_get(packages)}"
    return None


def missing_packages(programs: Mapping[str, str] = PROGRAMS) -> list[str]:
    """Return the Debian packages whose programs are not here."""
    lacking = {package for program, package in programs.items() if not shutil.which(program)}
    return sorted(lacking)


def available_gib() -> float:
    """Return the memory that programs may still take, in GiB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) / 2**20


def can_install() -> bool:
    """Say whether packages can be installed here: Debian's apt-get, and root."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(programs: Mapping[str, str] = PROGRAMS) -> None:
    """Install what `programs` lacks on Debian as root, without starting any service; else raise ClusterError.

    Raises:
        ClusterError: not Debian or not root (says what to get), or apt-get failed (with its own words).
    """
    packages = missing_packages(programs)
    if not packages:
        return
    if not can_install():
        message = f"missing: {' '.join(packages)}: {_how_to_get(packages)}"
        raise ClusterError(message)
    with lock(run_root() / "apt.lock"):
        say(f"installing {' '.join(packages)} (apt-get, no recommended packages, no services started)")
        command = ["apt-get", "install", "--yes", "-qq", "--no-install-recommends", *packages]
        try:
            _without_services(command)
        except ClusterError:
            # Interrupted the last time, or lists that are absent or old: only then is the time for this well spent.
            _without_services(["dpkg", "--configure", "-a"])
            _without_services(["apt-get", "update", "-qq"])
            _without_services(command)


def _without_services(command: list[str]) -> None:
    """Run an apt command while policy-rc.d refuses every service's start, in a mount namespace of its own.

    The refusal is on a private tmpfs; where there was no policy-rc.d, an empty file serves as mount point meanwhile.
    """
    script = (
        "policy=/usr/sbin/policy-rc.d; [ -s $policy ] || { touch $policy; made=1; }; "
        "mount -t tmpfs podcert /mnt && printf '#!/bin/sh\nexit 101\n' > /mnt/policy && chmod 755 /mnt/policy && "
        "mount --bind /mnt/policy $policy && umount -l /mnt || exit 1; "
        'status=0; "$@" || status=$?; '
        'umount $policy; [ -z "${made:-}" ] || rm -f $policy; exit $status'
    )
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    children.run(["sh", "-uc", script, "sh", *command], children.Surroundings(environment=environment))


def _how_to_get(packages: list[str]) -> str:
    if shutil.which("apt-get"):
        return f"as root: apt-get install --no-install-recommends {' '.join(packages)}"
    tool = next((each for each in ("dnf", "zypper", "pacman", "apk") if shutil.which(each)), None)
    hint = f"the packages may have other names in {tool}" if tool else "from your distribution"
    return f"install them ({hint}; these are Debian's names), the CNI plugins into /usr/lib/cni"
