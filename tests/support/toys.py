"""Nets and data of a few numbers, for what does not depend on their size."""

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from lightning_edge.data import EdgeDataModule
from lightning_edge.methods import Accel, PolynomialDecay
from lightning_edge.nn import AccelNet, FlowNetS, SegmentationBranch

NUM_CLASSES = 5


class PlainBranch(SegmentationBranch):
    """Two convolutions without batch norm, whose statistics differ between a batch and its parts."""

    def __init__(self, channels):
        super().__init__()
        self.num_classes = NUM_CLASSES
        self.encoder = nn.Sequential(nn.Conv2d(3, channels, 8, 8), nn.ReLU())
        self.head = nn.Conv2d(channels, NUM_CLASSES, 1)

    def features(self, image):
        return self.encoder(image)


class ToyClips(EdgeDataModule):
    batch_type = Accel.batch_type
    num_classes, class_names = NUM_CLASSES, tuple("abcde")

    def make_dataset(self, split):
        generator = torch.Generator().manual_seed(0)

        class Clips(torch.utils.data.Dataset):
            items = [  # noqa: RUF012
                {
                    "frames": torch.randint(0, 256, (3, 3, 32, 48), generator=generator).byte(),
                    "mask": torch.randint(0, NUM_CLASSES, (32, 48), generator=generator),
                }
                for _ in range(16)
            ]

            def __len__(self):
                return len(self.items)

            def __getitem__(self, draw):
                return self.items[getattr(draw, "index", draw)]

        return Clips()


class ToyImages(LightningDataModule):
    """Two batches of random images, always the same."""

    num_classes = NUM_CLASSES
    class_names = ("a", "b", "c", "d", "e")

    def train_dataloader(self):
        generator = torch.Generator().manual_seed(0)
        items = [
            {
                "image": torch.rand(3, 32, 32, generator=generator),
                "mask": torch.randint(0, NUM_CLASSES, (32, 32), generator=generator),
            }
            for _ in range(4)
        ]
        return DataLoader(items, batch_size=2)

    val_dataloader = test_dataloader = train_dataloader


def make_trainer(folder, **arguments):
    """A trainer that says and keeps nothing."""
    defaults = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": folder,
    }
    return Trainer(**(defaults | arguments))


class Losses(Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)


def make_float64_trainer(folder, losses, **arguments):
    return Trainer(
        accelerator="cpu",
        precision="64-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=[losses],
        default_root_dir=folder,
        **arguments,
    )


def portable(make_net):
    """A net in float64 that is the same on every processor: numpy draws its random weights, with their own spread.

    torch draws float32 weights with vectorized functions, whose last digits differ between processors.
    """
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        nets.append(make_net().double())
    net, other = nets
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for weight, another in zip(net.parameters(), other.parameters(), strict=True):
            is_random = weight != another
            if is_random.any():
                spread = float(f"{float(weight[is_random].std(correction=0)):.3g}")
                drawn = torch.from_numpy(generator.uniform(-1, 1, weight.shape)) * spread * 3**0.5
                weight.copy_(torch.where(is_random, drawn, weight))
    return net


def fit_in_float64(folder, batch_size, **arguments):
    """Two epochs of Accel, one in each stage: the method, and the loss of each step."""
    net = portable(lambda: AccelNet(PlainBranch(16), PlainBranch(4), FlowNetS(width=0.125)))
    method = Accel(
        net, plain_sgd, branch_stage_fraction=0.5, interval=2, max_interval=3, schedule=PolynomialDecay(0, 0)
    )
    losses = Losses()
    trainer = make_float64_trainer(folder, losses, max_epochs=2, **arguments)
    trainer.fit(method, ToyClips(batch_size=batch_size, num_workers=0))
    return method, losses.values


def plain_sgd(parameters):
    """An optimizer that does not divide by small numbers, which would make rounding large."""
    return torch.optim.SGD(parameters, 0.05)
