"""The files: all at once, with their modes, and nothing left behind."""

import contextlib
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher import publish
from fetcher.errors import VolumeError


def files(number: int | str) -> dict[str, bytes]:
    return {name: f"{number}".encode() for name in publish.MODES}


def put(volume: Path, number: int | str) -> None:
    with publish.staged(volume, files(number)) as staged:
        staged.commit()


def visible(volume: Path) -> dict[str, bytes]:
    return {name: (volume / name).read_bytes() for name in publish.MODES}


def hidden(volume: Path) -> list[str]:
    return sorted(path.name for path in volume.iterdir() if path.name not in publish.MODES)


def test_nothing_is_visible_before_the_commit(tmp_path: Path) -> None:
    with publish.staged(tmp_path, files(1)) as staged:
        assert hidden(tmp_path) == [staged.path.name]
        assert not (tmp_path / "..data").exists()
        assert {oct(stat.S_IMODE((staged.path / n).stat().st_mode)) for n in publish.MODES} == {"0o640", "0o644"}
        staged.commit()
    assert visible(tmp_path) == files(1)


def test_without_a_commit_the_earlier_files_stay_and_the_new_ones_go(tmp_path: Path) -> None:
    put(tmp_path, 1)
    before = hidden(tmp_path)
    with publish.staged(tmp_path, files(2)):
        pass
    assert (visible(tmp_path), hidden(tmp_path)) == (files(1), before)


def test_an_exception_before_the_commit_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit), publish.staged(tmp_path, files(1)):
        raise SystemExit(143)
    assert hidden(tmp_path) == []


def test_what_an_interrupted_run_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, 1)
    left = tmp_path / "..2026_11_22_13_21_16.0f3a9c41"
    left.mkdir()
    (left / "key.pem").write_bytes(b"old")
    (tmp_path / "..data_tmp").symlink_to("nowhere")
    (tmp_path / "..mine").mkdir()
    put(tmp_path, 2)
    assert visible(tmp_path) == files(2)
    assert [name for name in hidden(tmp_path) if not name.startswith("..20")] == ["..data", "..mine"]
    assert len(hidden(tmp_path)) == 3


def test_a_link_that_looks_like_an_earlier_version_goes_without_what_it_points_to(tmp_path: Path) -> None:
    volume, elsewhere = tmp_path / "volume", tmp_path / "elsewhere"
    volume.mkdir()
    elsewhere.mkdir()
    (elsewhere / "precious").write_bytes(b"kept")
    (volume / "..2026_11_22_13_21_16.0f3a9c41").symlink_to(elsewhere)
    put(volume, 1)
    assert (elsewhere / "precious").read_bytes() == b"kept"
    assert visible(volume) == files(1)
    assert len(hidden(volume)) == 2


def test_plain_files_and_wrong_links_give_way_to_the_links(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_bytes(b"plain")
    (tmp_path / "key.pem").symlink_to("/nowhere/key.pem")
    put(tmp_path, 1)
    assert {str((tmp_path / name).readlink()) for name in publish.MODES} == {f"..data/{name}" for name in publish.MODES}


def test_a_link_that_is_right_is_not_touched(tmp_path: Path) -> None:
    put(tmp_path, 1)
    before = (tmp_path / "cert.pem").lstat().st_ino
    put(tmp_path, 2)
    assert (tmp_path / "cert.pem").lstat().st_ino == before


@given(mask=st.integers(min_value=0, max_value=0o777))
def test_modes_do_not_depend_on_the_umask(tmp_path_factory: pytest.TempPathFactory, mask: int) -> None:
    volume = tmp_path_factory.mktemp("volume")
    before = os.umask(mask)
    try:
        put(volume, 1)
    finally:
        os.umask(before)
    assert {name: stat.S_IMODE((volume / name).stat().st_mode) for name in publish.MODES} == dict(publish.MODES)
    assert stat.S_IMODE((volume / "..data").stat().st_mode) == 0o750


def test_a_reader_with_one_directory_handle_never_sees_two_generations(tmp_path: Path) -> None:
    put(tmp_path, 0)
    done = threading.Event()
    pairs: list[tuple[bytes, bytes]] = []

    def read() -> None:
        while not done.is_set():
            with contextlib.ExitStack() as opened, contextlib.suppress(FileNotFoundError):
                # Swapped and removed meanwhile, either open can fail: a reader then opens ..data again.
                handle = os.open(tmp_path / "..data", os.O_RDONLY | os.O_DIRECTORY)
                opened.callback(os.close, handle)
                pair = []
                for name in ("cert.pem", "key.pem"):
                    pair.append(os.open(name, os.O_RDONLY, dir_fd=handle))
                    opened.callback(os.close, pair[-1])
                pairs.append((os.read(pair[0], 99), os.read(pair[1], 99)))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(1, 501):
            put(tmp_path, number)
    finally:
        done.set()
        reader.join()
    assert [pair for pair in pairs if pair[0] != pair[1]] == []
    assert len({pair[0] for pair in pairs}) > 1


def test_after_every_single_step_one_whole_generation_is_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, 1)
    seen = []

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            seen.append(visible(tmp_path))
            return result

        return step

    with monkeypatch.context() as patch:
        for name in ("unlink", "rename", "symlink_to", "mkdir", "rmdir", "chmod"):
            patch.setattr(Path, name, watched(getattr(Path, name)))
        put(tmp_path, 2)
    assert len(seen) > 5
    assert [state for state in seen if state not in (files(1), files(2))] == []
    assert (seen[0], seen[-1]) == (files(1), files(2))


def test_two_writers_leave_the_whole_set_of_one(tmp_path: Path) -> None:
    def write(name: str) -> None:
        for number in range(50):
            put(tmp_path, f"{name}{number}")

    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(set(visible(tmp_path).values())) == 1
    assert len(hidden(tmp_path)) == 2


def test_a_volume_that_is_missing_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="is not a directory: mount an emptyDir"):
        publish.check(tmp_path / "no" / "where")


def test_a_volume_that_cannot_be_written_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root, under whom tests may run, may write everywhere
    with pytest.raises(VolumeError, match="cannot be written by UID"):
        publish.check(tmp_path)


def test_a_full_volume_is_told_and_the_earlier_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fchmod", full)
        with pytest.raises(VolumeError, match="No space left on device"):
            put(tmp_path, 2)
    assert visible(tmp_path) == files(1)
    assert len(hidden(tmp_path)) == 2


def test_the_warning_is_for_a_volume_without_the_setgid_bit(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert "set securityContext.fsGroup" in str(publish.group_warning(tmp_path))
    tmp_path.chmod(0o2777)
    assert publish.group_warning(tmp_path) is None


def test_what_is_published_is_told_by_its_own_name_and_compared_to_the_byte(tmp_path: Path) -> None:
    assert (publish.published(tmp_path), publish.holds(tmp_path, files(1))) == (None, False)
    put(tmp_path, 1)
    first = publish.published(tmp_path)
    assert first is not None
    assert first.name == str((tmp_path / "..data").readlink())
    assert (publish.holds(tmp_path, files(1)), publish.holds(tmp_path, files(2))) == (True, False)
    put(tmp_path, 2)
    assert publish.published(tmp_path) != first
    (tmp_path / "..data").unlink()
    (tmp_path / "..data").symlink_to("..2026_11_22_13_21_16.0f3a9c41")
    assert publish.published(tmp_path) is None


def test_a_reload_is_owed_after_each_swap_until_it_is_noted(tmp_path: Path) -> None:
    assert not publish.is_reloaded(tmp_path)
    put(tmp_path, 1)
    assert not publish.is_reloaded(tmp_path)
    publish.remember_reload(tmp_path)
    assert publish.is_reloaded(tmp_path)
    put(tmp_path, 2)
    assert not publish.is_reloaded(tmp_path)


def test_the_first_files_owe_no_reload_even_when_the_sidecar_ends_right_after_the_commit(tmp_path: Path) -> None:
    with publish.staged(tmp_path, files(1)) as staged:
        staged.needs_no_reload()
        assert not publish.is_reloaded(tmp_path)
        staged.commit()
    assert publish.is_reloaded(tmp_path)


def test_a_folder_in_a_mounted_volume_is_made_for_its_owner_and_group_alone() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as mounted:  # a file system of its own
        volume = Path(mounted) / "tls"
        publish.check(volume)
        assert stat.S_IMODE(volume.stat().st_mode) & 0o777 == 0o750
        with publish.staged(volume, files(1)) as staged:
            staged.commit()
        publish.check(volume)
        assert publish.holds(volume, files(1))
        with pytest.raises(VolumeError, match="is not a directory"):
            publish.check(Path(mounted) / "no" / "where")
