"""Reading of weight files, with one clear error if a file is damaged or contains something else."""

import zipfile
from pathlib import Path

import torch
from timm.models import load_state_dict
from torch import Tensor, nn

Weights = dict[str, Tensor]
"""Parameters and buffers by their names in a net, as ``state_dict`` returns them."""

_LONGEST_REASON = 300


def read_weights(weights: str, description: str) -> Weights:
    """Read the tensors of a torch or safetensors file. Code in the file is never run.

    Args:
        weights: Path of the file. It may contain other entries beside the ``state_dict``, as timm's checkpoints do.
        description: Expected content of the file, for the error, such as ``encoder weights``.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is damaged, contains something else than tensors, or has a value that is not finite.
    """
    if not Path(weights).is_file():
        reason = "it is a folder" if Path(weights).is_dir() else "there is no such file"
        raise FileNotFoundError(f"expected weights to be a file of {description}, got {weights}: {reason}")
    try:
        _check_zip(weights)
        state = load_state_dict(weights)
    except OSError as error:
        raise _not_weights(weights, description, f"it cannot be read ({error.strerror})") from None
    except Exception:
        # Readers raise errors of many types for damaged files. Their messages are not shown, because timm and torch
        # suggest to trust the file, which could then run code.
        raise _not_weights(weights, description, "it is damaged, or contains something else than tensors") from None
    for name, value in state.items():
        if not _is_tensor(value):
            raise _not_weights(weights, description, f"its entry {name!r} is not a complete tensor")
        if value.is_floating_point() and not value.float().isfinite().all():
            raise _not_weights(weights, description, f"its entry {name!r} contains NaN or infinity")
    if not state:
        raise _not_weights(weights, description, "it is empty")
    return state


def load_weights(net: nn.Module, state: Weights, weights: str, name: str) -> None:
    """Load the weights of a file into a net. They must be exactly those of the net.

    Args:
        net: Net that receives the weights.
        state: Weights from the file.
        weights: Path of the file, for the error.
        name: Name of the net, for the error.

    Raises:
        ValueError: Names or shapes differ.
    """
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise other_net(weights, name, error) from None


def other_net(weights: str, name: str, error: Exception) -> ValueError:
    """The error for a file whose weights do not fit the net.

    Args:
        weights: Path of the file.
        name: Name of the net.
        error: Error of torch or timm, of which the start is shown.
    """
    reason = " ".join(str(error).split())
    reason = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]} ..."
    return ValueError(f"expected weights with exactly the parameters of {name}, got {weights}: {reason}")


def _not_weights(weights: str, description: str, reason: str) -> ValueError:
    return ValueError(
        f"expected weights to be a file of {description}, a state_dict() as torch.save or safetensors write it, got "
        f"{weights}: {reason}"
    )


def _is_tensor(value: object) -> bool:
    """Whether all values are stored. A view can declare more values than its storage has and so fill the memory."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _check_zip(weights: str) -> None:
    """Raise an error for a torch archive with a damaged entry. Torch itself does not compare the checksums."""
    if not zipfile.is_zipfile(weights):
        return
    with zipfile.ZipFile(weights) as archive:
        # torch.save does not compress, and a compressed entry can be far larger than its file
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()) or archive.testzip():
            raise zipfile.BadZipFile(weights)
