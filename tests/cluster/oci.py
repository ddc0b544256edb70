"""A store of image layers and manifests on disk, in the OCI image layout, shared by all images in the cache.

Layers are uncompressed: they are read a few times from this disk and never cross a network.
Layout and media types: https://github.com/opencontainers/image-spec (image-layout.md, config.md, manifest.md).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import shutil
import tarfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
UNUSED_SECONDS = 7 * 86400


@dataclass(frozen=True)
class Image:
    """A stored image: its full reference, the manifest's descriptor and the digests of all its blobs."""

    reference: str
    manifest: Mapping[str, Any]
    blobs: Sequence[str]


class Store:
    """Blobs by digest, and one record for each image, named by what it was made from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)

    def find(self, record: str) -> Image | None:
        """Return the image of `record` if it and all its blobs are here."""
        file = self.folder / f"{record}.json"
        try:
            image = Image(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        if not all(self.blob(each).exists() for each in image.blobs):
            return None
        os.utime(file)
        return image

    def blob(self, digest: str) -> Path:
        """Return the path of a blob, whether it is here or not; `digest` is `sha256:…`."""
        return self._blobs / digest.removeprefix("sha256:")

    def add_file(self, file: Path) -> dict[str, Any]:
        """Move `file` into the store and return its descriptor without a media type."""
        with file.open("rb") as source:
            digest = "sha256:" + hashlib.file_digest(source, "sha256").hexdigest()
        size = file.stat().st_size
        file.replace(self.blob(digest))
        return {"digest": digest, "size": size}

    def add_bytes(self, content: bytes) -> dict[str, Any]:
        """Store `content` and return its descriptor without a media type."""
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        partial = self._blobs / f".{os.getpid()}.partial"
        partial.write_bytes(content)
        partial.replace(self.blob(digest))
        return {"digest": digest, "size": len(content)}

    def assemble(self, record: str, reference: str, layer: Path, run: Mapping[str, Any]) -> Image:
        """Make an image of one uncompressed layer (the tar file is moved) and the configuration `run`."""
        content = self.add_file(layer)
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": dict(run),
            "rootfs": {"type": "layers", "diff_ids": [content["digest"]]},
        }
        stored = self.add_bytes(json.dumps(config).encode())
        return self._manifest(record, reference, {"mediaType": CONFIG, **stored}, [{"mediaType": LAYER, **content}])

    def take(self, record: str, reference: str, archive: Path) -> Image:
        """Take over the one image of a `docker save` archive; layers that are here already are not read again."""
        with tarfile.open(archive) as source:
            listed = json.load(_member(source, "manifest.json"))[0]
            config = self.add_bytes(_member(source, listed["Config"]).read())
            digests = json.loads(self.blob(config["digest"]).read_bytes())["rootfs"]["diff_ids"]
            layers = []
            for digest, name in zip(digests, listed["Layers"], strict=True):
                if not self.blob(digest).exists():
                    partial = archive.with_suffix(".layer")
                    with partial.open("wb") as target:
                        shutil.copyfileobj(_member(source, name), target, 1 << 20)
                    self.add_file(partial)
                layers.append({"mediaType": LAYER, "digest": digest, "size": self.blob(digest).stat().st_size})
        return self._manifest(record, reference, {"mediaType": CONFIG, **config}, layers)

    def _manifest(
        self, record: str, reference: str, config: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]
    ) -> Image:
        content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        descriptor = {"mediaType": MANIFEST, **self.add_bytes(json.dumps(content).encode())}
        image = Image(reference, descriptor, [descriptor["digest"], *(each["digest"] for each in (config, *layers))])
        partial = self.folder / f"{record}.json.partial"
        partial.write_text(json.dumps(image.__dict__))
        partial.replace(self.folder / f"{record}.json")
        return image

    def layout(self, folder: Path, image: Image, tag: str) -> None:
        """Make an OCI layout with this image in the empty `folder`, of hard links, for programs that read layouts."""
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for digest in image.blobs:
            os.link(self.blob(digest), blobs / digest.removeprefix("sha256:"))
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        entry = {**image.manifest, "annotations": {"org.opencontainers.image.ref.name": tag}}
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}))

    @contextlib.contextmanager
    def stream(self, images: Iterable[Image]) -> Iterator[int]:
        """Give a descriptor to read one archive of all `images` from, each blob once, as `ctr images import` takes it."""
        reading, writing = os.pipe()
        writer = threading.Thread(target=self._write, args=(writing, list(images)), daemon=True)
        writer.start()
        try:
            yield reading
        finally:
            os.close(reading)
            writer.join(10)

    def _write(self, descriptor: int, images: Sequence[Image]) -> None:
        # containerd takes an image's full name from this annotation, whatever the options of the import.
        entries = [{**each.manifest, "annotations": {"io.containerd.image.name": each.reference}} for each in images]
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        # The reader may have had enough (an error of its own): that is the reader's to tell.
        with (
            contextlib.suppress(BrokenPipeError),
            os.fdopen(descriptor, "wb", buffering=1 << 20) as pipe,
            tarfile.open(fileobj=pipe, mode="w|") as archive,
        ):
            for name, content in (("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'), ("index.json", index)):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            for digest in dict.fromkeys(blob for image in images for blob in image.blobs):
                archive.add(self.blob(digest), f"blobs/sha256/{digest.removeprefix('sha256:')}", recursive=False)

    def prune(self, now: float | None = None) -> None:
        """Remove images that nobody used for a week, and the blobs that then belong to none."""
        limit = (time.time() if now is None else now) - UNUSED_SECONDS
        used: set[str] = set()
        for file in self.folder.glob("*.json"):
            if file.stat().st_mtime < limit:
                file.unlink()
            elif image := self.find(file.stem):
                used.update(each.removeprefix("sha256:") for each in image.blobs)
        for blob in self._blobs.iterdir():
            if blob.name not in used and blob.stat().st_mtime < limit:
                blob.unlink()


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    member = archive.extractfile(name)
    if member is None:
        message = f"the image archive's {name} is not a file"
        raise ValueError(message)
    return member
