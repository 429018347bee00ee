"""A net and data small enough to know all gradients of."""

import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from toys import make_trainer


class Small(LightningModule):
    """A net whose step has dropout or batch norm in it, or whatever else is given."""

    def __init__(self, *layers, rate=0.1):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 16), *layers, nn.Tanh(), nn.Linear(16, 3))
        self.rate = rate

    def training_step(self, batch, batch_idx):
        points, labels = batch
        return {"loss": nn.functional.cross_entropy(self.net(points), labels)}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.rate, momentum=0.9)


def points(count, size=8):
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.randn(count, size, generator=generator)


def labeled(count):
    return TensorDataset(points(count), torch.arange(count) % 3)


def per_example(module, dataset):
    """Trace of the sample covariance of single examples' gradients, and squared norm of their mean without bias."""
    rows = []
    for example in DataLoader(dataset, batch_size=1):
        output = module.training_step(example, 0)
        loss = output["loss"] if isinstance(output, dict) else output
        module.zero_grad()
        loss.backward()
        rows.append(torch.cat([weight.grad.flatten() for weight in module.parameters()]))
    module.zero_grad()
    gradients = torch.stack(rows).double()
    variance = gradients.var(0, unbiased=True).sum()
    return float(variance), float(gradients.mean(0).square().sum() - variance / len(gradients))


def fit(folder, module, dataset, callback, batch_size, shuffle=False, **arguments):
    trainer = make_trainer(folder, callbacks=[callback], limit_val_batches=0, **arguments)
    trainer.fit(module, DataLoader(dataset, batch_size=batch_size, shuffle=shuffle))
    return trainer
