"""Trainings with batch norms, and the statistics of their batches."""

import copy

import torch
from domain_pairs import TinyNet
from lightning.pytorch import Callback
from torch import nn

from lightning_edge.methods import Classification

NORMS = ("net.body.0", "net.body.4")


class NormNet(TinyNet):
    def __init__(self, momentum=0.1):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(3, momentum=momentum), *self.body, nn.BatchNorm1d(8, momentum=momentum)
        )
        self.body = nn.Sequential(*[part for part in self.body if not isinstance(part, nn.Tanh)])


def norm_method(seed=0, **options):
    torch.manual_seed(seed)
    return Classification(NormNet(**options))


def statistics_of(module, names=NORMS):
    norms = {name: module.get_submodule(name) for name in names}
    return {f"{name}.{key}": value.clone() for name, norm in norms.items() for key, value in norm.named_buffers()}


class Inputs(Callback):
    """Keeps the inputs of all norms in training, by pass: source and target take turns."""

    def __init__(self, folder=None):
        self.inputs, self.outputs, self.folder = {name: [] for name in NORMS}, {}, folder

    def on_fit_start(self, trainer, pl_module):
        for name, inputs in self.inputs.items():
            pl_module.get_submodule(name).register_forward_pre_hook(
                lambda norm, args, inputs=inputs: inputs.append(args[0].detach().clone()) if norm.training else None
            )

    def on_fit_end(self, trainer, pl_module):
        if self.folder is not None:
            torch.save((self.inputs, statistics_of(pl_module)), self.folder / f"{trainer.global_rank}.pt")


def running_statistics(inputs, momentum=0.1):
    """Statistics of norms after passes of these inputs, in float64."""
    statistics = {}
    for name, values in inputs.items():
        mean, var = 0.0, 1.0
        for number, one in enumerate(values, 1):
            rows = one.double().transpose(0, 1).flatten(1)
            rate = 1 / number if momentum is None else momentum
            mean = (1 - rate) * mean + rate * rows.mean(1)
            var = (1 - rate) * var + rate * ((rows - rows.mean(1, keepdim=True)) ** 2).sum(1) / (rows.shape[1] - 1)
        statistics |= {f"{name}.running_mean": mean, f"{name}.running_var": var}
        statistics[f"{name}.num_batches_tracked"] = torch.tensor(len(values))
    return statistics


def of_pass(inputs, first):
    return {name: values[first::2] for name, values in inputs.items()}


def assert_close(actual, expected, **tolerance):
    expected = {name: value.to(actual[name].dtype) for name, value in expected.items()}
    torch.testing.assert_close(dict(actual), expected, **({"rtol": 1e-5, "atol": 1e-6} | tolerance))


def source_of(norms):
    return norms.state_dict()["kept"]


class Evaluated(Callback):
    """Keeps images and logits of evaluations by loader, and the statistics of the module after each."""

    def __init__(self):
        self.rows, self.loader = {}, None

    def setup(self, trainer, pl_module, stage):
        self.handle = pl_module.net.register_forward_hook(self.see)

    def teardown(self, trainer, pl_module, stage):
        self.handle.remove()

    def see(self, net, inputs, outputs):
        if self.loader is not None and not torch.is_grad_enabled():
            self.rows.setdefault(self.loader, []).append((inputs[0], outputs))

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.loader = trainer.datamodule.evaluation_names[dataloader_idx]

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.loader = None

    on_test_batch_start = on_validation_batch_start
    on_test_batch_end = on_validation_batch_end


def logits_with(method, statistics, images):
    net = copy.deepcopy(method.net).eval()
    net.load_state_dict({n.removeprefix("net."): value for n, value in statistics.items()}, strict=False)
    with torch.no_grad():
        return net(images)


def check_evaluated(evaluated, method, source, target):
    assert set(evaluated.rows) == {"", "target"}
    for name, statistics in (("", source), ("target", target)):
        for images, logits in evaluated.rows[name]:
            torch.testing.assert_close(logits.clone(), logits_with(method, statistics, images), rtol=1e-5, atol=1e-6)
    images, _ = evaluated.rows[""][0]
    assert not torch.allclose(*(logits_with(method, one, images) for one in (source, target)), atol=1e-3)
