"""A data module from outside the library."""

import torch
from torch.utils.data import Dataset

from lightning_edge.contracts import SegmentationBatch
from lightning_edge.data import EdgeDataModule


class Squares(Dataset):
    """Bright squares on a dark ground; the class of a pixel says whether it is bright."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, draw) -> dict[str, torch.Tensor]:
        index = getattr(draw, "index", draw)
        mask = torch.zeros(32, 32, dtype=torch.uint8)
        mask[index % 16 :, 8:24] = 1
        return {"image": (mask * 200 + 20).expand(3, -1, -1).contiguous(), "mask": mask}


class SquaresDataModule(EdgeDataModule):
    """Two classes, made in memory."""

    batch_type = SegmentationBatch
    num_classes = 2
    class_names = ("ground", "square")

    def make_dataset(self, split: str) -> Squares:
        return Squares({"train": 32, "val": 8, "test": 8}[split])
