"""Reading checkpoints, which may be damaged, of strangers, or no checkpoints at all."""

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
"""Files of which one lies in a checkpoint that is a folder, as Lightning and DeepSpeed write them."""

_START_OF_A_ZIP = b"PK\x03\x04"
_READ_AGAIN = "copy it again, or use another one"

LIGHTNING: Mapping[str, type] = {"pytorch-lightning_version": str}
"""What Lightning looks for in every checkpoint, by key."""

RESUMABLE: Mapping[str, type] = {
    **LIGHTNING,
    "epoch": int,
    "global_step": int,
    "loops": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}
"""What Lightning looks for in a checkpoint that a training goes on from, by key."""


def read_checkpoint(path: Path | str, argument: str, needs: Mapping[str, type] | None = None) -> dict[str, Any]:
    """Content of a checkpoint, once every byte of it was compared with its checksum.

    Tensors stay in the file until they are used. Infinite weights give a warning, for a mask may hold them.

    Args:
        path: The file.
        argument: Name of the argument that gave the file, for errors.
        needs: Types of what the checkpoint must hold beside its ``state_dict``, such as :data:`RESUMABLE`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no checkpoint, is damaged, lacks something, holds more than tensors and plain values, or has
            weights that are NaN.
    """
    path = Path(path)
    check_file(path, argument)
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except UnpicklingError:  # whose text advises to load the file all the same
        raise ValueError(
            f"expected {argument} to be a checkpoint of tensors and plain values, got {path}, which holds other "
            "objects too: loading those could run the code of whoever made the file. Save its state_dict alone instead"
        ) from None
    except Exception as error:
        raise _refusal(path, argument, f"PyTorch cannot read ({type(error).__name__})", _READ_AGAIN) from None
    if not isinstance(content, Mapping) or not isinstance(content.get("state_dict"), Mapping):
        found = sorted(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f"expected {argument} to be a checkpoint with a state_dict, got {path} with {found}")
    lacking = [key for key, kind in (needs or {}).items() if not isinstance(content.get(key), kind)]
    if lacking:
        raise ValueError(
            f"expected {argument} to be a whole checkpoint of a Lightning trainer, got {path} without {lacking}: "
            "the callback WarmStart begins a training with the weights of such a file"
        )
    _check_weights(content["state_dict"], path, argument)
    return dict(content)


def last_checkpoint(folder: Path) -> Path | None:
    """Newest checkpoint below ``folder`` that a training can go on from; of equally new ones ``last.ckpt``.

    Newer ones that are damaged, or have weights that are NaN, give a warning each.
    """
    for path in newest_first(folder.rglob("*.ckpt")):
        if (fault := find_fault(path)) is None:
            return path
        warnings.warn(f"{fault}. It is left out", stacklevel=2)
    return None


def find_fault(path: Path) -> str | None:
    """What is wrong with a checkpoint that a training would go on from; nothing is found in one that is a folder."""
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
    """Checkpoints by age; of equally new ones ``last.ckpt`` comes first."""
    dated = []
    for path in paths:
        try:
            dated.append((path.stat().st_mtime, path.name == "last.ckpt", path))
        except OSError:  # removed meanwhile, or a link to nowhere
            continue
    return [path for *_, path in sorted(dated, reverse=True)]


def with_weights(model: Model, ckpt_path: Path | None) -> Model:
    """The model in evaluation mode, with the weights of a checkpoint where one is given."""
    if ckpt_path is not None:
        model.load_state_dict(read_checkpoint(ckpt_path, "ckpt_path")["state_dict"])
    return model.eval()


@contextmanager
def local_file(source: Any) -> Iterator[Path]:
    """Path of a file, or of a temporary copy of what stands at an address or in an open binary file.

    Args:
        source: Path, address that fsspec knows, or open binary file.
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
    """Compare a checkpoint's file with its own checksums, without loading anything of it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no file, no archive of PyTorch, or is damaged.
    """
    if path.is_dir():
        raise _refusal(path, argument, "is a folder", "name a file in it")
    if not path.exists():
        raise FileNotFoundError(f"expected {argument} to be a checkpoint, got {path}, which does not exist")
    if not path.is_file():  # reading a pipe or a device would never end
        raise _refusal(path, argument, "is no regular file", "copy its content into one")
    with path.open("rb") as file:
        start = file.read(len(_START_OF_A_ZIP))
    if not start:
        raise _refusal(path, argument, "is empty", _READ_AGAIN)
    if start != _START_OF_A_ZIP:
        raise _refusal(path, argument, "is a file of another kind, or begins with other bytes", _READ_AGAIN)
    try:
        fault = _fault(path)
    except Exception as error:  # zipfile has a dozen kinds, by where the damage is
        fault = f"is damaged or only a part of a file ({type(error).__name__})"
    if fault is not None:
        raise _refusal(path, argument, fault, _READ_AGAIN)


def _fault(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            return "is an archive of another kind: PyTorch compresses nothing"
        # those of a hostile archive may overlap, so that a small file takes hours to read
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            return "is damaged: it declares more bytes than it has"
        damaged = archive.testzip()
    return None if damaged is None else f"is damaged: the checksum of its part {damaged} is wrong"


def _check_weights(weights: Mapping[str, Any], path: Path, argument: str) -> None:
    size = path.stat().st_size
    infinite = []
    for name, weight in weights.items():
        if not isinstance(weight, Tensor):
            if str(name).endswith("_extra_state"):  # a module may save what it likes under this name
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
                "diverged. Use an earlier checkpoint, or train again with a smaller learning rate"
            )
        if values.isinf().any():
            infinite.append(name)
    if infinite:
        more = f" and {len(infinite) - 1} others" if len(infinite) > 1 else ""
        warnings.warn(
            f"{path} has infinite values in {infinite[0]}{more}: unless that is a mask, its training diverged",
            stacklevel=3,
        )


def _refusal(path: Path, argument: str, problem: str, remedy: str) -> ValueError:
    return ValueError(f"expected {argument} to be a checkpoint, got {path}, which {problem}: {remedy}")
