import pytest

from lightning_edge.atomic_files import open_replacement, replace_file


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
