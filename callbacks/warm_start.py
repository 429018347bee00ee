"""Start a training with the weights of another one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from typing_extensions import override

from lightning_edge.checkpoints import read_checkpoint


class WarmStart(Callback):
    """Load the weights of a checkpoint before ``fit``. The training starts at step 0 with a new optimizer.

    In contrast, ``ckpt_path`` of ``Trainer.fit`` resumes an interrupted training. If both are given, the weights of
    ``ckpt_path`` replace these. This callback lets several second stages of a method share one first stage, or
    continues on another data set::

        warm_start = WarmStart("cityscapes.ckpt", exclude=["net.head"])
        trainer = Trainer(callbacks=[warm_start])

    Args:
        checkpoint: Path of a Lightning checkpoint.
        exclude: Names of parts, such as ``net.fusion``, that keep their initial weights. All other weights of the
            module must be in the checkpoint, with the same shapes. Further weights in the checkpoint are ignored.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not an undamaged checkpoint, it lacks weights, its weights contain NaN, it contains more
            than tensors and plain values, or the module has no part with a given name.
    """

    def __init__(self, checkpoint: str | Path, exclude: Sequence[str] = ()) -> None:
        if not Path(checkpoint).is_file():
            raise FileNotFoundError(f"expected checkpoint to be a file, got {checkpoint}")
        if isinstance(exclude, str):
            raise ValueError(f"expected exclude to be a sequence of names, got {exclude!r}")
        self.checkpoint = Path(checkpoint)
        self.exclude = tuple(exclude)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        own = pl_module.state_dict()
        for part in self.exclude:
            if not any(_is_within(name, part) for name in own):
                parts = sorted({name.partition(".")[0] for name in own})
                raise ValueError(
                    f"expected exclude to name parts of {type(pl_module).__name__}, such as {parts}, got {part!r}"
                )
        wanted = {name: value for name, value in own.items() if not any(_is_within(name, p) for p in self.exclude)}
        if not wanted:
            raise ValueError(
                f"expected {type(pl_module).__name__} to have weights to load, got none: layers must be created before "
                "setup"
            )
        weights = read_checkpoint(self.checkpoint, "checkpoint")["state_dict"]
        self._require_all(wanted, weights)
        pl_module.load_state_dict({name: weights[name] for name in wanted}, strict=False)
        num_others = len(own) - len(wanted)
        others = f"; {num_others} keep their initial values" if num_others else ""
        rank_zero_info(f"Loaded {len(wanted)} tensors from {self.checkpoint}{others}.")

    def _require_all(self, wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
        unlike = [name for name, value in wanted.items() if name not in weights or weights[name].shape != value.shape]
        if unlike:
            first = unlike[0]
            difference = (
                f"{first} is {list(weights[first].shape)} there and {list(wanted[first].shape)} in the module"
                if first in weights
                else f"{first} is missing there"
            )
            more = f", and {len(unlike) - 1} more differ" if len(unlike) > 1 else ""
            raise ValueError(
                f"expected checkpoint to have all weights that exclude does not name, got {self.checkpoint}: "
                f"{difference}{more}. Name parts that should keep their initial values in exclude."
            )


def _is_within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
