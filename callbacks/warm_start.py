"""Begin a training with weights that another one left."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from typing_extensions import override

from lightning_edge.checkpoints import read_checkpoint


class WarmStart(Callback):
    """Give the module the weights of a checkpoint before ``fit`` begins, at step 0 and with a new optimiser.

    The ``ckpt_path`` of ``Trainer.fit`` goes on with an interrupted training instead; where it is given, too, its
    weights replace these. The first stage of a method is so run once for several second ones, and a net that learned
    from one data set goes on with another::

        warm_start = WarmStart("cityscapes.ckpt", begin_anew=["net.head"])
        trainer = Trainer(callbacks=[warm_start])

    Args:
        checkpoint: File of a Lightning checkpoint.
        begin_anew: Names of parts, such as ``net.fusion``, that keep the weights they begin with. All others must be in
            the checkpoint and of the same shapes; what it holds beyond them is left.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no whole checkpoint, lacks weights, has NaN among them or holds more than tensors and
            plain values, or the module has no part of a name that is given.
    """

    def __init__(self, checkpoint: str | Path, begin_anew: Sequence[str] = ()) -> None:
        if not Path(checkpoint).is_file():
            raise FileNotFoundError(f"expected checkpoint to be a file, got {checkpoint}")
        if isinstance(begin_anew, str):
            raise ValueError(f"expected begin_anew to be a sequence of names, got {begin_anew!r}")
        self.checkpoint = Path(checkpoint)
        self.begin_anew = tuple(begin_anew)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        own = pl_module.state_dict()
        for part in self.begin_anew:
            if not any(_is_within(name, part) for name in own):
                raise ValueError(f"expected begin_anew to name parts of {type(pl_module).__name__}, got {part!r}")
        wanted = {name: value for name, value in own.items() if not any(_is_within(name, p) for p in self.begin_anew)}
        if not wanted:
            raise ValueError(
                f"expected {type(pl_module).__name__} to have weights that do not begin anew, got none: layers must be "
                "made before setup"
            )
        found = read_checkpoint(self.checkpoint, "checkpoint")["state_dict"]
        self._require_all(wanted, found)
        pl_module.load_state_dict({name: found[name] for name in wanted}, strict=False)
        anew = f"; {len(own) - len(wanted)} tensors begin anew" if self.begin_anew else ""
        rank_zero_info(f"{len(wanted)} tensors begin as in {self.checkpoint}{anew}")

    def _require_all(self, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
        unlike = [name for name, value in wanted.items() if name not in found or found[name].shape != value.shape]
        if unlike:
            first = unlike[0]
            shape = f" of {list(wanted[first].shape)}, but of {list(found[first].shape)}" if first in found else ""
            more = f", and {len(unlike) - 1} more" if len(unlike) > 1 else ""
            raise ValueError(
                "expected checkpoint to hold all weights that begin_anew does not name, got "
                f"{self.checkpoint}, which has no {first}{shape}{more}"
            )


def _is_within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
