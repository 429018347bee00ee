"""Checkpoints of methods, which load without further arguments and from which training resumes after any batch."""

from collections.abc import Collection
from io import BytesIO
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lightning_edge.checkpoints import LIGHTNING, local_file, read_checkpoint
from lightning_edge.methods import lightning_internals as internals
from lightning_edge.methods.plain_values import plain_arguments, plain_values
from lightning_edge.methods.resuming import GRADIENTS_KEY, restore_gradients, restore_validation, store_position
from lightning_edge.model_description import INSTANTIATOR_KEY, check_description
from lightning_edge.renamed import with_new_arguments

CLASSES_KEY = "classes"
"""Key under which a checkpoint stores the names and colors of the classes."""


class CheckpointedModule(LightningModule):
    """A LightningModule whose checkpoints hold what prediction and a resumed run need in addition to the weights.

    On the command line, the record of how to create nets and callables is saved. In Python, plain arguments are saved
    (:class:`~lightning_edge.methods.base.Method`).
    """

    class_names: tuple[str, ...] | None = None
    """Names of the classes; ``None`` until a data module or a checkpoint provides them."""
    palette: tuple[tuple[int, int, int], ...] | None = None
    """RGB colors of the classes; ``None`` until a data module or a checkpoint provides them."""
    _plain_arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> "CheckpointedModule":
        """Remember those arguments of the outermost constructor that a checkpoint can store."""
        module = super().__new__(cls)
        # the __setattr__ of nn.Module fails before its constructor has run
        object.__setattr__(module, "_plain_arguments", plain_arguments(cls, args, kwargs))
        return module

    def __init__(self) -> None:
        super().__init__()
        self._accumulated_gradients: dict[str, Tensor] = {}
        record = internals.command_line_record()
        internals.store_hyperparameters(self, self._plain_arguments if record is None else record)

    @classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: Any, *args: Any, trusted_modules: Collection[str] = (), **kwargs: Any
    ) -> Any:
        """Load a method like Lightning's method of this name, after checking the file's checksums and class names.

        Args:
            checkpoint_path: Path, URL, or open binary file.
            args: Positional arguments of Lightning's ``load_from_checkpoint``.
            trusted_modules: Modules, such as ``["my_nets"]``, whose classes the checkpoint may name in addition to
                those of this library, timm and torch.
            kwargs: Keyword arguments of Lightning's ``load_from_checkpoint``. Arguments of the constructor replace
                those in the checkpoint. ``weights_only=False`` disables all checks and allows the file to run any
                code.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file is not a complete checkpoint, has weights that are NaN, names a class of a module that
                is not trusted, or describes a net that downloads weights.
        """
        is_trusted = kwargs.get("weights_only") is False
        with local_file(checkpoint_path) as path:
            if is_trusted:
                content = torch.load(path, map_location="cpu", weights_only=False)
            else:
                content = read_checkpoint(path, "checkpoint_path", LIGHTNING)
            saved = dict(content.get(cls.CHECKPOINT_HYPER_PARAMS_KEY) or {})
            arguments = with_new_arguments(f"{cls.__module__}.{cls.__qualname__}", saved)
            if not is_trusted:
                used = {name: value for name, value in arguments.items() if name not in {INSTANTIATOR_KEY, *kwargs}}
                check_description(used, str(checkpoint_path), {cls.__module__, *trusted_modules})
            if arguments is saved:
                return super().load_from_checkpoint(path, *args, **kwargs)
            with BytesIO() as file:  # Lightning would drop arguments that have an old name
                torch.save(content | {cls.CHECKPOINT_HYPER_PARAMS_KEY: arguments}, file)
                file.seek(0)
                return super().load_from_checkpoint(file, *args, **kwargs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what prediction and a resumed run need in addition to the weights.

        This includes the plain hyper-parameters, the names and colors of the classes, the position in the training, and
        the gradients that have been accumulated since the last step.
        """
        if INSTANTIATOR_KEY not in self.hparams:  # only the record of the command line has this key
            checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = plain_values(self.hparams)
        checkpoint[CLASSES_KEY] = {"class_names": self.class_names, "palette": self.palette}
        store_position(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what ``on_save_checkpoint`` stored; names and colors of the classes only if the data have none."""
        self._accumulated_gradients = checkpoint.get(GRADIENTS_KEY, {})
        restore_validation(self, checkpoint)
        if CLASSES_KEY in checkpoint and self.class_names is None and self.palette is None:
            self.class_names, self.palette = (checkpoint[CLASSES_KEY][name] for name in ("class_names", "palette"))

    def on_train_start(self) -> None:
        """Restore the accumulated gradients of a checkpoint, and correct the counts of an interrupted validation."""
        internals.forget_interrupted_batch(self.trainer)
        restore_gradients(self, self._accumulated_gradients)
        self._accumulated_gradients = {}
