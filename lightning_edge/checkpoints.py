"""Reading checkpoints that may be damaged, may come from an untrusted source, or may not be checkpoints at all."""

import shutil
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from pickle import UnpicklingError
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import fsspec
import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)

_SHARDED = (".metadata", "meta.pt", "latest")
"""A checkpoint that is a folder, as Lightning and DeepSpeed write it, contains at least one of these files."""

_START_OF_A_ZIP = b"PK\x03\x04"
_READ_AGAIN = "Copy it again, or use another one."

LIGHTNING: Mapping[str, type] = {"pytorch-lightning_version": str}
"""Types of the values that every checkpoint of Lightning has, by key."""

RESUMABLE: Mapping[str, type] = {
    **LIGHTNING,
    "epoch": int,
    "global_step": int,
    "loops": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}
"""Types of the values that Lightning needs to resume training from a checkpoint, by key."""


def read_checkpoint(path: Path | str, argument: str, needs: Mapping[str, type] | None = None) -> dict[str, Any]:
    """Read a checkpoint after its checksums have been verified.

    The tensors are memory-mapped: they stay in the file until they are used. Infinite weights give only a warning,
    because an attention mask may contain them.

    Args:
        path: The checkpoint file.
        argument: Name of the user's argument that named the file. Errors mention it.
        needs: Keys that the checkpoint must have in addition to ``state_dict``, with the types of their values, such
            as :data:`RESUMABLE`.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not a checkpoint, is damaged, lacks a required key, contains objects other than tensors
            and plain values, or has weights that are NaN.
    """
    path = Path(path)
    check_file(path, argument)
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except UnpicklingError:  # its message recommends loading the file without this protection
        raise ValueError(
            f"expected {argument} to be a checkpoint of tensors and plain values, got {path}, which contains other "
            "objects too. Loading these could run arbitrary code. Save only its state_dict instead."
        ) from None
    except Exception as error:
        raise _refusal(path, argument, f"PyTorch cannot read ({type(error).__name__})", _READ_AGAIN) from None
    if not isinstance(content, Mapping) or not isinstance(content.get("state_dict"), Mapping):
        description = sorted(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f"expected {argument} to be a checkpoint with a state_dict, got {path} with {description}")
    missing = [key for key, kind in (needs or {}).items() if not isinstance(content.get(key), kind)]
    if missing:
        raise ValueError(
            f"expected {argument} to be a complete checkpoint of a Lightning trainer, got {path} without {missing}. "
            "To start a new training from its weights, use the callback WarmStart."
        )
    _check_weights(content["state_dict"], path, argument)
    return dict(content)


def last_checkpoint(folder: Path, name: str | None = None) -> Path | None:
    """Newest checkpoint below ``folder`` from which training can resume, or ``None`` if there is none.

    Among equally new checkpoints, ``last.ckpt`` is preferred. Each newer checkpoint that is damaged or has weights
    that are NaN is skipped with a warning.

    Args:
        folder: Folder to search.
        name: Only checkpoints ``<name>.ckpt`` count; all if ``None``.
    """
    for path in newest_first(folder.rglob("*.ckpt" if name is None else f"{name}.ckpt")):
        if (fault := find_fault(path)) is None:
            return path
        warnings.warn(f"{fault.removesuffix('.')}. Skipping this checkpoint.", stacklevel=2)
    return None


def find_fault(path: Path) -> str | None:
    """Why training cannot resume from a checkpoint, or ``None`` if it can.

    A checkpoint that is a folder is not checked.
    """
    if is_sharded(path):
        return None
    try:
        read_checkpoint(path, "ckpt_path", RESUMABLE)
    except (ValueError, OSError) as error:
        return str(error)
    return None


def is_sharded(path: Path) -> bool:
    """Whether a checkpoint is a folder of files, one for each process."""
    return path.is_dir() and any((path / name).exists() for name in _SHARDED)


def newest_first(paths: Iterable[Path]) -> list[Path]:
    """Checkpoints from the newest to the oldest; among equally new ones, ``last.ckpt`` comes first."""
    dated = []
    for path in paths:
        try:
            dated.append((path.stat().st_mtime, path.name == "last.ckpt", path))
        except OSError:  # removed in the meantime, or a broken link
            continue
    return [path for *_, path in sorted(dated, reverse=True)]


def with_weights(model: Model, ckpt_path: Path | None) -> Model:
    """Return the model in evaluation mode, with the weights of a checkpoint if one is given."""
    if ckpt_path is not None:
        model.load_state_dict(read_checkpoint(ckpt_path, "ckpt_path")["state_dict"])
    return model.eval()


@contextmanager
def local_file(source: Any) -> Iterator[Path]:
    """Path of a local file; a remote or an open file is first copied to a temporary one.

    Args:
        source: Path, URL that fsspec can open, or open binary file.
    """
    is_open = hasattr(source, "read")
    if not is_open and "://" not in str(source):
        yield Path(source)
        return
    opened: Any = nullcontext(source) if is_open else fsspec.open(str(source), "rb")
    with TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.ckpt")
        with path.open("wb") as target, opened as file:
            shutil.copyfileobj(file, target)
        yield path


def check_file(path: Path, argument: str) -> None:
    """Verify the checksums of a checkpoint file without loading it.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The path is not a regular file, the file is not an archive of PyTorch, or it is damaged.
    """
    if path.is_dir():
        raise _refusal(path, argument, "is a folder", "Give the path of a file in it.")
    if not path.exists():
        raise FileNotFoundError(f"expected {argument} to be a checkpoint, got {path}, which does not exist")
    if not path.is_file():  # reading from a pipe or a device could block forever
        raise _refusal(path, argument, "is not a regular file", "Copy its content into one.")
    with path.open("rb") as file:
        start = file.read(len(_START_OF_A_ZIP))
    if not start:
        raise _refusal(path, argument, "is empty", _READ_AGAIN)
    if start != _START_OF_A_ZIP:
        raise _refusal(path, argument, "is not an archive that torch.save writes", _READ_AGAIN)
    try:
        fault = _fault(path)
    except Exception as error:  # zipfile raises many types, depending on where the damage is
        fault = f"is damaged or truncated ({type(error).__name__})"
    if fault is not None:
        raise _refusal(path, argument, fault, _READ_AGAIN)


def _fault(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            return "is a compressed archive, which torch.save never writes"
        # entries of a malicious archive may overlap, so that reading a small file takes hours
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            return "is damaged: it declares more bytes than it contains"
        damaged = archive.testzip()
    return None if damaged is None else f"is damaged: the checksum of its entry {damaged} is wrong"


def _check_weights(weights: Mapping[str, Any], path: Path, argument: str) -> None:
    size = path.stat().st_size
    infinite = []
    for name, weight in weights.items():
        if not isinstance(weight, Tensor):
            if str(name).endswith("_extra_state"):  # a module may save any object under this name
                continue
            raise _refusal(path, argument, f"has a {type(weight).__name__} as weight {name}", _READ_AGAIN)
        if not (weight.is_floating_point() or weight.is_complex()) or weight.layout != torch.strided or weight.is_meta:
            continue
        stored = weight.detach()[tuple(slice(1) if stride == 0 else slice(None) for stride in weight.stride())]
        if stored.numel() * stored.element_size() > size:
            raise _refusal(path, argument, f"declares a weight {name} larger than the file", _READ_AGAIN)
        values = stored.float() if stored.element_size() == 1 else stored  # float8 has no comparisons
        if values.isnan().any():
            raise ValueError(
                f"expected {argument} to have weights that are numbers, got {path} with NaN in {name}: its training "
                "diverged. Use an earlier checkpoint, or train again with a smaller learning rate."
            )
        if values.isinf().any():
            infinite.append(name)
    if infinite:
        more = f" and {len(infinite) - 1} others" if len(infinite) > 1 else ""
        warnings.warn(
            f"{path} has infinite values in {infinite[0]}{more}. Unless these are masks, its training diverged.",
            stacklevel=3,
        )


def _refusal(path: Path, argument: str, problem: str, remedy: str) -> ValueError:
    return ValueError(f"expected {argument} to be a checkpoint, got {path}, which {problem}. {remedy}")
