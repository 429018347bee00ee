"""Files of JSON that are damaged, or are no files."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Literal

import pytest

from lightning_edge.json_files import read_object, read_record


@dataclass(frozen=True)
class Record:
    name: str
    rate: float
    number: int
    target: float | None
    kind: Literal["a", "b"]
    sizes: tuple[int, ...]


RECORD = Record("x", 0.5, 3, None, "b", (1, 2))


def test_a_record_is_read_as_it_was_written(tmp_path):
    (tmp_path / "file").write_text(json.dumps(asdict(RECORD)))
    assert read_record(tmp_path / "file", Record) == RECORD


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 5}, "name 5"),
        ({"rate": "fast"}, "rate 'fast'"),
        ({"rate": None}, "rate None"),
        ({"number": 1.5}, r"number 1\.5"),
        ({"number": True}, "number True"),
        ({"target": [1]}, r"target \[1\]"),
        ({"kind": "c"}, "kind 'c'"),
        ({"kind": ["a"]}, r"kind \['a'\]"),
        ({"sizes": 4}, "sizes 4"),
        ({"sizes": [1, "2"]}, r"sizes \[1, '2'\]"),
        ({"sizes": "12"}, "sizes '12'"),
        ({"more": 1}, "fields other than kind, name, number, rate, sizes, target"),
    ],
)
def test_a_value_of_another_type_is_named(change, said, tmp_path):
    (tmp_path / "file").write_text(json.dumps(asdict(RECORD) | change))
    with pytest.raises(ValueError, match=f"^{said}$"):
        read_record(tmp_path / "file", Record)


def test_a_missing_value_is_named(tmp_path):
    values = asdict(RECORD)
    del values["rate"]
    (tmp_path / "file").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="fields other than kind, name"):
        read_record(tmp_path / "file", Record)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"null", b"\xff\xfe\0", b"[" * 200_000, b'{"a": ' + b"[" * 10**5]
)
def test_what_is_no_object_is_refused(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        read_object(tmp_path / "file")


def test_what_is_no_file_or_too_large_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name in ("pipe", "loop", "zeros", "", "nowhere"):
        with pytest.raises(ValueError, match="not a regular file"):
            read_object(tmp_path / name)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="more than 16777216 bytes"):
        read_object(tmp_path / "large")
