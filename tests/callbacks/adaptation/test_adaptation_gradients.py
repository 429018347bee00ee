"""The term of a callback in the loss, compared with the sum that is written out without Lightning."""

import copy
import math
from contextlib import nullcontext
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from domain_pairs import TinyNet, digits, fit, tiny_method, two_digits
from lightning.pytorch import Callback
from torch.autograd import grad

from callbacks.adaptation import (
    BNM,
    CDAN,
    CMD,
    CORAL,
    DAN,
    DANN,
    JAN,
    MCC,
    MCD,
    MDD,
    ClassDiscrepancy,
    DeepJDOT,
    DomainConfusion,
    EntropyMinimization,
)
from lightning_edge.ops.adaptation.adversarial import (
    classifier_discrepancy,
    domain_confusion,
    domain_loss,
    margin_disparity_loss,
)
from lightning_edge.ops.adaptation.central_moments import central_moment_discrepancy
from lightning_edge.ops.adaptation.class_confusion import class_confusion
from lightning_edge.ops.adaptation.class_discrepancy import contrastive_domain_discrepancy, local_mmd
from lightning_edge.ops.adaptation.coral import coral, log_coral
from lightning_edge.ops.adaptation.entropy import softmax_entropy
from lightning_edge.ops.adaptation.mmd import joint_mmd, linear_time_mmd, mmd
from lightning_edge.ops.adaptation.transport import joint_transport_cost


class Witness(Callback):
    """Keeps the weights, batches and gradients of every step."""

    def __init__(self, folder=None):
        self.steps, self.batches, self.folder = [], [], folder

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if not self.batches:
            self.modules = copy.deepcopy(dict(pl_module.named_children()))
            for module in (part for child in self.modules.values() for part in child.modules()):
                module._forward_hooks.clear()
            self.progress = trainer.global_step / trainer.estimated_stepping_batches
        self.batches.append((batch, trainer.datamodule.target_batch["image"]))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        gradients = {name: value.grad.clone() for name, value in pl_module.named_parameters()}
        self.steps.append((self.modules, self.batches, self.progress, gradients))
        self.batches = []
        if self.folder is not None:
            torch.save(self.steps, self.folder / f"{trainer.global_rank}.pt")


def factor(progress):
    return 2 / (1 + math.exp(-10 * progress)) - 1


def explicit_gradients(modules, source, target, sum_of):
    """Gradients of the sum of the method's loss and a term, both written out."""
    net = modules["net"]
    features, target_features = net.body(source["image"]), net.body(target)
    logits, target_logits = net.head(features), net.head(target_features)
    loss = F.cross_entropy(logits, source["label"])
    names = {name: value for part, module in modules.items() for name, value in named(part, module)}
    gradients = sum_of(loss, modules, names, features, target_features, logits, target_logits, source["label"])
    return {name: torch.zeros_like(names[name]) if value is None else value for name, value in gradients.items()}


def named(part, module):
    return [(f"{part}.{name}", value) for name, value in module.named_parameters()]


def gradients_of(loss, names):
    with torch.autocast("cpu", enabled=False):
        return dict(zip(names, grad(loss, names.values(), retain_graph=True, allow_unused=True), strict=True))


def combined(*parts):
    """Weighted sum of gradients."""
    total = {}
    for weight, gradients in parts:
        for name, value in gradients.items():
            if value is not None:
                total[name] = total.get(name, 0) + weight * value
    return total


def of(names, part):
    return {name: value for name, value in names.items() if name.startswith(part)}


def sum_with(term):
    """Plain sum of the loss and a term of the features."""

    def sum_of(strength, loss, modules, names, *layers):
        return gradients_of(loss + strength * term(*layers), names)

    return sum_of


def dann(strength, loss, modules, names, source, target, *_):
    judge = modules["adaptation_dann"]
    term = domain_loss(judge(source), judge(target))
    body = gradients_of(term, of(names, "net.body"))
    return combined((1, gradients_of(loss, names)), (1, gradients_of(term, of(names, "adap"))), (-strength, body))


def confusion(strength, loss, modules, names, source, target, *_):
    judge = modules["adaptation_domain_confusion"]
    learns = gradients_of(domain_loss(judge(source), judge(target)), of(names, "adap"))
    body = gradients_of(domain_confusion(judge(source), judge(target)), of(names, "net.body"))
    return combined((1, gradients_of(loss, names)), (1, learns), (strength, body))


def mcd(strength, loss, modules, names, source, target, logits, target_logits, labels):
    second = modules["adaptation_mcd"]
    both = gradients_of(loss + F.cross_entropy(second(source), labels), names)
    differ = classifier_discrepancy(target_logits, second(target))
    classifiers = gradients_of(differ, of(names, "net.head") | of(names, "adap"))
    return combined((1, both), (-strength, classifiers), (strength, gradients_of(differ, of(names, "net.body"))))


def mdd(strength, loss, modules, names, source, target, logits, target_logits, labels):
    second = modules["adaptation_mdd"]
    term = margin_disparity_loss(
        logits.detach(), second(source), target_logits.detach(), second(target), margin_factor=4.0
    )
    learns, body = gradients_of(term, of(names, "adap")), gradients_of(term, of(names, "net.body"))
    return combined((1, gradients_of(loss, names)), (1, learns), (-strength, body))


def cdan(strength, loss, modules, names, source, target, *layers, entropy=True):
    judge = modules["adaptation_cdan"]
    sides = []
    for features, logits in zip((source, target), layers, strict=False):
        products = torch.einsum("bc,bf->bcf", probabilities(logits).detach(), features).flatten(1)
        weights = 1 + torch.exp(-softmax_entropy(logits.detach())) if entropy else torch.ones(len(logits))
        sides.append((judge(products).squeeze(-1), weights / weights.mean()))
    (is_source, source_weights), (is_target, target_weights) = sides
    term = ((source_weights * F.softplus(-is_source)).mean() + (target_weights * F.softplus(is_target)).mean()) / 2
    body = gradients_of(term, of(names, "net.body"))
    return combined((1, gradients_of(loss, names)), (1, gradients_of(term, of(names, "adap"))), (-strength, body))


def probabilities(logits):
    return logits.softmax(1, torch.promote_types(logits.dtype, torch.float32))


def joint(source, target, logits, target_logits, _):
    return joint_mmd([source, probabilities(logits)], [target, probabilities(target_logits)])


def entropy(source, target, logits, target_logits, _):
    return softmax_entropy(target_logits).mean()


def negative_information(source, target, logits, target_logits, _):
    mean = probabilities(target_logits).mean(0)
    return (mean * mean.log()).sum() + softmax_entropy(target_logits).mean()


def negative_norm(source, target, logits, target_logits, _):
    return -torch.linalg.matrix_norm(probabilities(target_logits), "nuc") / len(target_logits)


def confusion_of_classes(source, target, logits, target_logits, _):
    return class_confusion(target_logits, 2.5)


def discrepancy_by_probability(source, target, logits, target_logits, labels):
    return local_mmd(source, target, labels, probabilities(target_logits).detach())


def discrepancy_by_prediction(source, target, logits, target_logits, labels):
    return contrastive_domain_discrepancy(source, target, labels, target_logits.argmax(1), 10)


def transport(source, target, logits, target_logits, labels, *weights):
    return joint_transport_cost(source, target, labels, target_logits, *weights)


CASES = {
    DAN: sum_with(lambda source, target, *_: mmd(source, target)),
    CORAL: sum_with(lambda source, target, *_: coral(source, target)),
    CMD: sum_with(lambda source, target, *_: central_moment_discrepancy(source, target, 5, None)),
    JAN: sum_with(joint),
    ClassDiscrepancy: sum_with(discrepancy_by_probability),
    DeepJDOT: sum_with(lambda *layers: transport(*layers, 0.001, 0.1)),
    EntropyMinimization: sum_with(negative_information),
    BNM: sum_with(negative_norm),
    MCC: sum_with(confusion_of_classes),
    DANN: dann,
    CDAN: cdan,
    DomainConfusion: confusion,
    MCD: mcd,
    MDD: mdd,
}
OPTIONS = {
    "linear_time": (DAN, True, sum_with(lambda source, target, *_: linear_time_mmd(source, target))),
    "log_euclidean": (CORAL, True, sum_with(lambda source, target, *_: log_coral(source, target))),
    "num_moments": (CMD, 3, sum_with(lambda source, target, *_: central_moment_discrepancy(source, target, 3, None))),
    "interval": (CMD, 2.0, sum_with(lambda source, target, *_: central_moment_discrepancy(source, target, 5, 2.0))),
    "contrastive": (ClassDiscrepancy, True, sum_with(discrepancy_by_prediction)),
    "feature_weight": (DeepJDOT, 0.5, sum_with(lambda *layers: transport(*layers, 0.5, 0.1))),
    "class_weight": (DeepJDOT, 0.5, sum_with(lambda *layers: transport(*layers, 0.001, 0.5))),
    "temperature": (MCC, 1.0, sum_with(lambda *layers: class_confusion(layers[3], 1.0))),
    "diversity": (EntropyMinimization, False, sum_with(entropy)),
    "entropy": (CDAN, False, partial(cdan, entropy=False)),
}
"""Callback, value and explicit sum for each option."""
WEIGHT = 0.7


def check_steps(steps, sum_of, ramp=True, precision=None, **tolerance):
    assert len(steps) > 1
    for modules, batches, progress, gradients in steps:
        strength = WEIGHT * (factor(progress) if ramp else 1)
        with nullcontext() if precision is None else torch.autocast("cpu", precision):
            explicit = [
                explicit_gradients(modules, source, target, partial(sum_of, strength)) for source, target in batches
            ]
        expected = combined(*((1 / len(batches), of_batch) for of_batch in explicit))
        assert gradients.keys() == expected.keys()
        if precision is None:
            torch.testing.assert_close(gradients, expected, **tolerance)
        else:  # whose sums of large numbers that cancel depend on their order
            for name, value in expected.items():
                assert (gradients[name] - value).norm() < 0.02 * value.norm() + 1e-3, name


def run(callback, method=None, folder=None, **options):
    if isinstance(callback, DeepJDOT):
        pytest.importorskip("ot")
    witness, method = Witness(folder), tiny_method() if method is None else method
    data = two_digits(options.pop("batch_size", 4), batches_per_epoch=options.pop("batches", 3))
    fit(method, data, callback, witness, **options)
    return witness.steps


every_case = pytest.mark.parametrize("callback", CASES, ids=lambda callback: callback.__name__)


@every_case
def test_gradients_are_those_of_the_explicit_sum(callback):
    steps = run(callback(WEIGHT))
    check_steps(steps, CASES[callback], rtol=1e-5, atol=1e-7)
    check_steps(run(callback(WEIGHT, ramp=False), batches=2), CASES[callback], ramp=False, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("option", OPTIONS)
def test_gradients_with_another_option_are_those_of_the_explicit_sum(option):
    callback, value, sum_of = OPTIONS[option]
    steps = run(callback(WEIGHT, **{option: value}), batch_size=10)
    check_steps(steps, sum_of, rtol=1e-5, atol=1e-7)


@every_case
def test_gradients_in_float64(callback):
    check_steps(run(callback(WEIGHT), precision="64-true"), CASES[callback], rtol=1e-9, atol=1e-12)


@every_case
def test_gradients_are_accumulated(callback):
    steps = run(callback(WEIGHT), batches=4, accumulate_grad_batches=2)
    assert [len(batches) for _, batches, _, _ in steps] == [2, 2]
    check_steps(steps, CASES[callback], rtol=1e-5, atol=1e-7)


@every_case
def test_gradients_in_mixed_precision(callback):
    steps = run(callback(WEIGHT), precision="bf16-mixed")
    check_steps(steps, CASES[callback], precision=torch.bfloat16)


@pytest.mark.parametrize("callback", [DAN, DANN])
def test_two_processes_use_the_mean_of_their_gradients(callback, tmp_path):
    run(callback(WEIGHT), folder=tmp_path, devices=2, strategy="ddp_fork")
    shares = [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2)]
    steps = []
    for (modules, batches, progress, gradients), (other_modules, others, _, same) in zip(*shares, strict=True):
        torch.testing.assert_close(gradients, same, rtol=0, atol=0)
        for name, module in modules.items():
            torch.testing.assert_close(module.state_dict(), other_modules[name].state_dict(), rtol=0, atol=0)
        assert not torch.equal(batches[0][1], others[0][1])
        steps.append((modules, batches + others, progress, gradients))
    check_steps(steps, CASES[callback], rtol=1e-5, atol=1e-7)


def compile_net(method):
    method.net = torch.compile(method.net)


def compile_head(method):
    method.net.head = torch.compile(method.net.head)


def compile_in_place(method):
    method.net.compile()


@pytest.mark.slow
@pytest.mark.parametrize("compile_parts", [compile_net, compile_head, compile_in_place])
def test_gradients_of_a_compiled_net(compile_parts):
    """The net ran before a callback watched it, and it runs for a second callback later."""
    torch.compiler.reset()
    method = tiny_method()
    compile_parts(method)
    fit(method, digits("mnist"), limit_train_batches=1, limit_val_batches=1, num_sanity_val_steps=1)
    for callback in (DAN, DANN):
        steps = []
        for modules, batches, progress, gradients in run(callback(WEIGHT), method):
            net = TinyNet()
            net.load_state_dict({plain(name): value for name, value in modules["net"].state_dict().items()})
            steps.append((modules | {"net": net}, batches, progress, {plain(n): g for n, g in gradients.items()}))
        check_steps(steps, CASES[callback], rtol=1e-4, atol=1e-6)


def plain(name):
    return name.replace("_orig_mod.", "")


def test_several_callbacks_add_up():
    method, witness = tiny_method(), Witness()
    fit(method, two_digits(batches_per_epoch=3), DAN(WEIGHT), DAN(WEIGHT / 2, name="again"), witness)
    half = sum_with(lambda source, target, *_: 1.5 * mmd(source, target))
    check_steps(witness.steps, half, rtol=1e-4, atol=1e-6)
