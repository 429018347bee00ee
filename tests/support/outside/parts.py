"""A method and a data module that know nothing of this library, for the command line's own tests."""

from abc import ABC, abstractmethod

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class TinyNet(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs)


class OtherNet(TinyNet):
    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__(num_classes)
        self.hidden = nn.Linear(4, width)


class Part(ABC):
    @abstractmethod
    def run(self) -> None: ...


class TinyMethod(LightningModule):
    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = torch.optim.SGD,
        scale: float = 1.0,
        part: Part | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net, self.optimizer, self.scale = net, optimizer, scale

    def _loss(self, batch: list[Tensor]) -> Tensor:
        return self.scale * nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = self._loss(batch)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", self._loss(batch))

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test/loss", self._loss(batch))
        self.log("test/scale", self.scale)

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.net(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self.parameters())


class TinyData(LightningDataModule):
    num_classes = 3

    def __init__(self, count: int = 8, seed: int = 0) -> None:
        super().__init__()
        self.count, self.seed = count, seed

    def _loader(self) -> DataLoader:
        generator = torch.Generator().manual_seed(self.seed)
        inputs = torch.randn(self.count, 4, generator=generator)
        return DataLoader(TensorDataset(inputs, torch.randint(3, (self.count,), generator=generator)), batch_size=2)

    train_dataloader = val_dataloader = test_dataloader = predict_dataloader = _loader


class CtrlC(Callback):
    """What Ctrl-C at a step does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, *args: object) -> None:
        if trainer.global_step == self.step:
            raise KeyboardInterrupt
