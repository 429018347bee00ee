import io
import os
from pathlib import Path

import pytest

from lightning_edge.atomic_files import open_replacement, replace_file, replace_table


def _refuse():
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("refused", ["os.fsync", "pathlib.Path.replace"])
def test_a_file_is_replaced_whole_or_not_at_all(refused, tmp_path, monkeypatch):
    path = tmp_path / "file"
    replace_file(path, b"old")
    monkeypatch.setattr(refused, lambda *args: _refuse())
    with pytest.raises(OSError, match="No space") as error:
        replace_file(path, b"new")
    assert (error.value.errno, error.value.filename) == (28, str(path))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def _write_half(path):
    with open_replacement(path) as file:
        file.write(b"ne")
        raise KeyboardInterrupt


def test_a_block_that_fails_leaves_the_old_file_and_its_own_error(tmp_path):
    path = tmp_path / "file"
    replace_file(path, b"old")
    with pytest.raises(KeyboardInterrupt):
        _write_half(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_error_of_its_type(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path}/none/file"):
        replace_file(tmp_path / "none/file", b"new")


def test_two_writers_at_the_same_time_do_not_mix(tmp_path):
    path = tmp_path / "file"
    with open_replacement(path) as first, open_replacement(path) as second:
        first.write(b"first")
        second.write(b"second")
        assert not path.exists()
    assert path.read_bytes() == b"first"  # which ended last
    assert list(tmp_path.iterdir()) == [path]


def _copy(source, path):
    with open_replacement(path) as file:
        file.write(source.read_bytes())


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        _copy(tmp_path / "input", tmp_path / "output")
    assert error.value.filename == str(tmp_path / "input")
    assert list(tmp_path.iterdir()) == []


def _read_from(path):
    with open_replacement(path) as file:
        file.read()


def test_an_error_about_the_use_of_the_stream_stays_as_it_is(tmp_path):
    with pytest.raises(io.UnsupportedOperation, match=r"^read$"):
        _read_from(tmp_path / "file")


def test_a_link_is_kept_and_the_file_that_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    file, link = tmp_path / "folder/file", tmp_path / "link"
    file.write_bytes(b"old")
    link.symlink_to(Path("folder/file"))
    replace_file(link, b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert list((tmp_path / "folder").iterdir()) == [file]


def test_permissions_are_kept_and_hold_for_the_unfinished_file_too(tmp_path):
    path = tmp_path / "file"
    replace_file(path, b"old")
    path.chmod(0o640)
    with open_replacement(path) as file:
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o640
    assert path.stat().st_mode & 0o777 == 0o640


def test_both_the_file_and_its_name_are_flushed_to_the_disk(tmp_path, monkeypatch):
    flushed, fsync = [], os.fsync

    def note(descriptor):
        flushed.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", note)
    replace_file(tmp_path / "file", b"new")
    assert flushed == [(tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino]


def test_a_table_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "table.csv"
    replace_table(path, ["name", "score"], [["crosswalk, ü", 1.5], ["sky", None]])
    content = path.read_bytes()
    assert content.decode() == 'name,score\r\n"crosswalk, ü",1.5\r\nsky,\r\n'
    with pytest.raises(ZeroDivisionError):
        replace_table(path, ["name"], ([1 / number] for number in (1, 0)))
    assert path.read_bytes() == content
