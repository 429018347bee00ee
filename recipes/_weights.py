"""The weights of a run in a model that a command works on."""

from pathlib import Path
from typing import Any


def with_weights(model: Any, ckpt_path: Path | None) -> Any:
    """The model in evaluation mode, with the weights of a checkpoint where one is given."""
    from lightning_edge.checkpoints import read_checkpoint

    if ckpt_path is not None:
        model.load_state_dict(read_checkpoint(ckpt_path, "ckpt_path")["state_dict"])
    return model.eval()
