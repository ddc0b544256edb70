"""One Secret on its way into the volume: whose it is, whether it proves good, and the swap; and a look at what is there.

It stands between the loops that bring Secrets (`cli` for one, `refresh` for all that follow) and `bundle`, `verify`
and `publish`, which do the parts.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from fetcher import bundle, publish, verify
from fetcher.api import Json
from fetcher.errors import NotYetError, Waiting
from fetcher.settings import Settings

_MAX_MESSAGE = 4096  # bytes; the kubelet cuts there


@dataclass(frozen=True)
class Delivered:
    """What the files hold now; `swapped` is false if they held it before."""

    leaf: verify.Leaf
    version: str
    swapped: bool


def deliver(secret: Json, options: Settings) -> Delivered:
    """Publish `secret`'s files if they prove good; a sidecar leaves files that are the same already as they are.

    Raises NotYetError when the Secret is not this pod's or its bundle fails, VolumeError when it cannot be written.
    """
    bundle.require_own(secret, options.uid)
    decoded = bundle.decode(secret)
    volume = options.directory
    files = {"cert.pem": decoded.certificate, "key.pem": decoded.key, "ca-cert.pem": decoded.anchors}
    present = publish.published(volume)
    if options.refresh and present and publish.holds(volume, files):
        return Delivered(_verified(present), decoded.resource_version, swapped=False)
    with publish.staged(volume, files) as staged:
        leaf = _verified(staged.path)
        if options.refresh and present is None:
            staged.needs_no_reload()
        staged.commit()
    return Delivered(leaf, decoded.resource_version, swapped=True)


def inspect(volume: Path) -> verify.Leaf:
    """Return the leaf of the files that are in `volume` now, verified as before a swap.

    Raises NotYetError when there are none or they fail, also because they have expired.
    """
    for _ in range(3):  # a swap may take a set away while it is read; the next one is there then
        present = publish.published(volume)
        try:
            if present:
                return _verified(present)
        except OSError:
            continue
    raise NotYetError(Waiting.ABSENT, f"no files are in {volume} yet")


def termination_message(secret: str, delivered: Delivered, reload: str | None = None) -> bytes:
    """Return the line by which the manager learns, through the pod's status, which certificate the files hold.

    `reload` is why the application could not be told of them (200 characters at most are kept).
    """
    leaf = delivered.leaf
    fields = {"serial": leaf.serial, "notAfter": leaf.not_after, "secret": secret, "resourceVersion": delivered.version}
    if reload is not None:
        fields["reload"] = reload[:200]
    return (json.dumps(fields) + "\n").encode()[:_MAX_MESSAGE]


def write_termination_message(options: Settings, delivered: Delivered, reload: str | None = None) -> str | None:
    """Write the termination message; return a warning if that is not possible."""
    try:
        with options.termination_log.open("wb") as file:
            file.write(termination_message(options.secret, delivered, reload))
    except OSError as error:
        return f"the termination message cannot be written to {options.termination_log}: {error.strerror}"
    return None


def _verified(path: Path) -> verify.Leaf:
    return verify.verify(path / "cert.pem", path / "key.pem", path / "ca-cert.pem")
