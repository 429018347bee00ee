"""Trainings that are scored without labels of the target."""

import copy

import torch
from domain_pairs import digits, tiny_method
from lightning.pytorch import Callback

from lightning_edge.data import AdaptationDataModule
from lightning_edge.metrics.adaptation.target_free_scores import KEYS, target_free_scores

SCORES = {f"target_free/{key}" for key in KEYS}

FITS = {"max_epochs": 5, "limit_val_batches": 1.0}


def make_data(change=lambda data: data, **options):
    """Ten images of each domain for validation, in batches of four."""
    source, target = (digits(name, num_samples=(60, 100), eval_batch_size=4) for name in ("mnist", "mnist_m"))
    return AdaptationDataModule(source, change(target), batches_per_epoch=2, **options)


class Collected(Callback):
    """Batches of each validation by loader, and a copy of the net."""

    def __init__(self):
        self.validations, self.scores = [], []

    def on_validation_epoch_start(self, trainer, pl_module):
        self.net, self.batches = copy.deepcopy(pl_module.net).eval(), {}
        for module in self.net.modules():
            module._forward_hooks.clear()

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        name = trainer.datamodule.evaluation_names[dataloader_idx]
        self.batches.setdefault(name, []).append(batch)

    def on_validation_end(self, trainer, pl_module):
        self.validations.append((self.net, self.batches))
        self.scores.append(scores_of(trainer))


def scores_of(trainer):
    return {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("target_free/")}


def score_by_hand(net, batches):
    with torch.no_grad():
        rows = {name: [(net.body(batch["image"]), batch["label"]) for batch in all_] for name, all_ in batches.items()}
        features = {name: torch.cat([one for one, _ in parts]) for name, parts in rows.items()}
        labels = torch.cat([one for _, one in rows[""]])
        logits = {name: net.head(values) for name, values in features.items()}
    scores = target_free_scores(features[""], logits[""], labels, features["target"], logits["target"])
    return {f"target_free/{key}": value for key, value in scores.items()}


def fast_method(seed=0):
    return tiny_method(seed, optimizer=lambda groups: torch.optim.Adam(groups, 0.1))


def make_easy_data():
    """A target on which the accuracy changes within a few steps."""
    source, target = (digits("mnist", num_samples=(60, 100)) for _ in range(2))
    return AdaptationDataModule(source, target, batches_per_epoch=12)
