"""A data module with the labels of another one in another label space, for training and evaluation across data sets."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_origin, get_type_hints

import torch
from jaxtyping import Int64
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from lightning_edge.checks import check_names
from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.data.base import EdgeDataModule, Split
from lightning_edge.data.classes import check_class_names
from lightning_edge.data.loading import ResumableLoader

CITYSCAPES_TO_CAMVID: dict[str, str | None] = {
    "road": "road",
    "sidewalk": "pavement",
    "building": "building",
    "wall": "building",
    "fence": "fence",
    "pole": "pole",
    "traffic light": "sign symbol",
    "traffic sign": "sign symbol",
    "vegetation": "tree",
    "terrain": "tree",
    "sky": "sky",
    "person": "pedestrian",
    "rider": "bicyclist",
    "car": "car",
    "truck": "car",
    "bus": "car",
    "train": "car",
    "motorcycle": "bicyclist",
    "bicycle": "bicyclist",
}
"""Classes of CamVid for the 19 classes of Cityscapes, which are also those of BDD100K.

The masks of SegNet's CamVid decide what is not obvious. They show walls beside the road as building, grass as tree,
traffic lights as sign symbol, vans and buses as car, and bicycles together with their riders as bicyclist.
"""


class Relabel:
    """Maps the labels of samples or batches to new classes.

    Args:
        label_key: Key of the labels.
        lookup: New class of each label from 0 to 255.
    """

    def __init__(self, label_key: str, lookup: Int64[Tensor, "256"]) -> None:
        self.label_key = label_key
        self.lookup = lookup

    def __call__(self, batch: Any) -> Any:
        """The sample or batch with new labels of the same data type, or without labels as it is."""
        if self.label_key not in batch:  # a target of adaptation
            return batch
        labels = torch.as_tensor(batch[self.label_key])
        self.lookup = self.lookup.to(labels.device)
        return batch | {self.label_key: self.lookup[labels.long()].to(labels.dtype)}


class RemappedDataModule(LightningDataModule):
    """A data module for classification or segmentation whose classes are renamed, merged, reordered or ignored.

    Labels are mapped in :meth:`on_after_batch_transfer`, on the device. Images, order and augmentation are those of the
    inner data module, and so is the position in the training data that a checkpoint stores. The datasets and
    :meth:`fixed_samples` have the labels of the inner data module. Its other attributes, such as ``domain_names``, are
    also attributes of this one.

    Args:
        data: The inner data module, which yields batches with one class for each image or pixel.
        table: New class of each class of the inner data module, by name. ``None`` ignores the pixels of a class; images
            of a classification cannot be ignored. See :data:`CITYSCAPES_TO_CAMVID`.
        class_names: Names of the new classes in their order.

    Raises:
        ValueError: The table lacks a class, or has an unknown one; or the data have no classes or other batches.
    """

    def __init__(self, data: EdgeDataModule, table: Mapping[str, str | None], class_names: Sequence[str]) -> None:
        self.data = data  # before the trainer of the base class, which is that of the inner data module
        super().__init__()
        self.batch_type = data.batch_type
        label_key = _label_key(data)
        check_names(class_names=class_names)
        check_class_names(len(class_names), class_names, None)
        inner_names: tuple[str, ...] = getattr(data, "class_names", None) or ()
        _check_table(table, inner_names, class_names, type(data).__name__, may_ignore=label_key == "mask")
        self.num_classes, self.class_names = len(class_names), tuple(class_names)
        new_classes = [_index(table[name], self.class_names) for name in inner_names]
        if len(inner_names) > IGNORE_INDEX:
            raise ValueError(
                f"expected at most {IGNORE_INDEX} classes in {type(data).__name__}, got {len(inner_names)}"
            )
        inner_palette = getattr(data, "palette", None)
        if inner_palette is not None:
            self.palette = tuple(inner_palette[new_classes.index(label)] for label in range(self.num_classes))
        lookup = torch.full((IGNORE_INDEX + 1,), IGNORE_INDEX)
        lookup[: len(new_classes)] = torch.tensor(new_classes)
        self.relabel = Relabel(label_key, lookup)

    def __getattr__(self, name: str) -> Any:
        if name == "data" or name.startswith("_"):  # a copy has no inner data module at first
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.data, name)

    @property
    def trainer(self) -> Trainer | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The trainer of the inner data module."""
        return self.data.trainer

    @trainer.setter
    def trainer(self, trainer: Trainer | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.data.trainer = trainer

    @property
    def batch_size(self) -> int:
        """Number of samples in a training batch of one process."""
        return self.data.batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int) -> None:
        self.data.batch_size = batch_size

    @override
    def prepare_data(self) -> None:
        """Prepare the inner data module."""
        self.data.prepare_data()

    @override
    def setup(self, stage: str | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Set up the inner data module."""
        self.data.setup(stage)

    @override
    def teardown(self, stage: str | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Tear down the inner data module."""
        self.data.teardown(stage)  # pyright: ignore[reportArgumentType]

    @override
    def train_dataloader(self) -> ResumableLoader:
        """Training batches of the inner data module."""
        return self.data.train_dataloader()

    @override
    def val_dataloader(self) -> DataLoader[Any]:
        """Validation batches of the inner data module."""
        return self.data.val_dataloader()

    @override
    def test_dataloader(self) -> DataLoader[Any]:
        """Test batches of the inner data module."""
        return self.data.test_dataloader()

    @override
    def predict_dataloader(self) -> DataLoader[Any]:
        """Raise the error of the inner data module."""
        return self.data.predict_dataloader()

    @override
    def state_dict(self) -> dict[str, Any]:
        """Position in the training data."""
        return self.data.state_dict()

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the samples that were used in training before the checkpoint."""
        self.data.load_state_dict(state_dict)

    @override
    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Change a batch as the inner data module does."""
        return self.data.on_before_batch_transfer(batch, dataloader_idx)

    @override
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Convert a batch as the inner data module does, and map its labels."""
        return self.relabel(self.data.on_after_batch_transfer(batch, dataloader_idx))

    def fixed_samples(self, split: Split, num_samples: int) -> list[Any]:
        """Samples of a split that are the same in every run, with the labels of the inner data module."""
        return self.data.fixed_samples(split, num_samples)


def _label_key(data: EdgeDataModule) -> str:
    """Key of the labels in batches: ``mask`` for pixels, ``label`` for images."""
    hints = get_type_hints(data.batch_type)
    for key in ("mask", "label"):
        if key in hints and get_origin(hints[key]) is not list:
            return key
    raise ValueError(
        f"expected data with one class for each image or pixel, got {type(data).__name__} with batches of "
        f"{data.batch_type.__name__}"
    )


def _check_table(
    table: Mapping[str, str | None], inner_names: Sequence[str], class_names: Sequence[str], data: str, may_ignore: bool
) -> None:
    if not inner_names:
        raise ValueError(f"expected data with class_names, got {data} without them")
    if missing := [name for name in inner_names if name not in table]:
        raise ValueError(f"expected a table with all classes of {data}, got none of {missing}")
    if unknown := [name for name in table if name not in inner_names]:
        raise ValueError(f"expected a table of the classes of {data}, {list(inner_names)}, got {unknown}")
    if unknown := _distinct(name for name in table.values() if name is not None and name not in class_names):
        raise ValueError(f"expected new classes of the table among class_names, {list(class_names)}, got {unknown}")
    if unused := [name for name in class_names if name not in table.values()]:
        raise ValueError(f"expected a class of {data} for each of class_names, got none for {unused}")
    ignored = [name for name, new_name in table.items() if new_name is None]
    if ignored and not may_ignore:
        raise ValueError(
            f"expected a new class for each class of {data}, because images cannot be ignored, got None for {ignored}"
        )


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _index(name: str | None, class_names: Sequence[str]) -> int:
    return IGNORE_INDEX if name is None else class_names.index(name)
