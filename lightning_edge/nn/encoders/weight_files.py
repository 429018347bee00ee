"""Files of weights: one clear error for each that is damaged, or holds something else."""

import zipfile
from pathlib import Path

import torch
from timm.models import load_state_dict
from torch import Tensor, nn

Weights = dict[str, Tensor]
"""Parameters and buffers by their names in a net, as ``state_dict`` gives them."""

_LONGEST_REASON = 300


def read_weights(weights: str, description: str) -> Weights:
    """The tensors of a file of torch or safetensors; it never runs code of the file.

    Args:
        weights: Path of the file, whose ``state_dict`` may stand beside other entries, as in a checkpoint of timm.
        description: What the file should hold, for the error, such as ``encoder weights``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, holds other things than tensors, or a value that is not finite.
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
        # Readers raise errors of many types for damaged files. Their messages stay away: timm and torch advise to
        # trust the file, which could then run code.
        raise _not_weights(weights, description, "it is damaged, or holds other things than tensors") from None
    for name, value in state.items():
        if not _is_tensor(value):
            raise _not_weights(weights, description, f"its entry {name!r} is no tensor with all its values")
        if value.is_floating_point() and not value.float().isfinite().all():
            raise _not_weights(weights, description, f"its entry {name!r} holds NaN or infinity")
    if not state:
        raise _not_weights(weights, description, "it is empty")
    return state


def load_weights(net: nn.Module, state: Weights, weights: str, name: str) -> None:
    """Give a net the weights of a file, which must be all of the net's and no others.

    Args:
        net: Receives them.
        state: What was read from the file.
        weights: Path of the file, for the error.
        name: Of the net, for the error.

    Raises:
        ValueError: Names or shapes differ.
    """
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise other_net(weights, name, error) from None


def other_net(weights: str, name: str, error: Exception) -> ValueError:
    """The error for a file of weights that do not fit the net.

    Args:
        weights: Path of the file.
        name: Of the net.
        error: What torch or timm said of it, of which the beginning is kept.
    """
    reason = " ".join(str(error).split())
    reason = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]} ..."
    return ValueError(f"expected weights with all of {name}'s and no others, got {weights}: {reason}")


def _not_weights(weights: str, description: str, reason: str) -> ValueError:
    return ValueError(
        f"expected weights to be a file of {description}, a state_dict() as torch.save or safetensors write it, got "
        f"{weights}: {reason}"
    )


def _is_tensor(value: object) -> bool:
    """Whether all values are there: a view can declare more than its storage has, which would fill the memory."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _check_zip(weights: str) -> None:
    """Refuse an archive of torch with a damaged entry; torch itself does not compare the checksums."""
    if not zipfile.is_zipfile(weights):
        return
    with zipfile.ZipFile(weights) as archive:
        # torch.save does not compress, and a compressed entry can be far larger than its file
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()) or archive.testzip():
            raise zipfile.BadZipFile(weights)
