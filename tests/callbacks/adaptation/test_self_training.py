"""The mean teacher: what it is, what it teaches, and what the module learns from it."""

import copy

import pytest
import torch
import torch.nn.functional as F
from adaptation_runs import Foreign
from domain_pairs import TinyNet, fit, tiny_method, two_digits, weights_of
from lightning.pytorch import Callback
from settings import (
    make_camvid,
    make_camvid_video,
    make_deep_feature_flow,
    make_office_caltech,
    make_segmentation,
)
from torch import nn
from torch.func import functional_call

from callbacks.adaptation import CORAL, DANN, DomainNorms, MeanTeacher
from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.data import AdaptationDataModule
from lightning_edge.methods import Classification, Segmentation
from lightning_edge.nn.adaptation.appearance import RandomAppearance

NO_CHANGE = RandomAppearance(contrast=0, brightness=0, patch=0)


class NormNet(TinyNet):
    """A net with batch statistics and dropout."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(self.body, nn.BatchNorm1d(8))


class PixelNet(nn.Module):
    num_classes = 11

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Conv2d(6, 11, 1)

    def forward(self, image):
        return self.head(self.body(image))


def norm_method(seed=0):
    torch.manual_seed(seed)
    return Classification(NormNet())


def pixel_method():
    torch.manual_seed(0)
    return Segmentation(PixelNet())


def streets(**options):
    return AdaptationDataModule(make_camvid(), make_camvid(), **options)


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


@pytest.mark.parametrize("decay", [0.0, 0.6, 0.999])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_teacher_is_the_running_mean_of_the_weights_after_steps(decay, accumulated):
    steps, callback = AfterSteps(), MeanTeacher(threshold=0.05, decay=decay)
    witness = watch(
        norm_method(),
        two_digits(batches_per_epoch=4),
        steps,
        callback,
        max_epochs=2,
        accumulate_grad_batches=accumulated,
    )
    assert len(witness.teachers) == 8
    assert len(steps.weights) == 8 // accumulated + 1
    means = running_means(steps.weights, decay)
    for batch, teacher in enumerate(witness.teachers, 1):
        expected = means[batch // accumulated]
        assert_equal({name: teacher[name].double() for name in expected}, expected, rtol=1e-4, atol=1e-6)
    if decay == 0.999:  # which has no effect in the first steps
        mean = {name: torch.stack([w[name] for w in steps.weights]).mean(0) for name in steps.weights[0]}
        assert_equal({name: witness.teachers[-1][name] for name in mean}, mean, rtol=1e-4, atol=1e-6)
    if decay == 0.0:
        latest = steps.weights[-1]
        assert_equal({name: witness.teachers[-1][name] for name in latest}, latest, rtol=1e-5, atol=1e-6)


def test_the_teacher_sees_the_target_and_the_module_a_changed_one():
    callback = MeanTeacher(threshold=0.05)
    witness = watch(norm_method(), two_digits(batches_per_epoch=3), callback)
    for (batch, target, *_), seen in zip(witness.batches, witness.seen, strict=True):
        source_pass, teacher_pass, target_pass = seen  # the third one is recorded
        assert torch.equal(source_pass, batch["image"])
        assert torch.equal(teacher_pass, target)
        assert target_pass.shape == target.shape
        assert not torch.allclose(target_pass, target, atol=0.05)


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


def test_the_term_is_the_cross_entropy_of_confident_labels():
    shares = set()
    for threshold in (0.05, 0.15, 0.17, 0.19, 0.9):
        callback, terms = MeanTeacher(weight=0.7, threshold=threshold, ramp=False), Terms()
        witness = watch(norm_method(), two_digits(batches_per_epoch=3), terms, callback)
        for (_, target, net, state), seen, values in zip(witness.batches, witness.seen, terms.values, strict=True):
            names = callback.nets._names
            expected = 0.7 * float(explicit_term(net, state, names, target, seen[2], threshold))
            assert values["train/mean_teacher"] == pytest.approx(expected, rel=1e-4, abs=1e-6)
            shares.add(values["train/confident_share"])
    assert {0, 1} < shares <= {0, 0.25, 0.5, 0.75, 1}


def test_with_a_threshold_of_1_nothing_is_learned_from_the_target():
    plain, method, terms = tiny_method(), tiny_method(), Terms()
    data = two_digits(batches_per_epoch=3)
    fit(plain, data)
    fit(method, two_digits(batches_per_epoch=3), MeanTeacher(threshold=1.0), terms)
    assert_equal(weights_of(method), weights_of(plain))
    assert all(values["train/mean_teacher"] == 0 for values in terms.values)
    assert all(values["train/confident_share"] == 0 for values in terms.values)


def test_the_ramp_starts_with_0():
    terms = Terms()
    fit(tiny_method(), two_digits(batches_per_epoch=3), MeanTeacher(threshold=0.05), terms)
    values = [value["train/mean_teacher"] for value in terms.values]
    assert values[0] == 0
    assert 0 < values[1] < values[2] + 1


def test_statistics_of_the_teacher_are_its_own():
    callback, method = MeanTeacher(threshold=0.05), norm_method()
    witness = watch(method, two_digits(batches_per_epoch=4), callback)
    mean, count = torch.zeros(8), 0
    for _, target, net, state in witness.batches:
        weights = {name.removeprefix("net."): state[own].clone() for name, own in callback.nets._names.items()}
        features = functional_call(
            net.body[0], {n.removeprefix("body.0."): w for n, w in weights.items() if n.startswith("body.0.")}, target
        )
        mean, count = 0.9 * mean + 0.1 * features.mean(0), count + 1
    teacher = witness.teachers[-1]
    assert_equal(teacher["net.body.1.running_mean"], mean, rtol=1e-4, atol=1e-6)
    assert int(teacher["net.body.1.num_batches_tracked"]) == count == 4
    assert int(method.net.body[1].num_batches_tracked) == 8  # source and changed target
    assert not torch.allclose(method.net.body[1].running_mean, mean, atol=1e-3)


@pytest.mark.parametrize("mix", [False, True])
def test_pixels_count_by_the_share_of_confident_ones_and_pasted_ones_have_labels_of_the_source(mix):
    callback, terms = MeanTeacher(threshold=0.12, mix=mix, ramp=False, appearance=NO_CHANGE), Terms()
    witness = watch(pixel_method(), streets(batches_per_epoch=2), terms, callback)
    for (batch, target, net, state), seen, values in zip(witness.batches, witness.seen, terms.values, strict=True):
        weights = {name.removeprefix("net."): state[own].clone() for name, own in callback.nets._names.items()}
        with torch.no_grad():
            probabilities, labels = functional_call(net, weights, target).softmax(1).max(1)
        changed = seen[2]
        losses, num_pasted = [], 0
        logits = net(changed)
        for index in range(len(target)):
            share = float((probabilities[index] > 0.12).float().mean())
            is_pasted = ~torch.isclose(changed[index], target[index], atol=1e-5).all(0)
            torch.testing.assert_close(
                changed[index][:, is_pasted], batch["image"][index][:, is_pasted], rtol=0, atol=1e-5
            )
            num_pasted += int(is_pasted.sum())
            own = batch["mask"][index]
            pasted = set(own[is_pasted].tolist())
            assert IGNORE_INDEX not in pasted
            present = set(own.flatten().tolist()) - {IGNORE_INDEX}
            assert len(pasted) == (mix and (len(present) + 1) // 2)
            is_pasted = torch.isin(own, torch.tensor(sorted(pasted), dtype=own.dtype))  # equal colors are no change
            label = torch.where(is_pasted, own, labels[index])
            weight = torch.where(is_pasted, 1.0, share)
            losses.append(weight * F.cross_entropy(logits[index][None], label[None], reduction="none")[0])
        assert (num_pasted > 0) is mix
        expected = float(torch.stack(losses).mean().detach())
        assert values["train/mean_teacher"] == pytest.approx(expected, rel=1e-3)


def test_mixing_is_drawn_again_in_each_step_and_repeated_by_a_seed():
    def pasted(seed):
        callback = MeanTeacher(threshold=0.12, mix=True, appearance=NO_CHANGE, seed=seed)
        witness = watch(pixel_method(), streets(batches_per_epoch=2), callback)
        return [seen[2] for seen in witness.seen]

    first, again, other = pasted(0), pasted(0), pasted(1)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert any(not torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_what_cannot_be_mixed_is_refused():
    other = make_camvid()
    other.batch_size = 4
    cases = [
        (pixel_method(), AdaptationDataModule(make_camvid(), other), r"got \(2, 3, 64, 96\) and \(4, 3, 64, 96\)"),
        (tiny_method(), two_digits(), r"got \(4, 3, 32, 32\) and \(4, 3, 32, 32\): use mix=False"),
    ]
    for method, data, message in cases:
        with pytest.raises(ValueError, match=f"expected images with masks of one size .*{message}"):
            fit(method, data, MeanTeacher(mix=True), limit_train_batches=1)


class OfFeatures(Foreign):
    def __init__(self):
        super().__init__()
        self.features = nn.Linear(800, 8)

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch["features"]), batch["label"])


def test_batches_without_images_are_refused():
    data = AdaptationDataModule(make_office_caltech(), make_office_caltech())
    with pytest.raises(ValueError, match=r"expected batches of images .* for MeanTeacher, got shape \[4, 800\]"):
        fit(OfFeatures(), data, MeanTeacher(), limit_train_batches=1)


class ReturnsDict(Foreign):
    def forward(self, images):
        return {"logits": super().forward(images)}

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch["image"])["logits"], batch["label"])


def test_outputs_that_are_no_logits_are_refused():
    message = "expected forward of ReturnsDict to return logits of classes for MeanTeacher, got dict"
    with pytest.raises(ValueError, match=message):
        fit(ReturnsDict(), two_digits(), MeanTeacher(), limit_train_batches=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.1}, r"expected threshold within \[0, 1\], got 1\.1"),
        ({"threshold": float("nan")}, r"expected threshold within \[0, 1\], got nan"),
        ({"decay": -0.1}, r"expected decay within \[0, 1\], got -0\.1"),
        ({"seed": -1}, "expected seed of at least 0, got -1"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MeanTeacher(**options)


class SaveAfterBatch(Callback):
    """Saves a checkpoint after a batch, also between steps."""

    def __init__(self, path, num_batches):
        self.path, self.left = path, num_batches

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.left -= 1
        if self.left == 0:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize(("accumulated", "num_batches"), [(1, 3), (1, 4), (2, 2), (2, 3), (2, 6)])
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, accumulated, num_batches):
    path, options = tmp_path / "at.ckpt", {"max_epochs": 2, "accumulate_grad_batches": accumulated}

    def parts():
        return [DomainNorms(), DANN(hidden_size=8), MeanTeacher(threshold=0.05, decay=0.5)]

    torch.manual_seed(3)
    whole, method = parts(), norm_method()
    fit(method, two_digits(batches_per_epoch=4), *whole, SaveAfterBatch(path, num_batches), **options)
    torch.manual_seed(4)
    resumed, again = parts(), norm_method(seed=5)
    fit(again, two_digits(batches_per_epoch=4), *resumed, ckpt_path=path, **options)
    assert_equal(weights_of(again), weights_of(method))
    for one, other in zip(resumed[1:], whole[1:], strict=True):
        assert_equal(one.nets.state_dict(), other.nets.state_dict())
    assert_equal(resumed[0].state_dict(), whole[0].state_dict())


def test_a_second_fit_updates_the_teacher_after_each_step_too():
    method, callback = norm_method(), MeanTeacher(threshold=0.05)
    for number in (1, 2, 3):  # the steps are counted from 0 again
        fit(method, two_digits(batches_per_epoch=1), callback)
        assert int(callback.nets.num_updates) == number


def test_the_module_is_as_before_after_the_fit():
    method, callback = norm_method(), MeanTeacher(threshold=0.05)
    fit(method, two_digits(), limit_train_batches=1)  # after which the method has a score for each domain
    names = [name for name, _ in method.named_modules()]
    fit(method, two_digits(batches_per_epoch=1), callback)
    assert [name for name, _ in method.named_modules()] == names
    assert set(method.state_dict()) == set(norm_method().state_dict())
    assert not method.loss_terms
    assert callback._domains is callback._pseudo is None


class Fails(Callback):
    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        raise RuntimeError("power cut")


def test_nothing_stays_after_an_exception():
    method, callback = norm_method(), MeanTeacher(threshold=0.05)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(method, two_digits(batches_per_epoch=1), callback, Fails())
    assert set(method.state_dict()) == set(norm_method().state_dict())
    assert callback._domains is callback._pseudo is None


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_order_of_callbacks_does_not_matter(precision):
    results = []
    for order in (1, -1):
        torch.manual_seed(6)
        method, adversary = norm_method(), DANN(hidden_size=8)
        teacher = MeanTeacher(threshold=0.05, ramp=False)
        trainer = fit(method, two_digits(batches_per_epoch=3), *[adversary, teacher][::order], precision=precision)
        results.append((weights_of(method), teacher_of(teacher), trainer.callback_metrics["train/dann"]))
    assert_equal(results[0], results[1], rtol=1e-2 if precision == "bf16-mixed" else 1e-4, atol=1e-4)
    assert all(value.isfinite().all() for value in results[0][0].values())


def test_float64_stays_float64():
    class Keeps(MeanTeacher):
        values = ()

        def loss(self, pair):
            value = super().loss(pair)
            self.values = (*self.values, float(value.detach()))
            return value

    callback = Keeps(threshold=0.05)
    witness = watch(norm_method(), two_digits(batches_per_epoch=2), callback, precision="64-true")
    for (_, target, net, state), seen, value in zip(witness.batches, witness.seen, callback.values, strict=True):
        expected = float(explicit_term(net, state, callback.nets._names, target, seen[2], 0.05))
        assert value == pytest.approx(expected, rel=1e-12)


def test_other_callbacks_see_the_changed_target():
    class Sees(CORAL):
        def loss(self, pair):
            self.seen = pair.target_input
            return super().loss(pair)

    for order in (1, -1):
        sees, teacher = Sees(), MeanTeacher(threshold=0.05)
        witness = watch(norm_method(), two_digits(batches_per_epoch=1), *[sees, teacher][::order])
        assert torch.equal(sees.seen, witness.seen[0][2])


def test_a_module_of_someone_else_learns_from_the_teacher():
    torch.manual_seed(0)
    module, callback = Foreign(), MeanTeacher(threshold=0.05, ramp=False)
    steps, terms = AfterSteps(), Terms()
    fit(module, two_digits(batches_per_epoch=3), callback, steps, terms)
    means = running_means(steps.weights, 0.999)
    assert_equal({n: v.double() for n, v in teacher_of(callback).items()}, means[-1], rtol=1e-4, atol=1e-6)
    assert all(values["train/mean_teacher"] > 0 for values in terms.values)
    assert "training_step" not in vars(module)


def test_clips_have_a_teacher_but_are_not_mixed():
    def data():
        return AdaptationDataModule(make_camvid_video(), make_camvid_video())

    trainer = fit(make_deep_feature_flow(11), data(), MeanTeacher(threshold=0.05), limit_train_batches=2)
    assert trainer.callback_metrics["train/mean_teacher"].isfinite()
    with pytest.raises(ValueError, match="expected images with masks of one size"):
        fit(make_deep_feature_flow(11), data(), MeanTeacher(mix=True), limit_train_batches=1)


def test_a_real_segmentation_net_is_taught():
    trainer = fit(make_segmentation(11), streets(), MeanTeacher(threshold=0.0, mix=True), limit_train_batches=2)
    assert trainer.callback_metrics["train/mean_teacher"] > 0
