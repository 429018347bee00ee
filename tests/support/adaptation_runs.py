"""Short trainings with callbacks of domain adaptation, and what their terms are made of."""

import copy
from typing import Any, NamedTuple

import domain_pairs
import torch
from domain_pairs import digits
from lightning.pytorch import LightningModule
from settings import make_bdd100k, make_camvid, make_camvid_video
from torch import nn

from lightning_edge.data.domain_adaptation import AdaptationDataModule
from lightning_edge.methods import Classification
from lightning_edge.nn import TimmClassifier


class Foreign(LightningModule):
    """A module that knows nothing of this library, without norms."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8), nn.ReLU())
        self.fc = nn.Linear(8, 10)

    def forward(self, images):
        return self.fc(self.features(images))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch["image"]), batch["label"])

    def configure_optimizers(self):
        return torch.optim.SGD([*self.features.parameters(), *self.fc.parameters()], lr=0.1, momentum=0.9)


class Term(NamedTuple):
    """A term of one training step."""

    pair: Any
    value: torch.Tensor
    nets: Any
    """Copies of the nets that the callback owns, before the step."""
    gradients: dict[str, torch.Tensor]
    """Gradients of the parameters, those of the callback included, that have any."""

    @property
    def reached(self) -> set[str]:
        """Names of the parameters to which a gradient other than 0 flows."""
        return {name for name, gradient in self.gradients.items() if gradient.any()}

    def owned_gradients(self, part) -> dict[str, torch.Tensor]:
        """Gradients of a part of the callback's nets, by the names that its parameters have there."""
        names = {name: name.partition(f".{part}.") for name in self.gradients if name.startswith("adaptation_")}
        return {own: self.gradients[name] for name, (_, found, own) in names.items() if found}


def make_digits(num_batches=4, **options):
    return AdaptationDataModule(digits("mnist", **options), digits("mnist_m", **options), num_batches)


def make_streets():
    return AdaptationDataModule(make_camvid(), make_camvid())


def make_street_clips():
    return AdaptationDataModule(make_camvid_video(), make_camvid_video())


def make_traffic():
    return AdaptationDataModule(make_bdd100k(), make_bdd100k())


def make_classification(seed=0):
    torch.manual_seed(seed)
    method = Classification(TimmClassifier("resnet10_quarter", 10))
    for name, parameter in method.named_parameters():
        if name.endswith("bn2.weight"):  # with their zeros, only the corner of an image passes, black in every digit
            nn.init.ones_(parameter)
    return method


def fit(method, data, folder, *callbacks, **options):
    """Train, without validation, and return the trainer."""
    return domain_pairs.fit(method, data, *callbacks, folder=folder, **options)


def fit_terms(callback, method, data, folder, num_batches=1, **arguments):
    """The terms of a callback in the first batches of a training."""
    terms, original = [], callback.term

    def term(pair):
        value = original(pair)
        nets = copy.deepcopy(callback.nets) if callback._owned is not None else None
        terms.append(Term(pair, value.detach(), nets, gradients_of(value, method)))
        return value

    callback.term = term
    try:
        fit(method, data, folder, callback, limit_train_batches=num_batches, **arguments)
    finally:
        del callback.term
    return terms


def weights(method):
    """Copies of the parameters by name."""
    return {name: parameter.detach().clone() for name, parameter in method.named_parameters()}


def gradients_of(value, net):
    """Gradients of a value in the parameters of a net on which it depends."""
    parameters = dict(net.named_parameters())
    gradients = torch.autograd.grad(value, list(parameters.values()), retain_graph=True, allow_unused=True)
    return {name: grad for name, grad in zip(parameters, gradients, strict=True) if grad is not None}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
