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
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from torch import nn
from torch.autograd import grad

from callbacks.adaptation import CDAN, CMD, CORAL, DAN, DANN, JAN, MCD, MDD, AdaptationLoss, DomainConfusion
from lightning_edge.data import AdaptationDataModule
from lightning_edge.methods import Classification
from lightning_edge.ops.adaptation.adversarial import (
    classifier_discrepancy,
    domain_confusion,
    domain_loss,
    margin_disparity_loss,
)
from lightning_edge.ops.adaptation.coral import coral
from lightning_edge.ops.adaptation.mmd import joint_mmd, mmd


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


def joint(source, target, logits, target_logits, _):
    probabilities, target_probabilities = (
        values.softmax(1, torch.promote_types(values.dtype, torch.float32)) for values in (logits, target_logits)
    )
    return joint_mmd([source, probabilities], [target, target_probabilities])


CASES = {
    DAN: sum_with(lambda source, target, *_: mmd(source, target)),
    CORAL: sum_with(lambda source, target, *_: coral(source, target)),
    JAN: sum_with(joint),
    DANN: dann,
    DomainConfusion: confusion,
    MCD: mcd,
    MDD: mdd,
}
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
    witness, method = Witness(folder), tiny_method() if method is None else method
    fit(method, two_digits(batches_per_epoch=options.pop("batches", 3)), callback, witness, **options)
    return witness.steps


every_case = pytest.mark.parametrize("callback", CASES, ids=lambda callback: callback.__name__)


@every_case
def test_gradients_are_those_of_the_explicit_sum(callback):
    steps = run(callback(WEIGHT))
    check_steps(steps, CASES[callback], rtol=1e-5, atol=1e-7)
    check_steps(run(callback(WEIGHT, ramp=False), batches=2), CASES[callback], ramp=False, rtol=1e-5, atol=1e-7)


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


class Passes(Callback):
    """Counts the passes through the net in each step."""

    def __init__(self):
        self.counts = []

    def setup(self, trainer, pl_module, stage):
        pl_module.net.body.register_forward_hook(lambda *_: self.counts.append(pl_module.trainer.global_step))


def test_several_callbacks_share_one_pass_of_the_target():
    passes = Passes()
    callbacks = [DAN(), DANN(), CORAL(), CDAN(), MCD(), CMD(layer="net.body.2")]
    fit(tiny_method(), two_digits(batches_per_epoch=3), passes, *callbacks)
    assert passes.counts == [0, 0, 1, 1, 2, 2]


def test_several_callbacks_add_up():
    method, witness = tiny_method(), Witness()
    fit(method, two_digits(batches_per_epoch=3), DAN(WEIGHT), DAN(WEIGHT / 2, name="again"), witness)
    half = sum_with(lambda source, target, *_: 1.5 * mmd(source, target))
    check_steps(witness.steps, half, rtol=1e-4, atol=1e-6)


def test_equal_names_are_refused():
    method = tiny_method()
    with pytest.raises(ValueError, match="loss terms with different names, got 'dan' twice: give one of the callbacks"):
        fit(method, two_digits(), DAN(), CORAL(name="dan"))
    assert not method.loss_terms
    assert all(not module._forward_hooks for module in method.modules())
    with pytest.raises(RuntimeError, match=r"more than one stateful callback of type `DANN`.*must be unique"):
        fit(method, two_digits(), DANN(), DANN())  # which Lightning refuses


def test_a_term_of_someone_else_stays():
    method = tiny_method()
    own = method.loss_terms["dan"] = lambda batch: torch.zeros(())
    with pytest.raises(ValueError, match="got 'dan' twice"):
        fit(method, two_digits(), DAN())
    assert method.loss_terms == {"dan": own}
    callback = DAN(name="other")
    fit(method, two_digits(), callback)
    assert method.loss_terms == {"dan": own}


def test_the_logged_value_is_weighted():
    method = tiny_method()
    trainer = fit(method, two_digits(batches_per_epoch=1), CORAL(weight=0.5, ramp=False))
    once = float(trainer.callback_metrics["train/coral"])
    trainer = fit(tiny_method(), two_digits(batches_per_epoch=1), CORAL(weight=1.0, ramp=False))
    assert float(trainer.callback_metrics["train/coral"]) == pytest.approx(2 * once)
    assert float(fit(tiny_method(), two_digits(batches_per_epoch=1), CORAL()).callback_metrics["train/coral"]) == 0


class Recorded(AdaptationLoss):
    """Keeps what it gets."""

    def __init__(self, layer=None, name="recorded"):
        super().__init__(1.0, layer, False, name)
        self.pairs = []

    def loss(self, pair):
        self.pairs.append(pair)
        return 0 * pair.target.outputs.sum()


def test_a_pair_is_of_the_present_step():
    callback, method = Recorded(), tiny_method()
    data = two_digits(batches_per_epoch=3)
    fit(method, data, callback, max_epochs=2, limit_val_batches=1)
    assert [pair.progress for pair in callback.pairs] == pytest.approx([step / 6 for step in range(6)])
    for pair in callback.pairs:
        assert len(pair.source.features) == len(pair.target.features) == 4
        assert set(pair.batch) >= {"image", "label"}
        assert torch.equal(pair.target_output, pair.target.outputs)
        assert pair.source.outputs.shape == (4, 10)
    assert callback._domains is None
    features = [pair.source.features for pair in callback.pairs]
    assert all(not torch.equal(features[0], other) for other in features[1:])


def test_a_layer_that_is_called_by_keyword():
    class ByKeyword(TinyNet):
        def forward(self, image):
            return self.head(input=self.body(image))

    callback = Recorded()
    fit(Classification(ByKeyword()), two_digits(batches_per_epoch=1), callback)
    assert callback.pairs[0].source.features.shape == (4, 8)


def test_a_layer_in_the_middle():
    callback = Recorded("net.body.2")
    fit(tiny_method(), two_digits(batches_per_epoch=1), callback)
    assert callback.pairs[0].target.features.shape == (4, 48)
    assert callback.pairs[0].target.outputs.shape == (4, 8)


def test_the_last_run_of_a_layer_counts():
    class Twice(TinyNet):
        def forward(self, image):
            super().forward(0 * image)
            return super().forward(image)

    once, twice = Recorded(), Recorded()
    for net, callback in ((TinyNet(), once), (Twice(), twice)):
        net.load_state_dict(tiny_method().net.state_dict())
        fit(Classification(net), two_digits(batches_per_epoch=1), callback)
    for side in ("source", "target"):
        torch.testing.assert_close(getattr(once.pairs[0], side), getattr(twice.pairs[0], side))


def test_a_term_that_runs_the_net_itself_disturbs_nothing():
    class Disturbs(Recorded):
        def loss(self, pair):
            self.classifier(torch.zeros_like(pair.source.features))
            return super().loss(pair)

    first, second = Disturbs(name="first"), Recorded(name="second")
    fit(tiny_method(), two_digits(batches_per_epoch=2), first, second)
    for one, other in zip(first.pairs, second.pairs, strict=True):
        assert one.source.features is other.source.features
        assert one.target.features is other.target.features


class ManySteps(torch.optim.SGD):
    """Computes the loss twice in a step, as a line search does."""

    def step(self, closure):
        closure()
        return super().step(closure)


def test_a_loss_that_is_computed_twice_in_a_step():
    callback, method = DAN(WEIGHT), tiny_method(optimizer=lambda groups: ManySteps(groups, 0.1))
    recorded = Recorded()
    fit(method, two_digits(batches_per_epoch=2), callback, recorded)
    assert len(recorded.pairs) == 4
    first, second = recorded.pairs[:2]
    assert torch.equal(first.batch["image"], second.batch["image"])
    assert first.source.features is not second.source.features
    assert first.target.features is not second.target.features


def test_a_larger_batch_size_is_found_with_the_callback(tmp_path):
    data, callback = two_digits(batch_size=2), DANN()
    fit(tiny_method(), data, BatchSizeFinder(max_trials=2, steps_per_trial=2), callback, folder=tmp_path)
    assert (data.source.batch_size, data.target.batch_size) == (4, 4)


def test_a_learning_rate_is_found_with_the_callback(tmp_path):
    method = Tunable()
    fit(method, two_digits(), DANN(), LearningRateFinder(num_training_steps=4, update_attr=False), folder=tmp_path)


class Tunable(Classification):
    def __init__(self):
        super().__init__(TinyNet())
        self.lr = 1e-3


def test_sources_of_another_batch_size():
    data = AdaptationDataModule(digits("mnist", batch_size=6), digits("mnist_m", batch_size=3))
    for callback in (DAN(), CORAL(), DANN(), MDD()):
        fit(tiny_method(), data, callback, limit_train_batches=2)


def test_nothing_is_recorded_in_validation():
    callback = Recorded()
    trainer = fit(tiny_method(), two_digits(batches_per_epoch=2), callback, limit_val_batches=1)
    assert "val_target/accuracy" in trainer.callback_metrics
    assert len(callback.pairs) == 2


def test_the_layers_have_no_hooks_after_the_fit():
    method = tiny_method()
    fit(method, two_digits(batches_per_epoch=2), DAN(), DANN(layer="net.body.2"))
    assert all(not module._forward_hooks for module in method.modules())
    assert isinstance(method.net.head, nn.Linear)
