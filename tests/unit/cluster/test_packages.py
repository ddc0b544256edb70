"""Debian packages in an image: a Dockerfile that cannot take them is refused before anything is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import images, oci, packages
from tests.cluster.paths import REPOSITORY, ClusterError


@pytest.mark.parametrize("text", ["FROM debian\n", f"{packages.FROM}RUN a\n{packages.FROM}"])
def test_a_dockerfile_without_one_line_to_install_after_is_refused(tmp_path: Path, text: str) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(text)
    base = oci.Image("localhost/base:1", {}, [])
    with pytest.raises(ClusterError, match="Dockerfile has not one line `FROM"):
        packages.add(oci.Store(tmp_path / "store"), base, ["nginx-light"], dockerfile, tmp_path / "context")
    assert dockerfile.read_text() == text


def test_every_image_with_packages_has_such_a_line() -> None:
    wanting = [source for source in images.SOURCES.values() if source.packages]
    assert wanting
    for source in wanting:
        assert (REPOSITORY / source.dockerfile).read_text().count(packages.FROM) == 1
