"""Builds this project's images from their own Dockerfiles with buildah, without a container engine or a registry.

An image is built again when its Dockerfile, a file that it copies, the base image or the locked dependencies change.
One temporary store for each build: what a killed build leaves is swept by the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import shutil
import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import base, children, gobuild, openbao, packages
from tests.cluster.gobuild import key
from tests.cluster.oci import Image, Store
from tests.cluster.paths import REPOSITORY, ClusterError, cache, lock, temporary
from tests.cluster.progress import duration, say

IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.whl", ".*")
PAUSE = "docker.io/local/pause:1"
SECONDS_EACH = 15.0


@dataclass(frozen=True)
class Source:
    """An image of ours: full reference, Dockerfile (relative to the repository), what is put into its build context.

    `packages` are of Debian; they are installed before the Dockerfile's own steps, because a build may not reach a mirror.
    """

    reference: str
    dockerfile: str
    wheels: bool = False
    bao: bool = False
    packages: tuple[str, ...] = ()


SOURCES = {
    "certificate-manager": Source("docker.io/library/certificate-manager:0.1.0", "Dockerfile.manager", wheels=True),
    "certificate-fetcher": Source("docker.io/library/certificate-fetcher:0.1.0", "Dockerfile.fetcher"),
    "podcert-example": Source("docker.io/library/podcert-example:0.1.0", "manifests/examples/Dockerfile"),
    "podcert-nginx": Source(
        "docker.io/library/podcert-nginx:0.1.0", "manifests/examples/Dockerfile.nginx", packages=("nginx-light",)
    ),
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
    found = _find(kept, wanted)
    if not all(found.values()):
        with lock(cache() / "images.lock", lambda: say("waiting for another process that builds images")):
            found = _find(kept, wanted)
            if stale := [name for name, image in found.items() if image is None]:
                found.update(_build(kept, stale))
                kept.prune()
    return [image for image in found.values() if image]


def _find(kept: Store, names: list[str]) -> dict[str, Image | None]:
    return {name: _pause(kept) if name == "pause" else kept.find(_record(name)) for name in names}


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


def _record(name: str, tree: Path = REPOSITORY, dockerfile: Path | None = None) -> str:
    """Return what an image made from `tree` is called in the store: its name and a digest of all that goes into it."""
    source = SOURCES[name]
    dockerfile = dockerfile or REPOSITORY / source.dockerfile
    flags = [base.record(), source.reference, dockerfile.read_text(), *source.packages]
    if source.bao:
        binary = openbao.binary().stat()
        flags.append(f"{binary.st_size} {binary.st_mtime_ns}")
    files: list[Path] = []
    for path in copied(dockerfile):
        if source.bao and path == "bao":
            continue
        place = tree / path
        if not place.exists():
            message = f"{source.dockerfile} copies {path}, which is not in {tree}"
            raise ClusterError(message)
        files += [place] if place.is_file() else [each for each in sorted(place.rglob("*")) if _goes_in(each)]
    for file in files:
        flags += [str(file.relative_to(tree)), hashlib.sha256(file.read_bytes()).hexdigest()]
    return f"{name}-{key([], flags)}"


def _goes_in(path: Path) -> bool:
    hidden = path.name.startswith(".") or path.suffix in {".pyc", ".whl"}
    return path.is_file() and not hidden and "__pycache__" not in path.parts


def _build(kept: Store, names: list[str]) -> dict[str, Image]:
    ground = base.image(kept)
    started = time.monotonic()
    made = {}
    with temporary(cache() / "tmp", "images") as folder:
        kept.layout(folder / "base", ground, "base")
        # A relative path: buildah makes a name of it, and a name has no component that starts with a dot.
        pulled = _buildah(folder, "pull", "--quiet", "oci:base:base").splitlines()[-1]
        _buildah(folder, "tag", pulled, base.REFERENCE)
        for done, name in enumerate(names):
            per_image = (time.monotonic() - started) / done if done else SECONDS_EACH
            left = duration(per_image * (len(names) - done))
            say(f"building image {name}: {done + 1} of {len(names)}, about {left} left")
            dockerfile = folder / f"{name}.Dockerfile"
            record = _context(name, folder / name, dockerfile)
            if wanted := SOURCES[name].packages:
                packages.add(kept, ground, wanted, dockerfile, folder / name)
            flags = ["--isolation=chroot", "--pull-never", "--layers=false", "--format=oci"]
            argument = f"--build-arg=PYTHON_IMAGE={base.REFERENCE}"
            _buildah(folder, "bud", *flags, argument, f"--tag=localhost/{name}", f"--file={dockerfile}", name)
            archive = folder / f"{name}.tar"
            _buildah(folder, "push", "--quiet", f"localhost/{name}", f"docker-archive:{archive}:localhost/{name}:1")
            made[name] = kept.take(record, SOURCES[name].reference, archive)
            archive.unlink()
    say(f"building images: done in {duration(time.monotonic() - started)}")
    return made


def _buildah(folder: Path, *arguments: str) -> str:
    store_flags = [f"--root={folder}/store", f"--runroot={folder}/run", "--storage-driver=vfs"]
    return children.run(["buildah", *store_flags, *arguments], children.Surroundings(folder))


def _context(name: str, folder: Path, dockerfile: Path) -> str:
    """Copy the Dockerfile and what it copies, and nothing else; return the record of exactly that.

    The tree may change while the build runs: the record is made from the copy.
    """
    source = SOURCES[name]
    folder.mkdir()
    shutil.copy2(REPOSITORY / source.dockerfile, dockerfile)
    for path in copied(dockerfile):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.bao and path == "bao":
            shutil.copy2(openbao.binary(), target)
        elif (REPOSITORY / path).is_dir():
            shutil.copytree(REPOSITORY / path, target, ignore=IGNORED, dirs_exist_ok=True)
        else:
            shutil.copy2(REPOSITORY / path, target)
    record = _record(name, folder, dockerfile)
    if source.wheels:
        shutil.copytree(base.wheels(), folder / "requirements" / "wheels", dirs_exist_ok=True)
    return record


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
