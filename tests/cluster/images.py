"""Builds this project's images from their own Dockerfiles with buildah, without a container engine or a registry.

An image is built again when its Dockerfile, a file that it copies, the base image or the locked dependencies change.
One temporary store for each build: what a killed build leaves is swept by the next.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import base, children, gobuild, openbao
from tests.cluster.gobuild import key
from tests.cluster.oci import Image, Store
from tests.cluster.paths import REPOSITORY, ClusterError, cache, lock, temporary
from tests.cluster.progress import duration, say

IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
PAUSE = "docker.io/local/pause:1"


@dataclass(frozen=True)
class Source:
    """An image of ours: full reference, Dockerfile (relative to the repository), what is put into its build context."""

    reference: str
    dockerfile: str
    wheels: bool = False
    bao: bool = False


SOURCES = {
    "certificate-manager": Source("docker.io/library/certificate-manager:0.1.0", "Dockerfile.manager", wheels=True),
    "certificate-fetcher": Source("docker.io/library/certificate-fetcher:0.1.0", "Dockerfile.fetcher"),
    "podcert-example": Source("docker.io/library/podcert-example:0.1.0", "manifests/examples/Dockerfile"),
    "openbao": Source("docker.io/openbao/openbao:2.7.2", "tests/cluster/images/openbao/Dockerfile", bao=True),
}
NAMES = tuple(SOURCES)


def store() -> Store:
    """Return the cache's image store."""
    return Store(cache() / "images")


def build(names: Iterable[str]) -> list[Image]:
    """Return the images of these names (`NAMES`, and `pause`), built where the cache has no current one.

    Raises:
        ClusterError: a name that is none of ours, a missing file, or a failed build with the build's own last words.
    """
    kept = store()
    wanted = list(names)
    for name in wanted:
        if name not in (*NAMES, "pause"):
            message = f"no image {name!r}: there are {', '.join(NAMES)}"
            raise ClusterError(message)
    with lock(cache() / "images.lock", lambda: say("waiting for another process that builds images")):
        stale = [name for name in wanted if name != "pause" and kept.find(_record(name)) is None]
        if stale:
            _build(kept, stale)
            kept.prune()
        return [_pause(kept) if name == "pause" else _found(kept, name) for name in wanted]


@contextlib.contextmanager
def stream(images: Iterable[Image]) -> Iterator[int]:
    """Give a descriptor to read one archive of `images` from."""
    with store().stream(images) as descriptor:
        yield descriptor


def copied(dockerfile: Path) -> list[str]:
    """Return the paths that a Dockerfile copies from its context, in order, without repetitions."""
    text = dockerfile.read_text().replace("\\\n", " ")
    paths: list[str] = []
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["COPY"] or any(word.startswith("--from=") for word in words):
            continue
        paths += [word.rstrip("/") for word in words[1:-1] if not word.startswith("--")]
    return list(dict.fromkeys(paths))


def _record(name: str) -> str:
    source = SOURCES[name]
    flags = [base.record(), source.reference]
    if source.bao:
        binary = openbao.binary().stat()
        flags.append(f"{binary.st_size} {binary.st_mtime_ns}")
    return f"{name}-{key(_files(source), flags)}"


def _files(source: Source) -> list[Path]:
    dockerfile = REPOSITORY / source.dockerfile
    files = [dockerfile]
    for path in copied(dockerfile):
        if source.bao and path == "bao":
            continue
        place = REPOSITORY / path
        if not place.exists():
            message = f"{source.dockerfile} copies {path}, which is not in {REPOSITORY}"
            raise ClusterError(message)
        found = sorted(place.rglob("*")) if place.is_dir() else [place]
        files += [each for each in found if each.is_file() and "__pycache__" not in each.parts]
    return files


def _found(kept: Store, name: str) -> Image:
    image = kept.find(_record(name))
    if image is None:
        message = f"the files of image {name} changed while it was built: run it again"
        raise ClusterError(message)
    return image


def _build(kept: Store, names: list[str]) -> None:
    ground = base.image(kept)
    with temporary(cache() / "tmp", "images") as folder:
        kept.layout(folder / "base", ground, "base")
        buildah = f"buildah --root {folder}/store --runroot {folder}/run --storage-driver vfs"
        script = [f"{buildah} pull --quiet oci:{folder}/base:base | xargs -I% {buildah} tag % {base.REFERENCE}"]
        records = {name: _record(name) for name in names}
        for name in names:
            _context(SOURCES[name], folder / name)
            script.append(f"echo building {name}")
            script.append(
                f"{buildah} bud --isolation chroot --pull-never --layers=false --format oci"
                f" --build-arg PYTHON_IMAGE={base.REFERENCE} --tag localhost/{name}"
                f" --file {REPOSITORY / SOURCES[name].dockerfile} {folder}/{name}"
            )
            script.append(
                f"{buildah} push --quiet --disable-compression localhost/{name} oci:{folder}/{name}.oci:{name}"
            )
        started = time.monotonic()

        def show(line: str) -> None:
            if line.startswith("building "):
                say(f"[{time.monotonic() - started:5.1f} s] {line} ({len(names)} in all, about 15 s each)")

        children.run(["sh", "-euc", "\n".join(script)], each=show)
        for name in names:
            kept.take(records[name], SOURCES[name].reference, folder / f"{name}.oci")
        say(f"building images: done in {duration(time.monotonic() - started)}")


def _context(source: Source, folder: Path) -> None:
    """Copy what the Dockerfile copies, and nothing else, into `folder`."""
    folder.mkdir()
    for path in copied(REPOSITORY / source.dockerfile):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.bao and path == "bao":
            shutil.copy2(openbao.binary(), target)
        elif (REPOSITORY / path).is_dir():
            shutil.copytree(REPOSITORY / path, target, ignore=IGNORED)
        else:
            shutil.copy2(REPOSITORY / path, target)
    if source.wheels:
        shutil.copytree(base.wheels(), folder / "requirements" / "wheels", dirs_exist_ok=True)


def _pause(kept: Store) -> Image:
    binary = gobuild.pause()
    record = binary.name
    if found := kept.find(record):
        return found
    with temporary(cache() / "tmp", "pause") as folder:
        layer = folder / "layer.tar"
        with tarfile.open(layer, "w") as archive:
            entry = archive.gettarinfo(binary, "pause")
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mode = 0o755
            with binary.open("rb") as source:
                archive.addfile(entry, source)
        return kept.assemble(record, PAUSE, layer, {"Entrypoint": ["/pause"], "User": "65535:65535"})
