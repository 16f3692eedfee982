"""A file that takes another's place only when it is whole."""

import os
import stat
import sys

import pytest

from ctxembed.errors import ConfigurationError
from ctxembed.files import replacement
from ctxembed.files.replacement import Replacement


def test_nothing_is_at_the_path_before_it_is_published(tmp_path):
    path = tmp_path / "out"
    with Replacement(path) as new:
        new.file.write(b"new")
        assert not path.exists()
        new.publish()

    assert path.read_bytes() == b"new"
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt, None])
def test_old_file_stays_when_the_block_ends_without(tmp_path, fault):
    path = tmp_path / "out"
    path.write_bytes(b"old")

    def leave():
        with Replacement(path) as new:
            new.file.write(b"new")
            if fault:
                raise fault

    if fault:
        with pytest.raises(fault):
            leave()
    else:
        leave()

    assert path.read_bytes() == b"old"
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="files are locked on POSIX")
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    left = tmp_path / ".ctxembed-0123456789abcdef.part"
    left.write_bytes(b"half")
    other = tmp_path / ".ctxembed-settings"
    other.touch()
    with Replacement(tmp_path / "a") as first, Replacement(tmp_path / "b") as second:
        assert not left.exists()
        for new in (first, second):
            new.file.write(b"new")
            new.publish()

    assert {tmp_path / "a", tmp_path / "b", other} == set(tmp_path.iterdir())


def test_file_that_is_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    locked = replacement._lock
    removed = []

    def remove(file):
        if not removed:
            removed.append(tmp_path / file.name)
            removed[0].unlink()
        locked(file)

    monkeypatch.setattr(replacement, "_lock", remove)
    with Replacement(tmp_path / "a") as new:
        new.file.write(b"new")
        new.publish()

    assert (tmp_path / "a").read_bytes() == b"new"
    assert [tmp_path / "a"] == list(tmp_path.iterdir())


def test_link_is_followed(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with Replacement(link) as new:
        new.file.write(b"new")
        new.publish()

    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_folder_that_takes_no_file_is_named_by_the_path_asked_for(tmp_path):
    (tmp_path / "folder").write_bytes(b"")
    with (
        pytest.raises(OSError, match="folder/out'") as caught,
        Replacement(tmp_path / "folder/out"),
    ):
        pass

    assert caught.value.filename == str(tmp_path / "folder" / "out")


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_permissions_of_the_old_file_stay(tmp_path, mode):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(mode)
    with Replacement(path) as new:
        (part,) = set(tmp_path.iterdir()) - {path}
        assert stat.S_IMODE(part.stat().st_mode) == mode
        new.publish()

    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX")
def test_permissions_of_a_new_file_are_those_of_any_new_file(tmp_path):
    path, other = tmp_path / "out", tmp_path / "other"
    other.write_bytes(b"")
    with Replacement(path) as new:
        new.publish()

    assert path.stat().st_mode == other.stat().st_mode


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX")
def test_pipe_is_refused_and_stays(tmp_path):
    os.mkfifo(tmp_path / "out")
    with (
        pytest.raises(ConfigurationError, match="is no regular file"),
        Replacement(tmp_path / "out"),
    ):
        pass

    assert [tmp_path / "out"] == list(tmp_path.iterdir())
