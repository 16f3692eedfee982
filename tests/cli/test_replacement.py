"""A file that takes another's place only when it is whole."""

import pytest

from ctxembed.cli.replacement import Replacement


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
