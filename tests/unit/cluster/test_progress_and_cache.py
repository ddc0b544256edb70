"""What the build of the cluster's parts says and what it keeps."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cluster import base, images, machine, oci, openbao, paths
from tests.cluster.gobuild import _last, key
from tests.cluster.paths import ClusterError, check_name, lock, sweep, temporary, try_lock
from tests.cluster.progress import Progress, duration, seconds_left
from tests.cluster.sandbox import Sandbox


@pytest.mark.parametrize(
    ("done", "total", "elapsed", "last", "left"),
    [
        (0, 100, 0.0, None, None),
        (1, 100, 10.0, None, None),
        (50, 100, 60.0, None, 60.0),
        (0, 100, 0.0, 300.0, 300.0),
        (50, 100, 60.0, 100.0, 50.0),
        (100, 100, 60.0, None, 0.0),
        (0, 0, 1.0, None, None),
    ],
)
def test_time_left_comes_from_the_last_run_first_and_from_this_run_later(
    done: int, total: int, elapsed: float, last: float | None, left: float | None
) -> None:
    assert seconds_left(done, total, elapsed, last) == left


@given(st.integers(0, 2000), st.integers(0, 2000), st.floats(0, 1e5), st.none() | st.floats(0, 1e5))
def test_time_left_is_never_negative(done: int, total: int, elapsed: float, last: float | None) -> None:
    left = seconds_left(done, total, elapsed, last)
    assert left is None or left >= 0


def test_progress_says_how_far_it_is_and_how_long_is_left_and_spares_a_log_file() -> None:
    stream = io.StringIO()
    progress = Progress("compiling", 4, None, 100.0, stream)
    for now in (110.0, 111.0, 130.0):
        progress.step(now)
    progress.end(140.0)
    assert stream.getvalue().splitlines() == [
        "compiling: 1 of 4, about 30 s left",
        "compiling: 3 of 4, about 10 s left",
        "compiling: done in 40 s",
    ]


def test_durations_read_as_people_say_them() -> None:
    assert [duration(each) for each in (0.4, 59, 60, 200)] == ["0 s", "59 s", "1 min 00 s", "3 min 20 s"]


def test_the_cache_key_changes_with_content_name_and_flags(tmp_path: Path) -> None:
    file, other = tmp_path / "main.go", tmp_path / "other.go"
    file.write_text("a")
    other.write_text("a")
    first = key([file], ["-x"])
    assert key([file], ["-x"]) == first
    assert len({first, key([other], ["-x"]), key([file], ["-y"]), key([file], ["-", "x"])}) == 4
    file.write_text("b")
    assert key([file], ["-x"]) != first


def test_an_earlier_build_counts_only_when_it_was_about_as_large(tmp_path: Path) -> None:
    record = tmp_path / "times.json"
    assert _last(record, 1000) is None
    record.write_text(json.dumps({"packages": 1000, "seconds": 300}))
    assert _last(record, 1100) == 300
    assert _last(record, 20) is None
    record.write_text("garbage")
    assert _last(record, 1000) is None


@pytest.mark.parametrize("name", ["a", "demo", "e2e-123", "a" * 20])
def test_cluster_names_are_short_and_plain(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "../x", "a/b", "a" * 21, ".claims"])
def test_other_cluster_names_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(ClusterError, match="1 to 20 lower-case letters"):
        check_name(name)


def test_a_lock_is_free_again_when_its_last_holder_is_gone(tmp_path: Path) -> None:
    held = try_lock(tmp_path / "lock")
    assert held is not None
    copy = os.dup(held)
    os.close(held)
    assert try_lock(tmp_path / "lock") is None
    os.close(copy)
    with lock(tmp_path / "lock"):
        assert try_lock(tmp_path / "lock") is None


def test_a_temporary_folder_of_a_killed_process_is_swept_and_a_live_one_stays(tmp_path: Path) -> None:
    (tmp_path / "go-killed.tmp").mkdir()
    (tmp_path / "go-killed.lock").touch()
    with temporary(tmp_path, "go") as first, temporary(tmp_path, "go") as second:
        assert not (tmp_path / "go-killed.tmp").exists()
        assert first.is_dir()
        assert second.is_dir()
    assert [each.name for each in tmp_path.iterdir()] == ["sweep.lock"]


def test_sweeping_spares_live_clusters_and_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCERT_RUN", str(tmp_path / "run"))
    for name in ("dead", "live"):
        (paths.run_root() / name / "pki").mkdir(parents=True)
        (paths.run_root() / name / "logs").mkdir()
    held = try_lock(paths.run_root() / "live.lock")
    assert held is not None
    try:
        assert sweep() == ["dead"]
        assert sweep() == []
    finally:
        os.close(held)
    assert sorted(each.name for each in (paths.run_root() / "dead").iterdir()) == ["logs"]
    assert (paths.run_root() / "live" / "pki").is_dir()


def test_only_the_logs_of_the_clusters_that_ended_last_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODCERT_RUN", str(tmp_path / "run"))
    for number in range(paths.LOGS_KEPT + 2):
        folder = paths.run_root() / f"old-{number}"
        (folder / "logs").mkdir(parents=True)
        os.utime(folder, (number, number))
    sweep()
    assert sorted(each.name for each in paths.run_root().glob("old-?")) == [f"old-{each}" for each in range(2, 7)]
    assert not (paths.run_root() / "old-0.lock").exists()


def test_a_lock_whose_file_is_removed_by_its_holder_is_taken_on_a_new_file(tmp_path: Path) -> None:
    first = try_lock(tmp_path / "lock")
    assert first is not None
    (tmp_path / "lock").unlink()
    second = try_lock(tmp_path / "lock")
    assert second is not None
    os.close(first)
    assert try_lock(tmp_path / "lock") is None
    os.close(second)


def test_a_run_folder_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    monkeypatch.setenv("PODCERT_RUN", str(tmp_path / "open"))
    with pytest.raises(ClusterError, match="mode 0700"):
        paths.run_root()


def test_what_a_dockerfile_copies_is_read_from_it(tmp_path: Path) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM a\nCOPY a/ b \\\n  /x/\n# COPY no /x\nCOPY --from=build /y /y\nCOPY --chown=1:1 c /x\n")
    assert images.copied(dockerfile) == ["a", "b", "c"]


@pytest.mark.parametrize("name", [name for name in images.NAMES if name != "openbao"])
def test_an_images_record_follows_its_sources(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "record", lambda: "base-1")
    dockerfile = paths.REPOSITORY / images.SOURCES[name].dockerfile
    files = [
        tmp_path / path if path.endswith(".py") else tmp_path / path / "file.py" for path in images.copied(dockerfile)
    ]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("one")
    first = images._record(name, tmp_path)
    (tmp_path / "unrelated.py").write_text("two")
    assert images._record(name, tmp_path) == first
    for file in files:
        file.write_text("two")
    assert (images._record(name, tmp_path) == first) == (not files)


def test_an_unknown_image_is_refused_with_the_known_names() -> None:
    with pytest.raises(ClusterError, match="there are certificate-manager, certificate-fetcher"):
        images.build(["certmanager"])


def test_a_stored_image_is_found_streamed_once_and_pruned_when_unused(tmp_path: Path) -> None:
    store = oci.Store(tmp_path / "store")
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as archive:
        archive.addfile(tarfile.TarInfo("hello"))
    image = store.assemble("hello-1", "docker.io/local/hello:1", layer, {"Cmd": ["/hello"]})
    assert store.find("hello-1") == image
    assert store.find("hello-2") is None
    with (
        store.stream([image, image]) as descriptor,
        os.fdopen(os.dup(descriptor), "rb") as pipe,
        tarfile.open(fileobj=pipe, mode="r|") as read,
    ):
        names = [member.name for member in read]
    assert names == ["oci-layout", "index.json", *(f"blobs/sha256/{each[7:]}" for each in image.blobs)]
    store.prune(now=store.blob(image.blobs[0]).stat().st_mtime + oci.UNUSED_SECONDS + 60)
    assert store.find("hello-1") is None
    assert list((tmp_path / "store" / "blobs" / "sha256").iterdir()) == []


def test_an_image_whose_layer_is_gone_counts_as_not_there(tmp_path: Path) -> None:
    store = oci.Store(tmp_path / "store")
    layer = tmp_path / "layer.tar"
    layer.write_bytes(b"\0" * 10240)
    image = store.assemble("hello-1", "docker.io/local/hello:1", layer, {})
    store.blob(image.blobs[-1]).unlink()
    assert store.find("hello-1") is None


def test_what_is_missing_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "needs root" in (machine.missing() or "")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(machine, "available_gib", lambda: 0.5)
    assert "3 GiB of free memory, 0.5 are left" in (machine.missing() or "")
    monkeypatch.setattr(machine, "available_gib", lambda: 8.0)
    monkeypatch.setattr("shutil.which", lambda name: None if name in ("runc", "ctr") else f"/bin/{name}")
    assert machine.missing() == (
        "missing: containerd runc: as root: apt-get install --no-install-recommends containerd runc"
    )
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert "needs Linux" in (machine.missing() or "")


def test_the_development_servers_token_is_not_in_its_repr(tmp_path: Path) -> None:
    server = openbao.DevServer("http://127.0.0.1:1", "planted-token", Sandbox(tmp_path, namespaces=False))
    assert "planted-token" not in repr(server)
