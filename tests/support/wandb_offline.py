"""Reads what a run of Weights & Biases logged offline, without the network.

The file ``offline-run-*/run-*.wandb`` is a 7-byte header and then LevelDB's log format
(https://github.com/google/leveldb/blob/main/doc/log_format.md) of protobuf records.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb
from wandb.proto.wandb_internal_pb2 import Record

_FILE_HEADER = struct.Struct("<4sHB")
_BLOCK_SIZE = 32 * 1024
_CHUNK_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """What a run logged: rows of history in their order, the last value of each key, configuration, its files.

    ``labels`` are its name, group, job type and tags; ``summaries`` how W&B sums up each metric that was defined.
    """

    files: Path
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    summaries: dict[str, str] = field(default_factory=dict)

    def column(self, key: str) -> list[Any]:
        """All values logged under a key."""
        return [row[key] for row in self.history if key in row]


def read_offline_run(folder: Path) -> OfflineRun:
    """Read the one offline run below ``folder``; it must be finished (``wandb.finish()``).

    Raises:
        FileNotFoundError: if there is not exactly one.
        ValueError: if the file is not in the format of offline runs.
    """
    wandb.teardown()  # the process that writes the file may lag behind wandb.finish()
    paths = list(folder.rglob("offline-run-*/run-*.wandb"))
    if len(paths) != 1:
        raise FileNotFoundError(f"expected one offline run below {folder}, got {len(paths)}")
    run = OfflineRun(files=paths[0].parent / "files")
    for data in _read_chunks(paths[0].read_bytes()):
        _add_record(run, Record.FromString(data))
    return run


def _add_record(run: OfflineRun, record: Record) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "history":
        run.history.append(_values(record.history.item))
        run.summary |= run.history[-1]
    elif kind == "summary":
        run.summary |= _values(record.summary.update)
    elif kind == "config":
        run.config |= _values(record.config.update)
    elif kind == "run":
        run.config |= _values(record.run.config.update)
        own = record.run
        labels = {"name": own.display_name, "group": own.run_group, "job_type": own.job_type, "tags": list(own.tags)}
        run.labels |= {key: value for key, value in labels.items() if value}
    elif kind == "metric":
        chosen = record.metric.summary
        run.summaries[record.metric.name] = "max" if chosen.max else "min" if chosen.min else "last"


def _values(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) if item.nested_key else item.key: json.loads(item.value_json) for item in items}


def _read_chunks(data: bytes) -> Iterator[bytes]:
    ident, _, _ = _FILE_HEADER.unpack_from(data)
    if ident != b":W&B":
        raise ValueError(f"expected a file that begins with b':W&B', got {ident!r}")
    position, pending = _FILE_HEADER.size, b""
    while position + _CHUNK_HEADER.size <= len(data):
        left_in_block = _BLOCK_SIZE - position % _BLOCK_SIZE
        if left_in_block < _CHUNK_HEADER.size:
            position += left_in_block
            continue
        _, length, kind = _CHUNK_HEADER.unpack_from(data, position)
        position += _CHUNK_HEADER.size
        chunk = data[position : position + length]
        position += length
        pending = chunk if kind in (_FULL, _FIRST) else pending + chunk
        if kind in (_FULL, _LAST):
            yield pending
