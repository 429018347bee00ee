"""Trainings with a mean teacher, and what they saw in each step."""

import copy

import torch
from domain_pairs import TinyNet, fit
from lightning.pytorch import Callback
from torch import nn
from torch.func import functional_call

from callbacks.adaptation import MeanTeacher
from lightning_edge.methods import Classification


class NormNet(TinyNet):
    """A net with batch statistics and dropout."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(self.body, nn.BatchNorm1d(8))


def norm_method(seed=0):
    torch.manual_seed(seed)
    return Classification(NormNet())


class Witness(Callback):
    """Keeps copies of the module, the teacher and the batches around each training batch."""

    def __init__(self, teacher):
        self.teacher, self.batches, self.weights, self.teachers, self.seen = teacher, [], [], [], []

    def on_train_start(self, trainer, pl_module):
        self.weights.append(parameters_of(pl_module))
        self.handle = pl_module.net.register_forward_pre_hook(lambda _, inputs: self.seen[-1].append(inputs[0].clone()))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append([])
        target = trainer.datamodule.target_batch["image"].clone()
        self.batches.append((copy.deepcopy(batch), target, copy.deepcopy(pl_module.net), state_of(self.teacher)))

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        self.weights.append(parameters_of(pl_module))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.teachers.append(teacher_of(self.teacher))

    def on_train_end(self, trainer, pl_module):
        self.handle.remove()


def parameters_of(module):
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def state_of(callback):
    return {name: value.clone() for name, value in callback.nets.state_dict().items()}


def teacher_of(callback):
    """Weights of the teacher by the names of the module."""
    return {name: callback.nets.get_buffer(own).clone() for name, own in callback.nets._names.items()}


def watch(method, data, *callbacks, **options):
    teacher = next(callback for callback in callbacks if isinstance(callback, MeanTeacher))
    witness = Witness(teacher)
    witness.trainer = fit(method, data, *callbacks, witness, **options)
    return witness


def assert_equal(actual, expected, **tolerance):
    torch.testing.assert_close(actual, expected, **({"rtol": 0, "atol": 0} | tolerance))


class AfterSteps(Callback):
    """Keeps the parameters after each optimizer step."""

    def __init__(self):
        self.weights = []

    def on_train_start(self, trainer, pl_module):
        self.weights.append(parameters_of(pl_module))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == len(self.weights):
            self.weights.append(parameters_of(pl_module))


def running_means(weights, decay):
    """Means by hand, in float64, after each step; early ones over all weights so far."""
    mean = {name: value.double() for name, value in weights[0].items()}
    means = [mean]
    for step, now in enumerate(weights[1:], 1):
        rate = max(1 - decay, 1 / (step + 1))
        mean = {name: (1 - rate) * mean[name] + rate * value.double() for name, value in now.items()}
        means.append(mean)
    return means


def explicit_term(net, state, names, target, changed, threshold):
    """Mean weighted cross-entropy of a classification step, by hand."""
    weights = {name.removeprefix("net."): state[own].clone() for name, own in names.items()}
    with torch.no_grad():
        probabilities = functional_call(net, weights, target).softmax(1)
    logits, total = net(changed).detach(), 0.0
    for row, probability in zip(logits, probabilities, strict=True):
        label = int(probability.argmax())
        if probability[label] > threshold:
            total = total - row.log_softmax(0)[label]
    return total / len(target)


class Terms(Callback):
    """Keeps logged values of each batch."""

    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append({key: float(value) for key, value in trainer.callback_metrics.items()})
