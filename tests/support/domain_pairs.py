"""Small data of two domains, and what trains on them."""

from typing import TypedDict

import torch
from lightning.pytorch import LightningModule, seed_everything
from torch import Tensor, nn
from toys import make_trainer

from lightning_edge.data import AdaptationDataModule, DigitsDataModule, EdgeDataModule
from lightning_edge.methods import Classification


class IdBatch(TypedDict):
    image: Tensor
    label: Tensor


class Ids(torch.utils.data.Dataset):
    """Images that are the requested index and seed, and labels that are the index modulo the number of classes."""

    def __init__(self, num_samples, num_classes):
        self.labels = torch.arange(num_samples).numpy() % num_classes
        self.num_samples = num_samples

    def __len__(self):
        return self.num_samples

    def __getitem__(self, item):
        index = getattr(item, "index", item)
        return {"image": torch.tensor([index, getattr(item, "seed", 0) % 2**31]), "label": int(self.labels[index])}


class IdsModule(EdgeDataModule):
    batch_type = IdBatch

    def __init__(self, num_samples, num_classes=3, **options):
        super().__init__(**({"num_workers": 0, "batch_size": 4} | options))
        self.num_samples, self.num_classes = num_samples, num_classes

    def make_dataset(self, split):
        return Ids(self.num_samples if split == "train" else 6, self.num_classes)


class Recorder(LightningModule):
    """Writes down the images of source and target of each step; may fail at a step."""

    def __init__(self, fails_at_step=None):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.fails_at_step = fails_at_step
        self.steps = []

    def training_step(self, batch, batch_idx):
        if self.global_step == self.fails_at_step:
            raise RuntimeError("power cut")
        self.steps.append((batch["image"].tolist(), self.trainer.datamodule.target_batch["image"].tolist()))
        return self.layer(torch.ones(1)).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class TinyNet(nn.Module):
    """A net without batch statistics."""

    num_classes = 10

    def __init__(self, num_classes=10):
        super().__init__()
        self.num_classes = num_classes
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 8), nn.Tanh())
        self.head = nn.Linear(8, num_classes)

    def forward(self, image):
        return self.head(self.body(image))


def digits(source, **options):
    """Images of one domain: 20 for training of each of MNIST's, 32 of MNIST-M, and 4 for validation and for test."""
    defaults = {"num_samples": (60, 40), "batch_size": 4, "num_workers": 0}
    return DigitsDataModule(keep_attributes={"source": (source,)}, **(defaults | options))


def two_digits(batch_size=4, **options):
    return AdaptationDataModule(
        digits("mnist", batch_size=batch_size), digits("mnist_m", batch_size=batch_size), **options
    )


def tiny_method(seed=0, **options):
    seed_everything(seed, verbose=False)
    return Classification(TinyNet(), **options)


def fit(method, data, *callbacks, ckpt_path=None, **options):
    """The trainer after a fit."""
    defaults = {"num_sanity_val_steps": 0, "limit_val_batches": 0, "callbacks": list(callbacks)}
    trainer = make_trainer(options.pop("folder", None), **(defaults | options))
    trainer.fit(method, data, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
    return trainer


def weights_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


class Relabeled(torch.utils.data.Dataset):
    """Samples of another dataset with other valid labels and the same images."""

    def __init__(self, samples, num_classes):
        self.samples, self.num_classes = samples, num_classes

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, item):
        sample = dict(self.samples[item])
        for key in {"label", "mask"} & set(sample):
            label = torch.as_tensor(sample[key])
            sample[key] = torch.where(label == 255, label, (label + 1) % self.num_classes).to(label.dtype)
        if "boxes_xyxy" in sample:
            sample["boxes_xyxy"] = sample["boxes_xyxy"] * 0.9
        return sample


def relabeled(data):
    """A data module whose labels are replaced by others."""
    make = data.make_dataset
    data.make_dataset = lambda split: Relabeled(make(split), data.num_classes)
    return data
