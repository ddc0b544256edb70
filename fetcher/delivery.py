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
    """What the files hold now; `swapped` is false if they held it before, `seed` true if it is not the pod's own."""

    leaf: verify.Leaf
    version: str
    swapped: bool
    seed: bool = False


def deliver(secret: Json, options: Settings) -> Delivered:
    """Publish `secret`'s files if they prove good; a sidecar leaves files that are the same already as they are.

    Raises NotYetError when the Secret is not this pod's or its bundle fails, VolumeError when it cannot be written.
    """
    bundle.require_own(secret, options.uid)
    return _publish(bundle.decode(secret), options)


def sow(directory: Path, options: Settings) -> Delivered:
    """Publish the files of the seed `directory` if they prove good: what is served until the pod's Secret is there.

    Raises NotYetError when one is missing or they fail, also because they have expired; VolumeError as `deliver`.
    """
    try:
        return _publish(bundle.seed(directory), options, seed=True)
    except NotYetError as reason:
        text = str(reason).replace("the Secret is there, but its", f"the seed in {directory} cannot be used: its")
    raise NotYetError(Waiting.INVALID, text)


def _publish(contents: bundle.Bundle, options: Settings, *, seed: bool = False) -> Delivered:
    volume = options.directory
    files = {"cert.pem": contents.certificate, "key.pem": contents.key, "ca-cert.pem": contents.anchors}
    present = publish.published(volume)
    if options.refresh and present and publish.holds(volume, files):
        return Delivered(_verified(present), contents.resource_version, swapped=False, seed=seed)
    with publish.staged(volume, files) as staged:
        leaf = _verified(staged.path)
        if options.refresh and present is None:
            staged.needs_no_reload()
        if seed:
            staged.is_seed()
        staged.commit()
    return Delivered(leaf, contents.resource_version, swapped=True, seed=seed)


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

    `reload` is why the application could not be told of them (200 characters at most are kept). Of a seed nothing is
    said: it is not the pod's certificate.
    """
    leaf = delivered.leaf
    fields = {"serial": leaf.serial, "notAfter": leaf.not_after, "secret": secret, "resourceVersion": delivered.version}
    if delivered.seed:
        fields = {"secret": secret}
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
